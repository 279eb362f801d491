//! How a peer is chosen other than in turn.

use crate::balance::{average, Group, State};
use crate::config;
use crate::hash::crc32;
use crate::vars::{Context, Scope, Template};
use std::net::IpAddr;

const LONGEST_MS: u64 = 5_000; // from here on all are equally slow
const CLUSTER_MS: u64 = 20; // times closer than this take turns

/// How a peer is chosen; smooth weighted turn where that finds none.
pub enum Method {
    Turn,
    LeastConnections,
    /// Least time to the head of an answer, or to its last byte; `inflight`: requests under way
    /// count as well.
    LeastTime {
        header: bool,
        inflight: bool,
    },
    Address,
    Hash {
        key: Template,
        consistent: bool,
    },
    Random(Draws),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Draws {
    One,
    /// Of two drawn, the one with fewer connections.
    TwoByConnections,
    /// Of two drawn, the one that answers sooner.
    TwoByTime {
        header: bool,
    },
}

impl Method {
    pub fn compile(balance: &config::Balance, scope: &Scope) -> Result<Method, String> {
        let header = balance.time == "header";
        Ok(match balance.method.as_str() {
            "" => Method::Turn,
            "least_conn" => Method::LeastConnections,
            "least_time" => Method::LeastTime {
                header,
                inflight: balance.inflight,
            },
            "ip_hash" => Method::Address,
            "hash" | "consistent" => Method::Hash {
                key: Template::compile(&balance.key, scope)?,
                consistent: balance.method == "consistent",
            },
            "random" => Method::Random(match (balance.two, balance.time.as_str()) {
                (false, _) => Draws::One,
                (true, "") => Draws::TwoByConnections,
                (true, _) => Draws::TwoByTime { header },
            }),
            other => return Err(format!("balance: '{other}'?")),
        })
    }

    /// What is hashed for a request.
    pub fn key(&self, context: &Context) -> Vec<u8> {
        match self {
            Method::Hash { key, .. } => key.value(context),
            Method::Address => match context.client.ip() {
                IpAddr::V4(address) => address.octets()[..3].to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            },
            _ => Vec::new(),
        }
    }

    pub fn counts_flight(&self) -> bool {
        matches!(self, Method::LeastTime { inflight: true, .. })
    }

