//! One peer's side of the protocol: sessions, numbers, gaps, repair. Pure: datagrams and the time in,
//! datagrams and records out.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::wire::{Header, Key, Kind, Record, MAX_RECORDS};

const HELLO_EVERY: Duration = Duration::from_millis(100);
const GONE_AFTER: Duration = Duration::from_secs(1);
const NACK_EVERY: Duration = Duration::from_millis(20);
/// Datagrams kept for repair; what is older is repaired by the whole table.
const HISTORY: usize = 4096;
/// More missing than this: ask for the whole table.
const MAX_MISSING: u64 = 2048;
/// Numbers of one NACK that are answered: a peer cannot make us flood it.
const MAX_RESENT: u64 = 256;

/// What the numbers were in the end, for `status`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub told: u64,
    pub heard: u64,
    pub resent: u64,
    pub missed: u64,
}

/// What came out of a datagram.
#[derive(Debug, Default)]
pub struct Heard {
    pub records: Vec<Record>,
    pub replies: Vec<Vec<u8>>,
    /// The peer needs the whole table: it is new, or what it misses is not kept any more.
    pub wants_all: bool,
}

pub struct Peer {
    key: Key,
    session: u64,
    theirs: u64,
    heard_at: Option<Instant>,
    hello_at: Option<Instant>,
    nacked_at: Option<Instant>,
    sent: u64,
    /// 1 + the number that ends the whole table as told to the peer; 0 while it is being told.
    all_told: u64,
    history: VecDeque<Vec<u8>>,
    highest: u64,
    missing: BTreeSet<u64>,
    /// Some numbers are beyond repair: the whole table is needed.
    lost: bool,
    /// The same of the peer's.
    all_heard: u64,
    pub counts: Counts,
}

impl Peer {
    pub fn new(key: Key, session: u64) -> Self {
        Self {
            key,
            session,
            theirs: 0,
            heard_at: None,
            hello_at: None,
            nacked_at: None,
            sent: 0,
            all_told: 0,
            history: VecDeque::new(),
            highest: 0,
            missing: BTreeSet::new(),
            lost: false,
            all_heard: 0,
            counts: Counts::default(),
        }
    }

    /// It speaks to us, in a session that knows ours.
    pub fn is_there(&self, now: Instant) -> bool {
        self.theirs != 0
            && self
                .heard_at
                .is_some_and(|at| now.saturating_duration_since(at) < GONE_AFTER)
    }

    /// Everything it had when it met us is here.
    pub fn is_caught_up(&self) -> bool {
        self.theirs != 0
            && self.all_heard != 0
            && !self.lost
            && self.highest + 1 >= self.all_heard
            && self
                .missing
                .first()
                .is_none_or(|&first| first >= self.all_heard)
    }

    /// Number the records and seal them; empty while there is nobody to tell (who comes later gets
    /// the whole table).
    pub fn tell(&mut self, records: &[Record]) -> Vec<Vec<u8>> {
        if self.theirs == 0 {
            return Vec::new();
        }
        self.counts.told += records.len() as u64;
        let mut datagrams = Vec::new();
        for part in records.chunks(MAX_RECORDS) {
            self.sent += 1;
            let datagram = self.key.seal(&self.header(Kind::Flows, self.sent, 0), part);
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(datagram.clone());
            datagrams.push(datagram);
        }
        datagrams
    }

    /// The whole table is being told from here on.
    pub fn begin_all(&mut self) {
        self.all_told = 0;
    }

    /// ... and was told with what was numbered last.
    pub fn end_all(&mut self) -> Vec<u8> {
        self.all_told = self.sent + 1;
        self.hello()
    }

    pub fn take(&mut self, header: &Header, records: Vec<Record>, now: Instant) -> Heard {
        let mut heard = Heard::default();
        if header.echo != self.session {
            // It does not know this session (or this is an old recording): say hello, believe
            // nothing. Its answer will carry our session.
            if header.kind == Kind::Hello {
                heard.replies.push(if header.session == self.theirs {
                    self.hello()
                } else {
                    self.hello_to(header.session)
                });
            }
            return heard;
        }
        if header.session != self.theirs {
            self.meet(header.session);
            heard.wants_all = true;
            heard.replies.push(self.hello());
        }
        self.heard_at = Some(now);
        match header.kind {
            Kind::Hello => {
                self.lost &= header.last == self.all_heard || header.last == 0;
                self.all_heard = header.last;
                self.expect_up_to(header.number);
            }
            Kind::Flows => {
                if self.is_new(header.number) {
                    self.counts.heard += records.len() as u64;
                    heard.records = records;
                }
            }
            Kind::Nack => self.resend(header, &mut heard),
        }
        heard
    }

