//! The director's maps and program: create or adopt, read, write, run.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use aya::maps::{
    Array, ArrayOfMaps, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, RingBuf,
};
use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;

use crate::flows::{self, Sweep};
use crate::layout::*;
use crate::sync::{FlowSync, Settings, SyncMaps, SyncStatus};
use crate::OBJECT;

const MAPS: [&str; 9] = [
    "services", "tables", "cursors", "reals", "flows", "counters", "reasons", "told", "layout",
];
const PROGRAM: &str = "director_tc";
const BPF_F_INNER_MAP: u32 = 1 << 12;

#[derive(Debug, Error)]
pub enum Error {
    #[error("{0}")]
    Load(#[from] EbpfError),
    #[error("{0}")]
    Map(#[from] MapError),
    #[error("the kernel refused the eBPF program: {0}")]
    Program(#[from] ProgramError),
    #[error("{path}: {error}")]
    Pin { path: PathBuf, error: io::Error },
    #[error("flow table: {0}")]
    Flows(io::Error),
    #[error("flow sync: {0}")]
    Sync(io::Error),
    #[error("{0}")]
    Limit(String),
}

/// What `set_real` does with the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopChange {
    Unknown,
    Is(NextHop),
}

/// A test run's answer.
#[derive(Debug)]
pub struct RunResult {
    pub verdict: i32,
    pub packet: Vec<u8>,
    pub ns: u64,
}

/// The director's data plane: its maps, and the program for tc.
pub struct Datapath {
    ebpf: Ebpf,
    program: &'static str,
    pin_directory: Option<PathBuf>,
    adopted: bool,
    /// Raised with every change of services and reals, for flow sync.
    generation: Arc<AtomicU64>,
    sync: Option<FlowSync>,
}

impl Datapath {
    /// With `pin_directory` (on bpffs) the maps are pinned there, and those that are found there
    /// are adopted if they have our layout; else nothing outlives the value. Loads the program.
    pub fn open(pin_directory: Option<&Path>, max_flows: u32) -> Result<Self, Error> {
        Self::load(OBJECT, PROGRAM, pin_directory, max_flows)
    }

    /// `open`, with another object over the same maps (the bench has one).
    pub fn load(
        object: &[u8],
        name: &'static str,
        pin_directory: Option<&Path>,
        max_flows: u32,
    ) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("flows", max_flows);
        let mut adopted = false;
        if let Some(directory) = pin_directory {
            make_directory(directory)?;
            adopted = adoptable(directory, max_flows);
            if !adopted {
                unpin(directory)?;
            }
            for name in MAPS {
                loader.map_pin_path(name, directory.join(name));
            }
        }
        let mut ebpf = loader.load(object)?;
        program(&mut ebpf, name).load()?;
        let mut datapath = Self {
            ebpf,
            program: name,
            pin_directory: pin_directory.map(Path::to_owned),
            adopted,
            generation: Arc::default(),
            sync: None,
        };
        if !adopted {
            // Last, and so the sign that the maps beside it are whole.
            datapath.array::<u32>("layout")?.set(0, LAYOUT_VERSION, 0)?;
        }
        Ok(datapath)
    }

    /// The maps were there already, with their flows.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// The program's descriptor (ours) and its kernel-wide id.
    pub fn program(&mut self) -> Result<(RawFd, u32), Error> {
        let program = program(&mut self.ebpf, self.program);
        let id = program.info()?.id();
        Ok((program.fd()?.as_fd().as_raw_fd(), id))
    }

    /// Remove every pin: maps and flows end with the last program that uses them.
    pub fn unpin(&self) -> Result<(), Error> {
        self.pin_directory.as_deref().map_or(Ok(()), unpin)
    }

    pub fn services(&mut self) -> Result<Vec<(Ipv4Addr, u16, Service)>, Error> {
        let mut found = Vec::new();
        for entry in self.service_map()?.iter() {
            let (key, service) = entry?;
            let port = u16::from_be_bytes(key.port);
            found.push((key.address.into(), port, service));
        }
        Ok(found)
    }

    /// Port 0 marks the address itself.
    pub fn set_service(
        &mut self,
        address: Ipv4Addr,
        port: u16,
        index: u32,
        flags: u32,
    ) -> Result<(), Error> {
        let key = service_key(address, port);
        self.service_map()?
            .insert(key, Service { index, flags }, 0)?;
        self.changed();
        Ok(())
    }

    /// Exchange flows with the peers from now on. At most once.
    pub fn start_sync(&mut self, settings: Settings) -> Result<(), Error> {
        let told = self
            .ebpf
            .take_map("told")
            .ok_or_else(|| Error::Limit("flow sync runs already".into()))?;
        let maps = SyncMaps {
            told: RingBuf::try_from(told)?,
            flows: self.flow_fd()?.try_clone_to_owned().map_err(Error::Sync)?,
            reals: Array::try_from(self.copy("reals")?)?,
            services: HashMap::try_from(self.copy("services")?)?,
            reasons: PerCpuArray::try_from(self.copy("reasons")?)?,
            generation: Arc::clone(&self.generation),
        };
        self.sync = Some(FlowSync::start(maps, settings).map_err(Error::Sync)?);
        Ok(())
    }

    /// None where it does not run.
    pub fn sync_status(&self) -> Option<SyncStatus> {
        self.sync.as_ref().map(FlowSync::status)
    }

    /// Tell what is still untold, and end it.
    pub fn stop_sync(&mut self) {
        self.sync = None;
    }

    pub fn remove_service(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Error> {
        match self.service_map()?.remove(&service_key(address, port)) {
            Err(error) if is_absent(&error) => {}
            other => other?,
        }
        self.changed();
        Ok(())
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Another handle on a map, for another thread.
    fn copy(&self, name: &str) -> Result<Map, Error> {
        let data = match self.ebpf.map(name).expect(OURS) {
            Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) => data,
            _ => return Err(Error::Limit(format!("{name} is of another kind"))),
        };
        let fd = data
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(Error::Sync)?;
        Ok(Map::from_map_data(MapData::from_fd(fd)?)?)
    }

    /// The reals of a service's table, in turn; empty where there is none.
    pub fn table(&mut self, service: u32) -> Result<Vec<u32>, Error> {
        let table = match self.tables()?.get(&service, 0) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            other => other?,
        };
        let length = table.get(&0, 0)?;
        (1..=length).map(|slot| Ok(table.get(&slot, 0)?)).collect()
    }

    /// Swap a service's table: built whole, then put in place at once. On return no packet is
    /// being looked at with the old one.
    pub fn set_table(&mut self, service: u32, slots: &[u32]) -> Result<(), Error> {
        if slots.len() > MAX_SLOTS as usize {
            return Err(Error::Limit(format!(
                "a table has at most {MAX_SLOTS} slots, not {}",
                slots.len()
            )));
        }
        let length = slots.len() as u32;
        let mut table = Array::<MapData, u32>::create(length + 1, BPF_F_INNER_MAP)?;
        for (slot, real) in (1..).zip(slots) {
            table.set(slot, real, 0)?;
        }
        table.set(0, length, 0)?;
        Ok(self.tables()?.set(service, &table, 0)?)
    }

    /// The reals in use, with their indices.
    pub fn reals(&mut self) -> Result<Vec<(u32, Real)>, Error> {
        let map = self.array::<Real>("reals")?;
        let mut found = Vec::new();
        for index in 0..MAX_REALS {
            let real = map.get(&index, 0)?;
            if real.flags & REAL_USED != 0 {
                found.push((index, real));
            }
        }
        Ok(found)
    }

    /// Write a real server. `listed`: its flows are forwarded.
    pub fn set_real(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        port: u16,
        service: u32,
        listed: bool,
        hop: HopChange,
    ) -> Result<(), Error> {
        let mut map = self.array::<Real>("reals")?;
        let mut real = map.get(&index, 0)?;
        let wanted = match hop {
            HopChange::Unknown => NextHop::default(),
            HopChange::Is(hop) => hop,
        };
        let current = usize::from(real.current & 1);
        let turn = real.hops[current] != wanted;
        if turn {
            real.hops[1 - current] = wanted;
        }
        real.address = address.octets();
        real.port = port.to_be_bytes();
        real.service = service;
        real.flags = REAL_USED | if listed { REAL_LISTED } else { 0 };
        map.set(index, real, 0)?;
        if turn {
            real.current = 1 - current as u8;
            map.set(index, real, 0)?;
        }
        self.changed();
        Ok(())
    }

    /// Free the index, and zero its counters. No table and no flow may name it any more.
    pub fn remove_real(&mut self, index: u32) -> Result<(), Error> {
        self.array::<Real>("reals")?
            .set(index, Real::default(), 0)?;
        self.changed();
        let mut counters = self.per_cpu::<Counters>("counters")?;
        let zeros = counters
            .get(&index, 0)?
            .iter()
            .map(|_| Counters::default())
            .collect::<Vec<_>>();
        Ok(counters.set(index, zeros.try_into().map_err(Error::Flows)?, 0)?)
    }

    /// One real server's counters, all CPUs together.
    pub fn counters(&mut self, index: u32) -> Result<Counters, Error> {
        let values = self.per_cpu::<Counters>("counters")?.get(&index, 0)?;
        Ok(values
            .iter()
            .fold(Counters::default(), |sum, value| Counters {
                packets: sum.packets + value.packets,
                bytes: sum.bytes + value.bytes,
                connections: sum.connections + value.connections,
            }))
    }

    /// How often each reason was met.
    pub fn reasons(&mut self) -> Result<Vec<(&'static str, u64)>, Error> {
        let map = self.per_cpu::<u64>("reasons")?;
        (0..)
            .zip(REASONS)
            .map(|(index, name)| Ok((name, map.get(&index, 0)?.iter().sum())))
            .collect()
    }

    /// Count the flows and end the expired, as of `age_s` seconds from now (0, but for tests).
    pub fn sweep(&mut self, age_s: u32) -> Result<Sweep, Error> {
        let now_s = flows::now_s().saturating_add(age_s);
        flows::sweep(self.flow_fd()?, now_s).map_err(Error::Flows)
    }

    /// Run the program on one frame, `repeat` times; `ns` is the mean of one run. The packet is
    /// not restored between runs.
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<RunResult, Error> {
        let mut packet = vec![0; frame.len() + 256];
        let result = program(&mut self.ebpf, self.program).test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut packet),
            repeat,
            ..Default::default()
        })?;
        packet.truncate(result.data_size_out as usize);
        Ok(RunResult {
            verdict: result.return_value as i32,
            packet,
            ns: result.duration.as_nanos() as u64,
        })
    }

    fn service_map(&mut self) -> Result<HashMap<&mut MapData, ServiceKey, Service>, Error> {
        Ok(HashMap::try_from(
            self.ebpf.map_mut("services").expect(OURS),
        )?)
    }

    fn tables(&mut self) -> Result<ArrayOfMaps<&mut MapData, Array<MapData, u32>>, Error> {
        Ok(ArrayOfMaps::try_from(
            self.ebpf.map_mut("tables").expect(OURS),
        )?)
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>, Error> {
        Ok(Array::try_from(self.ebpf.map_mut(name).expect(OURS))?)
    }

    fn per_cpu<V: aya::Pod>(&mut self, name: &str) -> Result<PerCpuArray<&mut MapData, V>, Error> {
        Ok(PerCpuArray::try_from(self.ebpf.map_mut(name).expect(OURS))?)
    }

    fn flow_fd(&mut self) -> Result<BorrowedFd<'_>, Error> {
        match self.ebpf.map("flows").expect(OURS) {
            aya::maps::Map::HashMap(data) => Ok(data.fd().as_fd()),
            _ => Err(Error::Limit("the flow table is not a hash".into())),
        }
    }
}

