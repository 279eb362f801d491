//! bench/l4: ns per packet through BPF_PROG_TEST_RUN, a random live flow for every packet.
//! `bench_l4 [--flows N]...`, each a power of two.

use std::env;
use std::net::Ipv4Addr;

use trimaran_datapath::layout::{NextHop, Service};
use trimaran_datapath::{Datapath, Error, Listen, Room, Share, Way};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const REALS: u32 = 2;
const SAMPLES: usize = 7;
const PACKETS: u32 = 200_000;
const NEW_FLOWS: u32 = 8_192;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn main() {
    let wanted: Vec<u32> = env::args().filter_map(|word| word.parse().ok()).collect();
    let counts = if wanted.is_empty() {
        vec![1 << 10, 1 << 20]
    } else {
        wanted
    };
    println!("64-byte frames, {REALS} real servers, rr; ns per packet, median (least - most) of {SAMPLES} runs;");
    println!("the floor (empty program, choosing the flow) is taken off\n");
    println!(
        "{:>10}  {:>24}  {:>24}  {:>6}",
        "live flows", "established flow", "new flow", "floor"
    );
    for flows in counts {
        if let Err(error) = measure(flows) {
            eprintln!("{flows} flows: {error}");
            std::process::exit(1);
        }
    }
}

fn measure(flows: u32) -> Result<(), Error> {
    assert!(
        flows.is_power_of_two(),
        "the number of flows must be a power of two, not {flows}"
    );
    let all = flows + NEW_FLOWS * (SAMPLES as u32 + 1);
    let mut floor = Datapath::load(OBJECT, "bench_floor", None, room(1))?;
    let mut director = Datapath::load(OBJECT, "bench_director", None, room(all))?;
    serve(&mut director)?;
    fill(&mut director, flows)?;

    let sample = |datapath: &mut Datapath, frame: &[u8], packets| -> Result<u64, Error> {
        Ok(datapath.test_run(frame, packets)?.ns)
    };
    let random = frame(ACK, flows - 1, 0);
    let mut floors = Vec::new();
    let mut established = Vec::new();
    let mut new = Vec::new();
    for run in 0..SAMPLES as u32 {
        floors.push(sample(&mut floor, &random, PACKETS)?);
        established.push(sample(&mut director, &random, PACKETS)?);
        let first = flows + run * NEW_FLOWS;
        new.push(sample(&mut director, &frame(SYN, 0, first), NEW_FLOWS)?);
    }
    let sweep = director.sweep(0)?;
    assert_eq!(
        sweep.live,
        u64::from(flows + NEW_FLOWS * SAMPLES as u32),
        "every flow is pinned"
    );
    floors.sort_unstable();
    let floor = floors[SAMPLES / 2];
    println!(
        "{flows:>10}  {:>24}  {:>24}  {floor:>6}",
        summary(established, floor),
        summary(new, floor)
    );
    Ok(())
}

fn room(flows: u32) -> Room {
    Room {
        flows,
        flows6: 1,
        clients: 1,
    }
}

fn summary(mut samples: Vec<u64>, floor: u64) -> String {
    samples.sort_unstable();
    let least = |at: usize| samples[at].saturating_sub(floor);
    format!(
        "{} ({} - {})",
        least(SAMPLES / 2),
        least(0),
        least(SAMPLES - 1)
    )
}

fn serve(director: &mut Datapath) -> Result<(), Error> {
    for index in 0..REALS {
        let hop = NextHop {
            destination_mac: [2, 0, 0, 0, 0, index as u8],
            source_mac: [2, 0, 0, 0, 1, 0],
            interface: 1,
            mtu: 1500,
        };
        let address = Ipv4Addr::new(10, 0, 0, 10 + index as u8);
        director.set_share(index, Share::default());
        director.set_real(index, address.into(), 80, 0, true, Way::Hop(hop), None)?;
    }
    director.set_table(0, &(0..REALS).collect::<Vec<_>>())?;
    let listen = Listen {
        address: VIP.into(),
        port: 80,
        protocol: 6,
    };
    director.set_service(listen, Service::default())
}

/// Open the flows in pieces, each followed by an ACK of everybody at random: most are ESTABLISHED.
fn fill(director: &mut Datapath, flows: u32) -> Result<(), Error> {
    let piece = flows.min(4096);
    for first in (0..flows).step_by(piece as usize) {
        director.test_run(&frame(SYN, 0, first), piece)?;
    }
    director.test_run(&frame(ACK, flows - 1, 0), flows.saturating_mul(4))?;
    let live = director.sweep(0)?.live;
    assert_eq!(live, u64::from(flows), "every flow is pinned");
    Ok(())
}

/// Ethernet to lo, IPv4, TCP to VIP:80, padded to 64 bytes; see bpf/bench.bpf.c for the numbers.
fn frame(flags: u8, mask: u32, counter: u32) -> Vec<u8> {
    let mut frame = vec![0; 64];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..16].copy_from_slice(&[0x45, 0]);
    frame[16..18].copy_from_slice(&50u16.to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 6]);
    frame[30..34].copy_from_slice(&VIP.octets());
    frame[36..38].copy_from_slice(&80u16.to_be_bytes());
    frame[38..42].copy_from_slice(&mask.to_le_bytes());
    frame[42..46].copy_from_slice(&counter.to_le_bytes());
    frame[46..48].copy_from_slice(&[5 << 4, flags]);
    frame
}
