//! What every connection of one worker uses: clock, buffers, pool, and the routing of events.

use crate::address::{Address, Bind};
use crate::balance::{Group, Keepalive, Peer};
use crate::exchange::Exchange;
use crate::inner::{Birth, Verdict};
use crate::log::Logs;
use crate::pipe::Pipes;
use crate::pool::{Connection, Pool};
use crate::snapshot::Snapshot;
use crate::sys;
use crate::timer::Wheel;
use crate::Shared;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const BUFFER: usize = 16 << 10;
pub const SCRATCH: usize = 128 << 10;
const MOST_DYNAMIC: usize = 4096;
const SPARE: usize = 256; // buffers and exchanges kept for the next request

/// What an epoll token stands for: kind (2 bits), generation (30), index (32). The generation
/// tells an event of a closed connection from one of the next in its slot.
#[derive(Clone, Copy)]
pub enum Kind {
    Client = 0,
    Peer = 1,
    Listener = 2,
    Wake = 3,
}

pub fn token(kind: Kind, generation: u32, index: u32) -> u64 {
    (kind as u64) << 62 | u64::from(generation & 0x3fff_ffff) << 32 | u64::from(index)
}

#[derive(Clone, Copy, PartialEq)]
pub enum Owner {
    Free,
    Client(u32),
    Idle(u32),
}

pub struct Route {
    pub generation: u32,
    pub owner: Owner,
}

/// What every connection of this thread uses.
pub struct Core {
    pub shared: Arc<Shared>,
    /// Its number.
    pub worker: usize,
    pub snapshot: Arc<Snapshot>,
    pub now_ms: u64,
    pub wall_s: u64,
    pub date: String,
    pub wheel: Wheel,
    pub pool: Pool,
    pub pipes: Pipes,
    pub logs: Logs,
    pub scratch: Vec<u8>,
    /// Clients that have more to do without waiting.
    pub again: Vec<u32>,
    pub stopping: bool,
    pub idle_grace_ms: u64,
    pub epoll: OwnedFd,
    pub routes: Vec<Route>,
    free_routes: Vec<u32>,
    buffers: Vec<Vec<u8>>,
    // Boxed: an exchange moves between here and its connection as one pointer.
    #[allow(clippy::vec_box)]
    exchanges: Vec<Box<Exchange>>,
    random: u64,
    serial: u64,
    /// Peers that only variables named, by 'ADDRESS[:PORT]'.
    dynamic: HashMap<String, Arc<Group>>,
    next_dynamic: u32,
    /// Raised by whoever has something for this worker.
    pub wake: Arc<OwnedFd>,
    /// Clients that wait for a peer to become free.
    pub queued: Vec<u32>,
    /// Inner requests to serve, and what came of those that are served.
    pub births: Vec<Birth>,
    pub verdicts: Vec<Verdict>,
}

impl Core {
    pub fn new(shared: Arc<Shared>, wake: Arc<OwnedFd>, worker: usize) -> std::io::Result<Core> {
        let now_ms = sys::now_ms();
        let mut core = Core {
            snapshot: shared.snapshot(),
            shared,
            worker,
            now_ms,
            wall_s: 0,
            date: String::new(),
            wheel: Wheel::new(now_ms),
            pool: Pool::default(),
            pipes: Pipes::default(),
            logs: Logs::default(),
            scratch: vec![0; SCRATCH],
            again: Vec::new(),
            stopping: false,
            idle_grace_ms: 0,
            epoll: sys::epoll_create()?,
            routes: Vec::new(),
            free_routes: Vec::new(),
            buffers: Vec::new(),
            exchanges: Vec::new(),
            random: sys::random_u64(),
            serial: 0,
            dynamic: HashMap::new(),
            next_dynamic: u32::MAX,
            wake,
            queued: Vec::new(),
            births: Vec::new(),
            verdicts: Vec::new(),
        };
        core.tick();
        Ok(core)
    }

    pub fn tick(&mut self) {
        self.now_ms = sys::now_ms();
        let wall = SystemTime::now();
        let seconds = wall
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if seconds != self.wall_s {
            self.wall_s = seconds;
            self.date = httpdate::fmt_http_date(wall);
        }
    }

