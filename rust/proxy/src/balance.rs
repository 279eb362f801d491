//! Which peer is next: nginx's smooth weighted round robin with passive failure.
//!
//! Rules (as nginx's upstream module has them):
//! - Every eligible peer's current weight grows by its effective weight; the largest wins and gives
//!   back the sum. A failure takes weight/max_fails from the effective weight; each pick returns 1.
//! - A peer with max_fails failures is passed over for fail_timeout; then one live request tries
//!   it, and a success of that try forgives all.
//! - A group of one peer never loses it. Backups serve only when no other peer may.
//!
//! Beyond these: whoever probes the peers tells us of each (`set_peer`): one that is told to be down
//! gets nothing, one that drains only the clients that stick to it. A peer that comes back takes
//! its share over `slow_start`.

use crate::address::Address;
use crate::budget::Budget;
use crate::hash::points;
use crate::method::Method;
use crate::sticky::Sticky;
use crate::sys;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// As it is written.
    pub name: String,
    pub address: Address,
    /// What a client sticks to it by: `route`, or a hash of the address.
    pub id: String,
    pub weight: i64,
    pub max_fails: u32,
    pub fail_timeout_ms: u64,
    pub backup: bool,
    pub down: bool,
    /// Serves only those who stick to it.
    pub drain: bool,
    /// 0: no limit.
    pub max_conns: u64,
    pub slow_start_ms: u64,
}

impl Peer {
    pub fn new(name: &str, address: Address) -> Peer {
        Peer {
            name: name.into(),
            id: crate::sticky::id_of(&address),
            address,
            weight: 1,
            max_fails: 1,
            fail_timeout_ms: 10_000,
            backup: false,
            down: false,
            drain: false,
            max_conns: 0,
            slow_start_ms: 0,
        }
    }
}

/// What whoever probes a peer says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Told {
    #[default]
    Up,
    Drain,
    Down,
}

/// What happens to a peer; survives a change of configuration, by address.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub current: i64,
    pub effective: i64,
    pub fails: u32,
    pub accessed_ms: u64,
    pub checked_ms: u64,
    pub requests: u64,
    pub failures: u64,
    /// Requests that it serves now.
    pub live: u64,
    pub told: Told,
    /// When it came back, for slow_start; 0: never was away.
    pub back_ms: u64,
    /// Running averages of what answers take, to their head and to their last byte.
    pub header_ms: u64,
    pub answer_ms: u64,
    pub flight: Flight,
}

/// The requests under way to a peer, for `least_time … inflight`.
#[derive(Debug, Clone, Default)]
pub struct Flight {
    pub count: u64,
    pub total_ms: u64,
    pub changed_ms: u64,
    pub average_ms: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Down,
    Up,
}

/// The idle connections that a group keeps, per worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Keepalive {
    pub most: usize,
    pub timeout_ms: u64,
    pub requests: u64,
    pub time_ms: u64,
}

pub struct Group {
    pub id: u32,
    pub name: String,
    pub peers: Vec<Peer>,
    pub keepalive: Keepalive,
    pub method: Method,
    pub sticky: Option<Sticky>,
    /// How many requests may wait for a peer, and how long.
    pub queue: Option<(usize, u64)>,
    pub retries: Option<Budget>,
    pub points: Vec<(u32, usize)>,
    states: Mutex<Vec<State>>,
    waiting: Mutex<VecDeque<(u64, Arc<OwnedFd>)>>,
}

impl Group {
    pub fn new(id: u32, name: String, peers: Vec<Peer>, keepalive: Keepalive) -> Group {
        let states = peers.iter().map(fresh).collect();
        Group {
            id,
            name,
            peers,
            keepalive,
            method: Method::Turn,
            sticky: None,
            queue: None,
            retries: None,
            points: Vec::new(),
            states: Mutex::new(states),
            waiting: Mutex::default(),
        }
    }

    /// What stands for the host in requests.
    pub fn host(&self) -> &str {
        if self.name.starts_with("unix:") {
            return "localhost";
        }
        &self.name
    }

