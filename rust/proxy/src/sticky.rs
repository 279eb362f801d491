//! Sticky clients: who was served by a peer goes to it again, as long as it may serve.
//!
//! `cookie`: the peer's id is in a cookie that we set. `route`: it is in what the peer's own cookie
//! or path says. `learn`: a session that a peer began is remembered here, for all workers.

use crate::address::Address;
use crate::config;
use crate::vars::{Context, Scope, Template};
use md5::{Digest, Md5};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

pub struct Sticky {
    lookup: Vec<Template>,
    cookie: Option<Cookie>,
    learn: Option<Learn>,
}

struct Cookie {
    name: String,
    /// Seconds; None: until the browser ends.
    expires: Option<u64>,
    domain: Template,
    same_site: Template,
    rest: String,
    path: String,
}

struct Learn {
    zone: String,
    create: Vec<Template>,
    timeout_ms: u64,
    most: usize,
    /// At the head of an answer, not at its end.
    pub at_head: bool,
    sessions: Arc<Mutex<Sessions>>,
}

/// Which peer serves a session, and when it was seen last: bounded, the oldest goes first.
#[derive(Default)]
struct Sessions {
    peers: HashMap<Vec<u8>, (String, (u64, u64))>,
    ages: BTreeMap<(u64, u64), Vec<u8>>,
    serial: u64,
}

