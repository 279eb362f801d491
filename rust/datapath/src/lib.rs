//! Loads and drives the eBPF director. No Python in it.

mod connections;
mod datapath;
mod explain;
mod flows;
mod keys;
pub mod layout;
mod loads;
pub mod maglev;
mod nat;
mod pins;
mod program;
mod services;
mod slots;
mod sweeper;
pub mod sync;
mod syscall;

pub use connections::Connection;
pub use datapath::{Datapath, Error, Forward, Room, RunResult, Way};
pub use explain::{Conversation, Explanation, KnownFlow};
pub use flows::{Sweep, Tally};
pub use keys::{narrow, wide, Listen};
pub use loads::Share;
pub use nat::Behind;
pub use program::{program_of, Hook};
pub use slots::Slots;

/// The compiled bpf/director.bpf.c.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/director.bpf.o"));
