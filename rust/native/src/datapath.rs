//! `Datapath` for Python. Addresses are text, MACs 6 bytes; kernel refusals become OSError.

use std::net::IpAddr;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rows::*;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use trimaran_datapath::layout::{NextHop, Service};
use trimaran_datapath::maglev::Member;
use trimaran_datapath::sync::Settings;
use trimaran_datapath::{Behind, Conversation, Error, Room, Share, Slots, Way};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Datapath>()
}

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
