//! Which peer is next: nginx's smooth weighted round robin with passive failure.
//!
//! Rules (as nginx's upstream module has them):
//! - Every eligible peer's current weight grows by its effective weight; the largest wins and gives
//!   back the sum. A failure takes weight/max_fails from the effective weight; each pick returns 1.
//! - A peer with max_fails failures is passed over for fail_timeout; then one live request tries
//!   it, and a success of that try forgives all.
//! - A group of one peer never loses it. Backups serve only when no other peer may.

use crate::hash::points;
use crate::method::Method;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    pub name: String,
    pub address: SocketAddr,
    pub weight: i64,
    pub max_fails: u32,
    pub fail_timeout_ms: u64,
    pub backup: bool,
    pub down: bool,
    /// 0: no limit.
    pub max_conns: u64,
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
    /// Requests that it serves now.
    pub live: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Down,
    Up,
}

pub struct Group {
    pub id: u32,
    pub name: String,
    pub peers: Vec<Peer>,
    pub keepalive: usize,
    pub keepalive_timeout_ms: u64,
    pub method: Method,
    pub points: Vec<(u32, usize)>,
    states: Mutex<Vec<State>>,
}

impl Group {
    pub fn new(
        id: u32,
        name: String,
        peers: Vec<Peer>,
        keepalive: usize,
        keepalive_timeout_ms: u64,
    ) -> Group {
        let states = peers.iter().map(fresh).collect();
        Group {
            id,
            name,
            peers,
            keepalive,
            keepalive_timeout_ms,
            method: Method::Turn,
            points: Vec::new(),
            states: Mutex::new(states),
        }
    }