    /// Take over what is known of the same peers in `before`.
    pub fn inherit(&mut self, before: &Group) {
        let old = before.lock();
        let mut new = self.lock();
        for (peer, state) in self.peers.iter().zip(new.iter_mut()) {
            let same = |other: &Peer| other.address == peer.address && other.backup == peer.backup;
            if let Some(at) = before.peers.iter().position(same) {
                *state = old[at].clone();
                state.live = 0; // each lease counts in the group it was taken from
                state.flight = Flight::default();
                state.effective = state.effective.min(peer.weight);
                if before.peers[at].weight != peer.weight {
                    state.effective = peer.weight;
                }
            }
        }
        drop(new);
        if let (Some(new), Some(old)) = (&mut self.sticky, &before.sticky) {
            new.inherit(old);
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn states(&self) -> Vec<State> {
        self.lock().clone()
    }

    /// Say of a peer (by its name, or its address) what its probes found. None: no such peer.
    pub fn set_peer(&self, peer: &str, told: Told, now_ms: u64) -> Option<Change> {
        let mut change = None;
        let mut states = self.lock();
        for (each, state) in self.peers.iter().zip(states.iter_mut()) {
            if each.name != peer && each.address.to_string() != peer {
                continue;
            }
            let before = std::mem::replace(&mut state.told, told);
            if told == Told::Up && before == Told::Down {
                state.fails = 0;
                state.back_ms = now_ms;
            }
            let this = match (before == Told::Down, told == Told::Down) {
                (false, true) => Change::Down,
                (true, false) => Change::Up,
                _ => Change::None,
            };
            if change.is_none() || this != Change::None {
                change = Some(this);
            }
        }
        drop(states);
        self.wake();
        change
    }

    pub fn is_well(peer: &Peer, state: &State, now_ms: u64) -> bool {
        let tripped = peer.max_fails > 0 && state.fails >= peer.max_fails;
        !(peer.down
            || state.told == Told::Down
            || is_full(peer, state)
            || tripped && now_ms.saturating_sub(state.checked_ms) <= peer.fail_timeout_ms)
    }

    /// The index of the next peer that is not in `tried`; None when there is none. `key` is what
    /// a hash is made of, `id` the peer that the client sticks to.
    pub fn pick(&self, tried: &[usize], now_ms: u64, key: &[u8], id: &[u8]) -> Option<usize> {
        let mut states = self.lock();
        let states = &mut states[..];
        for backup in [false, true] {
            let chosen = self
                .by_id(states, backup, tried, now_ms, id)
                .or_else(|| self.by_method(states, backup, tried, now_ms, key))
                .or_else(|| self.in_turn(states, backup, tried, now_ms, |_| true));
            if let Some(index) = chosen {
                self.taken(&mut states[index], index, now_ms);
                return chosen;
            }
        }
        None
    }

    /// Of whom as many as that may be tried for one request.
    pub fn tries(&self) -> usize {
        self.peers.iter().filter(|peer| !peer.down).count()
    }

    /// A request that had been given to this peer is over there.
    pub fn released(&self, index: usize, now_ms: u64, inflight_ms: Option<u64>) {
        let mut states = self.lock();
        let state = &mut states[index];
        state.live = state.live.saturating_sub(1);
        if let Some(ms) = inflight_ms {
            land(state, ms, now_ms);
        }
        drop(states);
        self.wake();
    }

    /// The head of an answer came after so long.
    pub fn head_came(&self, lease: &mut Lease, header_ms: u64, now_ms: u64) {
        if self.method.judges_heads_in_flight() && lease.flying {
            lease.flying = false;
            let mut states = self.lock();
            let state = &mut states[lease.peer];
            average(&mut state.header_ms, header_ms);
            land(state, header_ms, now_ms);
        }
    }

    /// An answer is whole: what it took to its head, and to its end.
    pub fn measured(&self, index: usize, header_ms: u64, answer_ms: u64) {
        let mut states = self.lock();
        let state = &mut states[index];
        average(&mut state.answer_ms, answer_ms);
        if !self.method.judges_heads_in_flight() {
            average(&mut state.header_ms, header_ms);
        }
    }

    /// Ready for hashes, once the peers and the method are known.
    pub fn build(&mut self) {
        if let Method::Hash {
            consistent: true, ..
        } = self.method
        {
            self.points = points(&self.peers);
        }
    }

    pub fn eligible(&self, states: &[State], index: usize, tried: &[usize], now_ms: u64) -> bool {
        let (peer, state) = (&self.peers[index], &states[index]);
        let drains = peer.drain || state.told == Told::Drain;
        peer.weight > 0 && !drains && !tried.contains(&index) && self.usable(peer, state, now_ms)
    }

    fn usable(&self, peer: &Peer, state: &State, now_ms: u64) -> bool {
        let lone = self.peers.len() == 1 && !peer.down && state.told != Told::Down;
        lone && !is_full(peer, state) || Group::is_well(peer, state, now_ms)
    }

    fn by_id(
        &self,
        states: &[State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
        id: &[u8],
    ) -> Option<usize> {
        if id.is_empty() {
            return None;
        }
        let same = |peer: &Peer| peer.backup == backup && peer.id.as_bytes() == id;
        let index = self.peers.iter().position(same)?;
        let usable = self.usable(&self.peers[index], &states[index], now_ms);
        (usable && !tried.contains(&index)).then_some(index)
    }

    fn taken(&self, state: &mut State, index: usize, now_ms: u64) {
        state.requests += 1;
        state.live += 1;
        if self.method.counts_flight() {
            let flight = &mut state.flight;
            flight.total_ms += now_ms.saturating_sub(flight.changed_ms) * flight.count;
            flight.changed_ms = now_ms;
            flight.count += 1;
        }
        if now_ms.saturating_sub(state.checked_ms) > self.peers[index].fail_timeout_ms {
            state.checked_ms = now_ms;
        }
    }

    /// Thousandths of its weight that a peer gets.
    pub fn share(peer: &Peer, state: &State, now_ms: u64) -> i64 {
        let since = now_ms.saturating_sub(state.back_ms);
        if peer.slow_start_ms == 0 || state.back_ms == 0 || since >= peer.slow_start_ms {
            return 1000;
        }
        ((since * 1000 / peer.slow_start_ms) as i64).max(1)
    }

    pub fn in_turn(
        &self,
        states: &mut [State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
        wanted: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let (mut best, mut total) = (None::<usize>, 0);
        for (index, peer) in self.peers.iter().enumerate() {
            if peer.backup != backup || !self.eligible(states, index, tried, now_ms) {
                continue;
            }
            if !wanted(index) {
                continue;
            }
            let state = &mut states[index];
            let gain = state.effective * Group::share(peer, state, now_ms);
            state.current += gain;
            total += gain;
            state.effective = (state.effective + 1).min(peer.weight);
            if best.is_none_or(|best| states[index].current > states[best].current) {
                best = Some(index);
            }
        }
        states[best?].current -= total;
        best
    }

    pub fn failed(&self, index: usize, now_ms: u64) -> Change {
        let peer = &self.peers[index];
        let mut states = self.lock();
        let state = &mut states[index];
        state.fails += 1;
        state.failures += 1;
        state.accessed_ms = now_ms;
        state.checked_ms = now_ms;
        if peer.max_fails == 0 {
            return Change::None;
        }
        state.effective = (state.effective - peer.weight / i64::from(peer.max_fails)).max(0);
        if state.fails == peer.max_fails {
            return Change::Down;
        }
        Change::None
    }

    pub fn succeeded(&self, index: usize, now_ms: u64) -> Change {
        let peer = &self.peers[index];
        let mut states = self.lock();
        let state = &mut states[index];
        // Only an answer to a try after the failure forgives it.
        if state.fails == 0 || state.accessed_ms >= state.checked_ms {
            return Change::None;
        }
        let was_down = peer.max_fails > 0 && state.fails >= peer.max_fails;
        state.fails = 0;
        if was_down {
            state.back_ms = now_ms;
            return Change::Up;
        }
        Change::None
    }

    /// Take a place in the queue; false when it is full. Whoever is in front is woken by `wake`.
    pub fn enqueue(&self, ticket: u64, wake: &Arc<OwnedFd>) -> bool {
        let most = self.queue.map_or(0, |queue| queue.0);
        let mut waiting = self.lock_waiting();
        if waiting.len() >= most {
            return false;
        }
        waiting.push_back((ticket, wake.clone()));
        true
    }

    /// Whether somebody else comes first.
    pub fn must_wait(&self, ticket: u64) -> bool {
        let waiting = self.lock_waiting();
        waiting.front().is_some_and(|first| first.0 != ticket)
    }

    pub fn dequeue(&self, ticket: u64) {
        self.lock_waiting().retain(|each| each.0 != ticket);
        self.wake();
    }

    fn wake(&self) {
        if self.queue.is_some() {
            if let Some((_, wake)) = self.lock_waiting().front() {
                sys::event_raise(wake);
            }
        }
    }

    fn lock_waiting(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<OwnedFd>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_full(peer: &Peer, state: &State) -> bool {
    peer.max_conns > 0 && state.live >= peer.max_conns
}

/// One request under way fewer, which took `ms`.
fn land(state: &mut State, ms: u64, now_ms: u64) {
    let flight = &mut state.flight;
    if flight.count <= 1 {
        flight.total_ms = 0;
    } else {
        let since = now_ms.saturating_sub(flight.changed_ms) * flight.count;
        flight.total_ms = (flight.total_ms + since).saturating_sub(ms);
        flight.changed_ms = now_ms;
    }
    flight.count = flight.count.saturating_sub(1);
}

/// nginx's moving average, in whole milliseconds.
pub fn average(average: &mut u64, value: u64) {
    *average = match *average {
        0 => value,
        before => (0.5 + value as f64 * 0.05 + before as f64 * 0.95) as u64,
    };
}

/// A request's claim on a peer, given back when dropped.
pub struct Lease {
    pub group: Arc<Group>,
    pub peer: usize,
    since_ms: u64,
    flying: bool,
}

impl Lease {
    pub fn new(group: Arc<Group>, peer: usize, since_ms: u64) -> Lease {
        let flying = group.method.counts_flight();
        Lease {
            group,
            peer,
            since_ms,
            flying,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let now_ms = if self.flying { sys::now_ms() } else { 0 };
        let took = self.flying.then(|| now_ms.saturating_sub(self.since_ms));
        self.group.released(self.peer, now_ms, took);
    }
}

fn fresh(peer: &Peer) -> State {
    State {
        effective: peer.weight,
        ..State::default()
    }
}

#[cfg(test)]
mod tests;
