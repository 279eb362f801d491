//! Flow sync: directors tell each other of their flows, so that none is lost with one of them.
//!
//! The program puts what the peers must know into a ring; a thread of our own batches it for a few
//! milliseconds and sends it to each peer by UDP. Two directors that meet tell each other the whole
//! table; live flows are told again from time to time, so that they do not expire at the peer.

mod peer;
mod station;
mod table;
pub mod wire;

pub use peer::{Counts, Heard, Peer};
pub use station::{FlowSync, PeerStatus, Settings, SyncStatus};
pub use table::SyncMaps;
