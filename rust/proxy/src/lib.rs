//! The L7 engine: accept, parse, route, balance, forward, serve files. No Python in it.
//!
//! One thread per worker, each with its own epoll loop and connections; what they share is the
//! snapshot (swapped whole), the peers' state, and the counters.

mod access;
mod address;
mod answer;
mod attempt;
mod balance;
mod budget;
mod chunked;
mod config;
mod conn;
mod cookies;
mod core;
mod elsewhere;
mod errors;
mod exchange;
mod files;
mod filters;
mod forward;
mod hash;
mod headers;
mod inner;
mod limits;
mod locations;
mod log;
mod manner;
mod maps;
mod method;
mod outgoing;
mod output;
mod password;
mod pipe;
mod pool;
mod proxied;
mod ranges;
mod reply;
mod request;
mod response;
mod rewrite;
mod route;
mod sink;
mod slow;
mod snapshot;
mod spool;
mod status;
mod sticky;
mod stream;
mod sys;
mod timer;
mod upload;
mod vars;
mod worker;

#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod hostile;

use balance::{Change, Told};
use snapshot::Snapshot;
use status::{Counters, Event, Gauge};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::{Listener, Worker};

const MOST_EVENTS: usize = 1024;

/// What all workers share.
pub(crate) struct Shared {
    snapshot: Mutex<Arc<Snapshot>>,
    doors: Mutex<Doors>,
    /// Those of `stream`.
    stream_doors: Mutex<Doors>,
    generation: AtomicU64,
    stop_at_ms: AtomicU64, // u64::MAX: not stopping
    /// Connections older than the first moment end at the second (worker_shutdown_timeout).
    cut: Mutex<Option<(u64, u64)>>,
    counters: Counters,
    /// One for each worker.
    gauges: Vec<Gauge>,
    events: Mutex<VecDeque<Event>>,
    event_fd: OwnedFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        lock(&self.snapshot).clone()
    }

    fn doors(&self) -> Doors {
        lock(&self.doors).clone()
    }

    fn cut(&self) -> Option<(u64, u64)> {
        *lock(&self.cut)
    }

    fn stream_doors(&self) -> Doors {
        lock(&self.stream_doors).clone()
    }

    /// Tell of a peer that went down or came up. Bounded: the oldest is forgotten.
    fn event(&self, up: bool, upstream: &str, peer: &str, cause: &str) {
        let mut events = lock(&self.events);
        if events.len() == MOST_EVENTS {
            events.pop_front();
        }
        events.push_back(Event {
            up,
            upstream: upstream.into(),
            peer: peer.into(),
            cause: cause.into(),
        });
        sys::event_raise(&self.event_fd);
    }
}

/// The listening sockets of all workers; replaced whole.
type Doors = Arc<Vec<Arc<Listener>>>;

pub struct Engine {
    shared: Arc<Shared>,
    wakes: Vec<Arc<OwnedFd>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Serve on listening sockets, (address, port, descriptor) each. The descriptors stay the
    /// caller's: the engine makes copies.
    pub fn start(
        snapshot: &str,
        listeners: &[(String, u16, RawFd)],
        workers: usize,
    ) -> Result<Engine, String> {
        let snapshot = Snapshot::compile(snapshot, None)?;
        let mut doors = Vec::new();
        for (address, port, fd) in listeners {
            doors.push(Arc::new(door(address, *port, *fd)?));
        }
        let (stream_doors, doors) = apart(doors, &snapshot);
        let shared = Arc::new(Shared {
            snapshot: Mutex::new(Arc::new(snapshot)),
            doors: Mutex::new(Arc::new(doors)),
            stream_doors: Mutex::new(Arc::new(stream_doors)),
            generation: AtomicU64::new(0),
            stop_at_ms: AtomicU64::new(u64::MAX),
            cut: Mutex::new(None),
            counters: Counters::default(),
            gauges: (0..workers.max(1)).map(|_| Gauge::default()).collect(),
            events: Mutex::new(VecDeque::new()),
            event_fd: sys::event_fd().map_err(|error| format!("eventfd: {error}"))?,
        });
        let mut engine = Engine {
            shared,
            wakes: Vec::new(),
            threads: Mutex::new(Vec::new()),
        };
        for index in 0..workers.max(1) {
            let started = engine.start_worker(index);
            if let Err(error) = started {
                engine.stop(Duration::ZERO);
                return Err(format!("worker {index}: {error}"));
            }
        }
        if let Err(error) = engine.start_stream() {
            engine.stop(Duration::ZERO);
            return Err(format!("stream: {error}"));
        }
        Ok(engine)
    }

    fn start_stream(&mut self) -> std::io::Result<()> {
        let wake = Arc::new(sys::event_fd()?);
        let worker = stream::Worker::new(self.shared.clone(), wake.clone())?;
        let thread = std::thread::Builder::new().name("stream".into());
        lock(&self.threads).push(thread.spawn(move || worker.run())?);
        self.wakes.push(wake);
        Ok(())
    }

    fn start_worker(&mut self, index: usize) -> std::io::Result<()> {
        let wake = Arc::new(sys::event_fd()?);
        let worker = Worker::new(self.shared.clone(), wake.clone(), index)?;
        let thread = std::thread::Builder::new().name(format!("proxy-{index}"));
        lock(&self.threads).push(thread.spawn(move || worker.run())?);
        self.wakes.push(wake);
        Ok(())
    }

