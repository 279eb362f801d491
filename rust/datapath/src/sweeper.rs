//! One pass over the flow tables, apart from the rest: it takes long where there are many flows.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use crate::datapath::{Error, Room};
use crate::flows::{self, Patience, Sweep};
use crate::layout::{FlowKey, FlowKey6};
use crate::loads::Loads;

/// The flow tables alone, and the loads that follow from them.
pub struct Sweeper {
    pub(crate) flows: OwnedFd,
    pub(crate) flows6: OwnedFd,
    pub(crate) room: Room,
    pub(crate) loads: Arc<Loads>,
    /// The last pass found a table nearly full.
    pub(crate) pressed: Arc<AtomicBool>,
}

impl Sweeper {
    /// See `Datapath::sweep`.
    pub fn sweep(&self, age_s: u32) -> Result<Sweep, Error> {
        let patience = Patience {
            now_s: flows::now_s().saturating_add(age_s),
            pressed: self.pressed.load(Relaxed),
        };
        let before = self.loads.tallies();
        let mut sweep = Sweep::new();
        flows::sweep::<FlowKey>(self.flows.as_fd(), patience, &mut sweep).map_err(Error::Flows)?;
        let first = sweep.live;
        flows::sweep::<FlowKey6>(self.flows6.as_fd(), patience, &mut sweep)
            .map_err(Error::Flows)?;
        sweep.settle(&self.loads, &before);
        let nearly_full = |live: u64, room: u32| room > 1 && live * 4 > u64::from(room) * 3;
        let pressed = nearly_full(first, self.room.flows)
            || nearly_full(sweep.live - first, self.room.flows6);
        self.pressed.store(pressed, Relaxed);
        Ok(sweep)
    }
}
