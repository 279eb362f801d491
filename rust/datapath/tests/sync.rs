//! The sync protocol: what is told arrives, once, whatever the network does; what is not sealed with
//! our key, or was recorded, changes nothing.

use std::time::{Duration, Instant};

use trimaran_datapath::layout::FlowKey;
use trimaran_datapath::sync::wire::{Header, Key, Kind, Record, MAX_DATAGRAM, MAX_RECORDS};
use trimaran_datapath::sync::Peer;

const SECRET: &[u8] = b"a secret of some length";

fn record(number: u32) -> Record {
    Record {
        key: FlowKey {
            source_address: number.to_be_bytes(),
            address: [10, 0, 0, 100],
            source_port: [1, 2],
            port: [0, 80],
            protocol: 6,
        },
        state: 1,
        age_s: 7,
        real_address: [10, 0, 0, 10],
        real_port: [0, 80],
    }
}

/// xorshift64*: the seed is printed by the test that uses it.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        println!("seed {time}");
        Self(time)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// Two peers and the wire between them, which keeps everything it carried.
struct World {
    key: Key,
    sides: [Peer; 2],
    heard: [Vec<u32>; 2],
    wants_all: [bool; 2],
    recorded: [Vec<Vec<u8>>; 2],
    now: Instant,
}

impl World {
    fn new() -> Self {
        let key = Key::new(SECRET);
        Self {
            sides: [Peer::new(key.clone(), 11), Peer::new(key.clone(), 22)],
            key,
            heard: Default::default(),
            wants_all: [false; 2],
            recorded: Default::default(),
            now: Instant::now(),
        }
    }

    /// Datagrams to that side, and whatever they set off; `lost` decides each one's fate.
    fn carry(&mut self, to: usize, datagrams: Vec<Vec<u8>>, lost: &mut dyn FnMut() -> bool) {
        for datagram in datagrams {
            self.recorded[to].push(datagram.clone());
            if lost() {
                continue;
            }
            let (header, records) = self.key.open(&datagram).expect("our own datagram");
            let heard = self.sides[to].take(&header, records, self.now);
            let numbers = heard.records.iter();
            self.heard[to].extend(numbers.map(|each| u32::from_be_bytes(each.key.source_address)));
            self.wants_all[to] |= heard.wants_all;
            self.carry(1 - to, heard.replies, lost);
        }
    }

    /// Time passes, and everybody does what is due.
    fn step(&mut self, lost: &mut dyn FnMut() -> bool) {
        self.now += Duration::from_millis(25);
        for side in 0..2 {
            let due = self.sides[side].due(self.now);
            self.carry(1 - side, due, lost);
        }
    }

    /// `side` tells the whole table, which is `records`.
    fn tell_all(&mut self, side: usize, records: &[Record], lost: &mut dyn FnMut() -> bool) {
        self.wants_all[side] = false;
        self.sides[side].begin_all();
        let datagrams = self.sides[side].tell(records);
        self.carry(1 - side, datagrams, lost);
        let end = self.sides[side].end_all();
        self.carry(1 - side, vec![end], lost);
    }
}

fn never() -> bool {
    false
}

fn met() -> World {
    let mut world = World::new();
    world.step(&mut never);
    for side in 0..2 {
        assert!(world.sides[side].is_there(world.now), "side {side}");
        assert!(world.wants_all[side], "who meets tells its whole table");
        world.tell_all(side, &[], &mut never);
    }
    assert!(world.sides.iter().all(Peer::is_caught_up));
    world
}

#[test]
fn what_is_sealed_is_opened_as_it_was() {
    let key = Key::new(SECRET);
    let header = Header {
        kind: Kind::Flows,
        session: 1,
        echo: u64::MAX,
        number: 3,
        last: 4,
    };
    let records: Vec<_> = (0..MAX_RECORDS as u32).map(record).collect();
    let datagram = key.seal(&header, &records);
    assert_eq!(datagram.len(), MAX_DATAGRAM);
    assert_eq!(key.open(&datagram), Some((header, records)));
}

