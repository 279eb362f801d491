//! The services' tables: each is built whole, then all take their places in one call.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::datapath::Error;
use crate::layout::{MAX_SLOTS, TABLE_HAS_LEVELS};
use crate::maglev;
use crate::syscall::{inner, new_array, read_words, update_words};

const BPF_F_INNER_MAP: u32 = 1 << 12;
const MOST_AT_ONCE: usize = 1024;

/// What a service's table holds.
#[derive(Clone, Debug)]
pub enum Slots {
    /// `levels` of an interleaved cycle: (last turn's end, least weight, how many reach it).
    Plain {
        reals: Vec<u32>,
        levels: Vec<(u32, u32, u32)>,
    },
    Maglev(Vec<maglev::Member>),
}

impl Slots {
    pub fn plain(reals: &[u32]) -> Self {
        Self::Plain {
            reals: reals.to_vec(),
            levels: Vec::new(),
        }
    }

    /// As the program reads it (bpf/layout.h).
    fn words(&self) -> Result<Vec<u32>, Error> {
        let filled;
        let (reals, levels): (&[u32], &[_]) = match self {
            Self::Plain { reals, levels } => (reals, levels),
            Self::Maglev(members) => {
                filled = maglev::slots(members);
                (&filled, &[])
            }
        };
        if reals.len() > MAX_SLOTS as usize {
            return Err(Error::Limit(format!(
                "a table has at most {MAX_SLOTS} slots, not {}",
                reals.len()
            )));
        }
        let mark = if levels.is_empty() {
            0
        } else {
            TABLE_HAS_LEVELS
        };
        let mut words = Vec::with_capacity(reals.len() + 3 * levels.len() + 2);
        words.push(reals.len() as u32 | mark);
        words.extend(reals);
        if !levels.is_empty() {
            words.push(levels.len() as u32);
            words.extend(
                levels
                    .iter()
                    .flat_map(|&(end, weight, count)| [end, weight, count]),
            );
        }
        Ok(words)
    }
}

/// Put the tables in their places in the map `tables`. On return no packet is being looked at with
/// an old one.
pub fn put(tables: BorrowedFd<'_>, wanted: &[(u32, Slots)]) -> Result<(), Error> {
    let mut made = Vec::with_capacity(wanted.len());
    // In parts: each new table is a descriptor until it is in its place.
    for part in wanted.chunks(MOST_AT_ONCE) {
        for (_, slots) in part {
            made.push(table(&slots.words()?)?);
        }
        let keys: Vec<u32> = part.iter().map(|(service, _)| *service).collect();
        let values: Vec<u32> = made.iter().map(|table| table.as_raw_fd() as u32).collect();
        update_words(tables, &keys, &values).map_err(Error::Tables)?;
        made.clear();
    }
    Ok(())
}

fn table(words: &[u32]) -> Result<OwnedFd, Error> {
    let count = words.len() as u32;
    let table = new_array(count, BPF_F_INNER_MAP).map_err(Error::Tables)?;
    let keys: Vec<u32> = (0..count).collect();
    update_words(table.as_fd(), &keys, words).map_err(Error::Tables)?;
    Ok(table)
}

/// The reals that a service's table names, in its order; empty where there is none.
pub fn read(tables: BorrowedFd<'_>, service: u32) -> Result<Vec<u32>, Error> {
    let Some(table) = inner(tables, service).map_err(Error::Tables)? else {
        return Ok(Vec::new());
    };
    let words = |count| read_words(table.as_fd(), count).map_err(Error::Tables);
    let length = (words(1)?[0] & !TABLE_HAS_LEVELS) as usize;
    Ok(words(length + 1)?.split_off(1))
}
