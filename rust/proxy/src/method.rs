//! How a peer is chosen other than in turn.

use crate::balance::{Group, State};
use crate::config;
use crate::hash::crc32;
use crate::vars::{Context, Scope, Template};
use std::net::IpAddr;

/// How a peer is chosen; smooth weighted turn where that finds none.
pub enum Method {
    Turn,
    LeastConnections,
    Address,
    Hash { key: Template, consistent: bool },
    Random { two: bool },
}

impl Method {
    pub fn compile(balance: &config::Balance, scope: &Scope) -> Result<Method, String> {
        Ok(match balance.method.as_str() {
            "" => Method::Turn,
            "least_conn" => Method::LeastConnections,
            "ip_hash" => Method::Address,
            "hash" | "consistent" => Method::Hash {
                key: Template::compile(&balance.key, scope)?,
                consistent: balance.method == "consistent",
            },
            "random" => Method::Random { two: balance.two },
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
}

impl Group {
    /// Those with the fewest requests for their weight; empty where the method does not ask.
    pub fn fewest(
        &self,
        states: &[State],
        backup: bool,
        tried: &[usize],
        now_ms: u64,
    ) -> Vec<usize> {
        let mut best: Vec<usize> = Vec::new();
        if !matches!(self.method, Method::LeastConnections) {
            return best;
        }
        for (index, peer) in self.peers.iter().enumerate() {
            if peer.backup != backup || !self.eligible(states, index, tried, now_ms) {
                continue;
            }
            let load = |at: usize| states[at].live as i64;
            let Some(first) = best.first() else {
                best.push(index);
                continue;
            };
            let (mine, theirs) = (
                load(index) * self.peers[*first].weight,
                load(*first) * peer.weight,
            );
            if mine < theirs {
                best.clear();
            }
            if mine <= theirs {
                best.push(index);
            }
        }
        best
    }

    pub fn by_method(
        &self,
        states: &mut [State],
        tried: &[usize],
        now_ms: u64,
        key: &[u8],
    ) -> Option<usize> {
        match &self.method {
            Method::Turn => None,
            Method::LeastConnections => {
                let best = self.fewest(states, false, tried, now_ms);
                if best.len() == 1 {
                    return Some(best[0]);
                }
                let chosen = self.pick_among(states, false, tried, now_ms, |at| best.contains(&at));
                if let Some(index) = chosen {
                    states[index].live -= 1; // counted again by the caller
                    states[index].requests -= 1;
                }
                chosen
            }
            Method::Random { two } => self.random(states, tried, now_ms, *two),
            Method::Address | Method::Hash { .. } => self.by_hash(states, tried, now_ms, key),
        }
    }

    fn random(&self, states: &[State], tried: &[usize], now_ms: u64, two: bool) -> Option<usize> {
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
        let second = if two { draw(&others) } else { None };
        let load = |at: usize, other: usize| states[at].live as i64 * self.peers[other].weight;
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
            let same = |index: usize| self.peers[index].name == *name && !self.peers[index].backup;
            let chosen = self.pick_among(states, false, tried, now_ms, same);
            if let Some(index) = chosen {
                states[index].live -= 1;
                states[index].requests -= 1;
                return chosen;
            }
        }
        None
    }
}