#[test]
fn whatever_else_comes_is_refused() {
    let (key, other) = (Key::new(SECRET), Key::new(b"another secret of some length"));
    let header = Header {
        kind: Kind::Flows,
        session: 1,
        echo: 2,
        number: 3,
        last: 0,
    };
    let datagram = key.seal(&header, &[record(1), record(2)]);
    assert!(other.open(&datagram).is_none(), "another key");
    for length in 0..datagram.len() {
        assert!(key.open(&datagram[..length]).is_none(), "cut at {length}");
    }
    let mut chance = Chance::new();
    for _ in 0..20_000 {
        let mut bent = datagram.clone();
        let place = chance.below(bent.len() as u64) as usize;
        bent[place] ^= 1 << chance.below(8);
        assert!(key.open(&bent).is_none(), "a bit at {place}");
        let noise: Vec<u8> = (0..chance.below(2000))
            .map(|_| chance.below(256) as u8)
            .collect();
        assert!(key.open(&noise).is_none());
    }
}

#[test]
fn a_whole_table_catches_the_other_side_up() {
    let mut world = World::new();
    world.step(&mut never);
    assert!(!world.sides[1].is_caught_up());
    let all: Vec<_> = (0..1000).map(record).collect();
    world.tell_all(0, &all, &mut never);
    assert!(world.sides[1].is_caught_up());
    assert_eq!(world.heard[1], (0..1000).collect::<Vec<_>>());
}

#[test]
fn every_record_arrives_once_through_a_network_that_loses_a_third() {
    let mut chance = Chance::new();
    let mut world = met();
    let mut lost = || chance.below(3) == 0;
    for part in 0..60 {
        let records: Vec<_> = (part * 50..part * 50 + 50).map(record).collect();
        let datagrams = world.sides[0].tell(&records);
        world.carry(1, datagrams, &mut lost);
        world.step(&mut lost);
    }
    for _ in 0..400 {
        world.step(&mut lost);
    }
    let mut heard = world.heard[1].clone();
    heard.sort_unstable();
    assert_eq!(heard, (0..3000).collect::<Vec<_>>());
    assert!(
        !world.wants_all[0],
        "gaps were mended without the whole table"
    );
}

#[test]
fn what_is_not_kept_any_more_is_mended_by_the_whole_table() {
    let mut world = met();
    let all: Vec<_> = (0..6000).map(record).collect();
    for each in &all {
        let datagrams = world.sides[0].tell(std::slice::from_ref(each));
        world.carry(1, datagrams, &mut || true);
    }
    for _ in 0..5 {
        world.step(&mut never);
    }
    assert!(!world.sides[1].is_caught_up());
    for _ in 0..200 {
        world.step(&mut never);
        if world.wants_all[0] {
            world.tell_all(0, &all, &mut never);
        }
    }
    assert!(world.sides[1].is_caught_up());
    let mut heard = world.heard[1].clone();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), all.len());
}

#[test]
fn a_recording_changes_nothing() {
    let mut world = met();
    let records: Vec<_> = (0..100).map(record).collect();
    let datagrams = world.sides[0].tell(&records);
    world.carry(1, datagrams, &mut never);
    let before = world.heard[1].len();
    let old = world.recorded[1].clone();
    world.carry(1, old.clone(), &mut never);
    assert_eq!(world.heard[1].len(), before, "in the same session");

    world.sides[1] = Peer::new(world.key.clone(), 33);
    world.heard[1].clear();
    world.carry(1, old, &mut never);
    assert_eq!(world.heard[1], Vec::<u32>::new(), "after a restart");
    world.step(&mut never);
    assert!(
        world.sides[1].is_there(world.now),
        "the real peer is met all the same"
    );
}

#[test]
fn a_peer_that_starts_again_is_told_everything() {
    let mut world = met();
    world.wants_all = [false; 2];
    world.sides[1] = Peer::new(world.key.clone(), 33);
    for _ in 0..10 {
        world.step(&mut never);
    }
    assert!(world.wants_all[0]);
    world.tell_all(0, &[record(1)], &mut never);
    assert_eq!(world.heard[1], [1]);
    assert!(world.sides[1].is_caught_up());
}

#[test]
fn a_silent_peer_is_gone() {
    let mut world = met();
    world.now += Duration::from_millis(1500);
    assert!(!world.sides[0].is_there(world.now));
}