    /// Serve by another snapshot from the next request on; no connection is closed. `listeners`,
    /// where given, are all that there shall be from now on: a descriptor is a new socket, None
    /// stands for the one of that address that is served already. On an error nothing has changed.
    pub fn swap(
        &self,
        snapshot: &str,
        listeners: Option<&[(String, u16, Option<RawFd>)]>,
    ) -> Result<(), String> {
        let mut current = lock(&self.shared.snapshot);
        let snapshot = Snapshot::compile(snapshot, Some(&current))?;
        if let Some(listeners) = listeners {
            let mut doors = lock(&self.shared.doors);
            let mut stream_doors = lock(&self.shared.stream_doors);
            let held: Vec<_> = doors.iter().chain(stream_doors.iter()).cloned().collect();
            let (stream, http) = apart(refit(&held, listeners)?, &snapshot);
            (*doors, *stream_doors) = (Arc::new(http), Arc::new(stream));
        }
        if let Some(ms) = snapshot.shutdown_timeout_ms {
            let now_ms = sys::now_ms();
            *lock(&self.shared.cut) = Some((now_ms, now_ms + ms));
        }
        *current = Arc::new(snapshot);
        drop(current);
        self.shared.generation.fetch_add(1, Relaxed);
        self.wake();
        Ok(())
    }

    /// Whether `swap` would take it; the error says why not.
    pub fn check(&self, snapshot: &str) -> Result<(), String> {
        Snapshot::compile(snapshot, Some(&self.shared.snapshot())).map(|_| ())
    }

    /// Stop accepting, finish what runs, end; whatever is left after `patience` is cut off.
    pub fn stop(&self, patience: Duration) {
        let stop_at = sys::now_ms() + patience.as_millis() as u64;
        self.shared.stop_at_ms.fetch_min(stop_at, Relaxed);
        *lock(&self.shared.doors) = Arc::default();
        *lock(&self.shared.stream_doors) = Arc::default();
        self.wake();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            let _ = thread.join(); // a worker that died has nothing left to stop
        }
    }

    /// What the probes of a peer found: 'up', 'down' or 'drain'. It holds until the next word on it,
    /// whatever is reloaded. `peer` is its name as written, or its address.
    pub fn set_peer(&self, upstream: &str, peer: &str, state: &str) -> Result<(), String> {
        let told = match state {
            "up" => Told::Up,
            "down" => Told::Down,
            "drain" => Told::Drain,
            other => return Err(format!("state: '{other}' is none of up, down, drain")),
        };
        let snapshot = self.shared.snapshot();
        let found = snapshot.groups.iter().find(|group| group.name == upstream);
        let group = found.ok_or_else(|| format!("there is no upstream '{upstream}'"))?;
        let change = group.set_peer(peer, told, sys::now_ms());
        match change.ok_or_else(|| format!("upstream {upstream} has no peer '{peer}'"))? {
            Change::None => {}
            Change::Up => self.shared.event(true, upstream, peer, "its probes say so"),
            Change::Down => self
                .shared
                .event(false, upstream, peer, "its probes say so"),
        }
        Ok(())
    }

    /// The shape of docs/decisions/0002, as JSON.
    pub fn status(&self) -> String {
        status::status(&self.shared)
    }

    /// What happened to peers since the last call, as JSON objects, oldest first.
    pub fn events(&self) -> Vec<String> {
        sys::event_clear(&self.shared.event_fd);
        lock(&self.shared.events)
            .drain(..)
            .map(|event| event.json())
            .collect()
    }

    /// Readable while there are events.
    pub fn event_fd(&self) -> RawFd {
        self.shared.event_fd.as_raw_fd()
    }

    fn wake(&self) {
        for wake in &self.wakes {
            sys::event_raise(wake);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Whether a snapshot would be taken; the error says why not. Opens what it names.
pub fn check(snapshot: &str) -> Result<(), String> {
    Snapshot::compile(snapshot, None).map(|_| ())
}

fn socket_address(address: &str, port: u16) -> Result<SocketAddr, String> {
    let ip: Result<IpAddr, _> = address.parse();
    ip.map(|ip| SocketAddr::new(ip, port))
        .map_err(|_| format!("listener: '{address}' is not an IP address"))
}

/// The doors of `stream`, and those of HTTP.
fn apart(
    doors: Vec<Arc<Listener>>,
    snapshot: &Snapshot,
) -> (Vec<Arc<Listener>>, Vec<Arc<Listener>>) {
    let of_stream = |door: &Arc<Listener>| snapshot.stream.has(&door.address);
    doors.into_iter().partition(of_stream)
}

fn refit(
    doors: &[Arc<Listener>],
    wanted: &[(String, u16, Option<RawFd>)],
) -> Result<Vec<Arc<Listener>>, String> {
    let one = |(address, port, fd): &(String, u16, Option<RawFd>)| {
        if let Some(fd) = fd {
            return door(address, *port, *fd).map(Arc::new);
        }
        let wanted = socket_address(address, *port)?;
        let held = doors.iter().find(|door| door.address == wanted);
        held.cloned()
            .ok_or_else(|| format!("listener {wanted}: there is no socket for it"))
    };
    wanted.iter().map(one).collect()
}

fn door(address: &str, port: u16, fd: RawFd) -> Result<Listener, String> {
    let at = socket_address(address, port)?;
    let fd = sys::duplicate(fd).map_err(|error| format!("listener {address}:{port}: {error}"))?;
    sys::prepare_listener(&fd).map_err(|error| format!("listener {address}:{port}: {error}"))?;
    Ok(Listener { fd, address: at })
}