const OURS: &str = "bpf/maps.h defines it";

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut SchedClassifier {
    let program = ebpf
        .program_mut(name)
        .expect("bpf/director.bpf.c defines it");
    program.try_into().expect("it is in section classifier")
}

fn service_key(address: Ipv4Addr, port: u16) -> ServiceKey {
    ServiceKey {
        address: address.octets(),
        port: port.to_be_bytes(),
        // The mark of an address is no service: TCP to port 0 must not find it.
        protocol: if port == 0 { 0 } else { PROTOCOL_TCP },
        zero: 0,
    }
}

fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}

/// The maps pinned there are whole, of this layout and of the wanted size.
fn adoptable(directory: &Path, max_flows: u32) -> bool {
    let sized = |name: &str| MapInfo::from_pin(directory.join(name)).ok();
    let whole = MAPS.iter().all(|name| sized(name).is_some());
    let version = MapData::from_pin(directory.join("layout"))
        .and_then(aya::maps::Map::from_map_data)
        .ok()
        .and_then(|map| Array::<_, u32>::try_from(map).ok()?.get(&0, 0).ok());
    whole
        && version == Some(LAYOUT_VERSION)
        && sized("flows").is_some_and(|info| info.max_entries() == max_flows)
}

fn make_directory(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(|error| Error::Pin {
        path: directory.to_owned(),
        error,
    })
}

fn unpin(directory: &Path) -> Result<(), Error> {
    for name in MAPS {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Pin { path, error });
            }
            _ => {}
        }
    }
    Ok(())
}
