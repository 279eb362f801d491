//! The access log, nginx's combined format. Each worker fills its own buffer; whole lines go out
//! with one write to a file opened for appending, so workers never mix within a line.

use crate::request::Request;
use crate::sink::Sink;
use crate::sys;
use crate::vars::{Context, Escape, Template};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

const MOST_BUFFERED: usize = 64 << 10;
pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Where a request is logged, how, and whether.
pub struct Target {
    pub file: Arc<Sink>,
    /// None: the combined format.
    pub format: Option<(Template, Escape)>,
    pub condition: Option<Template>,
}

impl Target {
    pub fn combined(file: Arc<Sink>) -> Target {
        Target {
            file,
            format: None,
            condition: None,
        }
    }
}

#[derive(Default)]
pub struct Logs {
    buffers: Vec<(Arc<Sink>, Vec<u8>)>,
    dirty: bool,
    time: String,
    time_at: u64,
}

pub struct Line<'a> {
    pub client: &'a SocketAddr,
    pub request: Option<&'a Request>,
    pub status: u16,
    pub body_bytes: u64,
}

impl Logs {
    pub fn write(&mut self, file: &Arc<Sink>, line: &Line, wall_seconds: u64) {
        self.set_time(wall_seconds);
        let time = std::mem::take(&mut self.time);
        let buffer = self.buffer(file);
        let _ = write!(buffer, "{} - - [{time}] \"", line.client.ip());
        escape(line.request.map(Request::request_line), buffer);
        let _ = write!(buffer, "\" {} {} \"", line.status, line.body_bytes);
        let header = |name| {
            line.request
                .and_then(|request| request.header(name))
                .or(Some(b"-"))
        };
        escape(header(b"referer"), buffer);
        buffer.extend_from_slice(b"\" \"");
        escape(header(b"user-agent"), buffer);
        buffer.extend_from_slice(b"\"\n");
        let full = buffer.len() > MOST_BUFFERED || file.is_syslog();
        self.time = time;
        if full {
            self.flush(true);
        }
    }

    /// A line in a format of the configuration's own.
    pub fn write_formatted(
        &mut self,
        file: &Arc<Sink>,
        format: &(Template, Escape),
        context: &Context,
    ) {
        let buffer = self.buffer(file);
        format.0.write_escaped(context, format.1, buffer);
        buffer.push(b'\n');
        if buffer.len() > MOST_BUFFERED || file.is_syslog() {
            self.flush(true);
        }
    }

    /// Write out what has come since; what is to be held back (`buffer=`) only with `all`.
    pub fn flush(&mut self, all: bool) {
        if !self.dirty && !all {
            return;
        }
        self.dirty = false;
        for (sink, buffer) in &mut self.buffers {
            if !buffer.is_empty() && (all || !sink.is_held()) {
                sink.write(buffer, None);
                buffer.clear();
            }
        }
        if all {
            self.buffers.retain(|(sink, _)| Arc::strong_count(sink) > 1);
        }
    }

    fn buffer(&mut self, file: &Arc<Sink>) -> &mut Vec<u8> {
        let at = self
            .buffers
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, file));
        let at = at.unwrap_or_else(|| {
            self.buffers.push((file.clone(), Vec::new()));
            self.buffers.len() - 1
        });
        self.dirty = true;
        &mut self.buffers[at].1
    }

    fn set_time(&mut self, wall_seconds: u64) {
        if self.time_at == wall_seconds {
            return;
        }
        self.time_at = wall_seconds;
        let (year, month, day, hour, minute, second, east) = sys::local_time(wall_seconds);
        let month = MONTHS[month as usize % 12];
        let sign = if east < 0 { '-' } else { '+' };
        let (zone_hours, zone_minutes) = (east.abs() / 60, east.abs() % 60);
        self.time = format!(
            "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} {sign}{zone_hours:02}{zone_minutes:02}"
        );
    }
}

/// nginx's default escaping: no log line can be forged by what a client sends.
fn escape(text: Option<&[u8]>, out: &mut Vec<u8>) {
    for byte in text.unwrap_or_default() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            _ => out.push(*byte),
        }
    }
}
