//! The programs: those of ours, one for each hook, and any other that is loaded.

use std::os::fd::{AsFd, OwnedFd};

use aya::programs::{loaded_programs, Program, ProgramError};
use aya::Ebpf;

use crate::datapath::Error;

pub const OURS: &str = "bpf/ defines it";

/// Where the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Tc,
    Xdp,
}

impl Hook {
    pub fn program(self) -> &'static str {
        match self {
            Hook::Tc => "director_tc",
            Hook::Xdp => "director_xdp",
        }
    }
}

pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Program {
    ebpf.program_mut(name).expect(OURS)
}

/// Idempotent.
pub fn load_program(ebpf: &mut Ebpf, name: &str) -> Result<(), Error> {
    let result = match program(ebpf, name) {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => unreachable!("{OURS}"),
    };
    match result {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => Ok(other?),
    }
}

/// The name of any loaded program, and a descriptor of it; None when there is none of that id.
pub fn program_of(id: u32) -> Result<Option<(String, OwnedFd)>, Error> {
    // Others come and go while we look: those that cannot be read are not the one.
    let Some(info) = loaded_programs().flatten().find(|info| info.id() == id) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(info.name()).into_owned();
    let fd = info.fd()?.as_fd().try_clone_to_owned();
    Ok(Some((name, fd.map_err(Error::Sync)?)))
}
