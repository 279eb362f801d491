//! One thread: its epoll loop and its connections.

use crate::conn::{Client, Waiting};
use crate::core::{token, Core, Kind, Owner, SCRATCH};
use crate::status::At;
use crate::sys;
use crate::{Doors, Shared};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

const EVENTS: usize = 512;
const ACCEPTS: usize = 32; // in a row, before others get their turn

pub struct Listener {
    pub fd: OwnedFd,
    pub address: SocketAddr,
}

struct Slot {
    generation: u32,
    client: Option<Box<Client>>,
}

pub struct Worker {
    core: Core,
    listeners: Doors,
    wake: Arc<OwnedFd>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
    most: usize,
    accepting: bool,
    accept_again_ms: u64,
    generation: u64,
    /// Connections older than the first moment end at the second.
    cut: Option<(u64, u64)>,
    swept_s: u64,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, wake: Arc<OwnedFd>, index: usize) -> std::io::Result<Worker> {
        let workers = shared.gauges.len();
        let generation = shared.generation.load(Relaxed);
        let mut worker = Worker {
            listeners: shared.doors(),
            core: Core::new(shared, wake.clone(), index)?,
            wake,
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            // Each client may need a peer's connection and a file beside its own descriptor.
            most: (sys::descriptor_limit().saturating_sub(64) / 2 / workers).max(16),
            accepting: false,
            accept_again_ms: 0,
            generation,
            cut: None,
            swept_s: 0,
        };
        let wake = token(Kind::Wake, 0, 0);
        sys::epoll_add(&worker.core.epoll, worker.wake.as_raw_fd(), wake, sys::READ)?;
        worker.set_accepting(true)?;
        Ok(worker)
    }

    pub fn run(mut self) {
        let mut events = [sys::Event { events: 0, u64: 0 }; EVENTS];
        let mut due = Vec::new();
        while !self.finished() {
            let count = sys::epoll_wait(&self.core.epoll, &mut events, self.patience_ms());
            self.core.tick();
            self.take_orders();
            for event in &events[..count] {
                self.dispatch(event.u64, event.events);
            }
            for index in std::mem::take(&mut self.core.again) {
                self.go_on(index);
            }
            self.core.wheel.due(self.core.now_ms, &mut due);
            for index in due.drain(..) {
                self.time_up(index);
            }
            self.serve_inner();
            self.cut_old();
            self.core.logs.flush(false);
            self.sweep();
        }
        self.core.logs.flush(true);
    }

    fn patience_ms(&self) -> i32 {
        if !self.core.again.is_empty() {
            return 0;
        }
        let cut = self
            .cut
            .map_or(u64::MAX, |cut| cut.1.saturating_sub(self.core.now_ms));
        let timer = self.core.wheel.wait_ms(self.core.now_ms).unwrap_or(1000);
        let timer = timer.min(cut);
        timer.clamp(1, if self.core.stopping { 50 } else { 1000 }) as i32
    }

    fn finished(&self) -> bool {
        let overdue = self.core.now_ms >= self.core.shared.stop_at_ms.load(Relaxed);
        self.core.stopping && (self.live == 0 || overdue)
    }

    fn take_orders(&mut self) {
        let generation = self.core.shared.generation.load(Relaxed);
        if generation != self.generation {
            self.generation = generation;
            self.cut = self.core.shared.cut();
            self.core.snapshot = self.core.shared.snapshot();
            let doors = self.core.shared.doors();
            if !Arc::ptr_eq(&doors, &self.listeners) && !self.core.stopping {
                self.change_listeners(doors);
            }
        }
        let stop_at = self.core.shared.stop_at_ms.load(Relaxed);
        if stop_at != u64::MAX && !self.core.stopping {
            self.begin_stop(stop_at);
        }
    }

    /// Who knocked at a door that goes is still let in.
    fn change_listeners(&mut self, doors: Doors) {
        for index in 0..self.listeners.len() {
            let stays = |door| Arc::ptr_eq(door, &self.listeners[index]);
            if !doors.iter().any(stays) {
                while self.accept_one(index) {}
            }
        }
        let accepting = self.accepting;
        let _ = self.set_accepting(false);
        self.listeners = doors;
        if accepting && self.set_accepting(true).is_err() {
            self.pause_accepting();
        }
    }

    /// Take in who knocked before; then no more. A client in the middle of keep-alive gets a moment
    /// for the request that may be on its way: it is answered, with 'Connection: close'.
    fn begin_stop(&mut self, stop_at: u64) {
        for index in 0..self.listeners.len() {
            while self.accept_one(index) {}
        }
        let _ = self.set_accepting(false);
        // Without us (and the other workers) to hold it, the port is closed: who comes now is
        // refused and can go elsewhere, rather than wait in a queue that nobody empties.
        self.listeners = Arc::default();
        self.core.stopping = true;
        self.core.idle_grace_ms = stop_at.saturating_sub(self.core.now_ms).min(1000);
        for connection in self.core.pool.expire(u64::MAX, true) {
            self.core.drop_connection(connection);
        }
        for index in 0..self.slots.len() as u32 {
            if let Some(client) = &mut self.slots[index as usize].client {
                if client.waiting == Waiting::Idle {
                    let grace = self.core.now_ms + self.core.idle_grace_ms;
                    client.deadline_ms = client.deadline_ms.min(grace);
                    self.core.wheel.set(index, client.deadline_ms);
                }
            }
        }
    }

    fn set_accepting(&mut self, accepting: bool) -> std::io::Result<()> {
        if accepting == self.accepting {
            return Ok(());
        }
        self.accepting = accepting;
        for (index, listener) in self.listeners.iter().enumerate() {
            let fd = listener.fd.as_raw_fd();
            if accepting {
                let token = token(Kind::Listener, 0, index as u32);
                sys::epoll_add(&self.core.epoll, fd, token, sys::LISTENER)?;
            } else {
                sys::epoll_remove(&self.core.epoll, fd);
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, token: u64, flags: u32) {
        let (generation, index) = ((token >> 32) as u32 & 0x3fff_ffff, token as u32);
        match token >> 62 {
            0 => self.client_event(index, generation, flags),
            1 => self.peer_event(index, generation, flags),
            2 => {
                for _ in 0..ACCEPTS {
                    if !self.accept_one(index as usize) {
                        break;
                    }
                }
            }
            _ => {
                sys::event_clear(&self.wake);
                let queued = std::mem::take(&mut self.core.queued);
                self.core.again.extend(queued);
            }
        }
    }

    fn accept_one(&mut self, index: usize) -> bool {
        if self.core.stopping {
            return false;
        }
        if self.live >= self.most {
            self.pause_accepting();
            return false;
        }
        // An event may be older than the last change of the listeners: the kernel says it again.
        let Some(listener) = self.listeners.get(index) else {
            return false;
        };
        match sys::accept(&listener.fd) {
            Ok((fd, address)) => {
                let asks = listener.address.ip().is_unspecified()
                    && self
                        .core
                        .snapshot
                        .needs_local_address(listener.address.port());
                let local = if asks {
                    sys::local_address(&fd).ok()
                } else {
                    None
                };
                let local = local.unwrap_or(listener.address);
                self.adopt(fd, address, local);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    self.pause_accepting();
                    false
                }
                _ => true, // that client is gone already
            },
        }
    }

    /// Out of descriptors: let clients wait in the kernel's queue for a moment.
    fn pause_accepting(&mut self) {
        let _ = self.set_accepting(false);
        self.accept_again_ms = self.core.now_ms + 100;
    }

    fn vacancy(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                client: None,
            });
            self.slots.len() as u32 - 1
        })
    }

    /// Inner requests, and what came of them.
    fn serve_inner(&mut self) {
        while !(self.core.births.is_empty() && self.core.verdicts.is_empty()) {
            for birth in std::mem::take(&mut self.core.births) {
                let fd = sys::event_fd().ok().filter(|_| self.live < self.most);
                let Some(fd) = fd else {
                    self.core.verdicts.extend(birth.inner.broken()); // a mirror is left out
                    continue;
                };
                let index = self.vacancy();
                self.live += 1;
                let mut client = Box::new(Client::new(fd, index, birth.address, birth.local));
                client.readable = false;
                client.serial = self.core.ticket();
                client.buffer = birth.head;
                client.inner = Some(birth.inner);
                self.drive(index, client, |client, core| client.drive(core));
            }
            for verdict in std::mem::take(&mut self.core.verdicts) {
                let (index, serial) = verdict.asker;
                let slot = &mut self.slots[index as usize].client;
                if slot.as_ref().is_some_and(|client| client.serial == serial) {
                    if let Some(client) = slot.take() {
                        self.drive(index, client, |client, core| client.judged(core, verdict));
                    }
                }
            }
        }
    }

    fn adopt(&mut self, fd: OwnedFd, address: SocketAddr, local: SocketAddr) {
        let index = self.vacancy();
        let token = token(Kind::Client, self.slots[index as usize].generation, index);
        if sys::epoll_add(&self.core.epoll, fd.as_raw_fd(), token, sys::CONNECTION).is_err() {
            self.free.push(index);
            return;
        }
        self.live += 1;
        let counters = &self.core.shared.counters;
        let before = counters.connections.fetch_add(1, Relaxed);
        let mut client = Box::new(Client::new(fd, index, address, local));
        client.serial = before + 1;
        client.since_ms = self.core.now_ms;
        client.expects_proxy = self.core.snapshot.expects_proxy(&client.local);
        self.drive(index, client, |client, core| client.drive(core));
    }

    fn client_event(&mut self, index: u32, generation: u32, flags: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.generation != generation {
            return;
        }
        let Some(mut client) = slot.client.take() else {
            return;
        };
        client.readable |= flags & (sys::READ | sys::READ_END) != 0;
        client.writable |= flags & sys::WRITE != 0;
        client.ended |= flags & sys::READ_END != 0;
        client.broken |= flags & sys::BROKEN != 0;
        self.drive(index, client, |client, core| client.drive(core));
    }

    fn peer_event(&mut self, slot: u32, generation: u32, flags: u32) {
        let route = &self.core.routes[slot as usize];
        if route.generation != generation {
            return;
        }
        match route.owner {
            Owner::Free => {}
            Owner::Idle(group) => {
                let ended = flags & (sys::READ_END | sys::BROKEN) != 0;
                // READ alone may be older than the connection's idleness: of what came in one batch
                // with it, an event of the client's had us read to the end of the answer.
                let spoke = flags & sys::READ != 0;
                if ended || spoke && self.core.pool.has_input(group, slot) {
                    if let Some(connection) = self.core.pool.remove(group, slot) {
                        self.core.drop_connection(connection);
                    }
                }
            }
            Owner::Client(index) => {
                let Some(mut client) = self.slots[index as usize].client.take() else {
                    return;
                };
                let found = client
                    .forward
                    .as_mut()
                    .and_then(|it| it.connection.as_mut());
                if let Some(connection) = found.filter(|found| found.slot == slot) {
                    let broken = flags & sys::BROKEN != 0;
                    connection.readable |= flags & (sys::READ | sys::READ_END) != 0 || broken;
                    connection.writable |= flags & sys::WRITE != 0 || broken;
                    connection.ended |= flags & sys::READ_END != 0 || broken;
                }
                self.drive(index, client, |client, core| client.drive(core));
            }
        }
    }

    fn go_on(&mut self, index: u32) {
        if let Some(client) = self.slots[index as usize].client.take() {
            self.drive(index, client, |client, core| client.drive(core));
        }
    }

    fn time_up(&mut self, index: u32) {
        let Some(client) = self.slots[index as usize].client.take() else {
            return;
        };
        if client.deadline_ms > self.core.now_ms {
            self.core.wheel.set(index, client.deadline_ms);
            self.slots[index as usize].client = Some(client);
            return;
        }
        self.drive(index, client, |client, core| client.timed_out(core));
    }

    /// Run one connection's code. A panic there ends that connection and no other.
    fn drive(
        &mut self,
        index: u32,
        mut client: Box<Client>,
        work: impl FnOnce(&mut Client, &mut Core) -> bool,
    ) {
        let core = &mut self.core;
        let broken = client.inner.as_ref().and_then(|inner| inner.broken());
        match catch_unwind(AssertUnwindSafe(|| work(&mut client, core))) {
            Ok(true) => self.slots[index as usize].client = Some(client),
            Ok(false) => {
                self.dismiss(&mut client);
                drop(client);
                self.vacate(index);
            }
            Err(_) => {
                client.count_as(&self.core, At::Waiting);
                drop(client);
                self.core.verdicts.extend(broken); // nobody is to wait for it
                self.core.scratch.resize(SCRATCH, 0); // it may have been on loan
                self.core.free_routes_of(index);
                self.core.shared.counters.panics.fetch_add(1, Relaxed);
                self.vacate(index);
            }
        }
    }

    /// Give back what a connection that ends still holds.
    fn dismiss(&mut self, client: &mut Client) {
        if let Some(mut exchange) = client.exchange.take() {
            client.account(&mut self.core, &mut exchange);
            self.core.give_back_exchange(exchange);
        }
        if let Some(mut forward) = client.forward.take() {
            client.let_go(&mut self.core, &mut forward, false);
        }
        self.core.give_back(std::mem::take(&mut client.buffer));
        self.core.give_back(std::mem::take(&mut client.out));
        client.count_as(&self.core, At::Waiting);
    }

    fn vacate(&mut self, index: u32) {
        self.core.wheel.remove(index);
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1) & 0x3fff_ffff;
        self.free.push(index);
        self.live -= 1;
        self.core.shared.counters.closed.fetch_add(1, Relaxed);
    }

    /// worker_shutdown_timeout is over: whoever came before the reload goes.
    fn cut_old(&mut self) {
        let Some((before_ms, _)) = self.cut.filter(|cut| self.core.now_ms >= cut.1) else {
            return;
        };
        self.cut = None;
        for index in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[index as usize];
            if slot
                .client
                .as_deref()
                .is_some_and(|client| client.since_ms <= before_ms)
            {
                if let Some(client) = slot.client.take() {
                    self.drive(index, client, |_, _| false);
                }
            }
        }
    }

    /// Once a second: the log, old idle connections. And a paused door opens again.
    fn sweep(&mut self) {
        if !self.accepting && !self.core.stopping && self.core.now_ms >= self.accept_again_ms {
            let _ = self.set_accepting(true);
        }
        if self.swept_s == self.core.wall_s {
            return;
        }
        self.swept_s = self.core.wall_s;
        self.core.logs.flush(true);
        for connection in self.core.pool.expire(self.core.now_ms, false) {
            self.core.drop_connection(connection);
        }
    }
}

#[cfg(test)]
pub mod tests;
