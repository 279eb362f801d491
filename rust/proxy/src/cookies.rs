//! proxy_cookie_flags: Secure, HttpOnly and SameSite of the cookies that peers set.

use crate::rewrite;
use crate::vars::{Context, Scope, Template};
use pcre2::bytes::Regex;

pub struct Flags {
    cookie: Name,
    flags: Template,
}

enum Name {
    Is(Template),
    Matches(Regex),
}

impl Flags {
    pub fn compile(cookie: &str, flags: &str, scope: &Scope) -> Result<Flags, String> {
        let cookie = match cookie.strip_prefix('~') {
            Some(pattern) => Name::Matches(rewrite::regex(pattern, true)?),
            None => Name::Is(Template::compile(cookie, scope)?),
        };
        Ok(Flags {
            cookie,
            flags: Template::compile(flags, scope)?,
        })
    }

    fn fits(&self, name: &[u8], context: &Context) -> bool {
        match &self.cookie {
            Name::Is(template) => template.value(context).eq_ignore_ascii_case(name),
            Name::Matches(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// Change the attributes of a cookie, `parts` being what stands between its semicolons; the first
/// rule that fits counts.
pub fn apply(rules: &[Flags], parts: &mut Vec<Vec<u8>>, context: &Context) {
    let Some(first) = parts.first() else {
        return;
    };
    let end = first.iter().position(|byte| *byte == b'=');
    let name = first[..end.unwrap_or(first.len())].trim_ascii();
    let Some(rule) = rules.iter().find(|rule| rule.fits(name, context)) else {
        return;
    };
    let flags = String::from_utf8_lossy(&rule.flags.value(context)).to_ascii_lowercase();
    let mut added = Vec::new();
    for flag in flags.split_ascii_whitespace() {
        let (attribute, text) = match flag {
            "secure" => ("secure", " Secure"),
            "httponly" => ("httponly", " HttpOnly"),
            "samesite=strict" => ("samesite", " SameSite=Strict"),
            "samesite=lax" => ("samesite", " SameSite=Lax"),
            "samesite=none" => ("samesite", " SameSite=None"),
            "nosecure" => ("secure", ""),
            "nohttponly" => ("httponly", ""),
            "nosamesite" => ("samesite", ""),
            _ => continue, // a variable gave it
        };
        let mut index = 0;
        parts.retain(|part| {
            index += 1;
            let end = part.iter().position(|byte| *byte == b'=');
            let own = part[..end.unwrap_or(part.len())].trim_ascii();
            index == 1 || !own.eq_ignore_ascii_case(attribute.as_bytes())
        });
        if !text.is_empty() {
            added.push(text.as_bytes().to_vec());
        }
    }
    parts.append(&mut added);
}
