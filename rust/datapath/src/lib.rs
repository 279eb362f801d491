//! Loads and drives the eBPF director. No Python in it.

mod datapath;
mod flows;
pub mod layout;
pub mod sync;

pub use datapath::{Datapath, Error, HopChange, RunResult};
pub use flows::{Sweep, Tally};

/// The compiled bpf/director.bpf.c.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/director.bpf.o"));
