//! The virtual services: which addresses and ports are served, and how.

use aya::maps::{HashMap, MapData};

use crate::datapath::{is_absent, Datapath, Error};
use crate::keys::{service_key, AnyServiceKey, Listen};
use crate::layout::{Service, ServiceKey, ServiceKey6};

impl Datapath {
    pub fn services(&mut self) -> Result<Vec<(Listen, Service)>, Error> {
        let mut found = Vec::new();
        for entry in self.services4()?.iter() {
            let (key, service) = entry?;
            let listen = Listen {
                address: key.address.into(),
                port: u16::from_be_bytes(key.port),
                protocol: key.protocol,
            };
            found.push((listen, service));
        }
        for entry in self.services6()?.iter() {
            let (key, service) = entry?;
            let listen = Listen {
                address: key.address.into(),
                port: u16::from_be_bytes(key.port),
                protocol: key.protocol,
            };
            found.push((listen, service));
        }
        Ok(found)
    }

    /// `flags`: `SERVICE_SYNC` for an IPv4 service of TCP alone.
    pub fn set_service(&mut self, listen: Listen, value: Service) -> Result<(), Error> {
        match service_key(listen) {
            AnyServiceKey::V4(key) => self.services4()?.insert(key, value, 0)?,
            AnyServiceKey::V6(key) => self.services6()?.insert(key, value, 0)?,
        }
        self.changed();
        Ok(())
    }

    pub fn remove_service(&mut self, listen: Listen) -> Result<(), Error> {
        let result = match service_key(listen) {
            AnyServiceKey::V4(key) => self.services4()?.remove(&key),
            AnyServiceKey::V6(key) => self.services6()?.remove(&key),
        };
        match result {
            Err(error) if is_absent(&error) => {}
            other => other?,
        }
        self.changed();
        Ok(())
    }

    fn services4(&mut self) -> Result<HashMap<&mut MapData, ServiceKey, Service>, Error> {
        Ok(HashMap::try_from(self.map("services"))?)
    }

    fn services6(&mut self) -> Result<HashMap<&mut MapData, ServiceKey6, Service>, Error> {
        Ok(HashMap::try_from(self.map("services6"))?)
    }
}
