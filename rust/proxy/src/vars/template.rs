//! Text with variables in it, compiled when the snapshot is.

use super::names::Variable;
use super::{Context, Scope};
use std::io::Write;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template(Vec<Part>);

/// How a value is written where it comes from a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Escape {
    #[default]
    None,
    /// nginx's log format: control characters, quotes and bytes above 126 as \xNN, '-' for none.
    Log,
    Json,
    /// As an argument of a URI.
    Argument,
}

impl Template {
    /// `text` with `$name` or `${name}`; an unknown name is an error that tells it.
    pub fn compile(text: &str, scope: &Scope) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(Part::Text(rest[..dollar].into()));
            }
            rest = &rest[dollar + 1..];
            let braces = rest.starts_with('{');
            let body = if braces { &rest[1..] } else { rest };
            let end = if !braces && body.starts_with(|letter: char| letter.is_ascii_digit()) {
                1
            } else {
                body.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                    .unwrap_or(body.len())
            };
            let name = &body[..end];
            rest = &body[end..];
            if braces {
                rest = rest
                    .strip_prefix('}')
                    .ok_or_else(|| format!("the variable '${{{name}' lacks its closing brace"))?;
            }
            let variable = Variable::named(name, scope)
                .ok_or_else(|| format!("unknown variable '${name}'"))?;
            parts.push(Part::Variable(variable));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Template(parts))
    }

    pub fn write(&self, context: &Context, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    variable.write(context, out);
                }
            }
        }
    }

    pub fn write_escaped(&self, context: &Context, escape: Escape, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    value.clear();
                    if !variable.write(context, &mut value) && escape == Escape::Log {
                        value.push(b'-');
                    }
                    escape_into(&value, escape, out);
                }
            }
        }
    }

    /// The parts one by one, and whether each is a part of the decoded path.
    pub fn write_parts(&self, context: &Context, mut take: impl FnMut(bool, &[u8])) {
        let mut value = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => take(false, text),
                Part::Variable(variable) => {
                    value.clear();
                    variable.write(context, &mut value);
                    take(variable.is_decoded(), &value);
                }
            }
        }
    }

    pub fn value(&self, context: &Context) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(context, &mut out);
        out
    }

    /// The text, when there is no variable in it.
    pub fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

pub fn escape_into(value: &[u8], escape: Escape, out: &mut Vec<u8>) {
    for byte in value {
        match (escape, byte) {
            (Escape::Log, b'"' | b'\\' | 0..=0x1f | 0x7f..) => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            (Escape::Json, b'"' | b'\\') => out.extend_from_slice(&[b'\\', *byte]),
            (Escape::Json, b'\n') => out.extend_from_slice(b"\\n"),
            (Escape::Json, b'\r') => out.extend_from_slice(b"\\r"),
            (Escape::Json, b'\t') => out.extend_from_slice(b"\\t"),
            (Escape::Json, 8) => out.extend_from_slice(b"\\b"),
            (Escape::Json, 12) => out.extend_from_slice(b"\\f"),
            (Escape::Json, 0..=0x1f) => {
                let _ = write!(out, "\\u{byte:04X}");
            }
            (
                Escape::Argument,
                b' ' | b'#' | b'%' | b'&' | b'+' | b';' | b'?' | 0..=0x1f | 0x7f..,
            ) => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(*byte),
        }
    }
}
