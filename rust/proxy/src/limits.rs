//! limit_req and limit_conn: zones shared by all workers, bounded in keys.

use crate::config;
use crate::vars::{Context, Scope, Template};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Zones {
    rates: HashMap<String, Arc<RateZone>>,
    counts: HashMap<String, Arc<CountZone>>,
}

/// nginx's leaky bucket. Excess is in thousandths of a request.
pub struct RateZone {
    name: String,
    key_text: String,
    key: Template,
    rate: u64,
    most: usize,
    seen: Mutex<HashMap<Vec<u8>, (u64, u64)>>, // key: (excess, when in ms)
}

pub struct CountZone {
    name: String,
    key_text: String,
    key: Template,
    most: usize,
    live: Mutex<HashMap<Vec<u8>, u64>>,
}

pub struct RateLimit {
    zone: Arc<RateZone>,
    burst: u64,
    delay: u64,
    pub dry_run: bool,
    pub level: u8,
    pub status: u16,
}

pub struct CountLimit {
    zone: Arc<CountZone>,
    count: u64,
    pub dry_run: bool,
    pub level: u8,
    pub status: u16,
}

/// One request's place in a zone; leaving gives it back.
pub struct Place(Arc<CountZone>, Vec<u8>);

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not in the zone.
    Free,
    Pass,
    Delay(u64),
    Reject,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Zones {
    pub fn compile(
        rates: Vec<config::RateZone>,
        counts: Vec<config::CountZone>,
        scope: &Scope,
        before: Option<&Zones>,
    ) -> Result<Zones, String> {
        let mut zones = Zones::default();
        for zone in rates {
            let key = Template::compile(&zone.key, scope)?;
            let old = before.and_then(|before| before.rates.get(&zone.name));
            let same = old.filter(|old| old.key_text == zone.key);
            let seen = same.map(|old| lock(&old.seen).clone()).unwrap_or_default();
            zones.rates.insert(
                zone.name.clone(),
                Arc::new(RateZone {
                    name: zone.name,
                    key_text: zone.key,
                    key,
                    rate: zone.rate,
                    most: zone.most.max(1),
                    seen: Mutex::new(seen),
                }),
            );
        }
        for zone in counts {
            let old = before.and_then(|before| before.counts.get(&zone.name));
            // Requests that run count in the zone in which they began.
            let same = old.filter(|old| old.key_text == zone.key && old.most == zone.most.max(1));
            let made = match same {
                Some(old) => old.clone(),
                None => Arc::new(CountZone {
                    name: zone.name.clone(),
                    key: Template::compile(&zone.key, scope)?,
                    key_text: zone.key,
                    most: zone.most.max(1),
                    live: Mutex::default(),
                }),
            };
            zones.counts.insert(zone.name, made);
        }
        Ok(zones)
    }
}

impl RateLimit {
    pub fn compile(limit: &config::RateLimit, zones: &Zones) -> Result<RateLimit, String> {
        let zone = zones.rates.get(&limit.zone);
        Ok(RateLimit {
            zone: zone
                .ok_or_else(|| format!("no limit_req_zone '{}'", limit.zone))?
                .clone(),
            burst: limit.burst.saturating_mul(1000),
            delay: limit.delay.saturating_mul(1000),
            dry_run: limit.dry_run,
            level: crate::errors::level(&limit.level)?,
            status: limit.status,
        })
    }

    pub fn zone(&self) -> &str {
        &self.zone.name
    }

    pub fn judge(&self, context: &Context, now_ms: u64) -> Verdict {
        let key = self.zone.key.value(context);
        if key.is_empty() {
            return Verdict::Free;
        }
        self.zone.judge(key, self.burst, self.delay, now_ms)
    }
}

impl RateZone {
    fn judge(&self, key: Vec<u8>, burst: u64, delay: u64, now_ms: u64) -> Verdict {
        let mut seen = lock(&self.seen);
        let leaked = |since: u64| self.rate.saturating_mul(now_ms.saturating_sub(since)) / 1000;
        if seen.len() >= self.most && !seen.contains_key(&key) {
            seen.retain(|_, (excess, when)| *excess > leaked(*when));
            if seen.len() >= self.most {
                let oldest = seen.iter().min_by_key(|(_, (_, when))| *when);
                if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                    seen.remove(&oldest);
                }
            }
        }
        let excess = match seen.get(&key) {
            None => 0,
            Some((excess, when)) => (excess + 1000).saturating_sub(leaked(*when)),
        };
        if excess > burst {
            return Verdict::Reject;
        }
        seen.insert(key, (excess, now_ms));
        if excess <= delay {
            return Verdict::Pass;
        }
        Verdict::Delay((excess - delay) * 1000 / self.rate.max(1))
    }
}

impl CountLimit {
    pub fn compile(limit: &config::CountLimit, zones: &Zones) -> Result<CountLimit, String> {
        let zone = zones.counts.get(&limit.zone);
        Ok(CountLimit {
            zone: zone
                .ok_or_else(|| format!("no limit_conn_zone '{}'", limit.zone))?
                .clone(),
            count: limit.count,
            dry_run: limit.dry_run,
            level: crate::errors::level(&limit.level)?,
            status: limit.status,
        })
    }

    pub fn zone(&self) -> &str {
        &self.zone.name
    }

    /// A place; Ok(None): not limited; Err: full.
    pub fn enter(&self, context: &Context) -> Result<Option<Place>, ()> {
        let key = self.zone.key.value(context);
        if key.is_empty() {
            return Ok(None);
        }
        let mut live = lock(&self.zone.live);
        let many = live.len() >= self.zone.most && !live.contains_key(&key);
        if many || live.get(&key).is_some_and(|count| *count >= self.count) {
            return Err(());
        }
        *live.entry(key.clone()).or_default() += 1;
        Ok(Some(Place(self.zone.clone(), key)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = lock(&self.0.live);
        if let Some(count) = live.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                live.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_leaks_as_in_nginx() {
        let zone = RateZone {
            name: String::new(),
            key_text: String::new(),
            key: Template::default(),
            rate: 1000, // one per second
            most: 2,
            seen: Mutex::default(),
        };
        let judge = |key: &[u8], burst, delay, now| zone.judge(key.to_vec(), burst, delay, now);
        assert_eq!(judge(b"a", 0, 0, 0), Verdict::Pass);
        assert_eq!(judge(b"a", 0, 0, 500), Verdict::Reject);
        assert_eq!(judge(b"a", 0, 0, 1000), Verdict::Pass);
        assert_eq!(judge(b"a", 2000, 0, 1000), Verdict::Delay(1000));
        assert_eq!(judge(b"a", 2000, 2000, 1000), Verdict::Pass);
        assert_eq!(judge(b"b", 0, 0, 1000), Verdict::Pass);
        assert_eq!(judge(b"c", 0, 0, 1000), Verdict::Pass); // the oldest made room
        assert_eq!(lock(&zone.seen).len(), 2);
    }
}
