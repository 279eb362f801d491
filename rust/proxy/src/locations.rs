//! Locations: which one a path belongs to, in nginx's order, and what it is compiled to.

use crate::access::Network;
use crate::balance::Group;
use crate::config;
use crate::limits::{CountLimit, RateLimit, Zones};
use crate::log;
use crate::manner::Manner;
use crate::rewrite::{self, Code};
use crate::sink::Sink;
use crate::snapshot::{
    open_log, open_root, Action, ErrorPage, Files, Location, Proxy, Snapshot, Upstream,
};
use crate::vars::{Captures, Escape, Scope, Template};
use pcre2::bytes::Regex;
use std::collections::HashMap;
use std::sync::Arc;

/// The locations of one level.
#[derive(Default)]
pub struct Tree {
    exact: HashMap<Vec<u8>, usize>,
    /// Longest first; with whether regular expressions are not asked after it.
    prefixes: Vec<(Vec<u8>, usize, bool)>,
    /// '/path' of a forwarding '/path/'.
    slashless: HashMap<Vec<u8>, usize>,
    regexes: Vec<(Regex, Vec<Option<usize>>, usize)>,
}

pub enum Found {
    Location(usize),
    /// The path is a forwarding location's without its last '/'.
    Slashless(usize),
    Nothing,
}

/// What a regular expression that matched leaves behind.
pub struct Matched<'a> {
    pub captures: &'a mut Captures,
    pub slots: &'a mut Vec<Option<Vec<u8>>>,
}

impl Tree {
    pub fn find(&self, uri: &[u8], all: &[Location], matched: &mut Matched) -> Found {
        if !self.exact.is_empty() {
            if let Some(index) = self.exact.get(uri) {
                return Found::Location(*index);
            }
        }
        let longest = self.prefixes.iter().find(|entry| uri.starts_with(&entry.0));
        if !self.slashless.is_empty() {
            if let Some(index) = self.slashless.get(uri) {
                return Found::Slashless(*index);
            }
        }
        let (mut found, mut asks) = (Found::Nothing, true);
        if let Some((_, index, settled)) = longest {
            asks = !settled;
            found = Found::Location(*index);
            if let Some(inner) = &all[*index].inner {
                match inner.find(uri, all, matched) {
                    Found::Nothing => {}
                    Found::Location(nested) if !all[nested].exact && !all[nested].by_regex => {
                        found = Found::Location(nested);
                        asks &= !all[nested].settles;
                    }
                    other => return other,
                }
            }
        }
        if asks {
            for (regex, names, index) in &self.regexes {
                let mut spans = regex.capture_locations();
                if !matches!(regex.captures_read(&mut spans, uri), Ok(Some(_))) {
                    continue;
                }
                matched.captures.set(uri, &spans);
                rewrite::keep_named(matched.slots, names, matched.captures);
                let inner = all[*index].inner.as_ref();
                return match inner.map(|inner| inner.find(uri, all, matched)) {
                    Some(Found::Nothing) | None => Found::Location(*index),
                    Some(other) => other,
                };
            }
        }
        found
    }

    fn sort(&mut self) {
        self.prefixes
            .sort_by_key(|(path, _, _)| std::cmp::Reverse(path.len()));
    }
}

/// Makes the locations of one server, which are numbered; 0 is where none fits.
pub struct Compiler<'a> {
    pub scope: &'a Scope,
    pub groups: &'a [Arc<Group>],
    pub logs: &'a mut HashMap<String, Arc<Sink>>,
    pub zones: &'a Zones,
    pub locations: Vec<Location>,
    pub named: HashMap<String, usize>,
    pub before: Option<&'a Snapshot>,
    pub product: &'a (String, String),
}

