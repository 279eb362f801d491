//! The pinned maps: which there are, and whether those that are found can be adopted.

use std::fs;
use std::io;
use std::path::Path;

use aya::maps::{Array, MapData, MapInfo};

use crate::datapath::Error;
use crate::layout::LAYOUT_VERSION;

pub const MAPS: [&str; 18] = [
    "services",
    "services6",
    "tables",
    "cursors",
    "reals",
    "tunnels",
    "flows",
    "flows6",
    "fragments",
    "answers",
    "station",
    "counters",
    "loads",
    "clients",
    "favourites",
    "reasons",
    "told",
    "layout",
];

/// The maps pinned there are whole, of this layout and of the wanted size.
pub fn adoptable(directory: &Path, max_flows: u32) -> bool {
    let whole = MAPS
        .iter()
        .all(|name| max_entries(directory, name).is_some());
    let version = MapData::from_pin(directory.join("layout"))
        .and_then(aya::maps::Map::from_map_data)
        .ok()
        .and_then(|map| Array::<_, u32>::try_from(map).ok()?.get(&0, 0).ok());
    whole && version == Some(LAYOUT_VERSION) && max_entries(directory, "flows") == Some(max_flows)
}

pub fn max_entries(directory: &Path, name: &str) -> Option<u32> {
    let info = MapInfo::from_pin(directory.join(name)).ok()?;
    Some(info.max_entries())
}

pub fn make_directory(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(|error| Error::Pin {
        path: directory.to_owned(),
        error,
    })
}

pub fn unpin(directory: &Path, names: &[&str]) -> Result<(), Error> {
    for name in names {
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
