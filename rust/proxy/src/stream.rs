//! `stream`: connections passed on as they come, without a look inside.
//!
//! One thread with its own epoll loop serves them all; upstreams, maps, access rules, limits and logs
//! are those of the HTTP side.

mod compile;
mod pump;
mod session;

pub use compile::{compile, Stream};

use crate::log::Logs;
use crate::sys;
use crate::timer::Wheel;
use crate::worker::Listener;
use crate::Shared;
use session::Session;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

const EVENTS: usize = 256;
const DOOR: u64 = 1 << 63;
const WAKE: u64 = 1 << 62;

/// What every session uses.
pub struct Core {
    pub shared: Arc<Shared>,
    pub snapshot: Arc<crate::snapshot::Snapshot>,
    pub now_ms: u64,
    pub wheel: Wheel,
    pub logs: Logs,
    pub scratch: Vec<u8>,
    pub epoll: OwnedFd,
    /// Sessions that have more to do without waiting.
    pub again: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

pub struct Worker {
    core: Core,
    wake: Arc<OwnedFd>,
    doors: Vec<Arc<Listener>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
    generation: u64,
    /// Sessions older than the first moment end at the second.
    cut: Option<(u64, u64)>,
    stopping: bool,
}

/// The side of a session that an event is about: bit 0; then the slot, then its generation.
pub fn token(generation: u32, index: u32, peer: bool) -> u64 {
    u64::from(generation & 0x0fff_ffff) << 33 | u64::from(index) << 1 | u64::from(peer)
}

impl Worker {
    pub fn new(shared: Arc<Shared>, wake: Arc<OwnedFd>) -> std::io::Result<Worker> {
        let now_ms = sys::now_ms();
        let epoll = sys::epoll_create()?;
        sys::epoll_add(&epoll, wake.as_raw_fd(), WAKE, sys::READ)?;
        let mut worker = Worker {
            generation: shared.generation.load(Relaxed),
            core: Core {
                snapshot: shared.snapshot(),
                shared,
                now_ms,
                wheel: Wheel::new(now_ms),
                logs: Logs::default(),
                scratch: vec![0; 64 << 10],
                epoll,
                again: Vec::new(),
            },
            wake,
            doors: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            cut: None,
            stopping: false,
        };
        worker.change_doors();
        Ok(worker)
    }

    pub fn run(mut self) {
        let mut events = [sys::Event { events: 0, u64: 0 }; EVENTS];
        let mut due = Vec::new();
        while !self.finished() {
            let count = sys::epoll_wait(&self.core.epoll, &mut events, self.patience_ms());
            self.core.now_ms = sys::now_ms();
            self.take_orders();
            for event in &events[..count] {
                self.dispatch(event.u64, event.events);
            }
            for index in std::mem::take(&mut self.core.again) {
                self.drive(index, |session, core| session.drive(core));
            }
            self.core.wheel.due(self.core.now_ms, &mut due);
            for index in due.drain(..) {
                self.drive(index, |session, core| session.timed_out(core));
            }
            self.cut_old();
            self.core.logs.flush(true);
        }
        self.core.logs.flush(true);
    }

    fn patience_ms(&self) -> i32 {
        if !self.core.again.is_empty() {
            return 0;
        }
        let cut = self.cut.map(|cut| cut.1.saturating_sub(self.core.now_ms));
        let timer = self.core.wheel.wait_ms(self.core.now_ms);
        match timer.into_iter().chain(cut).min() {
            Some(ms) => ms.clamp(1, if self.stopping { 50 } else { 1000 }) as i32,
            None if self.stopping => 50,
            None => -1,
        }
    }

    /// worker_shutdown_timeout is over: whoever came before the reload goes.
    fn cut_old(&mut self) {
        let Some((before_ms, _)) = self.cut.filter(|cut| self.core.now_ms >= cut.1) else {
            return;
        };
        self.cut = None;
        for index in 0..self.slots.len() as u32 {
            self.drive(index, |session, _| session.started_ms > before_ms);
        }
    }

