//! The configuration compiled for serving: immutable, shared by all workers, swapped whole.

use crate::access::Network;
use crate::address::Address;
use crate::balance::{Group, Keepalive, Peer};
use crate::budget::Budget;
use crate::config::{self, Config, Limits};
use crate::errors::{self, Errors};
use crate::filters;
use crate::limits::{CountLimit, RateLimit, Zones};
use crate::locations::{Compiler, Found, Matched, Tree};
use crate::log;
use crate::manner::Manner;
use crate::maps::{self, Map};
use crate::rewrite::{self, Code};
use crate::sink::Sink;
use crate::sticky::Sticky;
use crate::stream::{self, Stream};
use crate::sys;
use crate::vars::{Scope, Template};
use pcre2::bytes::Regex;
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
    pub maps: Vec<Map>,
    pub zones: Zones,
    pub stream: Stream,
    pub shutdown_timeout_ms: Option<u64>,
    /// Some template looks at the head of the answer, or at that of the peer's.
    pub wants_sent: bool,
    pub wants_reply: bool,
    /// What connections are at is asked for: those that serve are to be counted as such.
    pub wants_connections: bool,
    pub errors: Errors,
    directory: String,
    /// Some server has limits of its own.
    own_limits: bool,
    pub wants_body: bool,
    addresses: HashMap<SocketAddr, Names>,
    logs: HashMap<String, Arc<Sink>>,
}

/// Which server answers for a Host, on one listening address.
#[derive(Default)]
struct Names {
    default: usize,
    has_default: bool,
    proxied: bool,
    exact: HashMap<Vec<u8>, usize>,
    leading: HashMap<Vec<u8>, usize>, // '*.example.org' as '.example.org'
    trailing: HashMap<Vec<u8>, usize>, // 'www.example.*' as 'www.example.'
    regexes: Vec<(Regex, Vec<Option<usize>>, usize)>,
}

pub struct Server {
    pub name: String,
    pub limits: Option<Limits>,
    pub rewrite: Vec<Code>,
    /// The first is the one for paths that belong to none.
    pub locations: Vec<Location>,
    pub named: HashMap<String, usize>,
    tree: Tree,
    pub keepalive_timeout_ms: u64,
    pub logs: Vec<log::Target>,
}

pub struct Location {
    pub exact: bool,
    pub by_regex: bool,
    pub settles: bool,
    pub path: Vec<u8>,
    pub internal: bool,
    pub action: Action,
    pub error_pages: Vec<ErrorPage>,
    pub recursive_error_pages: bool,
    pub inner: Option<Box<Tree>>,
    pub rewrite: Vec<Code>,
    pub root: Option<Template>,
    pub alias: bool,
    /// (name, value, also for errors)
    pub headers: Vec<(Vec<u8>, Template, bool)>,
    pub expires: Option<(Template, bool)>,
    pub logs: Option<Vec<log::Target>>,
    pub body_size: Option<u64>,
    pub default_type: Option<String>,
    pub types: Option<HashMap<Vec<u8>, String>>,
    pub access: Vec<(bool, Network)>,
    pub basic: Option<(Template, Template)>,
    pub satisfy_any: bool,
    pub rates: Vec<RateLimit>,
    pub counts: Vec<CountLimit>,
    pub try_files: Vec<Template>,
    /// (whom to believe, the header's name, through all that are believed)
    pub real_ip: Option<(Vec<Network>, Vec<u8>, bool)>,
    pub absolute_redirect: bool,
    pub errors: Option<Errors>,
    pub log_not_found: bool,
    pub alias_skip: Option<usize>,
    pub manner: Manner,
    /// Methods that pass, and the location of the others.
    pub except: Option<(Vec<Vec<u8>>, usize)>,
    pub body_timeout_ms: Option<u64>,
    pub send_timeout_ms: Option<u64>,
    pub auth: Option<Template>,
    /// (slot, or None for $args; value)
    pub auth_sets: Vec<(Option<usize>, Template)>,
    pub mirrors: Vec<Template>,
    pub mirror_body: bool,
}

pub struct ErrorPage {
    pub statuses: Vec<u16>,
    pub uri: Template,
    pub named: Option<String>,
    pub answer: Option<u16>,
}

pub enum Action {
    Proxy(Box<Proxy>),
    Files(Files),
    Return(u16, Template),
    Status,
}

pub enum Upstream {
    Group(usize),
    /// A name with variables: a group's, or 'ADDRESS[:PORT][/URI]'.
    Named(Template),
}

pub struct Proxy {
    pub upstream: Upstream,
    pub uri: Option<Template>,
    pub set_headers: Vec<(Vec<u8>, Template)>,
    pub sets_host: bool,
    pub connect_timeout_ms: u64,
    pub send_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub options: filters::Options,
}

pub struct Files {
    /// None: there is no such directory (every request is 404, as in nginx).
    pub root: Option<OwnedFd>,
    /// Below it, before the path: `alias`, or what has variables.
    pub rest: Option<Template>,
    /// The path (behind the location's own, with alias) comes behind it.
    pub appends: bool,
    pub index: Vec<Template>,
    /// The directory's name, for a reload that may not open it again.
    pub path: String,
}

