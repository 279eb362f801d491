//! The thread that speaks with the peers.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::peer::{Counts, Peer};
use super::table::{Learned, SyncMaps, Table};
use super::wire::{Key, Record, MAX_DATAGRAM, MAX_RECORDS};

const PATIENCE: Duration = Duration::from_millis(20);
/// Live flows are told again so often: well within the shortest timeout of an established flow.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
const MOST_NEWS: usize = 8192;
const MOST_DATAGRAMS: usize = 512;
/// Of a whole table, so many datagrams at a time: about a million flows a second.
const BULK_STEP: usize = 32;
static BUFFER: libc::c_int = 8 << 20;

/// `address`:`port` is bound; every peer listens on the same port.
#[derive(Clone, Debug)]
pub struct Settings {
    pub secret: Vec<u8>,
    pub address: Ipv4Addr,
    pub port: u16,
    pub peers: Vec<Ipv4Addr>,
    pub interval: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct PeerStatus {
    pub is_there: bool,
    pub is_caught_up: bool,
    pub counts: Counts,
}

/// `unknown`: records for services or real servers that are not here; `full`: flows for which there
/// was no room; `refused`: datagrams that no peer of ours has sealed.
#[derive(Clone, Debug, Default)]
pub struct SyncStatus {
    pub peers: Vec<PeerStatus>,
    pub learned: u64,
    pub unknown: u64,
    pub full: u64,
    pub refused: u64,
    pub error: String,
}

struct Shared {
    stopping: AtomicBool,
    status: Mutex<SyncStatus>,
}

/// Runs until dropped; what is in the ring by then is told first.
pub struct FlowSync {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl FlowSync {
    /// The socket belongs to the calling thread's network namespace.
    pub fn start(maps: SyncMaps, settings: Settings) -> io::Result<Self> {
        let socket = UdpSocket::bind((settings.address, settings.port))?;
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            status: Mutex::new(SyncStatus {
                peers: vec![PeerStatus::default(); settings.peers.len()],
                ..Default::default()
            }),
        });
        let session = random()?;
        let mut station = Station::new(socket, Table::new(maps), &settings, session);
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("flow-sync".into())
            .spawn(move || station.run(&theirs))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub fn status(&self) -> SyncStatus {
        let status = self.shared.status.lock();
        status.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FlowSync {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported on stderr already.
            let _ = thread.join();
        }
    }
}

/// What is left to be told of the whole table.
#[derive(Default)]
struct Bulk {
    wanted: bool,
    running: bool,
    left: VecDeque<Record>,
}

struct Station {
    socket: UdpSocket,
    table: Table,
    key: Key,
    interval: Duration,
    peers: Vec<(SocketAddr, Peer, Bulk)>,
    status: SyncStatus,
    untold: u64,
    flushed_at: Instant,
    refreshed_at: Instant,
}

impl Station {
    fn new(socket: UdpSocket, table: Table, settings: &Settings, session: u64) -> Self {
        let key = Key::new(&settings.secret);
        let peer = |&address: &Ipv4Addr| {
            let place = SocketAddrV4::new(address, settings.port).into();
            (place, Peer::new(key.clone(), session), Bulk::default())
        };
        let now = Instant::now();
        Self {
            socket,
            untold: table.untold(),
            table,
            interval: settings.interval,
            peers: settings.peers.iter().map(peer).collect(),
            key,
            status: SyncStatus::default(),
            flushed_at: now,
            refreshed_at: now,
        }
    }

    fn run(&mut self, shared: &Shared) {
        while !shared.stopping.load(Ordering::Acquire) {
            self.wait();
            if let Err(error) = self.turn(Instant::now()) {
                self.status.error = error.to_string();
            }
            self.publish(shared);
        }
        while matches!(self.flush(), Ok(told) if told == MOST_NEWS) {}
    }

    /// For a datagram, for news once the batch's time is over, or for the next deadline.
    fn wait(&self) {
        let batch = self.interval.saturating_sub(self.flushed_at.elapsed());
        let bulk = self.peers.iter().any(|(.., bulk)| bulk.running);
        let patience = if bulk {
            Duration::from_millis(1)
        } else {
            PATIENCE
        };
        let poll = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [poll(self.socket.as_raw_fd()), poll(self.table.ring_fd())];
        let (count, timeout) = if batch.is_zero() {
            (2, patience)
        } else {
            (1, batch.min(patience))
        };
        let timeout = timeout.as_micros().div_ceil(1000) as libc::c_int;
        // SAFETY: `fds` holds at least `count` entries.
        unsafe { libc::poll(fds.as_mut_ptr(), count, timeout) };
    }

