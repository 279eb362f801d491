//! The flow table as user space sees it: one pass counts the live flows of every real server and
//! ends those that were silent for too long. The kernel side never deletes and keeps no count, so
//! what a pass says is exact.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::layout::{
    is_active, Flow, FlowKey, FLOW_ADOPTED, FLOW_WAITING, MAX_REALS, STATE_SYN_RECV, TIMEOUTS_S,
};
use crate::loads::Loads;
use crate::syscall::{
    bpf, BatchAttribute, ElementAttribute, LOOKUP, LOOKUP_AND_DELETE, LOOKUP_BATCH, NOEXIST, UPDATE,
};

const BATCH: usize = 4096;
/// After so long a flow that is half open ends while the table is nearly full: so a flood of SYNs
/// does not keep it so.
const PRESSED_S: u32 = 5;

/// The flows of one real server. In SYN_RECV a flow is active, as IPVS counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub active: u64,
    pub inactive: u64,
}

impl Tally {
    pub fn total(self) -> u64 {
        self.active + self.inactive
    }

    fn add(&mut self, state: u8) {
        if is_active(state) {
            self.active += 1;
        } else {
            self.inactive += 1;
        }
    }
}

/// What one pass found; `tallies` (the live) and `gone` (the ended) are by real.
#[derive(Debug)]
pub struct Sweep {
    pub tallies: Vec<Tally>,
    pub live: u64,
    pub ended: u64,
    gone: Vec<Tally>,
}

/// When a flow ends. `pressed`: the table is nearly full.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub now_s: u32,
    pub pressed: bool,
}

impl Patience {
    fn is_over(self, flow: &Flow) -> bool {
        let timeout = match TIMEOUTS_S.get(flow.state as usize) {
            Some(_) if self.pressed && flow.state == STATE_SYN_RECV => PRESSED_S,
            Some(&timeout) => timeout,
            None => 0,
        };
        self.now_s.saturating_sub(flow.seen_s) > timeout
    }
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
            gone: vec![Tally::default(); MAX_REALS as usize],
        }
    }

    /// Take what ended out of the loads, which were `before`. Where nothing else changed meanwhile,
    /// the count is right and what the load had drifted by goes too.
    pub fn settle(&self, loads: &Loads, before: &[Tally]) {
        let now = loads.tallies();
        for (real, gone) in (0..).zip(&self.gone) {
            let at = real as usize;
            let quiet = now[at] == before[at];
            let off = |load: u64, gone: u64, live: u64| match quiet {
                true => load as i64 - live as i64,
                false => gone as i64,
            };
            let active = off(now[at].active, gone.active, self.tallies[at].active);
            let inactive = off(now[at].inactive, gone.inactive, self.tallies[at].inactive);
            if active != 0 || inactive != 0 {
                loads.take(real, active, inactive);
            }
        }
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self::new()
    }
}

/// Add every flow of a map with keys of this kind to the sweep, and end the expired.
pub fn sweep<K: Copy + Default>(
    map: BorrowedFd<'_>,
    patience: Patience,
    sweep: &mut Sweep,
) -> io::Result<()> {
    for_each(map, |key: &K, flow| {
        if patience.is_over(flow) {
            if let Some(last) = end(map, key, patience)? {
                sweep.ended += 1;
                if let Some(gone) = sweep.gone.get_mut(last.real as usize) {
                    gone.add(last.state);
                }
                return Ok(());
            }
        }
        sweep.live += 1;
        if let Some(tally) = sweep.tallies.get_mut(flow.real as usize) {
            tally.add(flow.state);
        }
        Ok(())
    })
}

/// Delete one flow, unless a packet came for it since it was read: then it is put back. What it was
/// when it ended.
fn end<K>(map: BorrowedFd<'_>, key: &K, patience: Patience) -> io::Result<Option<Flow>> {
    let mut flow = Flow::default();
    let mut attribute = ElementAttribute {
        map_fd: map.as_raw_fd() as u32,
        key: key as *const K as u64,
        value: &mut flow as *mut Flow as u64,
        ..Default::default()
    };
    match bpf(LOOKUP_AND_DELETE, &mut attribute) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    if patience.is_over(&flow) {
        return Ok(Some(flow));
    }
    attribute.flags = NOEXIST;
    match bpf(UPDATE, &mut attribute) {
        // It began anew in between.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Some(flow)),
        other => other.map(|_| None),
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
pub fn learn(map: BorrowedFd<'_>, loads: &Loads, key: &FlowKey, flow: &Flow) -> io::Result<bool> {
    let told = flow as *const Flow as u64;
    match bpf(UPDATE, &mut element(map, key, told, NOEXIST)) {
        Ok(_) => {
            loads.enter(flow.real, flow.state);
            return Ok(true);
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::E2BIG) => return Ok(false),
            Some(libc::EEXIST) => {}
            _ => return Err(error),
        },
    }
    let mut ours = Flow::default();
    let place = &mut ours as *mut Flow as u64;
    let was_there = match bpf(LOOKUP, &mut element(map, key, place, 0)) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        Ok(_) if !yields(&ours, flow) => return Ok(true),
        other => other.is_ok(),
    };
    bpf(UPDATE, &mut element(map, key, told, 0))?;
    if was_there {
        loads.leave(ours.real, ours.state);
    }
    loads.enter(flow.real, flow.state);
    Ok(true)
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
        let last = match bpf(LOOKUP_BATCH, &mut attribute) {
            Ok(_) => false,
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