/// nginx's id of a server without `route=`: a hash of its address, so that a change of the program
/// keeps the clients' cookies good.
pub fn id_of(address: &Address) -> String {
    let digest = Md5::digest(address.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Sticky {
    pub fn compile(config: &config::Sticky, scope: &Scope) -> Result<Sticky, String> {
        let all = |texts: &[String]| -> Result<Vec<Template>, String> {
            texts
                .iter()
                .map(|text| Template::compile(text, scope))
                .collect()
        };
        let mut lookup = all(&config.lookup)?;
        let mut cookie = None;
        if let Some(rule) = &config.cookie {
            lookup.push(Template::compile(
                &format!("${{cookie_{}}}", rule.name),
                scope,
            )?);
            let mut rest = String::new();
            for (given, word) in [(rule.httponly, "; httponly"), (rule.secure, "; secure")] {
                rest.push_str(if given { word } else { "" });
            }
            cookie = Some(Cookie {
                name: rule.name.clone(),
                expires: rule.expires,
                domain: Template::compile(&rule.domain, scope)?,
                same_site: Template::compile(&rule.samesite, scope)?,
                rest,
                path: rule.path.clone(),
            });
        }
        let learn = config.learn.as_ref().map(|rule| {
            Ok::<_, String>(Learn {
                zone: rule.zone.clone(),
                create: all(&rule.create)?,
                timeout_ms: rule.timeout_ms,
                most: rule.most,
                at_head: rule.at_head,
                sessions: Arc::default(),
            })
        });
        Ok(Sticky {
            lookup,
            cookie,
            learn: learn.transpose()?,
        })
    }

    pub fn inherit(&mut self, before: &Sticky) {
        if let (Some(new), Some(old)) = (&mut self.learn, &before.learn) {
            if new.zone == old.zone {
                new.sessions = old.sessions.clone();
            }
        }
    }

    /// What a request says of its session; empty when nothing.
    pub fn session(&self, context: &Context) -> Vec<u8> {
        first(&self.lookup, context)
    }

    /// The id of the peer that a session belongs to; empty when none.
    pub fn peer(&self, session: &[u8], now_ms: u64) -> Vec<u8> {
        match &self.learn {
            None => session.to_vec(),
            Some(_) if session.is_empty() => Vec::new(),
            Some(learn) => {
                let mut sessions = learn.sessions();
                sessions.expire(now_ms.saturating_sub(learn.timeout_ms));
                let found = sessions.peers.get(session);
                found.map_or_else(Vec::new, |found| found.0.clone().into_bytes())
            }
        }
    }

    pub fn learns_at(&self, head: bool) -> bool {
        let learn = self.learn.as_ref();
        learn.is_some_and(|learn| learn.at_head == head)
    }

    /// This peer answered: its session is its own from now on.
    pub fn learn(&self, session: &[u8], peer: &str, context: &Context, now_ms: u64) {
        let Some(learn) = &self.learn else {
            return;
        };
        let made = first(&learn.create, context);
        let mut sessions = learn.sessions();
        sessions.expire(now_ms.saturating_sub(learn.timeout_ms));
        if !made.is_empty() {
            sessions.put(made, peer, now_ms, learn.most);
        } else if sessions.peers.contains_key(session) {
            sessions.put(session.to_vec(), peer, now_ms, learn.most);
        }
    }

    /// The Set-Cookie that names the peer.
    pub fn cookie(&self, peer: &str, context: &Context, wall_s: u64) -> Option<Vec<u8>> {
        let rule = self.cookie.as_ref()?;
        let mut out = format!("{}={peer}", rule.name);
        match rule.expires {
            Some(u64::MAX) => {
                out.push_str("; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000");
            }
            Some(seconds) => {
                let date =
                    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(wall_s + seconds));
                out.push_str(&format!(
                    "; expires={}; max-age={seconds}",
                    cookie_date(&date)
                ));
            }
            None => {}
        }
        let domain = rule.domain.value(context);
        if !domain.is_empty() {
            out.push_str(&format!("; domain={}", String::from_utf8_lossy(&domain)));
        }
        out.push_str(&rule.rest);
        let same_site = String::from_utf8_lossy(&rule.same_site.value(context)).into_owned();
        if !same_site.is_empty() {
            let known = ["strict", "lax", "none"];
            let valid = known
                .iter()
                .any(|word| same_site.eq_ignore_ascii_case(word));
            out.push_str("; samesite=");
            out.push_str(if valid { &same_site } else { "strict" });
        }
        if !rule.path.is_empty() {
            out.push_str(&format!("; path={}", rule.path));
        }
        Some(out.into_bytes())
    }
}

impl Learn {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn expire(&mut self, before_ms: u64) {
        while let Some(oldest) = self.ages.first_entry() {
            if oldest.key().0 >= before_ms {
                return;
            }
            let session = oldest.remove();
            self.peers.remove(&session);
        }
    }

    fn put(&mut self, session: Vec<u8>, peer: &str, now_ms: u64, most: usize) {
        self.serial += 1;
        let age = (now_ms, self.serial);
        if let Some((_, before)) = self.peers.insert(session.clone(), (peer.into(), age)) {
            self.ages.remove(&before);
        }
        self.ages.insert(age, session);
        if self.peers.len() > most {
            if let Some((_, oldest)) = self.ages.pop_first() {
                self.peers.remove(&oldest);
            }
        }
    }
}

fn first(templates: &[Template], context: &Context) -> Vec<u8> {
    let mut values = templates.iter().map(|each| each.value(context));
    values.find(|value| !value.is_empty()).unwrap_or_default()
}

/// 'Sun, 06 Nov 1994 …' as cookies have it: 'Sun, 06-Nov-94 …'.
fn cookie_date(date: &str) -> String {
    let words: Vec<&str> = date.split(' ').collect();
    match words.as_slice() {
        [day, number, month, year, time, zone] => {
            let year = year.get(2..).unwrap_or(year);
            format!("{day} {number}-{month}-{year} {time} {zone}")
        }
        _ => date.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_bounded_and_age() {
        let mut sessions = Sessions::default();
        for (number, name) in ["a", "b", "c"].iter().enumerate() {
            sessions.put((*name).into(), "p", number as u64, 2);
        }
        assert!(!sessions.peers.contains_key(b"a".as_slice()));
        sessions.put("b".into(), "q", 5, 2);
        sessions.expire(5);
        assert_eq!(sessions.peers.len(), 1);
        assert_eq!(sessions.peers[b"b".as_slice()].0, "q");
        assert_eq!(sessions.ages.len(), 1);
    }

    #[test]
    fn dates_of_cookies() {
        assert_eq!(
            cookie_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            "Sun, 06-Nov-94 08:49:37 GMT"
        );
    }
}
