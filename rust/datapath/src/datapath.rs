//! The director's maps and program: create or adopt, read, write, run.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{Program, ProgramError, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;

use crate::connections::{self, Connection};
use crate::flows::{Sweep, Tally};
use crate::keys::wide;
use crate::layout::*;
use crate::loads::{Loads, Share};
use crate::pins::{adoptable, make_directory, max_entries, unpin, MAPS};
use crate::program::{load_program, program, Hook, OURS};
use crate::slots::{self, Slots};
use crate::sweeper::Sweeper;
use crate::sync::{FlowSync, Settings, SyncMaps, SyncStatus};
use crate::OBJECT;

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
    #[error("tables: {0}")]
    Tables(io::Error),
    #[error("flow sync: {0}")]
    Sync(io::Error),
    #[error("{0}")]
    Limit(String),
}

/// How many flows of each version are tracked.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub flows: u32,
    pub flows6: u32,
    /// Of persistent services.
    pub clients: u32,
}

/// How a real server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Unknown,
    /// It is this machine.
    Local,
    Hop(NextHop),
}

/// The forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    Direct,
    Tunnel(Tunnel),
    Nat,
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
    loads: Arc<Loads>,
    room: Room,
    /// The last sweep found the table nearly full.
    pressed: Arc<AtomicBool>,
}

impl Datapath {
    /// With `pin_directory` (on bpffs) the maps are pinned there, and those that are found there
    /// are adopted if they have our layout; else nothing outlives the value. Loads the program.
    pub fn open(pin_directory: Option<&Path>, room: Room, hook: Hook) -> Result<Self, Error> {
        Self::load(OBJECT, hook.program(), pin_directory, room)
    }

