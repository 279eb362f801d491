//! The access log, nginx's combined format. Each worker fills its own buffer; whole lines go out
//! with one write to a file opened for appending, so workers never mix within a line.

use crate::request::Request;
use crate::sys;
use crate::vars::{Context, Escape, Template};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

const MOST_BUFFERED: usize = 64 << 10;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Where a request is logged, how, and whether.
pub struct Target {
    pub file: Arc<LogFile>,
    /// None: the combined format.
    pub format: Option<(Template, Escape)>,
    pub condition: Option<Template>,
}

impl Target {
    pub fn combined(file: Arc<LogFile>) -> Target {
        Target {
            file,
            format: None,
            condition: None,
        }
    }
}

pub struct LogFile(File);

impl LogFile {
    pub fn open(path: &str) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(LogFile(file))
    }
}

#[derive(Default)]
pub struct Logs {
    buffers: Vec<(Arc<LogFile>, Vec<u8>)>,
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
    pub fn write(&mut self, file: &Arc<LogFile>, line: &Line, wall_seconds: u64) {
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
        let full = buffer.len() > MOST_BUFFERED;
        self.time = time;
        if full {
            self.flush();
        }
    }

    /// A line in a format of the configuration's own.
    pub fn write_formatted(
        &mut self,
        file: &Arc<LogFile>,
        format: &(Template, Escape),
        context: &Context,
    ) {
        let buffer = self.buffer(file);
        format.0.write_escaped(context, format.1, buffer);
        buffer.push(b'\n');
        if buffer.len() > MOST_BUFFERED {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        for (file, buffer) in &mut self.buffers {
            if !buffer.is_empty() {
                let _ = (&file.0).write_all(buffer); // a full disk must not stop the serving
                buffer.clear();
            }
        }
        self.buffers.retain(|(file, _)| Arc::strong_count(file) > 1);
    }

    fn buffer(&mut self, file: &Arc<LogFile>) -> &mut Vec<u8> {
        let at = self
            .buffers
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, file));
        let at = at.unwrap_or_else(|| {
            self.buffers.push((file.clone(), Vec::new()));
            self.buffers.len() - 1
        });
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