    /// Take over what is known of the same peers in `before`.
    pub fn inherit(&self, before: &Group) {
        let old = before.lock();
        let mut new = self.lock();
        for (peer, state) in self.peers.iter().zip(new.iter_mut()) {
            let same = |other: &Peer| other.address == peer.address && other.backup == peer.backup;
            if let Some(at) = before.peers.iter().position(same) {
                *state = old[at].clone();
                state.live = 0; // each lease counts in the group it was taken from
                state.effective = state.effective.min(peer.weight);
                if before.peers[at].weight != peer.weight {
                    state.effective = peer.weight;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn states(&self) -> Vec<State> {
        self.lock().clone()
    }

    pub fn is_well(peer: &Peer, state: &State, now_ms: u64) -> bool {
        let tripped = peer.max_fails > 0 && state.fails >= peer.max_fails;
        let full = peer.max_conns > 0 && state.live >= peer.max_conns;
        !(peer.down
            || full
            || tripped && now_ms.saturating_sub(state.checked_ms) <= peer.fail_timeout_ms)
    }

    /// The index of the next peer that is not in `tried`; None when there is none. `key` is what
    /// a hash is made of.
    pub fn pick(&self, tried: &[usize], now_ms: u64, key: &[u8]) -> Option<usize> {
        let mut states = self.lock();
        let chosen = match &self.method {
            Method::Turn => None,
            _ => self.by_method(&mut states, tried, now_ms, key),
        };
        if let Some(index) = chosen {
            self.taken(&mut states[index], index, now_ms);
            return Some(index);
        }
        let main = self.pick_among(&mut states, false, tried, now_ms, |_| true);
        main.or_else(|| {
            let fewest = self.fewest(&states, true, tried, now_ms);
            let any = |index| fewest.is_empty() || fewest.contains(&index);
            self.pick_among(&mut states, true, tried, now_ms, any)
        })
    }

    /// A request that had been given to this peer is over there.
    pub fn released(&self, index: usize) {
        let mut states = self.lock();
        states[index].live = states[index].live.saturating_sub(1);
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
        let peer = &self.peers[index];
        let alone = self.alone(peer.backup);
        let full = peer.max_conns > 0 && states[index].live >= peer.max_conns;
        let well = Group::is_well(peer, &states[index], now_ms) || alone && !peer.down && !full;
        peer.weight > 0 && !tried.contains(&index) && well
    }

    fn alone(&self, backup: bool) -> bool {
        let same = self.peers.iter().filter(|peer| peer.backup == backup);
        same.count() == 1
    }

    fn taken(&self, state: &mut State, index: usize, now_ms: u64) {
        state.requests += 1;
        state.live += 1;
        if now_ms.saturating_sub(state.checked_ms) > self.peers[index].fail_timeout_ms {
            state.checked_ms = now_ms;
        }
    }

    pub fn pick_among(
        &self,
        states: &mut [State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
        wanted: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let alone = self.alone(backup);
        let (mut best, mut total) = (None::<usize>, 0);
        for (index, peer) in self.peers.iter().enumerate() {
            let state = &mut states[index];
            let full = peer.max_conns > 0 && state.live >= peer.max_conns;
            let well = Group::is_well(peer, state, now_ms) || alone && !peer.down && !full;
            if peer.backup != backup || peer.weight == 0 || tried.contains(&index) || !well {
                continue;
            }
            if !wanted(index) {
                continue;
            }
            state.current += state.effective;
            total += state.effective;
            state.effective = (state.effective + 1).min(peer.weight);
            if best.is_none_or(|best| states[index].current > states[best].current) {
                best = Some(index);
            }
        }
        let best = best?;
        let state = &mut states[best];
        state.current -= total;
        self.taken(state, best, now_ms);
        Some(best)
    }

    pub fn failed(&self, index: usize, now_ms: u64) -> Change {
        let peer = &self.peers[index];
        let mut states = self.lock();
        let state = &mut states[index];
        state.fails += 1;
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

    pub fn succeeded(&self, index: usize) -> Change {
        let peer = &self.peers[index];
        let mut states = self.lock();
        let state = &mut states[index];
        if state.fails == 0 || state.accessed_ms > state.checked_ms {
            return Change::None;
        }
        let was_down = peer.max_fails > 0 && state.fails >= peer.max_fails;
        if was_down && state.accessed_ms == state.checked_ms {
            return Change::None; // an answer from before it failed, not from the try after
        }
        state.fails = 0;
        if was_down {
            return Change::Up;
        }
        Change::None
    }
}

/// A request's claim on a peer, given back when dropped.
pub struct Lease(pub Arc<Group>, pub usize);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.released(self.1);
    }
}

fn fresh(peer: &Peer) -> State {
    State {
        effective: peer.weight,
        ..State::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weights: &[i64]) -> Group {
        let peer = |(index, weight): (usize, &i64)| Peer {
            name: format!("p{index}"),
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + index as u16)),
            weight: *weight,
            max_fails: 1,
            fail_timeout_ms: 10_000,
            backup: false,
            down: false,
            max_conns: 0,
        };
        let peers = weights.iter().enumerate().map(peer).collect();
        Group::new(0, "g".into(), peers, 32, 60_000)
    }

    fn order(group: &Group, count: usize, now: u64) -> String {
        let letter = |index: usize| char::from(b'a' + index as u8);
        let pick = || group.pick(&[], now, b"").map_or('-', letter);
        (0..count).map(|_| pick()).collect()
    }

    #[test]
    fn is_as_smooth_as_nginx() {
        assert_eq!(order(&group(&[5, 1, 1]), 7, 0), "aabacaa");
        assert_eq!(order(&group(&[1, 1]), 4, 0), "abab");
        assert_eq!(order(&group(&[3, 2, 1]), 6, 0), "abacba");
    }

    #[test]
    fn a_failed_peer_is_passed_over_then_tried_by_one_request() {
        let group = group(&[1, 1]);
        assert_eq!(group.failed(0, 1_000), Change::Down);
        assert_eq!(order(&group, 4, 2_000), "bbbb");
        assert_eq!(order(&group, 1, 11_000), "b"); // the window is closed, not open, at its end
        let later = order(&group, 4, 11_001);
        assert_eq!(later.matches('a').count(), 1, "{later}");
        assert_eq!(group.succeeded(0), Change::Up);
        assert!(order(&group, 4, 11_002).matches('a').count() >= 1);
    }

    #[test]
    fn an_answer_from_before_the_failure_does_not_forgive() {
        let group = group(&[1, 1]);
        group.failed(0, 1_000);
        assert_eq!(group.succeeded(0), Change::None);
        assert_eq!(order(&group, 3, 1_001), "bbb");
    }

    #[test]
    fn few_connections_win() {
        let mut group = group(&[1, 1]);
        group.method = Method::LeastConnections;
        assert_eq!(order(&group, 3, 0), "abb");
        group.released(0);
        assert_eq!(order(&group, 2, 0), "aa");
    }

    #[test]
    fn a_full_peer_is_passed_over() {
        let mut group = group(&[1, 1]);
        group.peers[0].max_conns = 1;
        assert_eq!(order(&group, 4, 0), "abbb");
        group.released(0);
        assert!(order(&group, 2, 0).contains('a'));
    }

    #[test]
    fn a_lone_peer_is_never_lost_and_a_tried_one_is_not_tried_again() {
        let group = group(&[1]);
        group.failed(0, 1_000);
        assert_eq!(order(&group, 2, 1_001), "aa");
        assert_eq!(group.pick(&[0], 1_001, b""), None);
    }

    #[test]
    fn backups_serve_when_nobody_else_may() {
        let mut group = group(&[1, 1, 1]);
        group.peers[2].backup = true;
        assert_eq!(order(&group, 4, 0), "abab");
        group.failed(0, 1_000);
        group.failed(1, 1_000);
        assert_eq!(order(&group, 2, 1_001), "cc");
        group.peers[2].down = true;
        assert_eq!(order(&group, 1, 1_001), "-");
    }

    #[test]
    fn state_survives_a_change_of_configuration_by_address() {
        let (old, mut new) = (group(&[1, 1]), group(&[1, 1, 1]));
        old.failed(1, 1_000);
        new.peers.swap(0, 1);
        new.inherit(&old);
        assert_eq!(new.states()[0].fails, 1);
        assert_eq!(new.states()[1].fails, 0);
    }
}
