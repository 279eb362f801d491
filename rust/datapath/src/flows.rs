//! The flow table as user space sees it: one pass counts the live flows of every real server and
//! ends those that were silent for too long. The kernel side never deletes and keeps no count, so
//! what a pass says is exact.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::layout::{
    Flow, FlowKey, FLOW_ADOPTED, FLOW_WAITING, MAX_REALS, STATE_ESTABLISHED, STATE_SYN_RECV,
    TIMEOUTS_S,
};

const BATCH: usize = 4096;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_NOEXIST: u64 = 1;

/// The flows of one real server. In SYN_RECV a flow is active, as IPVS counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub active: u64,
    pub inactive: u64,
}

/// What one pass found; `tallies` is by real.
#[derive(Debug)]
pub struct Sweep {
    pub tallies: Vec<Tally>,
    pub live: u64,
    pub ended: u64,
}

#[repr(C)]
#[derive(Default)]
struct BatchAttribute {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ElementAttribute {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<()> {
    // SAFETY: `attribute` is the prefix of union bpf_attr that the command reads and writes; every
    // pointer in it comes from a live buffer of the size that the map's layout asks for.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attribute as *mut T, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn expired(flow: &Flow, now_s: u32) -> bool {
    let timeout = TIMEOUTS_S.get(flow.state as usize).copied().unwrap_or(0);
    now_s.saturating_sub(flow.seen_s) > timeout
}

/// Seconds on the clock that stamps the flows.
pub fn now_s() -> u32 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as u32
}

impl Sweep {
    pub fn new() -> Self {
        Self {
            tallies: vec![Tally::default(); MAX_REALS as usize],
            live: 0,
            ended: 0,
        }
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self::new()
    }
}

/// Add every flow of a map with keys of this kind to the sweep, and end the expired. `now_s` is
/// CLOCK_MONOTONIC's.
pub fn sweep<K: Copy + Default>(
    map: BorrowedFd<'_>,
    now_s: u32,
    sweep: &mut Sweep,
) -> io::Result<()> {
    for_each(map, |key: &K, flow| {
        if expired(flow, now_s) && end(map, key, now_s)? {
            sweep.ended += 1;
            return Ok(());
        }
        sweep.live += 1;
        if let Some(tally) = sweep.tallies.get_mut(flow.real as usize) {
            match flow.state {
                STATE_ESTABLISHED | STATE_SYN_RECV => tally.active += 1,
                _ => tally.inactive += 1,
            }
        }
        Ok(())
    })
}

/// Delete one flow, unless a packet came for it since it was read: then it is put back.
fn end<K>(map: BorrowedFd<'_>, key: &K, now_s: u32) -> io::Result<bool> {
    let mut flow = Flow::default();
    let mut attribute = ElementAttribute {
        map_fd: map.as_raw_fd() as u32,
        key: key as *const K as u64,
        value: &mut flow as *mut Flow as u64,
        ..Default::default()
    };
    match bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attribute) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(true),
        other => other?,
    }
    if expired(&flow, now_s) {
        return Ok(true);
    }
    attribute.flags = BPF_NOEXIST;
    match bpf(BPF_MAP_UPDATE_ELEM, &mut attribute) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        other => other.map(|()| false),
    }
}

fn element(map: BorrowedFd<'_>, key: &FlowKey, flow: u64, flags: u64) -> ElementAttribute {
    ElementAttribute {
        map_fd: map.as_raw_fd() as u32,
        key: key as *const FlowKey as u64,
        value: flow,
        flags,
        ..Default::default()
    }
}

/// What a peer said of a flow: it is taken unless we know better, having seen a later packet. False
/// when the table is full.
pub fn learn(map: BorrowedFd<'_>, key: &FlowKey, flow: &Flow) -> io::Result<bool> {
    let told = flow as *const Flow as u64;
    match bpf(
        BPF_MAP_UPDATE_ELEM,
        &mut element(map, key, told, BPF_NOEXIST),
    ) {
        Ok(()) => return Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::E2BIG) => return Ok(false),
            Some(libc::EEXIST) => {}
            _ => return Err(error),
        },
    }
    let mut ours = Flow::default();
    let place = &mut ours as *mut Flow as u64;
    match bpf(BPF_MAP_LOOKUP_ELEM, &mut element(map, key, place, 0)) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        Ok(()) if !yields(&ours, flow) => return Ok(true),
        _ => {}
    }
    bpf(BPF_MAP_UPDATE_ELEM, &mut element(map, key, told, 0)).map(|()| true)
}

/// A guess gives way to knowledge, and what is older to what is newer.
fn yields(ours: &Flow, told: &Flow) -> bool {
    ours.flags & (FLOW_WAITING | FLOW_ADOPTED) != 0 || ours.seen_s <= told.seen_s
}

/// Visit every flow, a batch of buckets at a time: deletions on the way lose no other entry.
pub fn for_each<K: Copy + Default>(
    map: BorrowedFd<'_>,
    mut visit: impl FnMut(&K, &Flow) -> io::Result<()>,
) -> io::Result<()> {
    let mut keys = vec![K::default(); BATCH];
    let mut flows = vec![Flow::default(); BATCH];
    let (mut position, mut next) = (0u64, 0u64);
    let mut first = true;
    loop {
        let mut attribute = BatchAttribute {
            in_batch: if first {
                0
            } else {
                &position as *const u64 as u64
            },
            out_batch: &mut next as *mut u64 as u64,
            keys: keys.as_mut_ptr() as u64,
            values: flows.as_mut_ptr() as u64,
            count: keys.len() as u32,
            map_fd: map.as_raw_fd() as u32,
            ..Default::default()
        };
        let last = match bpf(BPF_MAP_LOOKUP_BATCH, &mut attribute) {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                Some(libc::ENOSPC) => {
                    // One bucket holds more than the buffer.
                    keys.resize(keys.len() * 2, K::default());
                    flows.resize(flows.len() * 2, Flow::default());
                    continue;
                }
                _ => return Err(error),
            },
        };
        for (key, flow) in keys.iter().zip(&flows).take(attribute.count as usize) {
            visit(key, flow)?;
        }
        if last {
            return Ok(());
        }
        position = next;
        first = false;
    }
}