    pub fn judges_heads_in_flight(&self) -> bool {
        let (header, inflight) = (true, true);
        matches!(self, Method::LeastTime { header: h, inflight: i } if *h == header && *i == inflight)
    }
}

impl Group {
    pub fn by_method(
        &self,
        states: &mut [State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
        key: &[u8],
    ) -> Option<usize> {
        match &self.method {
            Method::Turn => None,
            Method::LeastConnections => {
                let load = |state: &State| state.live;
                self.least(states, backup, tried, now_ms, load)
            }
            Method::LeastTime { header, .. } => {
                for state in states.iter_mut() {
                    note_flight(state, now_ms);
                }
                let time =
                    |index: usize, state: &State| self.expected(index, state, *header, now_ms);
                self.least_of(states, backup, tried, now_ms, time)
            }
            _ if backup => None, // nginx has no backups in these
            Method::Random(draws) => self.random(states, tried, now_ms, *draws),
            Method::Address | Method::Hash { .. } => self.by_hash(states, tried, now_ms, key),
        }
    }

    fn least(
        &self,
        states: &mut [State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
        load: impl Fn(&State) -> u64,
    ) -> Option<usize> {
        self.least_of(states, backup, tried, now_ms, |_, state| load(state))
    }

    /// The one with the least cost for its weight; of several, in turn.
    fn least_of(
        &self,
        states: &mut [State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
        cost: impl Fn(usize, &State) -> u64,
    ) -> Option<usize> {
        let mut best: Vec<usize> = Vec::new();
        let weight = |at: usize, states: &[State]| {
            self.peers[at].weight * Group::share(&self.peers[at], &states[at], now_ms)
        };
        for (index, peer) in self.peers.iter().enumerate() {
            if peer.backup != backup || !self.eligible(states, index, tried, now_ms) {
                continue;
            }
            let Some(first) = best.first().copied() else {
                best.push(index);
                continue;
            };
            let mine = cost(index, &states[index]) as i64 * weight(first, states);
            let theirs = cost(first, &states[first]) as i64 * weight(index, states);
            if mine < theirs {
                best.clear();
            }
            if mine <= theirs {
                best.push(index);
            }
        }
        match best.as_slice() {
            [only] => Some(*only),
            _ => self.in_turn(states, backup, tried, now_ms, |at| best.contains(&at)),
        }
    }

    /// Milliseconds until this peer would be done with one request more, as nginx guesses it.
    fn expected(&self, index: usize, state: &State, header: bool, now_ms: u64) -> u64 {
        let peer = &self.peers[index];
        let known = if header {
            state.header_ms
        } else {
            state.answer_ms
        };
        let (timeout, since) = (
            peer.fail_timeout_ms / 1000,
            now_ms.saturating_sub(state.checked_ms) / 1000,
        );
        // Who has not been asked for long gets another chance.
        let forgotten = if since > timeout {
            since / (timeout + 1)
        } else {
            0
        };
        let mut time = known.checked_shr(forgotten as u32).unwrap_or(0);
        if state.flight.count > 0 {
            time = time.max(state.flight.average_ms);
        }
        let time = if time > LONGEST_MS {
            LONGEST_MS
        } else {
            time + CLUSTER_MS - time % CLUSTER_MS
        };
        time * (1 + state.live)
    }

    fn random(
        &self,
        states: &[State],
        tried: &[usize],
        now_ms: u64,
        draws: Draws,
    ) -> Option<usize> {
        let fit: Vec<usize> = (0..self.peers.len())
            .filter(|at| !self.peers[*at].backup && self.eligible(states, *at, tried, now_ms))
            .collect();
        let draw = |among: &[usize]| {
            let total: i64 = among.iter().map(|at| self.peers[*at].weight).sum();
            let mut left = (crate::sys::random_u64() >> 1) as i64 % total.max(1);
            among.iter().copied().find(|at| {
                left -= self.peers[*at].weight;
                left < 0
            })
        };
        let first = draw(&fit)?;
        let others: Vec<usize> = fit.into_iter().filter(|at| *at != first).collect();
        let second = match draws {
            Draws::One => None,
            _ => draw(&others),
        };
        let load = |at: usize, other: usize| {
            let cost = match draws {
                Draws::TwoByTime { header } => self.expected(at, &states[at], header, now_ms),
                _ => states[at].live,
            };
            cost as i64 * self.peers[other].weight
        };
        match second {
            Some(second) if load(second, first) < load(first, second) => Some(second),
            _ => Some(first),
        }
    }

    /// nginx's own numbers, so that a change of the program keeps every client where it was.
    fn by_hash(
        &self,
        states: &mut [State],
        tried: &[usize],
        now_ms: u64,
        key: &[u8],
    ) -> Option<usize> {
        if key.is_empty() {
            return None;
        }
        if let Method::Hash {
            consistent: true, ..
        } = self.method
        {
            return self.by_ring(states, tried, now_ms, key);
        }
        let main = || (0..self.peers.len()).filter(|at| !self.peers[*at].backup);
        let total: i64 = main().map(|at| self.peers[at].weight).sum();
        let address = matches!(self.method, Method::Address);
        let mut hash: u32 = if address { 89 } else { 0 };
        for attempt in 0..=20u32 {
            if address {
                for byte in key {
                    hash = (hash * 113 + u32::from(*byte)) % 6271;
                }
            } else {
                let mut text = Vec::new();
                if attempt > 0 {
                    text.extend_from_slice(attempt.to_string().as_bytes());
                }
                text.extend_from_slice(key);
                hash = hash.wrapping_add(crc32(0, &text) >> 16 & 0x7fff);
            }
            let mut left = i64::from(hash) % total.max(1);
            let at = main().find(|at| {
                left -= self.peers[*at].weight;
                left < 0
            })?;
            if self.eligible(states, at, tried, now_ms) {
                return Some(at);
            }
        }
        None
    }

    fn by_ring(
        &self,
        states: &mut [State],
        tried: &[usize],
        now_ms: u64,
        key: &[u8],
    ) -> Option<usize> {
        let start = self.points.partition_point(|point| point.0 < crc32(0, key));
        for step in 0..=20.min(self.points.len()) {
            let (_, at) = *self.points.get((start + step) % self.points.len().max(1))?;
            let name = &self.peers[at].name;
            // All addresses of one name share its points.
            let same = |index: usize| self.peers[index].name == *name;
            let chosen = self.in_turn(states, false, tried, now_ms, same);
            if chosen.is_some() {
                return chosen;
            }
        }
        None
    }
}

/// What the requests under way have taken so far, in the average.
fn note_flight(state: &mut State, now_ms: u64) {
    let flight = &mut state.flight;
    if let Some(each_ms) = flight.total_ms.checked_div(flight.count) {
        let so_far = each_ms + now_ms.saturating_sub(flight.changed_ms);
        average(&mut flight.average_ms, so_far);
    }
}
