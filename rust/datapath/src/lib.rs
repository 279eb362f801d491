//! Loads and drives the eBPF director. No Python in it.

mod connections;
mod datapath;
mod explain;
mod flows;
mod keys;
pub mod layout;
mod pins;
pub mod sync;

pub use connections::Connection;
pub use datapath::{program_of, Datapath, Error, Hook, Room, RunResult, Way};
pub use explain::{Conversation, Explanation, KnownFlow};
pub use flows::{Sweep, Tally};
pub use keys::{narrow, wide, Listen};

/// The compiled bpf/director.bpf.c.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/director.bpf.o"));
