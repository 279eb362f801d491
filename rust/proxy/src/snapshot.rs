//! The configuration compiled for serving: immutable, shared by all workers, swapped whole.

use crate::balance::{Group, Peer};
use crate::config::{self, Config, Limits};
use crate::log::LogFile;
use crate::sys;
use crate::vars::Template;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

pub struct Snapshot {
    pub limits: Limits,
    pub servers: Vec<Server>,
    pub groups: Vec<Arc<Group>>,
    pub types: HashMap<Vec<u8>, String>,
    pub default_type: String,
    addresses: HashMap<SocketAddr, Names>,
    logs: HashMap<String, Arc<LogFile>>,
}

/// Which server answers for a Host, on one listening address.
#[derive(Default)]
struct Names {
    default: usize,
    has_default: bool,
    exact: HashMap<Vec<u8>, usize>,
    leading: HashMap<Vec<u8>, usize>, // '*.example.org' as '.example.org'
    trailing: HashMap<Vec<u8>, usize>, // 'www.example.*' as 'www.example.'
}

pub struct Server {
    pub name: String,
    pub locations: Vec<Location>,
    pub keepalive_timeout_ms: u64,
    pub log: Option<Arc<LogFile>>,
}

pub struct Location {
    exact: bool,
    pub path: Vec<u8>,
    pub internal: bool,
    pub action: Action,
    pub error_pages: Vec<config::ErrorPage>,
}

pub enum Action {
    Proxy(Proxy),
    Files(Files),
    Return(u16, Template),
}

pub struct Proxy {
    pub group: usize,
    pub uri: Option<Vec<u8>>,
    pub set_headers: Vec<(Vec<u8>, Template)>,
    pub sets_host: bool,
    pub connect_timeout_ms: u64,
    pub send_timeout_ms: u64,
    pub read_timeout_ms: u64,
}

pub struct Files {
    /// None: there is no such directory (every request is 404, as in nginx).
    pub root: Option<OwnedFd>,
    path: String,
    pub index: Vec<String>,
}

impl Snapshot {
    /// Everything that can be wrong is found here, never while serving.
    pub fn compile(text: &str, before: Option<&Snapshot>) -> Result<Snapshot, String> {
        let config: Config =
            serde_json::from_str(text).map_err(|error| format!("snapshot: {error}"))?;
        let mut groups = Vec::new();
        for (index, upstream) in config.upstreams.into_iter().enumerate() {
            groups.push(Arc::new(group(index, upstream, before)?));
        }
        let mut logs = HashMap::new();
        let mut servers = Vec::new();
        let mut addresses = HashMap::new();
        for server in config.servers {
            register(&mut addresses, &server, servers.len())?;
            servers.push(compile_server(server, &groups, &mut logs, before)?);
        }
        if servers.is_empty() {
            return Err("snapshot: no server".into());
        }
        let types = config.types.into_iter();
        Ok(Snapshot {
            limits: config.limits,
            servers,
            groups,
            types: types
                .map(|(ending, kind)| (ending.to_ascii_lowercase().into(), kind))
                .collect(),
            default_type: config.default_type,
            addresses,
            logs,
        })
    }

    /// Whether a listener on every address must ask each connection which one it came to.
    pub fn needs_local_address(&self, port: u16) -> bool {
        self.addresses
            .keys()
            .any(|address| address.port() == port && !address.ip().is_unspecified())
    }

    /// The server for a connection to `local` that asks for `host`.
    pub fn server(&self, local: &SocketAddr, host: &[u8]) -> usize {
        let any = |ip: IpAddr| self.addresses.get(&SocketAddr::new(ip, local.port()));
        let names = self
            .addresses
            .get(local)
            .or_else(|| any(IpAddr::from([0u8; 4])))
            .or_else(|| any(IpAddr::from([0u16; 8])));
        names.map_or(0, |names| names.find(host))
    }
}

impl Names {
    fn find(&self, host: &[u8]) -> usize {
        if let Some(server) = self.exact.get(host) {
            return *server;
        }
        let dots = || (0..host.len()).filter(|at| host[*at] == b'.');
        if !self.leading.is_empty() {
            if let Some(server) = dots().find_map(|at| self.leading.get(&host[at..])) {
                return *server; // the longest wildcard is the one with the earliest dot
            }
        }
        if !self.trailing.is_empty() {
            if let Some(server) = dots().rev().find_map(|at| self.trailing.get(&host[..=at])) {
                return *server;
            }
        }
        self.default
    }

    fn add(&mut self, name: &str, server: usize) {
        let name = name.to_ascii_lowercase();
        let (table, key) = if let Some(rest) = name.strip_prefix('*') {
            (&mut self.leading, rest.to_string())
        } else if let Some(rest) = name.strip_suffix('*') {
            (&mut self.trailing, rest.to_string())
        } else if let Some(rest) = name.strip_prefix('.') {
            self.exact.entry(rest.into()).or_insert(server);
            (&mut self.leading, name)
        } else {
            (&mut self.exact, name)
        };
        table.entry(key.into_bytes()).or_insert(server);
    }
}

impl Server {
    /// The location of a normalised path: exact, else the longest prefix.
    pub fn location(&self, uri: &[u8]) -> Option<usize> {
        self.locations.iter().position(|location| {
            if location.exact {
                location.path == uri
            } else {
                uri.starts_with(&location.path)
            }
        })
    }
}

impl Location {
    pub fn error_page(&self, status: u16) -> Option<&config::ErrorPage> {
        self.error_pages
            .iter()
            .find(|page| page.statuses.contains(&status))
    }
}