    /// A number that no other connection or request of this process has.
    pub fn ticket(&mut self) -> u64 {
        self.serial += 1;
        self.random ^ self.serial
    }

    pub fn buffer(&mut self) -> Vec<u8> {
        self.buffers
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    /// An ordinary buffer is kept for the next; one that grew is freed.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() >= BUFFER
            && buffer.capacity() <= 4 * BUFFER
            && self.buffers.len() < SPARE
        {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    pub fn exchange(&mut self) -> Box<Exchange> {
        self.exchanges.pop().unwrap_or_default()
    }

    pub fn give_back_exchange(&mut self, mut exchange: Box<Exchange>) {
        if self.exchanges.len() < SPARE {
            exchange.reset();
            self.exchanges.push(exchange);
        }
    }

    /// Unique, and not to be guessed from the one before.
    pub fn request_id(&mut self) -> u128 {
        self.serial += 1;
        let mut mixed = self.random ^ self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(mixed ^ mixed >> 31) << 64 | u128::from(self.random.wrapping_add(self.serial))
    }

    /// The group of one peer for an address that was not written in the configuration. Names are
    /// not looked up while serving.
    pub fn group_of(&mut self, host: &str) -> Option<Arc<Group>> {
        if let Some(group) = self.dynamic.get(host) {
            return Some(group.clone());
        }
        let address = Address::parse(host)?;
        if self.dynamic.len() >= MOST_DYNAMIC {
            self.dynamic.clear();
        }
        let peer = Peer::new(host, address);
        self.next_dynamic -= 1;
        let keepalive = Keepalive {
            most: 0,
            timeout_ms: 60_000,
            requests: 1000,
            time_ms: 3_600_000,
        };
        let group = Group::new(self.next_dynamic, host.into(), vec![peer], keepalive);
        let group = Arc::new(group);
        self.dynamic.insert(host.into(), group.clone());
        Some(group)
    }

    /// A new connection to a peer, under way, whose events come to this client.
    pub fn connect(
        &mut self,
        address: &Address,
        bind: Option<&Bind>,
        client: u32,
    ) -> std::io::Result<Connection> {
        let fd = sys::connect(address, bind)?;
        let slot = self.free_routes.pop().unwrap_or_else(|| {
            self.routes.push(Route {
                generation: 0,
                owner: Owner::Free,
            });
            self.routes.len() as u32 - 1
        });
        let route = &mut self.routes[slot as usize];
        route.owner = Owner::Client(client);
        let token = token(Kind::Peer, route.generation, slot);
        let connection = Connection {
            fd,
            slot,
            address: address.clone(),
            bind: bind.cloned(),
            made_ms: self.now_ms,
            served: 0,
            readable: false,
            writable: false,
            ended: false,
            connecting: true,
            reused: false,
        };
        if let Err(error) = sys::epoll_add(
            &self.epoll,
            connection.fd.as_raw_fd(),
            token,
            sys::CONNECTION,
        ) {
            self.drop_connection(connection);
            return Err(error);
        }
        Ok(connection)
    }

    pub fn assign(&mut self, connection: &Connection, client: u32) {
        self.routes[connection.slot as usize].owner = Owner::Client(client);
    }

    pub fn drop_connection(&mut self, connection: Connection) {
        self.free_route(connection.slot); // closing the descriptor takes it out of epoll
    }

    fn free_route(&mut self, slot: u32) {
        let route = &mut self.routes[slot as usize];
        if route.owner != Owner::Free {
            route.generation = route.generation.wrapping_add(1) & 0x3fff_ffff;
            route.owner = Owner::Free;
            self.free_routes.push(slot);
        }
    }

    pub fn keep_connection(&mut self, group: &Group, connection: Connection) {
        if self.stopping {
            return self.drop_connection(connection);
        }
        self.routes[connection.slot as usize].owner = Owner::Idle(group.id);
        if let Some(oldest) = self.pool.put(group, connection, self.now_ms) {
            self.drop_connection(oldest);
        }
    }

    /// After a panic: the routes of a client that is no more.
    pub fn free_routes_of(&mut self, client: u32) {
        for slot in 0..self.routes.len() as u32 {
            if self.routes[slot as usize].owner == Owner::Client(client) {
                self.free_route(slot);
            }
        }
    }
}