    /// `open`, with another object over the same maps (the bench has one).
    pub fn load(
        object: &[u8],
        name: &'static str,
        pin_directory: Option<&Path>,
        room: Room,
    ) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("flows", room.flows);
        loader.map_max_entries("flows6", room.flows6);
        loader.map_max_entries("clients", room.clients);
        let mut adopted = false;
        if let Some(directory) = pin_directory {
            make_directory(directory)?;
            adopted = adoptable(directory, room.flows);
            if !adopted {
                unpin(directory, &MAPS)?;
            }
            // The first or the last IPv6 service changes its size; IPv4's flows stay.
            for (name, size) in [("flows6", room.flows6), ("clients", room.clients)] {
                if adopted && max_entries(directory, name) != Some(size) {
                    unpin(directory, &[name])?;
                }
            }
            for name in MAPS {
                loader.map_pin_path(name, directory.join(name));
            }
        }
        let ebpf = loader.load(object)?;
        let mut datapath = Self::of(ebpf, name, room)?;
        datapath.pin_directory = pin_directory.map(Path::to_owned);
        datapath.adopted = adopted;
        if !adopted {
            // Last, and so the sign that the maps beside it are whole.
            datapath.array::<u32>("layout")?.set(0, LAYOUT_VERSION, 0)?;
        }
        Ok(datapath)
    }

    /// Of an object that was loaded already: nothing of it outlives the value but what is pinned.
    pub(crate) fn of(mut ebpf: Ebpf, name: &'static str, room: Room) -> Result<Self, Error> {
        load_program(&mut ebpf, name)?;
        let loads = Loads::open(array_fd(&ebpf, "loads")).map_err(Error::Tables)?;
        Ok(Self {
            ebpf,
            program: name,
            pin_directory: None,
            adopted: false,
            generation: Arc::default(),
            sync: None,
            loads: Arc::new(loads),
            room,
            pressed: Arc::default(),
        })
    }

    pub(crate) fn loads(&self) -> &Loads {
        &self.loads
    }

    pub(crate) fn pin_directory(&self) -> Option<PathBuf> {
        self.pin_directory.clone()
    }

    pub(crate) fn program_name(&self) -> &'static str {
        self.program
    }

    pub(crate) fn map(&mut self, name: &str) -> &mut Map {
        self.ebpf.map_mut(name).expect(OURS)
    }

    /// The maps were there already, with their flows.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// A hook's program: its descriptor (ours) and its kernel-wide id.
    pub fn program(&mut self, hook: Hook) -> Result<(RawFd, u32), Error> {
        load_program(&mut self.ebpf, hook.program())?;
        let (fd, info) = match program(&mut self.ebpf, hook.program()) {
            Program::Xdp(program) => (program.fd()?.as_fd().as_raw_fd(), program.info()?),
            Program::SchedClassifier(program) => {
                (program.fd()?.as_fd().as_raw_fd(), program.info()?)
            }
            _ => unreachable!("{OURS}"),
        };
        Ok((fd, info.id()))
    }

    /// The MAC that frames for this machine have.
    pub fn set_station(&mut self, mac: [u8; 6]) -> Result<(), Error> {
        let mut value = [0; 8];
        value[..6].copy_from_slice(&mac);
        Ok(self
            .array::<u64>("station")?
            .set(0, u64::from_ne_bytes(value), 0)?)
    }

    /// Remove every pin: maps and flows end with the last program that uses them.
    pub fn unpin(&self) -> Result<(), Error> {
        self.pin_directory
            .as_deref()
            .map_or(Ok(()), |directory| unpin(directory, &MAPS))
    }

    /// Exchange flows with the peers from now on. At most once.
    pub fn start_sync(&mut self, settings: Settings) -> Result<(), Error> {
        let told = self
            .ebpf
            .take_map("told")
            .ok_or_else(|| Error::Limit("flow sync runs already".into()))?;
        let maps = SyncMaps {
            told: RingBuf::try_from(told)?,
            flows: self
                .hash_fd("flows")?
                .try_clone_to_owned()
                .map_err(Error::Sync)?,
            reals: Array::try_from(self.copy("reals")?)?,
            services: HashMap::try_from(self.copy("services")?)?,
            reasons: PerCpuArray::try_from(self.copy("reasons")?)?,
            loads: Arc::clone(&self.loads),
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

    pub(crate) fn changed(&self) {
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
    pub fn table(&self, service: u32) -> Result<Vec<u32>, Error> {
        slots::read(array_of_maps_fd(&self.ebpf), service)
    }

    /// Swap services' tables: each built whole, then put in its place at once. On return no packet
    /// is being looked at with an old one.
    pub fn set_tables(&mut self, tables: &[(u32, Slots)]) -> Result<(), Error> {
        slots::put(array_of_maps_fd(&self.ebpf), tables)
    }

    /// One of them.
    pub fn set_table(&mut self, service: u32, reals: &[u32]) -> Result<(), Error> {
        self.set_tables(&[(service, Slots::plain(reals))])
    }

    /// A real server's flows of now, as the schedulers see them, its share, and whether it is
    /// overloaded.
    pub fn load_of(&self, real: u32) -> (Tally, Share, bool) {
        self.loads.of(real)
    }

    /// Its weight, and how many flows it may have.
    pub fn set_share(&self, real: u32, share: Share) {
        self.loads.set(real, share);
    }

    /// The reals in use, with their indices and methods.
    pub fn reals(&mut self) -> Result<Vec<(u32, Real, Forward)>, Error> {
        let mut found = Vec::new();
        let map = self.array::<Real>("reals")?;
        for index in 0..MAX_REALS {
            let real = map.get(&index, 0)?;
            if real.flags & REAL_USED != 0 {
                let forward = match real.flags & REAL_NAT {
                    0 => Forward::Direct,
                    _ => Forward::Nat,
                };
                found.push((index, real, forward));
            }
        }
        let tunnels = self.array::<Tunnel>("tunnels")?;
        for (index, real, forward) in &mut found {
            if real.flags & REAL_TUNNEL != 0 {
                *forward = Forward::Tunnel(tunnels.get(index, 0)?);
            }
        }
        Ok(found)
    }

    /// Write a real server. `listed`: its flows are forwarded; `forward`: how.
    #[allow(clippy::too_many_arguments)]
    pub fn set_real(
        &mut self,
        index: u32,
        address: IpAddr,
        port: u16,
        service: u32,
        listed: bool,
        way: Way,
        forward: Forward,
    ) -> Result<(), Error> {
        if let Forward::Tunnel(tunnel) = forward {
            self.array::<Tunnel>("tunnels")?.set(index, tunnel, 0)?;
        }
        let mut map = self.array::<Real>("reals")?;
        let mut real = map.get(&index, 0)?;
        let wanted = match way {
            Way::Hop(hop) => hop,
            Way::Unknown | Way::Local => NextHop::default(),
        };
        let current = usize::from(real.current & 1);
        let turn = real.hops[current] != wanted;
        if turn {
            real.hops[1 - current] = wanted;
        }
        real.address = wide(address);
        real.port = port.to_be_bytes();
        real.service = service;
        real.flags = REAL_USED
            | if listed { REAL_LISTED } else { 0 }
            | if way == Way::Local { REAL_LOCAL } else { 0 }
            | match forward {
                Forward::Direct => 0,
                Forward::Tunnel(_) => REAL_TUNNEL,
                Forward::Nat => REAL_NAT,
            };
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
        self.loads.clear(index);
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

    /// What counts the flows, without us: a pass takes long where there are many.
    pub fn sweeper(&mut self) -> Result<Sweeper, Error> {
        let mut own = |name| -> Result<OwnedFd, Error> {
            let fd = self.hash_fd(name)?;
            fd.try_clone_to_owned().map_err(Error::Flows)
        };
        Ok(Sweeper {
            flows: own("flows")?,
            flows6: own("flows6")?,
            room: self.room,
            loads: Arc::clone(&self.loads),
            pressed: Arc::clone(&self.pressed),
        })
    }

    /// Count the flows and end the expired, as of `age_s` seconds from now (0, but for tests).
    pub fn sweep(&mut self, age_s: u32) -> Result<Sweep, Error> {
        self.sweeper()?.sweep(age_s)
    }

    /// The flows one by one, `most` of them at most.
    pub fn connections(&mut self, most: usize) -> Result<Vec<Connection>, Error> {
        let mut found = Vec::new();
        connections::list::<FlowKey>(self.hash_fd("flows")?, most, &mut found)
            .map_err(Error::Flows)?;
        connections::list::<FlowKey6>(self.hash_fd("flows6")?, most, &mut found)
            .map_err(Error::Flows)?;
        Ok(found)
    }

    /// Run the program that was loaded first on one frame, `repeat` times; `ns` is the mean of one
    /// run. The packet is not restored between runs. `context`, if given, is the program's own.
    pub fn test_run(
        &mut self,
        frame: &[u8],
        repeat: u32,
        context: Option<&[u8]>,
    ) -> Result<RunResult, Error> {
        let mut packet = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: context,
            data_out: Some(&mut packet),
            repeat,
            ..Default::default()
        };
        let result = match program(&mut self.ebpf, self.program) {
            Program::Xdp(program) => program.test_run(options)?,
            Program::SchedClassifier(program) => program.test_run(options)?,
            _ => unreachable!("{OURS}"),
        };
        packet.truncate(result.data_size_out as usize);
        Ok(RunResult {
            verdict: result.return_value as i32,
            packet,
            ns: result.duration.as_nanos() as u64,
        })
    }

    pub(crate) fn array<V: aya::Pod>(
        &mut self,
        name: &str,
    ) -> Result<Array<&mut MapData, V>, Error> {
        Ok(Array::try_from(self.ebpf.map_mut(name).expect(OURS))?)
    }

    fn per_cpu<V: aya::Pod>(&mut self, name: &str) -> Result<PerCpuArray<&mut MapData, V>, Error> {
        Ok(PerCpuArray::try_from(self.ebpf.map_mut(name).expect(OURS))?)
    }

    fn hash_fd(&mut self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        match self.ebpf.map(name).expect(OURS) {
            aya::maps::Map::HashMap(data) => Ok(data.fd().as_fd()),
            _ => Err(Error::Limit(format!("the map {name} is not a hash"))),
        }
    }
}

/// The descriptor of an array.
fn array_fd<'a>(ebpf: &'a Ebpf, name: &str) -> BorrowedFd<'a> {
    match ebpf.map(name).expect(OURS) {
        Map::Array(data) => data.fd().as_fd(),
        _ => unreachable!("{OURS}"),
    }
}

fn array_of_maps_fd(ebpf: &Ebpf) -> BorrowedFd<'_> {
    match ebpf.map("tables").expect(OURS) {
        Map::ArrayOfMaps(data) => data.fd().as_fd(),
        _ => unreachable!("{OURS}"),
    }
}

pub(crate) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}