    fn turn(&mut self, now: Instant) -> io::Result<()> {
        self.receive(now)?;
        if self.flushed_at.elapsed() >= self.interval {
            self.flush()?;
            self.flushed_at = Instant::now();
        }
        if now.duration_since(self.refreshed_at) >= REFRESH_EVERY {
            self.refreshed_at = now;
            let within = 2 * REFRESH_EVERY.as_secs() as u32;
            for record in self.table.all(Some(within))? {
                for (_, peer, bulk) in &mut self.peers {
                    if peer.is_there(now) {
                        bulk.left.push_back(record);
                    }
                }
            }
        }
        let untold = self.table.untold();
        if untold != self.untold {
            self.untold = untold;
            self.peers
                .iter_mut()
                .for_each(|(.., bulk)| bulk.wanted = true);
        }
        self.tell_all(now)?;
        for (place, peer, _) in &mut self.peers {
            for datagram in peer.due(now) {
                send(&self.socket, *place, &datagram);
            }
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant) -> io::Result<()> {
        let mut buffer = [0; MAX_DATAGRAM + 1];
        for _ in 0..MOST_DATAGRAMS {
            let (length, from) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The answer to something sent earlier: that peer is down.
                Err(_) => continue,
            };
            let opened = self.key.open(&buffer[..length]);
            let entry = self.peers.iter_mut().find(|(place, ..)| *place == from);
            let (Some((header, records)), Some((_, peer, bulk))) = (opened, entry) else {
                self.status.refused += 1;
                continue;
            };
            let heard = peer.take(&header, records, now);
            bulk.wanted |= heard.wants_all;
            for reply in &heard.replies {
                send(&self.socket, from, reply);
            }
            for record in &heard.records {
                match self.table.learn(record)? {
                    Learned::Yes => self.status.learned += 1,
                    Learned::Unknown => self.status.unknown += 1,
                    Learned::Full => self.status.full += 1,
                }
            }
        }
        Ok(())
    }

    /// Tell what is new; how much it was.
    fn flush(&mut self) -> io::Result<usize> {
        let news = self.table.news(MOST_NEWS);
        if !news.is_empty() {
            for (place, peer, _) in &mut self.peers {
                for datagram in peer.tell(&news) {
                    send(&self.socket, *place, &datagram);
                }
            }
        }
        Ok(news.len())
    }

    fn tell_all(&mut self, now: Instant) -> io::Result<()> {
        for (place, peer, bulk) in &mut self.peers {
            if bulk.wanted && !bulk.running && peer.is_there(now) {
                bulk.wanted = false;
                bulk.running = true;
                bulk.left = self.table.all(None)?.into();
                peer.begin_all();
            }
            let count = bulk.left.len().min(BULK_STEP * MAX_RECORDS);
            let part: Vec<Record> = bulk.left.drain(..count).collect();
            for datagram in peer.tell(&part) {
                send(&self.socket, *place, &datagram);
            }
            if bulk.running && bulk.left.is_empty() {
                bulk.running = false;
                send(&self.socket, *place, &peer.end_all());
            }
        }
        Ok(())
    }

    fn publish(&mut self, shared: &Shared) {
        let now = Instant::now();
        self.status.peers = self
            .peers
            .iter()
            .map(|(_, peer, _)| PeerStatus {
                is_there: peer.is_there(now),
                is_caught_up: peer.is_caught_up(),
                counts: peer.counts,
            })
            .collect();
        let mut status = shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.clone_from(&self.status);
    }
}

/// What does not get through is missed and asked for again.
fn send(socket: &UdpSocket, place: SocketAddr, datagram: &[u8]) {
    let _ = socket.send_to(datagram, place);
}

/// Best effort: a smaller buffer only means more repairs.
fn enlarge(socket: &UdpSocket) {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the option takes one int.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const BUFFER).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }
}

/// A session: never 0.
fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: fills the buffer of that length.
    if unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } != 8 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes) | 1)
}