fn register(
    addresses: &mut HashMap<SocketAddr, Names>,
    server: &config::Server,
    index: usize,
) -> Result<(), String> {
    for listen in &server.listen {
        let address: IpAddr = listen
            .address
            .parse()
            .map_err(|_| format!("listen: '{}' is not an IP address", listen.address))?;
        let names = addresses
            .entry(SocketAddr::new(address, listen.port))
            .or_insert_with(|| Names {
                default: index,
                ..Names::default()
            });
        if listen.default_server {
            if names.has_default {
                return Err(format!(
                    "listen: two default servers for {address}:{}",
                    listen.port
                ));
            }
            names.has_default = true;
            names.default = index;
        }
        for name in &server.names {
            names.add(name, index);
        }
    }
    Ok(())
}

fn compile_server(
    server: config::Server,
    groups: &[Arc<Group>],
    logs: &mut HashMap<String, Arc<LogFile>>,
    before: Option<&Snapshot>,
) -> Result<Server, String> {
    let mut locations = Vec::new();
    for location in server.locations {
        let path = location.path.clone();
        let compiled = compile_location(location, groups, before);
        locations.push(compiled.map_err(|error| format!("location {path}: {error}"))?);
    }
    // Exact ones first, then prefixes from the longest: the first that fits is the one.
    locations.sort_by_key(|location| (!location.exact, std::cmp::Reverse(location.path.len())));
    let log = match server.access_log.filter(|path| path != "off") {
        None => None,
        Some(path) => match logs.get(&path) {
            Some(log) => Some(log.clone()),
            None => {
                let log = open_log(&path, before)
                    .map_err(|error| format!("access_log {path}: {error}"))?;
                Some(logs.entry(path).or_insert(log).clone())
            }
        },
    };
    Ok(Server {
        name: server.names.into_iter().next().unwrap_or_default(),
        locations,
        keepalive_timeout_ms: server.keepalive_timeout_ms,
        log,
    })
}

/// What the privileges given up since the start forbid to open again is taken over from before.
fn open_log(path: &str, before: Option<&Snapshot>) -> std::io::Result<Arc<LogFile>> {
    let held = before.and_then(|before| before.logs.get(path));
    match (LogFile::open(path), held) {
        (Err(error), Some(held)) if error.kind() == ErrorKind::PermissionDenied => Ok(held.clone()),
        (opened, _) => opened.map(Arc::new),
    }
}

fn open_root(path: &str, before: Option<&Snapshot>) -> Option<OwnedFd> {
    let locations = |before: &'_ Snapshot| {
        let mut found = before.servers.iter().flat_map(|server| &server.locations);
        found.find_map(|location| match &location.action {
            Action::Files(files) if files.path == path => files.root.as_ref()?.try_clone().ok(),
            _ => None,
        })
    };
    match sys::open_directory(Path::new(path)) {
        Ok(root) => Some(root),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => before.and_then(locations),
        Err(_) => None,
    }
}

fn compile_location(
    location: config::Location,
    groups: &[Arc<Group>],
    before: Option<&Snapshot>,
) -> Result<Location, String> {
    let action = match location.action {
        config::Action::Return { status, text } => {
            Action::Return(status, Template::compile(&text)?)
        }
        config::Action::Files { root, index } => Action::Files(Files {
            root: open_root(&root, before),
            path: root,
            index,
        }),
        config::Action::Proxy {
            upstream,
            uri,
            set_headers,
            connect_timeout_ms,
            send_timeout_ms,
            read_timeout_ms,
        } => Action::Proxy(Proxy {
            group: groups
                .iter()
                .position(|group| group.name == upstream)
                .ok_or_else(|| format!("no upstream '{upstream}'"))?,
            uri: uri.map(String::into_bytes),
            sets_host: set_headers
                .iter()
                .any(|pair| pair.0.eq_ignore_ascii_case("host")),
            set_headers: compile_headers(set_headers)?,
            connect_timeout_ms,
            send_timeout_ms,
            read_timeout_ms,
        }),
    };
    Ok(Location {
        exact: location.matching == "=",
        path: location.path.into_bytes(),
        internal: location.internal,
        action,
        error_pages: location.error_pages,
    })
}

fn compile_headers(pairs: Vec<(String, String)>) -> Result<Vec<(Vec<u8>, Template)>, String> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(format!("proxy_set_header: '{name}' is not a header name"));
        }
        if value
            .bytes()
            .any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f)
        {
            return Err(format!(
                "proxy_set_header {name}: control character in the value"
            ));
        }
        out.push((name.into_bytes(), Template::compile(&value)?));
    }
    Ok(out)
}

fn group(
    index: usize,
    upstream: config::Upstream,
    before: Option<&Snapshot>,
) -> Result<Group, String> {
    let mut peers = Vec::new();
    for peer in upstream.peers {
        let found = peer
            .address
            .to_socket_addrs()
            .map_err(|error| format!("upstream {}: {}: {error}", upstream.name, peer.address))?;
        for address in found {
            peers.push(Peer {
                name: peer.address.clone(),
                address,
                weight: i64::from(peer.weight),
                max_fails: peer.max_fails,
                fail_timeout_ms: peer.fail_timeout_ms,
                backup: peer.backup,
                down: peer.down,
            });
        }
    }
    let old = before.and_then(|old| old.groups.iter().find(|old| old.name == upstream.name));
    // A group keeps its number, so that its idle connections stay its own; numbers of groups that
    // are gone are not given again.
    let next = before.map_or(0, |old| {
        old.groups
            .iter()
            .map(|group| group.id + 1)
            .max()
            .unwrap_or(0)
    });
    let id = old.map_or(next + index as u32, |old| old.id);
    let group = Group::new(
        id,
        upstream.name,
        peers,
        upstream.keepalive,
        upstream.keepalive_timeout_ms,
    );
    if let Some(old) = old {
        group.inherit(old);
    }
    Ok(group)
}
