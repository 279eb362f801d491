//! What few locations ask of forwarding: other headers, redirects, cookies, other next-peer rules.

use crate::config;
use crate::cookies::{self, Flags};
use crate::forward::Fault;
use crate::rewrite;
use crate::spool::Keeping;
use crate::vars::{Context, Scope, Template};
use pcre2::bytes::Regex;

pub struct Options {
    /// Nothing of a peer's head is to be looked at beyond the defaults.
    pub plain: bool,
    pub method: Option<Template>,
    pub body: Option<Template>,
    pub pass_headers: bool,
    pub pass_body: bool,
    pub http_1_0: bool,
    /// None: the default rule.
    pub redirects: Option<Vec<Rule>>,
    hide: Vec<Vec<u8>>,
    pass: Vec<Vec<u8>>,
    cookies: Vec<(Vec<u8>, Rule)>,
    flags: Vec<Flags>,
    pub intercept_errors: bool,
    pub next: Next,
    pub bind: Option<Template>,
    pub limit_rate: u64,
    ignore: Vec<Vec<u8>>,
    pub request_buffering: bool,
    pub keeping: Keeping,
    pub waiting: Waiting,
}

/// How much of an answer waits for a slow client, and where what memory does not hold.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub memory: usize,
    pub disk: u64,
    pub directory: String,
}

/// proxy_next_upstream.
pub struct Next {
    pub error: bool,
    pub timeout: bool,
    pub invalid: bool,
    pub non_idempotent: bool,
    pub statuses: Vec<u16>,
    pub tries: usize,
    pub timeout_ms: u64,
}

impl Next {
    pub fn wants(&self, fault: &Fault) -> bool {
        match fault {
            Fault::Error(_) => self.error,
            Fault::Timeout(_) => self.timeout,
            Fault::Invalid(_) => self.invalid,
            Fault::Status(_) => true,
            Fault::Intercepted(_) | Fault::Elsewhere(_) => false,
        }
    }
}

pub enum Rule {
    Prefix(Template, Template),
    Regex(Regex, String),
}

/// What becomes of a header line of a peer's answer.
pub enum Line {
    Usual,
    Drop,
    Keep,
    As(Vec<u8>),
    /// Another Location, made absolute if it is a path.
    Redirect(Vec<u8>),
}

pub fn compile(options: config::ProxyOptions, scope: &Scope) -> Result<Options, String> {
    let lower = |names: Vec<String>| -> Vec<Vec<u8>> {
        let each = names.into_iter();
        each.map(|name| name.to_ascii_lowercase().into()).collect()
    };
    let mut redirects = None;
    if let Some(pairs) = options.redirects {
        let mut rules = Vec::new();
        for (from, to) in pairs {
            rules.push(Rule::compile(&from, &to, scope)?);
        }
        redirects = Some(rules);
    }
    let mut cookies = Vec::new();
    let mut flags = Vec::new();
    for (attribute, from, to) in options.cookies {
        if attribute == "flags" {
            flags.push(Flags::compile(&from, &to, scope)?);
            continue;
        }
        let caseless = attribute == "domain" && from.starts_with('~') && !from.starts_with("~*");
        let from = if caseless {
            from.replacen('~', "~*", 1)
        } else {
            from
        };
        cookies.push((attribute.into_bytes(), Rule::compile(&from, &to, scope)?));
    }
    let words = options
        .next
        .unwrap_or_else(|| vec!["error".into(), "timeout".into()]);
    let has = |word: &str| words.iter().any(|each| each == word);
    let (hide, pass) = (lower(options.hide), lower(options.pass));
    let template =
        |text: Option<String>| text.map(|text| Template::compile(&text, scope)).transpose();
    Ok(Options {
        plain: hide.is_empty()
            && pass.is_empty()
            && redirects.is_none()
            && cookies.is_empty()
            && flags.is_empty(),
        method: template(options.method)?,
        body: template(options.body)?,
        pass_headers: options.pass_headers,
        pass_body: options.pass_body,
        http_1_0: options.http_1_0,
        redirects,
        hide,
        pass,
        cookies,
        flags,
        intercept_errors: options.intercept_errors,
        next: Next {
            error: has("error"),
            timeout: has("timeout"),
            invalid: has("invalid_header"),
            non_idempotent: has("non_idempotent"),
            statuses: words
                .iter()
                .filter_map(|word| word.strip_prefix("http_")?.parse().ok())
                .collect(),
            tries: options.next_tries,
            timeout_ms: options.next_timeout_ms,
        },
        bind: template(Some(options.bind).filter(|bind| !bind.is_empty()))?,
        limit_rate: options.limit_rate,
        ignore: lower(options.ignore),
        request_buffering: options.request_buffering,
        keeping: Keeping {
            memory: options.body_memory,
            directory: options.body_directory,
            in_file: options.body_in_file != "off",
            stays: options.body_in_file == "on",
        },
        waiting: Waiting {
            memory: options.buffers,
            disk: options.temp_most,
            directory: options.temp_directory,
        },
    })
}

