//! In whose name the real servers of NAT services answer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::maps::HashMap;

use crate::datapath::{Datapath, Error};
use crate::keys::{wide, Listen};
use crate::layout::{Origin, OriginKey, MAX_ORIGINS, NO_ORIGIN};

/// A real server of a NAT service: its index, where it is, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    pub real: u32,
    pub address: IpAddr,
    pub port: u16,
    pub service: Listen,
}

/// What the maps `nat_reals` and `origins` are to hold. Real servers with one address, port and
/// protocol in several services are a chain.
#[derive(Debug, Default)]
pub struct Origins {
    pub first: BTreeMap<OriginKey, u32>,
    pub each: BTreeMap<u32, Origin>,
}

impl Origins {
    pub fn of(behind: &[Behind]) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut lengths = BTreeMap::<OriginKey, usize>::new();
        for each in behind {
            let key = OriginKey {
                address: wide(each.address),
                port: each.port.to_be_bytes(),
                protocol: each.service.protocol,
                version: if each.address.is_ipv4() { 4 } else { 6 },
            };
            let length = lengths.entry(key).or_default();
            *length += 1;
            if *length > MAX_ORIGINS {
                let (address, port) = (each.address, each.port);
                return Err(Error::Limit(format!(
                    "{address}:{port} is a real server of more than {MAX_ORIGINS} NAT services"
                )));
            }
            let origin = Origin {
                address: wide(each.service.address),
                port: each.service.port.to_be_bytes(),
                zero: 0,
                next: found.first.insert(key, each.real).unwrap_or(NO_ORIGIN),
            };
            found.each.insert(each.real, origin);
        }
        Ok(found)
    }
}

impl Datapath {
    /// In whose name the real servers of NAT services answer: all of them, and no others.
    pub fn set_origins(&mut self, behind: &[Behind]) -> Result<(), Error> {
        let wanted = Origins::of(behind)?;
        let mut origins = self.array::<Origin>("origins")?;
        for (real, origin) in &wanted.each {
            origins.set(*real, origin, 0)?;
        }
        let mut firsts = HashMap::<_, OriginKey, u32>::try_from(self.map("nat_reals"))?;
        let there: Vec<OriginKey> = firsts.keys().collect::<Result<_, _>>()?;
        for (key, real) in &wanted.first {
            firsts.insert(key, real, 0)?;
        }
        for key in there.iter().filter(|key| !wanted.first.contains_key(*key)) {
            firsts.remove(key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(real: u32, port: u16, vip: u8) -> Behind {
        let service = Listen {
            address: [10, 0, 0, vip].into(),
            port: 80,
            protocol: 6,
        };
        Behind {
            real,
            address: [10, 0, 1, 1].into(),
            port,
            service,
        }
    }

    #[test]
    fn those_of_one_address_and_port_are_a_chain() {
        let found = Origins::of(&[behind(3, 80, 1), behind(4, 81, 1), behind(9, 80, 2)]).unwrap();
        let mut firsts: Vec<u32> = found.first.values().copied().collect();
        firsts.sort();
        assert_eq!(firsts, [4, 9]);
        let next = |real| found.each[&real].next;
        assert_eq!([next(9), next(3), next(4)], [3, NO_ORIGIN, NO_ORIGIN]);
    }

    #[test]
    fn a_chain_has_an_end() {
        let many: Vec<_> = (0..=MAX_ORIGINS as u8)
            .map(|n| behind(n.into(), 80, n))
            .collect();
        assert!(Origins::of(&many[1..]).is_ok());
        assert!(Origins::of(&many).is_err());
    }
}
