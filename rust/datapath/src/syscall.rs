//! What aya does not have of bpf(2): batches, and maps by raw descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_long = 0;
pub const LOOKUP: libc::c_long = 1;
pub const UPDATE: libc::c_long = 2;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
pub const LOOKUP_AND_DELETE: libc::c_long = 21;
pub const LOOKUP_BATCH: libc::c_long = 24;
pub const UPDATE_BATCH: libc::c_long = 26;
pub const NOEXIST: u64 = 1;
const TYPE_ARRAY: u32 = 2;

#[repr(C)]
#[derive(Default)]
pub struct BatchAttribute {
    pub in_batch: u64,
    pub out_batch: u64,
    pub keys: u64,
    pub values: u64,
    pub count: u32,
    pub map_fd: u32,
    pub elem_flags: u64,
    pub flags: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct ElementAttribute {
    pub map_fd: u32,
    pub padding: u32,
    pub key: u64,
    pub value: u64,
    pub flags: u64,
}

pub fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attribute` is the prefix of union bpf_attr that the command reads and writes; every
    // pointer in it comes from a live buffer of the size that the map's layout asks for.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attribute as *mut T, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn owned(descriptor: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just given it to us.
    unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) }
}

/// An array of 32-bit words, nowhere pinned.
pub fn new_array(words: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attribute: [u32; 5] = [TYPE_ARRAY, 4, 4, words, flags];
    bpf(MAP_CREATE, &mut attribute).map(owned)
}

/// The map that an array of maps holds there; None: none.
pub fn inner(maps: BorrowedFd<'_>, index: u32) -> io::Result<Option<OwnedFd>> {
    let mut id = 0u32;
    let mut attribute = ElementAttribute {
        map_fd: maps.as_raw_fd() as u32,
        key: &index as *const u32 as u64,
        value: &mut id as *mut u32 as u64,
        ..Default::default()
    };
    match bpf(LOOKUP, &mut attribute) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    bpf(MAP_GET_FD_BY_ID, &mut [id, 0, 0]).map(|fd| Some(owned(fd)))
}

/// Write words by key, all in one call.
pub fn update_words(map: BorrowedFd<'_>, keys: &[u32], values: &[u32]) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut attribute = BatchAttribute {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: map.as_raw_fd() as u32,
        ..Default::default()
    };
    bpf(UPDATE_BATCH, &mut attribute).map(drop)
}

/// The first words of an array.
pub fn read_words(map: BorrowedFd<'_>, count: usize) -> io::Result<Vec<u32>> {
    let (mut keys, mut values) = (vec![0u32; count], vec![0u32; count]);
    let mut position = 0u32;
    let mut attribute = BatchAttribute {
        out_batch: &mut position as *mut u32 as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: count as u32,
        map_fd: map.as_raw_fd() as u32,
        ..Default::default()
    };
    match bpf(LOOKUP_BATCH, &mut attribute) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        _ => {}
    }
    values.truncate(attribute.count as usize);
    Ok(values)
}
