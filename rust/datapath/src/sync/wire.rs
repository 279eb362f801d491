//! Datagrams between directors. Pure: bytes in, values out.
//!
//! All numbers are big-endian. A datagram is a header of 40 bytes, records of 22 bytes each, and the
//! first 16 bytes of HMAC-SHA256 over both:
//!
//! | bytes | header |
//! |---|---|
//! | 4 | "TFS1" |
//! | 1 | kind: 0 HELLO, 1 FLOWS, 2 NACK |
//! | 1 | 0 |
//! | 2 | how many records follow (0 but for FLOWS) |
//! | 8 | the sender's session: a random number of this start |
//! | 8 | the receiver's session as the sender knows it, 0 if it does not |
//! | 8 | HELLO: the highest number sent; FLOWS: its number, from 1; NACK: the first one missing |
//! | 8 | HELLO: 1 + the number with which the whole table was told, 0 before; NACK: the last missing |
//!
//! Whatever does not carry the receiver's own session is at most answered: so nothing recorded before
//! can be played back to it.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::layout::{FlowKey, STATE_COUNT, STATE_NONE};

pub const HEADER: usize = 40;
pub const RECORD: usize = 22;
pub const TAG: usize = 16;
/// Fits an Ethernet frame with IPv6 and UDP headers.
pub const MAX_RECORDS: usize = (1400 - HEADER - TAG) / RECORD;
pub const MAX_DATAGRAM: usize = HEADER + MAX_RECORDS * RECORD + TAG;
const MAGIC: [u8; 4] = *b"TFS1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hello,
    Flows,
    Nack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub session: u64,
    pub echo: u64,
    pub number: u64,
    pub last: u64,
}

/// One flow: where it goes, its state, and for how many seconds it was silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: FlowKey,
    pub state: u8,
    pub age_s: u16,
    pub real_address: [u8; 4],
    pub real_port: [u8; 2],
}

/// The shared secret, ready for use.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    pub fn seal(&self, header: &Header, records: &[Record]) -> Vec<u8> {
        assert!(records.len() <= MAX_RECORDS);
        let mut data = Vec::with_capacity(HEADER + records.len() * RECORD + TAG);
        data.extend_from_slice(&MAGIC);
        data.extend_from_slice(&[header.kind as u8, 0]);
        data.extend_from_slice(&(records.len() as u16).to_be_bytes());
        for number in [header.session, header.echo, header.number, header.last] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        for record in records {
            data.extend_from_slice(&record.key.source_address);
            data.extend_from_slice(&record.key.address);
            data.extend_from_slice(&record.key.source_port);
            data.extend_from_slice(&record.key.port);
            data.extend_from_slice(&[record.key.protocol as u8, record.state]);
            data.extend_from_slice(&record.age_s.to_be_bytes());
            data.extend_from_slice(&record.real_address);
            data.extend_from_slice(&record.real_port);
        }
        let tag = self.0.clone().chain_update(&data).finalize().into_bytes();
        data.extend_from_slice(&tag[..TAG]);
        data
    }

    /// None for whatever is not whole, well-formed and sealed with this key.
    pub fn open(&self, datagram: &[u8]) -> Option<(Header, Vec<Record>)> {
        let (data, tag) = datagram.split_at_checked(datagram.len().checked_sub(TAG)?)?;
        if data.len() < HEADER || datagram.len() > MAX_DATAGRAM || data[..4] != MAGIC {
            return None;
        }
        let mac = self.0.clone().chain_update(data);
        mac.verify_truncated_left(tag).ok()?;
        let (head, body) = data.split_at(HEADER);
        let kind = match head[4] {
            0 => Kind::Hello,
            1 => Kind::Flows,
            2 => Kind::Nack,
            _ => return None,
        };
        let long = |at: usize| u64::from_be_bytes(array(head, at));
        let header = Header {
            kind,
            session: long(8),
            echo: long(16),
            number: long(24),
            last: long(32),
        };
        let count = usize::from(u16::from_be_bytes(array(head, 6)));
        if count * RECORD != body.len() || header.session == 0 {
            return None;
        }
        let records = body
            .chunks_exact(RECORD)
            .map(record)
            .collect::<Option<_>>()?;
        Some((header, records))
    }
}

fn array<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    data[at..at + N]
        .try_into()
        .expect("the slice has this length")
}

fn record(data: &[u8]) -> Option<Record> {
    let state = data[13];
    (state != STATE_NONE && state < STATE_COUNT).then(|| Record {
        key: FlowKey {
            source_address: array(data, 0),
            address: array(data, 4),
            source_port: array(data, 8),
            port: array(data, 10),
            protocol: u32::from(data[12]),
        },
        state,
        age_s: u16::from_be_bytes(array(data, 14)),
        real_address: array(data, 16),
        real_port: array(data, 20),
    })
}
