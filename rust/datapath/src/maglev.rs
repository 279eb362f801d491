//! The slots of an `mh` service, bit for bit those of ip_vs_mh: so a kernel's director and ours send
//! a client to the same real server.

use std::net::IpAddr;

/// IPVS's default (CONFIG_IP_VS_MH_TAB_INDEX 12).
pub const SLOTS: usize = 4093;

/// One real server; `turns` is how many slots it takes at a time.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub real: u32,
    pub address: IpAddr,
    pub port: u16,
    pub turns: u32,
}

const OFFSET_KEY: u64 = 2_654_435_761;
const SKIP_KEY: u64 = 2_654_446_892;

/// SipHash-1-3 of one 32-bit word, folded to 32 bits, both halves of the key alike: the kernel's
/// `hsiphash` on 64-bit machines. bpf/hash.h has it too.
fn hsiphash(word: u32, key: u64) -> u32 {
    let mut v = [
        0x736f_6d65_7073_6575 ^ key,
        0x646f_7261_6e64_6f6d ^ key,
        0x6c79_6765_6e65_7261 ^ key,
        0x7465_6462_7974_6573 ^ key,
    ];
    let block = 4 << 56 | u64::from(word);
    v[3] ^= block;
    round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// An address as one word: IPv6's four words together.
fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0]
                .iter()
                .fold(0, |sum, shift| sum ^ (bits >> shift) as u32)
        }
    }
}

/// The real server of every slot, the members in IPVS's order (the newest first); empty when none
/// takes a turn.
pub fn slots(members: &[Member]) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let mut walkers: Vec<(u32, u32, usize, usize)> = members
        .iter()
        .filter(|member| member.turns > 0)
        .map(|member| {
            let word = folded(member.address).wrapping_add(u32::from(member.port));
            let place = hsiphash(word, OFFSET_KEY) as usize % SLOTS;
            let skip = hsiphash(word, SKIP_KEY) as usize % (SLOTS - 1) + 1;
            (member.real, member.turns, place, skip)
        })
        .collect();
    if walkers.is_empty() {
        return Vec::new();
    }
    let mut table = vec![FREE; SLOTS];
    let mut left = SLOTS;
    loop {
        for (real, turns, place, skip) in &mut walkers {
            for _ in 0..*turns {
                while table[*place] != FREE {
                    *place = (*place + *skip) % SLOTS;
                }
                table[*place] = *real;
                left -= 1;
                if left == 0 {
                    return table;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(real: u32, turns: u32) -> Member {
        let address = IpAddr::from([10, 0, 0, real as u8]);
        Member {
            real,
            address,
            port: 80,
            turns,
        }
    }

    #[test]
    fn nobody_has_no_slots() {
        assert!(slots(&[]).is_empty());
        assert!(slots(&[member(1, 0)]).is_empty());
    }

    #[test]
    fn everybody_has_a_share_by_turns() {
        let table = slots(&[member(3, 1), member(2, 2), member(1, 0)]);
        let share = |real| table.iter().filter(|&&each| each == real).count();
        assert_eq!((table.len(), share(1)), (SLOTS, 0));
        assert!(share(3).abs_diff(SLOTS / 3) <= 1);
    }

    #[test]
    fn few_others_move_when_one_leaves() {
        let all: Vec<Member> = (1..=10).map(|real| member(real, 1)).collect();
        let (before, after) = (slots(&all), slots(&all[1..]));
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(was, is)| **was != 1 && was != is)
            .count();
        assert!(moved < SLOTS / 20, "{moved} slots of others moved");
    }
}
