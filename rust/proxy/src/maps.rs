//! Variables made of others: map, geo, split_clients.

use crate::access::Network;
use crate::config;
use crate::vars::{Captures, Context, Scope, Template};
use pcre2::bytes::Regex;
use std::collections::HashMap;
use std::net::IpAddr;

pub struct Map {
    source: Template,
    pub volatile: bool,
    /// geo's `proxy`: who may name another address in X-Forwarded-For, and through how many.
    trusted: Vec<Network>,
    recursive: bool,
    kind: Kind,
}

enum Kind {
    Map {
        exact: HashMap<Vec<u8>, Template>,
        /// '*.example.org' as '.example.org', 'www.example.*' as 'www.example.'.
        leading: HashMap<Vec<u8>, Template>,
        trailing: HashMap<Vec<u8>, Template>,
        regexes: Vec<(Regex, Template, Vec<Option<usize>>)>,
        hostnames: bool,
        default: Template,
    },
    /// The longest network that has the address.
    Geo {
        networks: Vec<(Network, Template)>,
        default: Template,
    },
    /// Upper ends of hash ranges.
    Split(Vec<(u32, Template)>),
}

pub fn compile(map: config::Map, scope: &Scope) -> Result<Map, String> {
    let source = Template::compile(&map.source, scope)?;
    let (volatile, recursive) = (map.volatile, map.recursive);
    let mut trusted = Vec::new();
    for network in &map.trusted {
        trusted.push(network.parse()?);
    }
    let default = Template::compile(&map.default, scope)?;
    let kind = match map.kind.as_str() {
        "geo" => {
            let mut networks = Vec::new();
            for (key, value) in &map.entries {
                networks.push((key.parse()?, Template::compile(value, scope)?));
            }
            if map.ranges {
                networks.reverse(); // the later one counts where they overlap
            } else {
                networks
                    .sort_by_key(|(network, _): &(Network, _)| std::cmp::Reverse(network.length()));
            }
            Kind::Geo { networks, default }
        }
        "split" => {
            let (mut parts, mut sum) = (Vec::new(), 0u64);
            for (key, value) in &map.entries {
                let hundredths: u64 = key.parse().map_err(|_| format!("'{key}' is no share"))?;
                sum += hundredths;
                let end = (u64::from(u32::MAX) * sum / 10_000).min(u64::from(u32::MAX)) as u32;
                parts.push((end, Template::compile(value, scope)?));
            }
            parts.push((u32::MAX, default));
            Kind::Split(parts)
        }
        _ => table(&map, default, scope)?,
    };
    Ok(Map {
        source,
        volatile,
        trusted,
        recursive,
        kind,
    })
}

fn table(map: &config::Map, default: Template, scope: &Scope) -> Result<Kind, String> {
    let (mut exact, mut leading, mut trailing) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut regexes = Vec::new();
    for (key, value) in &map.entries {
        let value = Template::compile(value, scope)?;
        if let Some(pattern) = key.strip_prefix('~') {
            let regex = match pattern.strip_prefix('*') {
                Some(pattern) => crate::rewrite::regex(pattern, true)?,
                None => crate::rewrite::regex(pattern, false)?,
            };
            let names = crate::rewrite::names(&regex, scope);
            regexes.push((regex, value, names));
            continue;
        }
        let name = key.strip_prefix('\\').unwrap_or(key).to_ascii_lowercase();
        if map.hostnames && name.starts_with("*.") {
            leading.entry(name[1..].into()).or_insert(value);
        } else if map.hostnames && name.ends_with(".*") {
            trailing
                .entry(name[..name.len() - 1].into())
                .or_insert(value);
        } else if map.hostnames && name.starts_with('.') {
            exact.entry(name[1..].into()).or_insert(value.clone());
            leading.entry(name.into()).or_insert(value);
        } else {
            exact.entry(name.into()).or_insert(value);
        }
    }
    Ok(Kind::Map {
        exact,
        leading,
        trailing,
        regexes,
        hostnames: map.hostnames,
        default,
    })
}

impl Map {
    /// The client's address: another one where a proxy that is trusted says so.
    fn behind(&self, address: IpAddr, context: &Context) -> IpAddr {
        let trusted = |address: &IpAddr| self.trusted.iter().any(|network| network.has(address));
        if !trusted(&address) {
            return address;
        }
        let request = context.request;
        let values = request.headers.iter().filter_map(|line| {
            let name = request.at(&line.name);
            let same = name.eq_ignore_ascii_case(b"x-forwarded-for");
            same.then(|| request.at(&line.value))
        });
        let list = values.collect::<Vec<_>>().join(&b',');
        let mut found = address;
        for word in list.split(|byte| *byte == b',').rev() {
            let text = std::str::from_utf8(word.trim_ascii()).unwrap_or("");
            let Ok(next) = text.parse() else {
                break;
            };
            found = next;
            if !self.recursive || !trusted(&found) {
                break;
            }
        }
        found
    }

    pub fn write(&self, context: &Context, out: &mut Vec<u8>) {
        let mut key = self.source.value(context);
        match &self.kind {
            Kind::Geo { networks, default } => {
                let text = std::str::from_utf8(&key).unwrap_or("");
                // What is no address is looked up as the last one, as in nginx.
                let none = IpAddr::from([255; 4]);
                let address: Option<IpAddr> = Some(text.parse().unwrap_or(none));
                let address = address.map(|address| self.behind(address, context));
                let found = address
                    .and_then(|address| networks.iter().find(|(network, _)| network.has(&address)));
                found
                    .map_or(default, |(_, value)| value)
                    .write(context, out);
            }
            Kind::Split(parts) => {
                let hash = murmur2(&key);
                let found = parts
                    .iter()
                    .find(|(end, _)| hash < *end || *end == u32::MAX);
                if let Some((_, value)) = found {
                    value.write(context, out);
                }
            }
            Kind::Map {
                exact,
                leading,
                trailing,
                regexes,
                hostnames,
                default,
            } => {
                if *hostnames && key.last() == Some(&b'.') {
                    key.pop();
                }
                let lower = key.to_ascii_lowercase();
                let dots = || (0..lower.len()).filter(|at| lower[*at] == b'.');
                let found = exact
                    .get(&lower)
                    .or_else(|| dots().find_map(|at| leading.get(&lower[at..])))
                    .or_else(|| dots().rev().find_map(|at| trailing.get(&lower[..=at])));
                if let Some(value) = found {
                    return value.write(context, out);
                }
                for (regex, value, names) in regexes {
                    let mut locations = regex.capture_locations();
                    if let Ok(Some(_)) = regex.captures_read(&mut locations, &key) {
                        let mut captures = Captures::default();
                        captures.set(&key, &locations);
                        let mut slots = context.more.slots.to_vec();
                        crate::rewrite::keep_named(&mut slots, names, &captures);
                        let mut inner = *context;
                        inner.more.captures = Some(&captures);
                        inner.more.slots = &slots;
                        return value.write(&inner, out);
                    }
                }
                default.write(context, out);
            }
        }
    }
}

/// MurmurHash2 as nginx computes it for split_clients.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut part = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        part = part.wrapping_mul(M);
        part ^= part >> 24;
        part = part.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ part;
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}
