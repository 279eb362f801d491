//! `Datapath` for Python. Addresses are text, MACs 6 bytes; kernel refusals become OSError.

use std::net::IpAddr;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use trimaran_datapath::layout::{
    NextHop, Real, Service, Tunnel, REAL_LISTED, REAL_LOCAL, TUNNEL_CHECKSUM, TUNNEL_GRE,
    TUNNEL_GUE, TUNNEL_IPIP, TUNNEL_OVER_IPV6,
};
use trimaran_datapath::maglev::Member;
use trimaran_datapath::sync::Settings;
use trimaran_datapath::{
    narrow, wide, Behind, Conversation, Error, Forward, Hook, Listen, Room, Share, Slots, Way,
};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Datapath>()
}

/// (destination MAC, source MAC, interface, MTU)
type Hop = ([u8; 6], [u8; 6], u32, u32);
/// ([(real, active, inactive)], live, ended)
/// (protocol, client, service, real, state, seconds until it expires)
type ConnectionRow = (u8, (String, u16), (String, u16), u32, &'static str, u32);
type SweepRow = (Vec<(u32, u64, u64)>, u64, u64);
/// (kind, port, with checksum, source address)
type TunnelRow = (String, u16, bool, String);
/// (index, address, port, service, listed, local, hop, forward, tunnel, weight, upper, lower)
type RealRow = (
    u32,
    String,
    u16,
    u32,
    bool,
    bool,
    Option<Hop>,
    &'static str,
    Option<TunnelRow>,
    u32,
    u32,
    u32,
);
/// (address, port, protocol, index, flags, scheduler, granularity, persistence)
type ServiceRow = (String, u16, u8, u32, u16, u8, u8, u32);
/// (service, reals, levels)
type TableRow = (u32, Vec<u32>, Vec<(u32, u32, u32)>);
/// (service, [(real, address, port, turns)])
type MaglevRow = (u32, Vec<(u32, String, u16, u32)>);
/// (real, address, port, VIP, VIP's port, protocol)
type OriginRow = (u32, String, u16, String, u16, u8);

/// The director's eBPF maps and program.
#[pyclass(frozen, module = "trimaran._native")]
struct Datapath(Mutex<trimaran_datapath::Datapath>);

impl Datapath {
    fn lock(&self) -> MutexGuard<'_, trimaran_datapath::Datapath> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raised(error: Error) -> PyErr {
    match error {
        Error::Limit(message) => PyValueError::new_err(message),
        error => PyOSError::new_err(error.to_string()),
    }
}

fn parsed<A: FromStr>(address: &str) -> PyResult<A> {
    address
        .parse()
        .map_err(|_| PyValueError::new_err(format!("{address} is no IP address")))
}

fn listen(address: &str, port: u16, protocol: u8) -> PyResult<Listen> {
    Ok(Listen {
        address: parsed(address)?,
        port,
        protocol,
    })
}

fn hook(word: &str) -> PyResult<Hook> {
    match word {
        "tc" => Ok(Hook::Tc),
        "xdp" => Ok(Hook::Xdp),
        _ => Err(PyValueError::new_err(format!("there is no hook {word}"))),
    }
}

const TUNNELS: [(&str, u8); 3] = [
    ("ipip", TUNNEL_IPIP),
    ("gue", TUNNEL_GUE),
    ("gre", TUNNEL_GRE),
];

fn tunnel((word, port, checksum, source): TunnelRow) -> PyResult<Tunnel> {
    let known = TUNNELS.iter().find(|(name, _)| *name == word);
    let Some((_, kind)) = known else {
        let message = format!("there is no tunnel of kind {word}");
        return Err(PyValueError::new_err(message));
    };
    let source: IpAddr = parsed(&source)?;
    let over6 = if source.is_ipv6() {
        TUNNEL_OVER_IPV6
    } else {
        0
    };
    Ok(Tunnel {
        source: wide(source),
        port: port.to_be_bytes(),
        kind: *kind,
        flags: over6 | if checksum { TUNNEL_CHECKSUM } else { 0 },
    })
}

fn tunnel_row(tunnel: Tunnel) -> TunnelRow {
    let known = TUNNELS.iter().find(|(_, kind)| *kind == tunnel.kind);
    (
        known.map_or("", |(name, _)| *name).to_string(),
        u16::from_be_bytes(tunnel.port),
        tunnel.flags & TUNNEL_CHECKSUM != 0,
        narrow(tunnel.source).to_string(),
    )
}

fn forward(word: &str, tunnel: Option<TunnelRow>) -> PyResult<Forward> {
    match (word, tunnel) {
        ("dr", None) => Ok(Forward::Direct),
        ("nat", None) => Ok(Forward::Nat),
        ("tunnel", Some(row)) => Ok(Forward::Tunnel(self::tunnel(row)?)),
        _ => {
            let message = format!("forward is dr or nat, or tunnel with one, not {word}");
            Err(PyValueError::new_err(message))
        }
    }
}

fn row(index: u32, real: &Real, forward: Forward, share: Share) -> RealRow {
    let (word, tunnel) = match forward {
        Forward::Direct => ("dr", None),
        Forward::Nat => ("nat", None),
        Forward::Tunnel(tunnel) => ("tunnel", Some(tunnel_row(tunnel))),
    };
    let hop = real.hops[usize::from(real.current & 1)];
    (
        index,
        narrow(real.address).to_string(),
        u16::from_be_bytes(real.port),
        real.service,
        real.flags & REAL_LISTED != 0,
        real.flags & REAL_LOCAL != 0,
        (hop.interface != 0).then_some((
            hop.destination_mac,
            hop.source_mac,
            hop.interface,
            hop.mtu,
        )),
        word,
        tunnel,
        share.weight,
        share.upper,
        share.lower,
    )
}

#[pymethods]
impl Datapath {
    #[new]
    #[pyo3(signature = (pin_directory=None, *, max_flows, max_flows6=1, max_clients=1024, hook="tc"))]
    fn new(
        py: Python<'_>,
        pin_directory: Option<PathBuf>,
        max_flows: u32,
        max_flows6: u32,
        max_clients: u32,
        hook: &str,
    ) -> PyResult<Self> {
        let hook = self::hook(hook)?;
        let room = Room {
            flows: max_flows,
            flows6: max_flows6,
            clients: max_clients,
        };
        py.detach(|| trimaran_datapath::Datapath::open(pin_directory.as_deref(), room, hook))
            .map(|datapath| Self(Mutex::new(datapath)))
            .map_err(raised)
    }

    fn set_station(&self, mac: [u8; 6]) -> PyResult<()> {
        self.lock().set_station(mac).map_err(raised)
    }

    #[getter]
    fn adopted(&self) -> bool {
        self.lock().adopted()
    }

    fn program(&self, py: Python<'_>, hook: &str) -> PyResult<(i32, u32)> {
        let hook = self::hook(hook)?;
        py.detach(|| self.lock().program(hook)).map_err(raised)
    }

    #[staticmethod]
    fn program_of(py: Python<'_>, program_id: u32) -> PyResult<Option<(String, i32)>> {
        let found = py
            .detach(|| trimaran_datapath::program_of(program_id))
            .map_err(raised)?;
        Ok(found.map(|(name, fd)| (name, fd.into_raw_fd())))
    }

    fn unpin(&self) -> PyResult<()> {
        self.lock().unpin().map_err(raised)
    }

    fn services(&self) -> PyResult<Vec<ServiceRow>> {
        let services = self.lock().services().map_err(raised)?;
        Ok(services
            .into_iter()
            .map(|(listen, service)| {
                (
                    listen.address.to_string(),
                    listen.port,
                    listen.protocol,
                    service.index,
                    service.flags,
                    service.scheduler,
                    service.granularity,
                    service.persistence_s,
                )
            })
            .collect())
    }

    #[pyo3(signature = (address, port, protocol, index, flags=0, scheduler=0, granularity=0, persistence_s=0))]
    #[allow(clippy::too_many_arguments)]
    fn set_service(
        &self,
        address: &str,
        port: u16,
        protocol: u8,
        index: u32,
        flags: u16,
        scheduler: u8,
        granularity: u8,
        persistence_s: u32,
    ) -> PyResult<()> {
        let listen = listen(address, port, protocol)?;
        let service = Service {
            index,
            flags,
            scheduler,
            granularity,
            persistence_s,
        };
        self.lock().set_service(listen, service).map_err(raised)
    }

    fn remove_service(&self, address: &str, port: u16, protocol: u8) -> PyResult<()> {
        let listen = listen(address, port, protocol)?;
        self.lock().remove_service(listen).map_err(raised)
    }

    fn table(&self, service: u32) -> PyResult<Vec<u32>> {
        self.lock().table(service).map_err(raised)
    }

    fn set_table(&self, py: Python<'_>, service: u32, slots: Vec<u32>) -> PyResult<()> {
        py.detach(|| self.lock().set_table(service, &slots))
            .map_err(raised)
    }

    #[pyo3(signature = (tables, maglev=Vec::new()))]
    fn set_tables(
        &self,
        py: Python<'_>,
        tables: Vec<TableRow>,
        maglev: Vec<MaglevRow>,
    ) -> PyResult<()> {
        let mut wanted: Vec<(u32, Slots)> = tables
            .into_iter()
            .map(|(service, reals, levels)| (service, Slots::Plain { reals, levels }))
            .collect();
        for (service, rows) in maglev {
            let members = rows.into_iter().map(|(real, address, port, turns)| {
                Ok(Member {
                    real,
                    address: parsed(&address)?,
                    port,
                    turns,
                })
            });
            wanted.push((service, Slots::Maglev(members.collect::<PyResult<_>>()?)));
        }
        py.detach(|| self.lock().set_tables(&wanted))
            .map_err(raised)
    }

    fn load(&self, real: u32) -> (u64, u64, bool) {
        let (tally, _, overloaded) = self.lock().load_of(real);
        (tally.active, tally.inactive, overloaded)
    }

    fn reals(&self) -> PyResult<Vec<RealRow>> {
        let mut datapath = self.lock();
        let reals = datapath.reals().map_err(raised)?;
        Ok(reals
            .iter()
            .map(|(index, real, forward)| row(*index, real, *forward, datapath.load_of(*index).1))
            .collect())
    }

    #[pyo3(signature = (index, address, port, service, listed, hop, local=false, forward="dr", tunnel=None, weight=1, upper=0, lower=0))]
    #[allow(clippy::too_many_arguments)]
    fn set_real(
        &self,
        index: u32,
        address: &str,
        port: u16,
        service: u32,
        listed: bool,
        hop: Option<Hop>,
        local: bool,
        forward: &str,
        tunnel: Option<TunnelRow>,
        weight: u32,
        upper: u32,
        lower: u32,
    ) -> PyResult<()> {
        let forward = self::forward(forward, tunnel)?;
        let way = match hop {
            _ if local => Way::Local,
            None => Way::Unknown,
            Some((destination_mac, source_mac, interface, mtu)) => Way::Hop(NextHop {
                destination_mac,
                source_mac,
                interface,
                mtu,
            }),
        };
        let address = parsed(address)?;
        let mut datapath = self.lock();
        let share = Share {
            weight,
            upper,
            lower,
        };
        datapath.set_share(index, share);
        datapath
            .set_real(index, address, port, service, listed, way, forward)
            .map_err(raised)
    }

    fn set_origins(&self, rows: Vec<OriginRow>) -> PyResult<()> {
        let behind = rows
            .iter()
            .map(|(real, address, port, vip, vip_port, protocol)| {
                Ok(Behind {
                    real: *real,
                    address: parsed(address)?,
                    port: *port,
                    service: listen(vip, *vip_port, *protocol)?,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        self.lock().set_origins(&behind).map_err(raised)
    }

    fn remove_real(&self, index: u32) -> PyResult<()> {
        self.lock().remove_real(index).map_err(raised)
    }

    fn counters(&self, index: u32) -> PyResult<(u64, u64, u64)> {
        let counters = self.lock().counters(index).map_err(raised)?;
        Ok((counters.packets, counters.bytes, counters.connections))
    }

    fn reasons(&self) -> PyResult<Vec<(&'static str, u64)>> {
        self.lock().reasons().map_err(raised)
    }

    #[pyo3(signature = (age_s=0))]
    fn sweep(&self, py: Python<'_>, age_s: u32) -> PyResult<SweepRow> {
        // Not under the lock: a change of the tables waits for no count.
        let sweeper = py.detach(|| self.lock().sweeper()).map_err(raised)?;
        let sweep = py.detach(|| sweeper.sweep(age_s)).map_err(raised)?;
        let tallies = (0..)
            .zip(&sweep.tallies)
            .filter(|(_, tally)| tally.active + tally.inactive > 0)
            .map(|(index, tally)| (index, tally.active, tally.inactive))
            .collect();
        Ok((tallies, sweep.live, sweep.ended))
    }

    fn connections(&self, py: Python<'_>, most: usize) -> PyResult<Vec<ConnectionRow>> {
        let found = py
            .detach(|| self.lock().connections(most))
            .map_err(raised)?;
        let end = |(address, port): (IpAddr, u16)| (address.to_string(), port);
        Ok(found
            .into_iter()
            .map(|one| {
                (
                    one.protocol,
                    end(one.client),
                    end(one.service),
                    one.real,
                    one.state,
                    one.expires_s,
                )
            })
            .collect())
    }

    fn start_sync(
        &self,
        secret: Vec<u8>,
        address: &str,
        port: u16,
        peers: Vec<String>,
        interval_s: f64,
    ) -> PyResult<()> {
        let peers = peers.iter().map(|peer| parsed(peer));
        let settings = Settings {
            secret,
            address: parsed(address)?,
            port,
            peers: peers.collect::<PyResult<_>>()?,
            interval: Duration::from_secs_f64(interval_s),
        };
        self.lock().start_sync(settings).map_err(raised)
    }

    fn stop_sync(&self, py: Python<'_>) {
        py.detach(|| self.lock().stop_sync());
    }

    fn sync_status<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(status) = self.lock().sync_status() else {
            return Ok(None);
        };
        let peers = status
            .peers
            .iter()
            .map(|peer| {
                let row = PyDict::new(py);
                row.set_item("up", peer.is_there)?;
                row.set_item("caught_up", peer.is_caught_up)?;
                row.set_item("told", peer.counts.told)?;
                row.set_item("heard", peer.counts.heard)?;
                row.set_item("missed", peer.counts.missed)?;
                row.set_item("resent", peer.counts.resent)?;
                Ok(row)
            })
            .collect::<PyResult<Vec<_>>>()?;
        let shown = PyDict::new(py);
        shown.set_item("peers", peers)?;
        shown.set_item("learned", status.learned)?;
        shown.set_item("unknown", status.unknown)?;
        shown.set_item("full", status.full)?;
        shown.set_item("refused", status.refused)?;
        shown.set_item("error", status.error)?;
        Ok(Some(shown))
    }

    #[allow(clippy::too_many_arguments)] // a packet's five names
    fn explain<'py>(
        &self,
        py: Python<'py>,
        frame: &[u8],
        source: &str,
        source_port: u16,
        address: &str,
        port: u16,
        protocol: u8,
    ) -> PyResult<Bound<'py, PyDict>> {
        let who = Conversation {
            source: parsed(source)?,
            source_port,
            to: listen(address, port, protocol)?,
        };
        let found = py
            .detach(|| self.lock().explain(frame, who))
            .map_err(raised)?;
        let flow = found
            .before
            .map(|flow| (flow.real, flow.state, flow.flags, flow.age_s));
        let shown = PyDict::new(py);
        shown.set_item("verdict", found.run.verdict)?;
        shown.set_item("packet", PyBytes::new(py, &found.run.packet))?;
        shown.set_item("flow", flow)?;
        shown.set_item("real", found.real)?;
        shown.set_item("reasons", found.reasons)?;
        Ok(shown)
    }

    #[pyo3(signature = (frame, repeat=1, context=None))]
    fn test_run<'py>(
        &self,
        py: Python<'py>,
        frame: &[u8],
        repeat: u32,
        context: Option<&[u8]>,
    ) -> PyResult<(i32, Bound<'py, PyBytes>, u64)> {
        let result = py
            .detach(|| self.lock().test_run(frame, repeat, context))
            .map_err(raised)?;
        Ok((result.verdict, PyBytes::new(py, &result.packet), result.ns))
    }
}
