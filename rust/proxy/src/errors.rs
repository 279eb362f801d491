//! The error log: what went wrong with a request, in nginx's form.

use crate::conn::Client;
use crate::exchange::Exchange;
use crate::sink::{Sink, LEVELS};
use crate::snapshot::Snapshot;
use crate::sys;
use std::io::Write;
use std::sync::Arc;

pub const ERROR: u8 = 3;
pub const INFO: u8 = 6;

/// Each with the least severe level that it takes.
pub type Errors = Vec<(Arc<Sink>, u8)>;

pub fn level(name: &str) -> Result<u8, String> {
    let found = LEVELS.iter().position(|each| *each == name);
    found
        .map(|at| at as u8)
        .ok_or_else(|| format!("error_log: unknown level '{name}'"))
}

impl Client {
    /// Tell those who want to know. Costs nothing but a look where nobody does.
    pub fn note(&self, exchange: &Exchange, level: u8, text: impl FnOnce() -> String) {
        let Some(snapshot) = exchange.snapshot.as_deref() else {
            return;
        };
        let server = &snapshot.servers[exchange.server];
        let location = server.locations.get(exchange.location.unwrap_or(0));
        let own = location.and_then(|location| location.errors.as_ref());
        let errors = own.unwrap_or(&snapshot.errors);
        if !errors.iter().any(|(_, least)| level <= *least) {
            return;
        }
        let line = self.error_line(exchange, snapshot, level, &text());
        for (sink, least) in errors {
            if level <= *least {
                sink.write(&line, Some(level));
            }
        }
    }

    fn error_line(
        &self,
        exchange: &Exchange,
        snapshot: &Snapshot,
        level: u8,
        text: &str,
    ) -> Vec<u8> {
        let (pid, word) = (std::process::id(), LEVELS[usize::from(level) & 7]);
        let mut out = Vec::new();
        let address = exchange.address.as_ref().unwrap_or(&self.address).ip();
        let name = &snapshot.servers[exchange.server].name;
        let _ = write!(
            out,
            "{} [{word}] {pid}#{pid}: *{} {text}, client: {address}, server: {name}, request: \"",
            sys::error_time(),
            self.serial,
        );
        let request = &exchange.request;
        out.extend_from_slice(request.request_line());
        out.push(b'"');
        if let Some(host) = request.header(b"host") {
            out.extend_from_slice(b", host: \"");
            out.extend_from_slice(host);
            out.push(b'"');
        }
        for byte in &mut out {
            if *byte < b' ' {
                *byte = b'?'; // one line is one message, whatever a client sends
            }
        }
        out.push(b'\n');
        out
    }
}
