//! nginx's rewrite module: set, rewrite, if, return, break, compiled to codes that run in order.

use crate::answer::escape_uri;
use crate::config;
use crate::conn::Client;
use crate::exchange::Exchange;
use crate::snapshot::Snapshot;
use crate::vars::{Captures, Context, Escape, Scope, Template};
use pcre2::bytes::{Regex, RegexBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub enum Code {
    Set(Target, Template),
    Rewrite(Box<Rewrite>),
    Return(u16, Template),
    Break,
    If(Box<Test>, Vec<Code>, Option<usize>),
}

pub enum Target {
    Slot(usize),
    Args,
    Rate,
    /// The value of a map, from here on.
    Map(usize),
}

pub struct Rewrite {
    regex: Regex,
    names: Vec<Option<usize>>,
    path: Template,
    /// The arguments of the replacement; None: it has no '?'.
    args: Option<Template>,
    /// Append the request's own arguments.
    keep_args: bool,
    /// The status of a redirect.
    redirect: Option<u16>,
    flag: Flag,
}

#[derive(Clone, Copy, PartialEq)]
enum Flag {
    None,
    Last,
    Break,
}

pub enum Test {
    True(Template),
    Equal(Template, Template, bool),
    Match(Template, Regex, Vec<Option<usize>>, bool),
    File(u8, Template, bool),
}

/// What the codes came to.
pub enum Outcome {
    Go,
    /// The path is another one: choose a location again.
    Again,
    Return(u16, Vec<u8>),
}

pub fn regex(pattern: &str, caseless: bool) -> Result<Regex, String> {
    RegexBuilder::new()
        .caseless(caseless)
        .jit_if_available(true)
        .build(pattern)
        .map_err(|error| format!("regular expression '{pattern}': {error}"))
}

/// For each group of a regular expression, the slot of the variable that it names.
pub fn names(regex: &Regex, scope: &Scope) -> Vec<Option<usize>> {
    let slot = |name: &Option<String>| scope.slots.get(name.as_ref()?).copied();
    regex.capture_names().iter().map(slot).collect()
}

pub fn keep_named(slots: &mut Vec<Option<Vec<u8>>>, names: &[Option<usize>], captures: &Captures) {
    for (group, slot) in names.iter().enumerate() {
        if let Some(slot) = slot {
            if slots.len() <= *slot {
                slots.resize(*slot + 1, None);
            }
            slots[*slot] = captures.get(group).map(<[u8]>::to_vec);
        }
    }
}

/// Compiles codes; `location` makes a location of an `if` and gives its number.
pub fn compile(
    codes: Vec<config::Code>,
    scope: &Scope,
    location: &mut dyn FnMut(config::Location) -> Result<usize, String>,
) -> Result<Vec<Code>, String> {
    let mut out = Vec::new();
    for code in codes {
        out.push(match code {
            config::Code::Break => Code::Break,
            config::Code::Return { status, text } => {
                Code::Return(status, Template::compile(&text, scope)?)
            }
            config::Code::Set { variable, value } => {
                let map = scope.maps.get(&variable).map(|map| Target::Map(*map));
                let target = match scope.slots.get(&variable) {
                    _ if map.is_some() => map.unwrap_or(Target::Args),
                    Some(slot) => Target::Slot(*slot),
                    None if variable == "args" => Target::Args,
                    None if variable == "limit_rate" => Target::Rate,
                    None => return Err(format!("set: '${variable}' cannot be changed")),
                };
                Code::Set(target, Template::compile(&value, scope)?)
            }
            config::Code::Rewrite {
                pattern,
                replacement,
                flag,
            } => Code::Rewrite(Box::new(rewrite(&pattern, &replacement, &flag, scope)?)),
            config::Code::If {
                test,
                left,
                right,
                then,
                location: own,
            } => {
                let test = condition(&test, &left, &right, scope)?;
                let own = own.map(|own| location(*own)).transpose()?;
                Code::If(Box::new(test), compile(then, scope, location)?, own)
            }
        });
    }
    Ok(out)
}

fn rewrite(pattern: &str, text: &str, flag: &str, scope: &Scope) -> Result<Rewrite, String> {
    let regex = regex(pattern, false)?;
    let absolute = ["http://", "https://", "$scheme"]
        .iter()
        .any(|word| text.starts_with(word));
    let redirect = match flag {
        "permanent" => Some(301),
        "redirect" => Some(302),
        _ => absolute.then_some(302),
    };
    let (text, keep_args) = match text.strip_suffix('?') {
        Some(text) => (text, false),
        None => (text, true),
    };
    let (path, args) = match text.split_once('?') {
        Some((path, args)) => (path, Some(Template::compile(args, scope)?)),
        None => (text, None),
    };
    Ok(Rewrite {
        names: names(&regex, scope),
        regex,
        path: Template::compile(path, scope)?,
        args,
        keep_args,
        redirect,
        flag: match flag {
            "last" => Flag::Last,
            "break" => Flag::Break,
            _ => Flag::None,
        },
    })
}

fn condition(test: &str, left: &str, right: &str, scope: &Scope) -> Result<Test, String> {
    let value = Template::compile(left, scope)?;
    Ok(match test {
        "" => Test::True(value),
        "=" | "!=" => Test::Equal(value, Template::compile(right, scope)?, test == "="),
        "~" | "~*" | "!~" | "!~*" => {
            let regex = regex(right, test.ends_with('*'))?;
            let names = names(&regex, scope);
            Test::Match(value, regex, names, !test.starts_with('!'))
        }
        _ => {
            let wanted = !test.starts_with('!');
            Test::File(test.bytes().last().unwrap_or(b'e'), value, wanted)
        }
    })
}

/// What templates see besides the exchange.
pub struct View<'a> {
    pub client: &'a mut Client,
    pub snapshot: &'a Snapshot,
}

