//! The maps as flow sync sees them: events out of the ring, records from and to the flow table.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};

use super::wire::Record;
use crate::flows;
use crate::keys::wide;
use crate::layout::*;
use crate::loads::Loads;

type Listen = ([u8; 4], [u8; 2], u8);
type Place = (u32, [u8; 16], [u8; 2]);

/// What the thread works on; `generation` is raised whenever services or reals change.
pub struct SyncMaps {
    pub told: RingBuf<MapData>,
    pub flows: OwnedFd,
    pub reals: Array<MapData, Real>,
    pub services: aya::maps::HashMap<MapData, ServiceKey, Service>,
    pub reasons: PerCpuArray<MapData, u64>,
    pub loads: Arc<Loads>,
    pub generation: Arc<AtomicU64>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    Yes,
    /// No such service or real server here.
    Unknown,
    Full,
}

pub struct Table {
    maps: SyncMaps,
    seen: u64,
    reals: HashMap<u32, Real>,
    services: HashMap<Listen, u32>,
    places: HashMap<Place, u32>,
}

impl Table {
    pub fn new(maps: SyncMaps) -> Self {
        Self {
            maps,
            seen: u64::MAX,
            reals: HashMap::new(),
            services: HashMap::new(),
            places: HashMap::new(),
        }
    }

    pub fn ring_fd(&self) -> RawFd {
        self.maps.told.as_raw_fd()
    }

    /// How many events found the ring full, ever.
    pub fn untold(&self) -> u64 {
        let index = REASON_UNTOLD;
        let values = self.maps.reasons.get(&index, 0);
        values.map_or(0, |values| values.iter().sum())
    }

    /// The next events, at most `most`.
    pub fn news(&mut self, most: usize) -> Vec<Record> {
        self.refresh();
        let mut records = Vec::new();
        while records.len() < most {
            let Some(item) = self.maps.told.next() else {
                break;
            };
            if item.len() < size_of::<FlowEvent>() {
                continue;
            }
            // SAFETY: the program writes nothing but struct flow_event, plain data of this size.
            let event: FlowEvent = unsafe { std::ptr::read_unaligned(item.as_ptr().cast()) };
            if let Some(real) = self.reals.get(&event.real) {
                records.push(record_of(&event.key, real, event.state, 0));
            }
        }
        records
    }

    /// Every flow worth telling; `own_within_s`: only those that had a packet here, so lately.
    pub fn all(&mut self, own_within_s: Option<u32>) -> io::Result<Vec<Record>> {
        self.refresh();
        let now_s = flows::now_s();
        let mut records = Vec::new();
        let reals = &self.reals;
        flows::for_each(self.maps.flows.as_fd(), |key, flow| {
            let age_s = now_s.saturating_sub(flow.seen_s);
            let told = flow.state != STATE_NONE && flow.state != STATE_SYN_RECV;
            let wanted =
                own_within_s.is_none_or(|within| flow.flags & FLOW_SYNCED == 0 && age_s <= within);
            if let (true, true, Some(real)) = (told, wanted, reals.get(&flow.real)) {
                records.push(record_of(key, real, flow.state, age_s));
            }
            Ok(())
        })?;
        Ok(records)
    }

    pub fn learn(&mut self, record: &Record) -> io::Result<Learned> {
        self.refresh();
        let key = &record.key;
        let listen = (key.address, key.port, key.protocol as u8);
        let any_port = (key.address, [0, 0], key.protocol as u8);
        let service = self.services.get(&listen);
        let service = service.or_else(|| self.services.get(&any_port));
        let real = service.and_then(|&service| {
            let address = wide(Ipv4Addr::from(record.real_address).into());
            self.places.get(&(service, address, record.real_port))
        });
        let Some(&real) = real else {
            return Ok(Learned::Unknown);
        };
        let flow = Flow {
            real,
            seen_s: flows::now_s().saturating_sub(u32::from(record.age_s)),
            state: record.state,
            flags: FLOW_SYNCED,
            since_ms: 0,
        };
        Ok(
            match flows::learn(self.maps.flows.as_fd(), &self.maps.loads, key, &flow)? {
                true => Learned::Yes,
                false => Learned::Full,
            },
        )
    }

    fn refresh(&mut self) {
        let generation = self.maps.generation.load(Ordering::Acquire);
        if generation == self.seen {
            return;
        }
        self.seen = generation;
        self.reals = (0..MAX_REALS)
            .filter_map(|index| Some((index, self.maps.reals.get(&index, 0).ok()?)))
            .filter(|(_, real)| real.flags & REAL_USED != 0)
            .collect();
        self.places = self
            .reals
            .iter()
            .map(|(&index, real)| ((real.service, real.address, real.port), index))
            .collect();
        self.services = self
            .maps
            .services
            .iter()
            .filter_map(Result::ok)
            .map(|(key, service)| ((key.address, key.port, key.protocol), service.index))
            .collect();
    }
}

fn record_of(key: &FlowKey, real: &Real, state: u8, age_s: u32) -> Record {
    let [a, b, c, d, ..] = real.address; // an IPv4 flow has an IPv4 real server
    Record {
        key: *key,
        state,
        age_s: u16::try_from(age_s).unwrap_or(u16::MAX),
        real_address: [a, b, c, d],
        real_port: real.port,
    }
}
