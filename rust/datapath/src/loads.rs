//! The real servers' flows of now, in memory shared with the program (bpf/load.h): it counts what
//! begins and changes, we what ends. All additions are atomic.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::flows::Tally;
use crate::layout::{is_active, Load, MAX_REALS};

/// `Load` as it is shared.
#[repr(C)]
struct Cell {
    active: AtomicU32,
    inactive: AtomicU32,
    weight: AtomicU32,
    upper: AtomicU32,
    lower: AtomicU32,
    overloaded: AtomicU32,
    zero: [u32; 2],
}

const _: () = assert!(size_of::<Cell>() == size_of::<Load>());

/// What bounds a real server: `upper` flows make it overloaded, until fewer than `lower` are left
/// (0: three quarters of `upper`). 0: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub weight: u32,
    pub upper: u32,
    pub lower: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            weight: 1,
            upper: 0,
            lower: 0,
        }
    }
}

pub struct Loads {
    cells: NonNull<Cell>,
}

// SAFETY: the memory is shared with the kernel anyway, and touched by atomics alone.
unsafe impl Send for Loads {}
unsafe impl Sync for Loads {}

const BYTES: usize = MAX_REALS as usize * size_of::<Cell>();

impl Loads {
    /// `map` is the map `loads`.
    pub fn open(map: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: a new mapping, of the map's own size (a multiple of the page's).
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let cells = NonNull::new(memory.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { cells })
    }

    fn cells(&self) -> &[Cell] {
        // SAFETY: mapped for as long as `self` is, and valid whatever it holds.
        unsafe { std::slice::from_raw_parts(self.cells.as_ptr(), MAX_REALS as usize) }
    }

    fn cell(&self, real: u32) -> Option<&Cell> {
        self.cells().get(real as usize)
    }

    /// Where it stands now, and whether it is overloaded.
    pub fn of(&self, real: u32) -> (Tally, Share, bool) {
        let Some(cell) = self.cell(real) else {
            return Default::default();
        };
        let share = Share {
            weight: cell.weight.load(Relaxed),
            upper: cell.upper.load(Relaxed),
            lower: cell.lower.load(Relaxed),
        };
        (cell.tally(), share, cell.overloaded.load(Relaxed) != 0)
    }

    pub fn tallies(&self) -> Vec<Tally> {
        self.cells().iter().map(Cell::tally).collect()
    }

    pub fn set(&self, real: u32, share: Share) {
        let Some(cell) = self.cell(real) else { return };
        cell.weight.store(share.weight, Relaxed);
        cell.lower.store(share.lower, Relaxed);
        // As IPVS: a bound that is lifted, or raised, ends an overload.
        if share.upper == 0 || share.upper > cell.upper.load(Relaxed) {
            cell.overloaded.store(0, Relaxed);
        }
        cell.upper.store(share.upper, Relaxed);
    }

    /// Be what the others are now.
    pub fn resemble(&self, others: &Loads) {
        for (own, other) in self.cells().iter().zip(others.cells()) {
            for (place, value) in own.words().into_iter().zip(other.words()) {
                place.store(value.load(Relaxed), Relaxed);
            }
        }
    }

    pub fn clear(&self, real: u32) {
        let Some(cell) = self.cell(real) else { return };
        for place in cell.words() {
            place.store(0, Relaxed);
        }
    }

    pub fn enter(&self, real: u32, state: u8) {
        let Some(cell) = self.cell(real) else { return };
        cell.side(state).fetch_add(1, Relaxed);
        let upper = cell.upper.load(Relaxed);
        if upper != 0 && cell.tally().total() >= u64::from(upper) {
            cell.overloaded.store(1, Relaxed);
        }
    }

    pub fn leave(&self, real: u32, state: u8) {
        let Some(cell) = self.cell(real) else { return };
        cell.side(state).fetch_sub(1, Relaxed);
        cell.relieve();
    }

    /// So many left; or, negative, were missing in the count.
    pub fn take(&self, real: u32, active: i64, inactive: i64) {
        let Some(cell) = self.cell(real) else { return };
        cell.active.fetch_sub(active as u32, Relaxed);
        cell.inactive.fetch_sub(inactive as u32, Relaxed);
        cell.relieve();
    }
}

impl Cell {
    fn words(&self) -> [&AtomicU32; 6] {
        let [a, b, c] = [&self.active, &self.inactive, &self.weight];
        [a, b, c, &self.upper, &self.lower, &self.overloaded]
    }

    fn side(&self, state: u8) -> &AtomicU32 {
        if is_active(state) {
            &self.active
        } else {
            &self.inactive
        }
    }

    fn tally(&self) -> Tally {
        Tally {
            active: self.active.load(Relaxed).into(),
            inactive: self.inactive.load(Relaxed).into(),
        }
    }

    /// As IPVS: below `lower`, or three quarters of `upper`, it takes flows again.
    fn relieve(&self) {
        if self.overloaded.load(Relaxed) == 0 {
            return;
        }
        let (upper, lower) = (self.upper.load(Relaxed), self.lower.load(Relaxed));
        let total = self.tally().total();
        if match (lower, upper) {
            (0, upper) => upper == 0 || total * 4 < u64::from(upper) * 3,
            (lower, _) => total < u64::from(lower),
        } {
            self.overloaded.store(0, Relaxed);
        }
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.cells.as_ptr().cast(), BYTES) };
    }
}