impl View<'_> {
    fn context<'a>(&'a self, exchange: &'a Exchange) -> Context<'a> {
        exchange.context(self.client, self.snapshot, "")
    }
}

/// Run codes.
pub fn run(codes: &[Code], exchange: &mut Exchange, view: &mut View) -> Outcome {
    let mut changed = false;
    match go(codes, exchange, view, &mut changed) {
        Some(outcome) => outcome,
        None if changed => Outcome::Again,
        None => Outcome::Go,
    }
}

fn go(
    codes: &[Code],
    exchange: &mut Exchange,
    view: &mut View,
    changed: &mut bool,
) -> Option<Outcome> {
    for code in codes {
        match code {
            Code::Break => {
                exchange.unlocated |= *changed;
                return Some(Outcome::Go);
            }
            Code::Return(status, text) => {
                let text = text.value(&view.context(exchange));
                return Some(Outcome::Return(*status, text));
            }
            Code::Set(Target::Slot(slot), value) => {
                let value = value.value(&view.context(exchange));
                if exchange.slots.len() <= *slot {
                    exchange.slots.resize(*slot + 1, None);
                }
                exchange.slots[*slot] = Some(value);
            }
            Code::Set(Target::Args, value) => {
                let value = value.value(&view.context(exchange));
                exchange.request.set_args(&value);
                exchange.rewritten = true;
            }
            Code::Set(Target::Map(map), value) => {
                let value = value.value(&view.context(exchange));
                let mapped = exchange.mapped.get_mut();
                if mapped.len() <= *map {
                    mapped.resize(*map + 1, None);
                }
                mapped[*map] = Some(value);
            }
            Code::Set(Target::Rate, value) => {
                let value = value.value(&view.context(exchange));
                view.client.rate = crate::manner::size(&value).unwrap_or(0);
                view.client.rate_set = true;
            }
            Code::If(test, then, location) => {
                if !holds(test, exchange, view) {
                    continue;
                }
                if location.is_some() {
                    exchange.location = *location;
                }
                if let Some(outcome) = go(then, exchange, view, changed) {
                    return Some(outcome);
                }
            }
            Code::Rewrite(rewrite) => {
                let uri = std::mem::take(&mut exchange.request.uri);
                let found = matches(&rewrite.regex, &rewrite.names, &uri, exchange);
                exchange.request.uri = uri;
                if !found {
                    continue;
                }
                if let Some(outcome) = replace(rewrite, exchange, view) {
                    return Some(outcome);
                }
                *changed = true;
                match rewrite.flag {
                    Flag::Last => return Some(Outcome::Again),
                    Flag::Break => {
                        exchange.unlocated = true;
                        return Some(Outcome::Go);
                    }
                    Flag::None => {}
                }
            }
        }
    }
    None
}

