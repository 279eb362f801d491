//! nginx's $variables: templates compiled when the snapshot is, evaluated per request.

mod context;
mod lines;
mod names;
mod template;
mod values;

pub use context::{Captures, Context, More, Try};
pub use template::{Escape, Template};

use std::cell::Cell;
use std::collections::HashMap;

/// Which names there are besides the built-in ones, and what the templates made so far look at.
#[derive(Default)]
pub struct Scope {
    pub slots: HashMap<String, usize>,
    pub maps: HashMap<String, usize>,
    pub wants_sent: Cell<bool>,
    pub wants_reply: Cell<bool>,
    pub wants_connections: Cell<bool>,
    pub wants_body: Cell<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::request::Request;

    #[test]
    fn evaluates_what_it_compiled() {
        let mut request = Request::default();
        let limits = Limits::default();
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: W:81\r\nX-Forwarded-For: 1.1.1.1\r\nX-Some-Name: v\r\n\r\n";
        request.parse(head, &limits).unwrap();
        let context = Context {
            request: &request,
            client: &"127.0.0.9:5".parse().unwrap(),
            server: "127.0.0.1:80".parse().unwrap(),
            server_name: "name",
            proxy_host: "up:8080",
            request_id: 10,
            more: More::default(),
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
            Template::compile(text, &Scope::default())
                .unwrap()
                .write(&context, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn unknown_and_broken_names_are_refused() {
        for text in ["$nothing", "a$", "${host", "$http_", "$ x"] {
            assert!(
                Template::compile(text, &Scope::default()).is_err(),
                "{text}"
            );
        }
    }
}