    /// What is due by now: a hello, a question for what is missing.
    pub fn due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let passed = |at: Option<Instant>, least| {
            at.is_none_or(|at| now.saturating_duration_since(at) >= least)
        };
        if passed(self.hello_at, HELLO_EVERY) {
            self.hello_at = Some(now);
            datagrams.push(self.hello());
        }
        if (self.lost || !self.missing.is_empty()) && passed(self.nacked_at, NACK_EVERY) {
            self.nacked_at = Some(now);
            datagrams.extend(self.nacks());
        }
        datagrams
    }

    fn meet(&mut self, session: u64) {
        self.theirs = session;
        self.sent = 0;
        self.all_told = 0;
        self.history.clear();
        self.highest = 0;
        self.missing.clear();
        self.lost = false;
        self.all_heard = 0;
    }

    fn header(&self, kind: Kind, number: u64, last: u64) -> Header {
        Header {
            kind,
            session: self.session,
            echo: self.theirs,
            number,
            last,
        }
    }

    fn hello(&self) -> Vec<u8> {
        let header = self.header(Kind::Hello, self.sent, self.all_told);
        self.key.seal(&header, &[])
    }

    /// To a session that is not met yet.
    fn hello_to(&self, session: u64) -> Vec<u8> {
        let header = Header {
            kind: Kind::Hello,
            session: self.session,
            echo: session,
            number: 0,
            last: 0,
        };
        self.key.seal(&header, &[])
    }

    /// Up to `number` all should be here; note what is not. A peer whose numbers jump further than
    /// we could list has lost us: what is beyond the list comes with the whole table.
    fn expect_up_to(&mut self, number: u64) {
        if number <= self.highest {
            return;
        }
        let first = (self.highest + 1).max(number.saturating_sub(MAX_MISSING) + 1);
        self.lost |= first > self.highest + 1;
        self.counts.missed += number - self.highest;
        self.missing.extend(first..=number);
        while self.missing.len() as u64 > MAX_MISSING {
            self.missing.pop_first();
            self.lost = true;
        }
        self.highest = number;
    }

    fn is_new(&mut self, number: u64) -> bool {
        if number == self.highest + 1 {
            self.highest = number;
            return true;
        }
        if number > self.highest {
            self.expect_up_to(number - 1);
            self.highest = number;
            return true;
        }
        self.missing.remove(&number)
    }

    /// Runs of missing numbers, the first few.
    fn nacks(&self) -> Vec<Vec<u8>> {
        // Number 0 is never kept: asking for it asks for the whole table.
        let mut runs: Vec<(u64, u64)> = Vec::new();
        if self.lost {
            runs.push((0, 0));
        }
        for &number in &self.missing {
            let full = runs.len() == 16;
            match runs.last_mut() {
                Some(run) if run.1 + 1 == number => run.1 = number,
                _ if full => break,
                _ => runs.push((number, number)),
            }
        }
        runs.iter()
            .map(|&(first, last)| self.key.seal(&self.header(Kind::Nack, first, last), &[]))
            .collect()
    }

    fn resend(&mut self, header: &Header, heard: &mut Heard) {
        let kept = self.sent + 1 - self.history.len() as u64;
        let last = header.last.min(self.sent);
        for number in header.number..=last {
            if number < kept {
                // Not kept: number it again as nothing, and tell the whole table anew.
                heard.wants_all = true;
                let nothing = self.header(Kind::Flows, number, 0);
                heard.replies.push(self.key.seal(&nothing, &[]));
            } else {
                heard
                    .replies
                    .push(self.history[(number - kept) as usize].clone());
            }
            if heard.replies.len() as u64 >= MAX_RESENT {
                break;
            }
        }
        self.counts.resent += heard.replies.len() as u64;
    }
}
