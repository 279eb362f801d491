//! The stream servers of a snapshot, compiled.

use crate::access::Network;
use crate::balance::Group;
use crate::config;
use crate::limits::{CountLimit, Zones};
use crate::log;
use crate::rewrite::Target;
use crate::sink::Sink;
use crate::snapshot::{open_log, Snapshot};
use crate::vars::{Escape, Scope, Template};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[derive(Default)]
pub struct Stream {
    pub servers: Vec<Server>,
    addresses: HashMap<SocketAddr, usize>,
}

pub struct Server {
    pub action: Action,
    pub access: Vec<(bool, Network)>,
    pub counts: Vec<CountLimit>,
    pub sets: Vec<(Target, Template)>,
    pub logs: Vec<log::Target>,
}

pub enum Action {
    Return(Template),
    Pass(Box<Pass>),
}

pub struct Pass {
    pub to: To,
    pub connect_timeout_ms: u64,
    pub timeout_ms: u64,
    pub next: bool,
    pub tries: usize,
    pub next_timeout_ms: u64,
    pub half_close: bool,
    pub buffer: usize,
    pub upload_rate: Option<Template>,
    pub download_rate: Option<Template>,
}

pub enum To {
    Group(Arc<Group>),
    /// A name with variables: a group's, or an address.
    Named(Template),
}

pub fn compile(
    config: config::Stream,
    scope: &Scope,
    groups: &[Arc<Group>],
    zones: &Zones,
    logs: &mut HashMap<String, Arc<Sink>>,
    before: Option<&Snapshot>,
) -> Result<Stream, String> {
    let mut stream = Stream::default();
    for server in config.servers {
        for listen in &server.listen {
            let address: IpAddr = listen
                .address
                .parse()
                .map_err(|_| format!("listen: '{}' is not an IP address", listen.address))?;
            let address = SocketAddr::new(address, listen.port);
            if stream
                .addresses
                .insert(address, stream.servers.len())
                .is_some()
            {
                return Err(format!("stream: two servers listen on {address}"));
            }
        }
        let made = compile_server(server, scope, groups, zones, logs, before)?;
        stream.servers.push(made);
    }
    Ok(stream)
}

impl Stream {
    pub fn has(&self, address: &SocketAddr) -> bool {
        self.addresses.contains_key(address)
    }

    pub fn server(&self, address: &SocketAddr) -> Option<usize> {
        self.addresses.get(address).copied()
    }
}

fn compile_server(
    server: config::StreamServer,
    scope: &Scope,
    groups: &[Arc<Group>],
    zones: &Zones,
    logs: &mut HashMap<String, Arc<Sink>>,
    before: Option<&Snapshot>,
) -> Result<Server, String> {
    let mut access = Vec::new();
    for (allowed, network) in &server.access {
        access.push((*allowed, network.parse()?));
    }
    let mut counts = Vec::new();
    for limit in &server.counts {
        counts.push(CountLimit::compile(limit, zones)?);
    }
    let mut sets = Vec::new();
    for (name, value) in &server.sets {
        let target = match (scope.maps.get(name), scope.slots.get(name)) {
            (Some(map), _) => Target::Map(*map),
            (None, Some(slot)) => Target::Slot(*slot),
            (None, None) => return Err(format!("set: '${name}' cannot be changed")),
        };
        sets.push((target, Template::compile(value, scope)?));
    }
    let mut targets = Vec::new();
    for each in server.logs {
        let escape = match each.escape.as_str() {
            "json" => Escape::Json,
            "none" => Escape::None,
            _ => Escape::Log,
        };
        let template =
            |text: Option<String>| text.map(|text| Template::compile(&text, scope)).transpose();
        targets.push(log::Target {
            file: open_log(&each.path, each.held, logs, before)?,
            format: template(each.format)?.map(|format| (format, escape)),
            condition: template(each.condition)?,
        });
    }
    Ok(Server {
        action: action(server.action, scope, groups)?,
        access,
        counts,
        sets,
        logs: targets,
    })
}

fn action(
    action: config::StreamAction,
    scope: &Scope,
    groups: &[Arc<Group>],
) -> Result<Action, String> {
    let template =
        |text: Option<String>| text.map(|text| Template::compile(&text, scope)).transpose();
    Ok(match action {
        config::StreamAction::Return { text } => Action::Return(Template::compile(&text, scope)?),
        config::StreamAction::Pass(pass) => {
            let found = groups.iter().find(|group| group.name == pass.upstream);
            let to = match found {
                Some(group) => To::Group(group.clone()),
                None if pass.upstream.contains('$') => {
                    To::Named(Template::compile(&pass.upstream, scope)?)
                }
                None => return Err(format!("no upstream '{}'", pass.upstream)),
            };
            Action::Pass(Box::new(Pass {
                to,
                connect_timeout_ms: pass.connect_timeout_ms,
                timeout_ms: pass.timeout_ms,
                next: pass.next,
                tries: pass.tries,
                next_timeout_ms: pass.next_timeout_ms,
                half_close: pass.half_close,
                buffer: pass.buffer.max(1),
                upload_rate: template(pass.upload_rate)?,
                download_rate: template(pass.download_rate)?,
            }))
        }
    })
}
