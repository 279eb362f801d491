//! Where log lines go: a file, standard error, a syslog server.

use crate::sys;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;

pub enum Sink {
    /// Opened for appending: workers never mix within a write of whole lines.
    /// `true`: may be written late.
    File(File, bool),
    Stderr,
    Syslog(Box<Syslog>),
}

pub struct Syslog {
    socket: Socket,
    facility: u8,
    severity: Option<u8>,
    host: String,
    tag: String,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram, String),
}

const INFO: u8 = 6;
pub const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug",
];
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

impl Sink {
    /// A path, 'stderr' or 'syslog:server=…'.
    pub fn open(path: &str, held: bool) -> io::Result<Sink> {
        if let Some(words) = path.strip_prefix("syslog:") {
            return Ok(Sink::Syslog(Box::new(Syslog::open(words)?)));
        }
        if path == "stderr" {
            return Ok(Sink::Stderr);
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Sink::File(file, held))
    }

    pub fn is_held(&self) -> bool {
        matches!(self, Sink::File(_, true))
    }

    pub fn is_syslog(&self) -> bool {
        matches!(self, Sink::Syslog(_))
    }

    /// Whole lines; `severity` counts for syslog, which takes one at a time (None: its own). What cannot be written
    /// is lost: a full disk must not stop the serving.
    pub fn write(&self, lines: &[u8], severity: Option<u8>) {
        let _ = match self {
            Sink::File(file, _) => (&*file).write_all(lines),
            Sink::Stderr => io::stderr().write_all(lines),
            Sink::Syslog(syslog) => syslog.send(lines.trim_ascii_end(), severity),
        };
    }
}

impl Syslog {
    fn open(words: &str) -> io::Result<Syslog> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (mut server, mut facility, mut severity) = (None, 23, None);
        let (mut tag, mut host) = ("nginx".to_string(), format!("{} ", sys::hostname()));
        for word in words.split(',') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let index = |names: &[&str]| names.iter().position(|each| *each == value);
            match name {
                "server" => server = Some(value),
                "facility" => {
                    let found = index(&FACILITIES);
                    facility = found.ok_or_else(|| bad(format!("unknown facility '{value}'")))?;
                }
                "severity" => {
                    let found = index(&LEVELS);
                    let found = found.ok_or_else(|| bad(format!("unknown severity '{value}'")))?;
                    severity = Some(found as u8);
                }
                "tag" => tag = value.into(),
                "nohostname" => host.clear(),
                _ => return Err(bad(format!("unknown parameter '{word}'"))),
            }
        }
        let server = server.ok_or_else(|| bad("no server".into()))?;
        let socket = if let Some(path) = server.strip_prefix("unix:") {
            Socket::Unix(UnixDatagram::unbound()?, path.into())
        } else {
            let address = match server.parse::<SocketAddr>() {
                Ok(address) => address,
                Err(_) => (server, 514)
                    .to_socket_addrs()
                    .or_else(|_| server.to_socket_addrs())?
                    .next()
                    .ok_or_else(|| bad(format!("'{server}' has no address")))?,
            };
            let own = if address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(own)?;
            socket.connect(address)?;
            Socket::Udp(socket)
        };
        match &socket {
            Socket::Udp(socket) => socket.set_nonblocking(true)?,
            Socket::Unix(socket, _) => socket.set_nonblocking(true)?,
        }
        let facility = facility as u8;
        Ok(Syslog {
            socket,
            facility,
            severity,
            host,
            tag,
        })
    }

    fn send(&self, line: &[u8], severity: Option<u8>) -> io::Result<()> {
        let priority = self.facility * 8 + severity.or(self.severity).unwrap_or(INFO);
        let (host, tag) = (&self.host, &self.tag);
        let mut text = format!("<{priority}>{} {host}{tag}: ", sys::syslog_time()).into_bytes();
        text.extend_from_slice(line);
        match &self.socket {
            // The first send after a refusal only tells of it.
            Socket::Udp(socket) => match socket.send(&text) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    socket.send(&text).map(drop)
                }
                other => other.map(drop),
            },
            Socket::Unix(socket, path) => socket.send_to(&text, path).map(drop),
        }
    }
}