impl Compiler<'_> {
    pub fn tree(&mut self, locations: Vec<config::Location>) -> Result<Tree, String> {
        let mut tree = Tree::default();
        for location in locations {
            let (matching, path) = (location.matching.clone(), location.path.clone());
            let index = self
                .add(location)
                .map_err(|error| format!("location {path}: {error}"))?;
            let forwards = matches!(self.locations[index].action, Action::Proxy(_));
            let key = path.clone().into_bytes();
            if forwards && matches!(matching.as_str(), "" | "^~") && path.len() > 1 {
                if let Some(short) = key.strip_suffix(b"/") {
                    tree.slashless.insert(short.to_vec(), index);
                }
            }
            match matching.as_str() {
                "=" => drop(tree.exact.insert(key, index)),
                "" | "^~" => tree.prefixes.push((key, index, matching == "^~")),
                "@" => drop(self.named.insert(path, index)),
                "~" | "~*" => {
                    let regex = rewrite::regex(&path, matching == "~*")?;
                    let names = rewrite::names(&regex, self.scope);
                    tree.regexes.push((regex, names, index));
                }
                other => return Err(format!("location {path}: '{other}'?")),
            }
        }
        tree.sort();
        Ok(tree)
    }

    pub fn codes(&mut self, codes: Vec<config::Code>) -> Result<Vec<Code>, String> {
        let scope = self.scope;
        rewrite::compile(codes, scope, &mut |location| self.add(location))
    }

    fn template(&self, text: &str) -> Result<Template, String> {
        Template::compile(text, self.scope)
    }

    pub fn add(&mut self, location: config::Location) -> Result<usize, String> {
        let inner = if location.locations.is_empty() {
            None
        } else {
            Some(Box::new(self.tree(location.locations)?))
        };
        let rewrite = self.codes(location.rewrite)?;
        let mut access = Vec::new();
        for (allowed, network) in &location.access {
            access.push((*allowed, network.parse::<Network>()?));
        }
        let logs = match location.logs {
            None => None,
            Some(logs) => Some(self.logs(logs)?),
        };
        let basic = match &location.basic {
            Some(basic) => Some((self.template(&basic.realm)?, self.template(&basic.file)?)),
            None => None,
        };
        let (mut rates, mut counts) = (Vec::new(), Vec::new());
        for limit in &location.rates {
            rates.push(RateLimit::compile(limit, self.zones)?);
        }
        for limit in &location.counts {
            counts.push(CountLimit::compile(limit, self.zones)?);
        }
        let expires = match location.expires {
            Some(expires) => Some((self.template(&expires.value)?, expires.modified)),
            None => None,
        };
        let template = |text: &String| Template::compile(text, self.scope);
        let auth = location.auth.as_ref().map(template).transpose()?;
        let mirrors = location.mirrors.iter().map(template);
        let mirrors = mirrors.collect::<Result<Vec<_>, _>>()?;
        let mut auth_sets = Vec::new();
        for (variable, value) in &location.auth_sets {
            let slot = self.scope.slots.get(variable).copied();
            if slot.is_none() && variable != "args" {
                return Err(format!("auth_request_set: ${variable} cannot be set"));
            }
            auth_sets.push((slot, template(value)?));
        }
        let real_ip = match location.real_ip {
            None => None,
            Some(real) => {
                let from: Result<Vec<Network>, String> =
                    real.from.iter().map(|network| network.parse()).collect();
                Some((
                    from?,
                    real.header.to_ascii_lowercase().into_bytes(),
                    real.recursive,
                ))
            }
        };
        let mut errors = None;
        for (path, level) in location.errors.iter().flatten() {
            let sink = open_log(path, false, self.logs, self.before)?;
            let level = crate::errors::level(level)?;
            errors.get_or_insert_with(Vec::new).push((sink, level));
        }
        let manner = Manner::compile(*location.manner, self.product, self.scope)?;
        let except = match location.except {
            None => None,
            Some((methods, other)) => {
                let methods = methods.into_iter().map(String::into_bytes).collect();
                Some((methods, self.add(*other)?))
            }
        };
        let mut headers = Vec::new();
        for header in &location.headers {
            let value = self.template(&header.value)?;
            headers.push((header.name.clone().into_bytes(), value, header.always));
        }
        let mut try_files = Vec::new();
        for candidate in &location.try_files {
            try_files.push(self.template(candidate)?);
        }
        let mut error_pages = Vec::new();
        for page in location.error_pages {
            let uri = self.template(&page.uri)?;
            let named = page.uri.starts_with('@').then(|| page.uri[1..].to_string());
            error_pages.push(ErrorPage {
                statuses: page.statuses,
                uri,
                named,
                answer: page.answer,
            });
        }
        let alias = location.alias;
        let root = match (&location.root, &location.action) {
            (None, config::Action::Files { root, .. }) => Some(root.clone()),
            (root, _) => root.clone(),
        };
        let whole = location.alias_skip.is_none();
        let action = self.action(location.action, location.root.as_deref(), alias, !whole)?;
        let types = location.types.map(|types| {
            let lower =
                |(ending, kind): (String, String)| (ending.to_ascii_lowercase().into(), kind);
            types.into_iter().map(lower).collect()
        });
        self.locations.push(Location {
            exact: location.matching == "=",
            by_regex: location.matching.starts_with('~'),
            settles: location.matching == "^~",
            path: location.path.into_bytes(),
            internal: location.internal,
            action,
            error_pages,
            recursive_error_pages: location.recursive_error_pages,
            inner,
            rewrite,
            root: root.map(|root| self.template(&root)).transpose()?,
            alias,
            headers,
            expires,
            logs,
            body_size: location.body_size,
            default_type: location.default_type,
            types,
            access,
            basic,
            satisfy_any: location.satisfy_any,
            rates,
            counts,
            try_files,
            real_ip,
            absolute_redirect: location.absolute_redirect.unwrap_or(true),
            errors,
            log_not_found: location.log_not_found,
            alias_skip: location.alias_skip,
            manner,
            except,
            body_timeout_ms: location.body_timeout_ms,
            send_timeout_ms: location.send_timeout_ms,
            auth,
            auth_sets,
            mirrors,
            mirror_body: location.mirror_body,
        });
        Ok(self.locations.len() - 1)
    }

    fn logs(&mut self, logs: Vec<config::Log>) -> Result<Vec<log::Target>, String> {
        let mut out = Vec::new();
        for log in logs {
            let escape = match log.escape.as_str() {
                "json" => Escape::Json,
                "none" => Escape::None,
                _ => Escape::Log,
            };
            let format = match log.format {
                Some(text) => Some((self.template(&text)?, escape)),
                None => None,
            };
            let condition = match log.condition {
                Some(text) => Some(self.template(&text)?),
                None => None,
            };
            let file = open_log(&log.path, log.held, self.logs, self.before)?;
            out.push(log::Target {
                file,
                format,
                condition,
            });
        }
        Ok(out)
    }

    fn action(
        &self,
        action: config::Action,
        root: Option<&str>,
        alias: bool,
        prefix: bool,
    ) -> Result<Action, String> {
        Ok(match action {
            config::Action::Status => Action::Status,
            config::Action::Return { status, text } => {
                Action::Return(status, self.template(&text)?)
            }
            config::Action::Files { root: fixed, index } => {
                self.files(root.unwrap_or(&fixed), index, alias, prefix)?
            }
            config::Action::Proxy {
                upstream,
                uri,
                set_headers,
                connect_timeout_ms,
                send_timeout_ms,
                read_timeout_ms,
                options,
            } => {
                let upstream = if upstream.contains('$') {
                    Upstream::Named(self.template(&upstream)?)
                } else {
                    let group = self.groups.iter().position(|group| group.name == upstream);
                    Upstream::Group(group.ok_or_else(|| format!("no upstream '{upstream}'"))?)
                };
                Action::Proxy(Box::new(Proxy {
                    upstream,
                    uri: uri.map(|uri| self.template(&uri)).transpose()?,
                    sets_host: set_headers
                        .iter()
                        .any(|pair| pair.0.eq_ignore_ascii_case("host")),
                    set_headers: compile_headers(set_headers, self.scope)?,
                    connect_timeout_ms,
                    send_timeout_ms,
                    read_timeout_ms,
                    options: crate::filters::compile(*options, self.scope)?,
                }))
            }
        })
    }

    /// The directory that is certain is opened now: nothing outside of it is ever served.
    fn files(
        &self,
        root: &str,
        index: Vec<String>,
        alias: bool,
        prefix: bool,
    ) -> Result<Action, String> {
        let certain = if alias || root.contains('$') {
            let end = root.find('$').unwrap_or(root.len());
            root[..end].rfind('/').map_or(0, |slash| slash + 1)
        } else {
            root.len()
        };
        let mut templates = Vec::new();
        for name in &index {
            templates.push(self.template(name)?);
        }
        let rest = &root[certain..];
        Ok(Action::Files(Files {
            root: open_root(&root[..certain], self.before),
            path: root[..certain].into(),
            rest: (!rest.is_empty() || alias)
                .then(|| self.template(rest))
                .transpose()?,
            appends: !alias || prefix,
            index: templates,
        }))
    }
}

fn compile_headers(
    pairs: Vec<(String, String)>,
    scope: &Scope,
) -> Result<Vec<(Vec<u8>, Template)>, String> {
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
        out.push((name.into_bytes(), Template::compile(&value, scope)?));
    }
    Ok(out)
}
