//! What the program would do with a packet, without doing it: the same program once more, over the
//! live services, tables and real servers, which it only reads; its flows, turns and counters are
//! its own and are thrown away.

use std::net::IpAddr;

use aya::maps::{HashMap, MapData};
use aya::EbpfLoader;

use crate::datapath::{Datapath, Error, Room, RunResult};
use crate::flows;
use crate::keys::Listen;
use crate::layout::*;
use crate::OBJECT;

/// The maps that the program reads and never writes. A new map belongs here only if that is so.
const READ_ONLY: [&str; 6] = [
    "services",
    "services6",
    "tables",
    "reals",
    "tunnels",
    "station",
];
const ROOM: u32 = 16; // flows of the copy

/// Who talks to whom.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    pub source: IpAddr,
    pub source_port: u16,
    pub to: Listen,
}

/// A flow of the table; `age_s` since its last packet.
#[derive(Clone, Copy, Debug)]
pub struct KnownFlow {
    pub real: u32,
    pub state: u8,
    pub flags: u8,
    pub age_s: u32,
}

/// What happened to the packet: `before` is its flow as it is in the table, `real` whom the flow
/// would be pinned to afterwards, `reasons` those that were met.
#[derive(Debug)]
pub struct Explanation {
    pub run: RunResult,
    pub before: Option<KnownFlow>,
    pub real: Option<u32>,
    pub reasons: Vec<&'static str>,
}

impl Datapath {
    /// Run the program on `frame`, a packet of this conversation. Nothing that lives is changed.
    pub fn explain(&mut self, frame: &[u8], who: Conversation) -> Result<Explanation, Error> {
        let directory = self.pin_directory().ok_or_else(|| {
            Error::Limit("only a director whose maps are pinned can be looked over".into())
        })?;
        let mut loader = EbpfLoader::new();
        for name in ["flows", "flows6", "fragments", "clients"] {
            loader.map_max_entries(name, ROOM);
        }
        for name in READ_ONLY {
            loader.map_pin_path(name, directory.join(name));
        }
        let room = Room {
            flows: ROOM,
            flows6: ROOM,
            clients: ROOM,
        };
        let mut copy = Datapath::of(loader.load(OBJECT)?, self.program_name(), room)?;
        copy.loads().resemble(self.loads());
        let before = self.flow(who)?;
        if let Some(flow) = before {
            copy.set_flow(who, flow)?;
        }
        if let Some(service) = self.service_index(who.to)? {
            let turns = self.array::<u64>("cursors")?.get(&service, 0)?;
            copy.array::<u64>("cursors")?.set(service, turns, 0)?;
        }
        let run = copy.test_run(frame, 1)?;
        let reasons = copy.reasons()?;
        Ok(Explanation {
            run,
            before: before.map(|flow| KnownFlow {
                real: flow.real,
                state: flow.state,
                flags: flow.flags,
                age_s: flows::now_s().saturating_sub(flow.seen_s),
            }),
            real: copy.flow(who)?.map(|flow| flow.real),
            reasons: reasons
                .into_iter()
                .filter_map(|(name, count)| (count > 0).then_some(name))
                .collect(),
        })
    }

    /// Of what serves the place, or every port of its address.
    fn service_index(&mut self, to: Listen) -> Result<Option<u32>, Error> {
        let services = self.services()?;
        let of = |port| {
            let wanted = Listen { port, ..to };
            services.iter().find(|(listen, _)| *listen == wanted)
        };
        Ok(of(to.port)
            .or_else(|| of(0))
            .map(|(_, service)| service.index))
    }

    fn flow(&mut self, who: Conversation) -> Result<Option<Flow>, Error> {
        match key(who) {
            Key::V4(key) => found(self.flows::<FlowKey>("flows")?.get(&key, 0)),
            Key::V6(key) => found(self.flows::<FlowKey6>("flows6")?.get(&key, 0)),
        }
    }

    fn set_flow(&mut self, who: Conversation, flow: Flow) -> Result<(), Error> {
        match key(who) {
            Key::V4(key) => self.flows::<FlowKey>("flows")?.insert(key, flow, 0)?,
            Key::V6(key) => self.flows::<FlowKey6>("flows6")?.insert(key, flow, 0)?,
        }
        Ok(())
    }

    fn flows<K: aya::Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, Flow>, Error> {
        Ok(HashMap::try_from(self.map(name))?)
    }
}

fn found(result: Result<Flow, aya::maps::MapError>) -> Result<Option<Flow>, Error> {
    match result {
        Ok(flow) => Ok(Some(flow)),
        Err(error) if crate::datapath::is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

enum Key {
    V4(FlowKey),
    V6(FlowKey6),
}

/// Both addresses are of one version: no packet is otherwise.
fn key(who: Conversation) -> Key {
    let (source_port, port) = (who.source_port.to_be_bytes(), who.to.port.to_be_bytes());
    let protocol = u32::from(who.to.protocol);
    match (who.source, who.to.address) {
        (IpAddr::V4(source), IpAddr::V4(address)) => Key::V4(FlowKey {
            source_address: source.octets(),
            address: address.octets(),
            source_port,
            port,
            protocol,
        }),
        (source, address) => Key::V6(FlowKey6 {
            source_address: crate::keys::wide(source),
            address: crate::keys::wide(address),
            source_port,
            port,
            protocol,
        }),
    }
}
