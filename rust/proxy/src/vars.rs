//! Templates with nginx's $variables, compiled when the snapshot is, evaluated per request.

use crate::request::Request;
use std::io::Write;
use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq)]
enum Variable {
    Host,
    HttpHost,
    ProxyHost,
    ProxyPort,
    RemoteAddr,
    RemotePort,
    AddForwardedFor,
    Scheme,
    RequestUri,
    Uri,
    Args,
    IsArgs,
    RequestMethod,
    RequestLine,
    ServerAddr,
    ServerPort,
    ServerName,
    ServerProtocol,
    ContentLength,
    ContentType,
    RequestId,
    Header(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template(Vec<Part>);

/// What the variables stand for while one request is served.
pub struct Context<'a> {
    pub request: &'a Request,
    pub client: &'a SocketAddr,
    pub server: SocketAddr,
    pub server_name: &'a str,
    pub proxy_host: &'a str,
    pub request_id: u128,
}

impl Template {
    /// `text` with `$name` or `${name}`; an unknown name is an error that tells it.
    pub fn compile(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(Part::Text(rest[..dollar].into()));
            }
            rest = &rest[dollar + 1..];
            let braces = rest.starts_with('{');
            let body = if braces { &rest[1..] } else { rest };
            let end = body
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(body.len());
            let name = &body[..end];
            rest = &body[end..];
            if braces {
                rest = rest
                    .strip_prefix('}')
                    .ok_or_else(|| format!("the variable '${{{name}' lacks its closing brace"))?;
            }
            let variable =
                Variable::named(name).ok_or_else(|| format!("unknown variable '${name}'"))?;
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
                Part::Variable(variable) => variable.write(context, out),
            }
        }
    }
}

impl Variable {
    fn named(name: &str) -> Option<Variable> {
        Some(match name {
            "host" => Variable::Host,
            "http_host" => Variable::HttpHost,
            "proxy_host" => Variable::ProxyHost,
            "proxy_port" => Variable::ProxyPort,
            "remote_addr" => Variable::RemoteAddr,
            "remote_port" => Variable::RemotePort,
            "proxy_add_x_forwarded_for" => Variable::AddForwardedFor,
            "scheme" => Variable::Scheme,
            "request_uri" => Variable::RequestUri,
            "uri" | "document_uri" => Variable::Uri,
            "args" | "query_string" => Variable::Args,
            "is_args" => Variable::IsArgs,
            "request_method" => Variable::RequestMethod,
            "request" => Variable::RequestLine,
            "server_addr" => Variable::ServerAddr,
            "server_port" => Variable::ServerPort,
            "server_name" => Variable::ServerName,
            "server_protocol" => Variable::ServerProtocol,
            "content_length" => Variable::ContentLength,
            "content_type" => Variable::ContentType,
            "request_id" => Variable::RequestId,
            _ => {
                let header = name.strip_prefix("http_").filter(|rest| !rest.is_empty())?;
                Variable::Header(header.replace('_', "-").into_bytes())
            }
        })
    }

    fn write(&self, context: &Context, out: &mut Vec<u8>) {
        let request = context.request;
        match self {
            Variable::Host if request.host.is_empty() => {
                out.extend_from_slice(context.server_name.as_bytes());
            }
            Variable::Host => out.extend_from_slice(&request.host),
            Variable::HttpHost => header(request, b"host", out),
            Variable::ProxyHost => out.extend_from_slice(context.proxy_host.as_bytes()),
            Variable::ProxyPort => {
                let port = context
                    .proxy_host
                    .rsplit_once(':')
                    .map_or("80", |pair| pair.1);
                out.extend_from_slice(port.as_bytes());
            }
            Variable::RemoteAddr => show(out, context.client.ip()),
            Variable::RemotePort => show(out, context.client.port()),
            Variable::AddForwardedFor => {
                forwarded_for(request, out);
                show(out, context.client.ip());
            }
            Variable::Scheme => out.extend_from_slice(b"http"),
            Variable::RequestUri => out.extend_from_slice(request.at(&request.target)),
            Variable::Uri => out.extend_from_slice(&request.uri),
            Variable::Args => {
                if let Some(args) = &request.args {
                    out.extend_from_slice(request.at(args));
                }
            }
            Variable::IsArgs => {
                if request.args.as_ref().is_some_and(|args| !args.is_empty()) {
                    out.push(b'?');
                }
            }
            Variable::RequestMethod => out.extend_from_slice(request.at(&request.method_name)),
            Variable::RequestLine => out.extend_from_slice(request.request_line()),
            Variable::ServerAddr => show(out, context.server.ip()),
            Variable::ServerPort => show(out, context.server.port()),
            Variable::ServerName => out.extend_from_slice(context.server_name.as_bytes()),
            Variable::ServerProtocol => show(out, format_args!("HTTP/1.{}", request.minor)),
            Variable::ContentLength => header(request, b"content-length", out),
            Variable::ContentType => header(request, b"content-type", out),
            Variable::RequestId => show(out, format_args!("{:032x}", context.request_id)),
            Variable::Header(name) => header(request, name, out),
        }
    }
}

fn show(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}"); // writing to memory does not fail
}

fn header(request: &Request, name: &[u8], out: &mut Vec<u8>) {
    if let Some(value) = request.header(name) {
        out.extend_from_slice(value);
    }
}

/// Every X-Forwarded-For that came, each with a comma behind.
fn forwarded_for(request: &Request, out: &mut Vec<u8>) {
    for header in &request.headers {
        if request
            .at(&header.name)
            .eq_ignore_ascii_case(b"x-forwarded-for")
        {
            out.extend_from_slice(request.at(&header.value));
            out.extend_from_slice(b", ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn evaluates_what_it_compiled() {
        let mut request = Request::default();
        let limits = Limits {
            body_size: 0,
            header_line: 8192,
            header_timeout_ms: 1,
            body_timeout_ms: 1,
            send_timeout_ms: 1,
        };
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: W:81\r\nX-Forwarded-For: 1.1.1.1\r\nX-Some-Name: v\r\n\r\n";
        request.parse(head, &limits).unwrap();
        let context = Context {
            request: &request,
            client: &"127.0.0.9:5".parse().unwrap(),
            server: "127.0.0.1:80".parse().unwrap(),
            server_name: "name",
            proxy_host: "up:8080",
            request_id: 10,
        };
        let cases = [
            ("plain", "plain"),
            ("$host $http_host", "w W:81"),
            ("${scheme}://$server_name$request_uri", "http://name/a?b=c"),
            ("$uri$is_args$args", "/a?b=c"),
            ("$proxy_add_x_forwarded_for", "1.1.1.1, 127.0.0.9"),
            (
                "$proxy_host|$proxy_port|$remote_port|$server_port",
                "up:8080|8080|5|80",
            ),
            ("$http_x_some_name$http_absent", "v"),
            ("$request", "GET /a?b=c HTTP/1.1"),
            ("$request_id", "0000000000000000000000000000000a"),
        ];
        for (text, wanted) in cases {
            let mut out = Vec::new();
            Template::compile(text).unwrap().write(&context, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn unknown_and_broken_names_are_refused() {
        for text in ["$nothing", "a$", "${host", "$http_", "$ x"] {
            assert!(Template::compile(text).is_err(), "{text}");
        }
    }
}