    fn finished(&self) -> bool {
        let stop_at = self.core.shared.stop_at_ms.load(Relaxed);
        self.stopping && (self.live == 0 || self.core.now_ms >= stop_at)
    }

    fn take_orders(&mut self) {
        let generation = self.core.shared.generation.load(Relaxed);
        if generation != self.generation {
            self.generation = generation;
            self.cut = self.core.shared.cut();
            self.core.snapshot = self.core.shared.snapshot();
            self.change_doors();
        }
        if self.core.shared.stop_at_ms.load(Relaxed) != u64::MAX && !self.stopping {
            self.stopping = true;
            self.change_doors();
        }
    }

    fn change_doors(&mut self) {
        for door in std::mem::take(&mut self.doors) {
            sys::epoll_remove(&self.core.epoll, door.fd.as_raw_fd());
        }
        let doors = self.core.shared.stream_doors();
        for (index, door) in doors.iter().enumerate().filter(|_| !self.stopping) {
            let token = DOOR | index as u64;
            // A door that cannot be watched is one that cannot be listened at: the next reload may.
            let _ = sys::epoll_add(&self.core.epoll, door.fd.as_raw_fd(), token, sys::READ);
        }
        self.doors = doors.to_vec();
    }

    fn dispatch(&mut self, token: u64, events: u32) {
        if token == WAKE {
            return sys::event_clear(&self.wake);
        }
        if token & DOOR != 0 {
            return self.accept((token & !DOOR) as usize);
        }
        let (generation, index) = ((token >> 33) as u32, (token >> 1) as u32);
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        if slot.generation & 0x0fff_ffff != generation {
            return; // of a session that is over
        }
        if let Some(session) = &mut slot.session {
            session.note(token & 1 == 1, events);
        }
        self.drive(index, |session, core| session.drive(core));
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..64 {
            let Some(door) = self.doors.get(index).filter(|_| !self.stopping) else {
                return;
            };
            match sys::accept(&door.fd) {
                Ok((fd, address)) => {
                    let local = sys::local_address(&fd).unwrap_or(door.address);
                    self.adopt(fd, address, local, door.address);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.raw_os_error() == Some(libc::EMFILE) => return,
                Err(_) => {}
            }
        }
    }

    fn adopt(&mut self, fd: OwnedFd, address: SocketAddr, local: SocketAddr, door: SocketAddr) {
        let snapshot = self.core.snapshot.clone();
        let Some(server) = snapshot.stream.server(&door) else {
            return;
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let generation = self.slots[index as usize].generation;
        let watched = sys::epoll_add(
            &self.core.epoll,
            fd.as_raw_fd(),
            token(generation, index, false),
            sys::CONNECTION,
        );
        if watched.is_err() {
            return self.free.push(index);
        }
        let serial = self.core.shared.counters.connections.fetch_add(1, Relaxed) + 1;
        self.live += 1;
        let mut session = Box::new(Session::new(fd, index, generation, snapshot, server));
        (session.address, session.local, session.serial) = (address, local, serial);
        session.started_ms = self.core.now_ms;
        self.slots[index as usize].session = Some(session);
        self.drive(index, |session, core| session.begin(core));
    }

    /// Run a session's code. A panic there ends that session and no other.
    fn drive(&mut self, index: u32, work: impl FnOnce(&mut Session, &mut Core) -> bool) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        let Some(mut session) = slot.session.take() else {
            return;
        };
        let core = &mut self.core;
        let result = catch_unwind(AssertUnwindSafe(|| work(&mut session, core)));
        if let Ok(true) = result {
            self.slots[index as usize].session = Some(session);
            return;
        }
        match result {
            Err(_) => {
                self.core.scratch.resize(64 << 10, 0);
                self.core.shared.counters.panics.fetch_add(1, Relaxed);
            }
            Ok(_) => session.account(&mut self.core),
        }
        drop(session);
        self.core.wheel.remove(index);
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        self.live -= 1;
        self.core.shared.counters.closed.fetch_add(1, Relaxed);
    }
}
