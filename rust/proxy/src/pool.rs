//! Idle upstream connections of one worker: newest first, capped and aged per group.

use crate::address::{Address, Bind};
use crate::balance::Group;
use crate::sys;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;

/// One connection to a peer. `slot` is its place in the worker's routing table.
pub struct Connection {
    pub fd: OwnedFd,
    pub slot: u32,
    pub address: Address,
    /// Our end, where it is not the kernel's choice.
    pub bind: Option<Bind>,
    pub made_ms: u64,
    pub served: u64,
    pub readable: bool,
    pub writable: bool,
    pub ended: bool,
    pub connecting: bool,
    /// Has served a request before: that it died may only mean that it was idle too long.
    pub reused: bool,
}

struct Idle {
    connection: Connection,
    until_ms: u64,
}

#[derive(Default)]
pub struct Pool {
    groups: HashMap<u32, VecDeque<Idle>>,
}

impl Pool {
    pub fn take(
        &mut self,
        group: u32,
        address: &Address,
        bind: &Option<Bind>,
    ) -> Option<Connection> {
        let idle = self.groups.get_mut(&group)?;
        let at = idle.iter().rposition(|item| {
            item.connection.address == *address && item.connection.bind == *bind
        })?;
        idle.remove(at).map(|item| item.connection)
    }

    /// Keep it; the one that must go for it (the oldest, when the group is full) comes back.
    pub fn put(
        &mut self,
        group: &Group,
        mut connection: Connection,
        now: u64,
    ) -> Option<Connection> {
        let rules = &group.keepalive;
        connection.served += 1;
        let worn = connection.served >= rules.requests
            || now.saturating_sub(connection.made_ms) > rules.time_ms;
        if rules.most == 0 || worn {
            return Some(connection);
        }
        connection.reused = true;
        let idle = self.groups.entry(group.id).or_default();
        let oldest = (idle.len() >= rules.most).then(|| idle.pop_front());
        idle.push_back(Idle {
            connection,
            until_ms: now + rules.timeout_ms,
        });
        oldest.flatten().map(|item| item.connection)
    }

    /// Whether there is something to read from the idle connection in this slot, or its end.
    pub fn has_input(&self, group: u32, slot: u32) -> bool {
        let idle = self.groups.get(&group).into_iter().flatten();
        let mut found = idle.filter(|item| item.connection.slot == slot);
        found.any(|item| sys::has_input(&item.connection.fd))
    }

    /// The idle connection in this slot (its peer closed it, or sent what nobody asked for).
    pub fn remove(&mut self, group: u32, slot: u32) -> Option<Connection> {
        let idle = self.groups.get_mut(&group)?;
        let at = idle.iter().position(|item| item.connection.slot == slot)?;
        idle.remove(at).map(|item| item.connection)
    }

    /// Take out what has been idle too long; with `all`, everything.
    pub fn expire(&mut self, now_ms: u64, all: bool) -> Vec<Connection> {
        let mut out = Vec::new();
        for idle in self.groups.values_mut() {
            while idle
                .front()
                .is_some_and(|item| all || item.until_ms <= now_ms)
            {
                out.extend(idle.pop_front().map(|item| item.connection));
            }
        }
        out
    }
}