fn matches(
    regex: &Regex,
    names: &[Option<usize>],
    subject: &[u8],
    exchange: &mut Exchange,
) -> bool {
    let mut found = regex.capture_locations();
    if !matches!(regex.captures_read(&mut found, subject), Ok(Some(_))) {
        return false;
    }
    exchange.captures.set(subject, &found);
    keep_named(&mut exchange.slots, names, &exchange.captures);
    true
}

/// Put the replacement in place; Some: it is a redirect.
fn replace(rewrite: &Rewrite, exchange: &mut Exchange, view: &View) -> Option<Outcome> {
    let context = view.context(exchange);
    let path = rewrite.path.value(&context);
    let mut args = Vec::new();
    if let Some(own) = &rewrite.args {
        own.write_escaped(&context, Escape::Argument, &mut args);
    }
    let request = &exchange.request;
    let before = request.args.as_ref().map(|span| request.at(span));
    if let Some(before) = before.filter(|before| rewrite.keep_args && !before.is_empty()) {
        if !args.is_empty() {
            args.push(b'&');
        }
        args.extend_from_slice(before);
    }
    if let Some(status) = rewrite.redirect {
        let mut target = Vec::new();
        rewrite
            .path
            .write_parts(&view.context(exchange), |decoded, part| {
                if decoded {
                    escape_uri(part, &mut target);
                } else {
                    write_target(part, &mut target);
                }
            });
        if !args.is_empty() {
            target.push(b'?');
            target.extend_from_slice(&args);
        }
        return Some(Outcome::Return(status, target));
    }
    exchange.request.uri = path;
    exchange.request.set_args(&args);
    exchange.rewritten = true;
    None
}

/// What a variable brings percent-encoded stands as it is meant in a redirect: '/', ':' and the
/// like decoded (up to a '?'), and nothing that could end the header line.
fn write_target(text: &[u8], out: &mut Vec<u8>) {
    let (mut at, mut args) = (0, false);
    while at < text.len() {
        let hex = text
            .get(at + 1..at + 3)
            .filter(|_| text[at] == b'%' && !args);
        let byte = hex.and_then(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            let byte = u8::from_str_radix(pair, 16).ok()?;
            (b'&'..0x7f).contains(&byte).then_some(byte)
        });
        let shown = byte.unwrap_or(text[at]);
        args |= shown == b'?';
        match shown {
            0..=b' ' | 0x7f.. => out.extend_from_slice(format!("%{shown:02X}").as_bytes()),
            _ => out.push(shown),
        }
        at += if byte.is_some() { 3 } else { 1 };
    }
}

fn holds(test: &Test, exchange: &mut Exchange, view: &View) -> bool {
    match test {
        Test::True(value) => {
            let value = value.value(&view.context(exchange));
            !value.is_empty() && value != b"0"
        }
        Test::Equal(left, right, wanted) => {
            let context = view.context(exchange);
            (left.value(&context) == right.value(&context)) == *wanted
        }
        Test::Match(value, regex, names, wanted) => {
            let value = value.value(&view.context(exchange));
            matches(regex, names, &value, exchange) == *wanted
        }
        Test::File(kind, path, wanted) => {
            let path = path.value(&view.context(exchange));
            let about = std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(&path)));
            let found = about.is_ok_and(|about| match kind {
                b'f' => about.is_file(),
                b'd' => about.is_dir(),
                b'x' => about.permissions().mode() & 0o111 != 0,
                _ => true,
            });
            found == *wanted
        }
    }
}

/// Percent-decoding, leniently: what is no escape stays as it is.
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| text[at] == b'%');
        let value = hex.and_then(|pair| std::str::from_utf8(pair).ok());
        let value = value.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(value.unwrap_or(text[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}