impl Snapshot {
    /// Everything that can be wrong is found here, never while serving.
    pub fn compile(text: &str, before: Option<&Snapshot>) -> Result<Snapshot, String> {
        let config: Config =
            serde_json::from_str(text).map_err(|error| format!("snapshot: {error}"))?;
        let mut scope = Scope::default();
        for (index, name) in config.variables.into_iter().enumerate() {
            scope.slots.insert(name, index);
        }
        for (index, map) in config.maps.iter().enumerate() {
            scope.maps.insert(map.variable.clone(), index);
        }
        let mut maps = Vec::new();
        for map in config.maps {
            let name = map.variable.clone();
            maps.push(maps::compile(map, &scope).map_err(|error| format!("${name}: {error}"))?);
        }
        let zones = before.map(|before| &before.zones);
        let zones = Zones::compile(config.rate_zones, config.count_zones, &scope, zones)?;
        let mut groups = Vec::new();
        for (index, upstream) in config.upstreams.into_iter().enumerate() {
            groups.push(Arc::new(group(index, upstream, before, &scope)?));
        }
        let mut logs = HashMap::new();
        let mut errors = Errors::new();
        for (path, level) in &config.errors {
            let sink = open_log(path, false, &mut logs, before)?;
            errors.push((sink, errors::level(level)?));
        }
        let mut servers = Vec::new();
        let mut addresses = HashMap::new();
        for server in config.servers {
            register(&mut addresses, &server, servers.len(), &scope)?;
            let mut compiler = Compiler {
                scope: &scope,
                groups: &groups,
                logs: &mut logs,
                zones: &zones,
                locations: Vec::new(),
                named: HashMap::new(),
                before,
                product: &config.product,
            };
            servers.push(compile_server(server, &mut compiler)?);
        }
        let stream = stream::compile(config.stream, &scope, &groups, &zones, &mut logs, before)?;
        if servers.is_empty() && stream.servers.is_empty() {
            return Err("snapshot: no server".into());
        }
        let mut locations = servers.iter().flat_map(|server: &Server| &server.locations);
        let has_status = locations.any(|location| matches!(location.action, Action::Status));
        let types = config.types.into_iter();
        Ok(Snapshot {
            limits: config.limits,
            errors,
            directory: config.directory,
            own_limits: servers.iter().any(|server| server.limits.is_some()),
            servers,
            groups,
            types: types
                .map(|(ending, kind)| (ending.to_ascii_lowercase().into(), kind))
                .collect(),
            default_type: config.default_type,
            maps,
            zones,
            stream,
            shutdown_timeout_ms: config.shutdown_timeout_ms,
            wants_sent: scope.wants_sent.get(),
            wants_reply: scope.wants_reply.get(),
            wants_connections: scope.wants_connections.get() || has_status,
            wants_body: scope.wants_body.get(),
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

    /// Whether connections to `local` begin with a PROXY header.
    pub fn expects_proxy(&self, local: &SocketAddr) -> bool {
        self.names(local).is_some_and(|names| names.proxied)
    }

    /// The server for a connection to `local` that asks for `host`.
    pub fn server(&self, local: &SocketAddr, host: &[u8], matched: Option<Matched>) -> usize {
        self.names(local)
            .map_or(0, |names| names.find(host, matched))
    }

    fn names(&self, local: &SocketAddr) -> Option<&Names> {
        let any = |ip: IpAddr| self.addresses.get(&SocketAddr::new(ip, local.port()));
        self.addresses
            .get(local)
            .or_else(|| any(IpAddr::from([0u8; 4])))
            .or_else(|| any(IpAddr::from([0u16; 8])))
    }

    /// A path that a variable may have given, absolute.
    pub fn path(&self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") {
            return path.to_vec();
        }
        [self.directory.as_bytes(), path].concat()
    }

    /// What heads on a connection to `local` are held to, before their Host is known.
    pub fn limits_of(&self, local: &SocketAddr) -> &Limits {
        if !self.own_limits {
            return &self.limits;
        }
        let server = &self.servers[self.server(local, b"", None)];
        server.limits.as_ref().unwrap_or(&self.limits)
    }
}

impl Names {
    fn find(&self, host: &[u8], matched: Option<Matched>) -> usize {
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
        if let (Some(matched), false) = (matched, host.is_empty()) {
            for (regex, names, server) in &self.regexes {
                let mut spans = regex.capture_locations();
                if matches!(regex.captures_read(&mut spans, host), Ok(Some(_))) {
                    matched.captures.set(host, &spans);
                    rewrite::keep_named(matched.slots, names, matched.captures);
                    return *server;
                }
            }
        }
        self.default
    }

    fn add(&mut self, name: &str, server: usize, scope: &Scope) -> Result<(), String> {
        if let Some(pattern) = name.strip_prefix('~') {
            let regex = rewrite::regex(pattern, true)?;
            let names = rewrite::names(&regex, scope);
            self.regexes.push((regex, names, server));
            return Ok(());
        }
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
        Ok(())
    }
}

impl Server {
    /// The location of a normalised path.
    pub fn find(&self, uri: &[u8], matched: &mut Matched) -> Found {
        self.tree.find(uri, &self.locations, matched)
    }
}

impl Location {
    pub fn error_page(&self, status: u16) -> Option<&ErrorPage> {
        self.error_pages
            .iter()
            .find(|page| page.statuses.contains(&status))
    }

    /// How much of a path stands for the directory itself.
    pub fn skipped(&self) -> usize {
        self.alias_skip.unwrap_or(0)
    }
}

fn register(
    addresses: &mut HashMap<SocketAddr, Names>,
    server: &config::Server,
    index: usize,
    scope: &Scope,
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
        names.proxied |= listen.proxy_protocol;
        for name in &server.names {
            names.add(name, index, scope)?;
        }
    }
    Ok(())
}

fn compile_server(server: config::Server, compiler: &mut Compiler) -> Result<Server, String> {
    let mut locations = server.locations.iter();
    let top =
        locations.find(|each| each.path == "/" && matches!(each.matching.as_str(), "" | "^~"));
    let rest = server.rest.or_else(|| top.cloned());
    let rest = rest.unwrap_or_else(|| config::Location {
        action: config::Action::Return {
            status: 404,
            text: String::new(),
        },
        ..config::Location::default()
    });
    compiler.add(rest)?;
    let tree = compiler.tree(server.locations)?;
    let rewrite = compiler.codes(server.rewrite)?;
    let mut logs = Vec::new();
    if let Some(path) = server.access_log.filter(|path| path != "off") {
        let file = open_log(&path, false, compiler.logs, compiler.before)?;
        logs.push(log::Target::combined(file));
    }
    Ok(Server {
        name: server
            .names
            .into_iter()
            .next()
            .map_or_else(String::new, |name| name.trim_start_matches('.').to_string()),
        limits: server.limits,
        rewrite,
        locations: std::mem::take(&mut compiler.locations),
        named: std::mem::take(&mut compiler.named),
        tree,
        keepalive_timeout_ms: server.keepalive_timeout_ms,
        logs,
    })
}

fn group(
    index: usize,
    upstream: config::Upstream,
    before: Option<&Snapshot>,
    scope: &Scope,
) -> Result<Group, String> {
    let mut peers = Vec::new();
    for peer in upstream.peers {
        let shaped = |address: Address| Peer {
            weight: i64::from(peer.weight),
            max_fails: peer.max_fails,
            fail_timeout_ms: peer.fail_timeout_ms,
            backup: peer.backup,
            down: peer.down,
            drain: peer.drain,
            max_conns: peer.max_conns,
            slow_start_ms: peer.slow_start_ms,
            ..Peer::new(&peer.address, address)
        };
        for address in addresses(&peer.address)
            .map_err(|error| format!("upstream {}: {}: {error}", upstream.name, peer.address))?
        {
            let mut made = shaped(address);
            if !peer.route.is_empty() {
                made.id.clone_from(&peer.route);
            }
            peers.push(made);
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
    let keepalive = Keepalive {
        most: upstream.keepalive,
        timeout_ms: upstream.keepalive_timeout_ms,
        requests: upstream.keepalive_requests,
        time_ms: upstream.keepalive_time_ms,
    };
    let mut group = Group::new(id, upstream.name, peers, keepalive);
    group.method = crate::method::Method::compile(&upstream.balance, scope)?;
    let sticky = upstream.sticky.as_ref();
    group.sticky = sticky
        .map(|sticky| Sticky::compile(sticky, scope))
        .transpose()?;
    group.queue = upstream.queue;
    group.retries = upstream.retry_percent.map(Budget::new);
    group.build();
    if let Some(old) = old {
        group.inherit(old);
    }
    Ok(group)
}

/// Where 'HOST:PORT' or 'unix:PATH' is.
fn addresses(text: &str) -> std::io::Result<Vec<Address>> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(vec![Address::Unix(path.into())]);
    }
    Ok(text.to_socket_addrs()?.map(Address::Ip).collect())
}

/// The one opened already, a new one, or the old one where a reload may not open it any more.
pub fn open_log(
    path: &str,
    held_back: bool,
    opened: &mut HashMap<String, Arc<Sink>>,
    before: Option<&Snapshot>,
) -> Result<Arc<Sink>, String> {
    if let Some(log) = opened.get(path) {
        return Ok(log.clone());
    }
    let held = before.and_then(|before| before.logs.get(path));
    let log = match (Sink::open(path, held_back), held) {
        (Err(error), Some(held)) if error.kind() == ErrorKind::PermissionDenied => held.clone(),
        (made, _) => Arc::new(made.map_err(|error| format!("open() \"{path}\" failed: {error}"))?),
    };
    Ok(opened.entry(path.into()).or_insert(log).clone())
}

pub fn open_root(path: &str, before: Option<&Snapshot>) -> Option<OwnedFd> {
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
