//! nginx's own hashes, so that a change of the program keeps every client where it was.

use crate::balance::Peer;

/// The ketama ring, as Cache::Memcached::Fast and nginx make it: 160 points for each weight.
pub fn points(peers: &[Peer]) -> Vec<(u32, usize)> {
    let mut points = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, peer) in peers.iter().enumerate() {
        if peer.backup || names.contains(&peer.name.as_str()) {
            continue;
        }
        names.push(&peer.name);
        let (host, port) = peer.name.rsplit_once(':').unwrap_or((&peer.name, ""));
        let base = [host.as_bytes(), b"\0", port.as_bytes()].concat();
        let mut before = 0u32;
        for _ in 0..peer.weight * 160 {
            before = crc32(0, &[base.as_slice(), &before.to_le_bytes()].concat());
            points.push((before, index));
        }
    }
    points.sort_by_key(|point| point.0);
    points.dedup_by_key(|point| point.0);
    points
}

pub fn crc32(start: u32, data: &[u8]) -> u32 {
    let mut crc = !start;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg();
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_usual_one() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
    }
}