impl Rule {
    fn compile(from: &str, to: &str, scope: &Scope) -> Result<Rule, String> {
        if let Some(pattern) = from.strip_prefix('~') {
            let (pattern, caseless) = match pattern.strip_prefix('*') {
                Some(pattern) => (pattern, true),
                None => (pattern, false),
            };
            return Ok(Rule::Regex(rewrite::regex(pattern, caseless)?, to.into()));
        }
        Ok(Rule::Prefix(
            Template::compile(from, scope)?,
            Template::compile(to, scope)?,
        ))
    }

    /// The value with its matching part replaced.
    fn apply(&self, value: &[u8], context: &Context, caseless: bool) -> Option<Vec<u8>> {
        match self {
            Rule::Prefix(from, to) => {
                let from = from.value(context);
                let head = value.get(..from.len())?;
                let same = if caseless {
                    head.eq_ignore_ascii_case(&from)
                } else {
                    head == from
                };
                same.then(|| [&to.value(context), &value[from.len()..]].concat())
            }
            Rule::Regex(regex, to) => {
                let mut spans = regex.capture_locations();
                regex.captures_read(&mut spans, value).ok()??;
                let mut captures = crate::vars::Captures::default();
                captures.set(value, &spans);
                let mut scope = Scope::default();
                let mut slots = Vec::new();
                for (group, name) in regex.capture_names().iter().enumerate() {
                    if let Some(name) = name {
                        scope.slots.insert(name.clone(), slots.len());
                        slots.push(captures.get(group).map(<[u8]>::to_vec));
                    }
                }
                let to = Template::compile(to, &scope).ok()?;
                let mut inner = *context;
                inner.more.captures = Some(&captures);
                inner.more.slots = &slots;
                Some(to.value(&inner)) // the whole value, whatever part of it matched
            }
        }
    }
}

impl Options {
    /// Whether a header of a peer's answer is to change nothing here.
    pub fn ignores(&self, name: &[u8]) -> bool {
        self.ignore.iter().any(|each| each == name)
    }

    /// What becomes of one line. The default rule for Location is the caller's.
    pub fn line(&self, name: &[u8], value: &[u8], context: &Context) -> Line {
        let named = |names: &[Vec<u8>]| names.iter().any(|each| name.eq_ignore_ascii_case(each));
        if named(&self.hide) && !named(&self.pass) {
            return Line::Drop;
        }
        if let Some(rules) = &self.redirects {
            let location = name.eq_ignore_ascii_case(b"location");
            if location || name.eq_ignore_ascii_case(b"refresh") {
                let start = if location {
                    0
                } else {
                    let at = value
                        .windows(4)
                        .position(|part| part.eq_ignore_ascii_case(b"url="));
                    at.map_or(value.len(), |at| at + 4)
                };
                let mut found = rules.iter();
                let changed = found.find_map(|rule| rule.apply(&value[start..], context, false));
                return match changed {
                    None => Line::As(value.to_vec()),
                    Some(new) if location => Line::Redirect(new),
                    Some(new) => Line::As([&value[..start], &new].concat()),
                };
            }
        }
        let edits = !self.cookies.is_empty() || !self.flags.is_empty();
        if edits && name.eq_ignore_ascii_case(b"set-cookie") {
            return Line::As(self.cookie(value, context));
        }
        if named(&self.pass) {
            return Line::Keep;
        }
        Line::Usual
    }

    fn cookie(&self, value: &[u8], context: &Context) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = value
            .split(|byte| *byte == b';')
            .map(<[u8]>::to_vec)
            .collect();
        for attribute in [b"domain".as_slice(), b"path"] {
            for part in parts.iter_mut().skip(1) {
                let Some(equals) = part.iter().position(|byte| *byte == b'=') else {
                    continue;
                };
                if !part[..equals].trim_ascii().eq_ignore_ascii_case(attribute) {
                    continue;
                }
                let rules = self.cookies.iter().filter(|(of, _)| of == attribute);
                let (head, text) = (part[..=equals].to_vec(), part[equals + 1..].to_vec());
                let domain = attribute == b"domain";
                let mut changed = rules.filter_map(|(_, rule)| match rule {
                    // A domain is compared whole, without its leading dot.
                    Rule::Prefix(from, to) if domain => {
                        let from = from.value(context);
                        let bare = |text: &[u8]| {
                            text.strip_prefix(b".").unwrap_or(text).to_ascii_lowercase()
                        };
                        let to = to.value(context);
                        let dot: &[u8] = if text.starts_with(b".") { b"." } else { b"" };
                        let whole = || [dot, to.strip_prefix(b".").unwrap_or(&to)].concat();
                        (bare(&from) == bare(&text)).then(whole)
                    }
                    rule => rule.apply(&text, context, false),
                });
                if let Some(new) = changed.next() {
                    *part = [head, new].concat();
                }
            }
        }
        cookies::apply(&self.flags, &mut parts, context);
        parts.join(&b';')
    }
}
