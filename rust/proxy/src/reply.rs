//! A peer's answer, passed on to the client as it comes.

use crate::balance::Change;
use crate::chunked::{self, Chunked};
use crate::conn::{Client, Incoming};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::forward::{Fault, Forward};
use crate::pipe;
use crate::request::Method;
use crate::response::{self, Framing, Passing, PeerHead};
use crate::slow::no_room;
use crate::sys;
use std::io::ErrorKind;

const MOST_HEAD: usize = 64 << 10;

/// What of the answer is still to come.
pub enum Reply {
    Head,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

impl Client {
    /// Read once from the peer and pass it on, if the client keeps up.
    pub fn take_reply(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
    ) -> Result<bool, Fault> {
        let piped = forward.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0);
        let flushed = self.flush();
        if flushed && !piped {
            self.slow_ms = None;
        } else {
            self.slow_ms.get_or_insert(core.now_ms);
        }
        let waits = !flushed && (!self.has_room(forward) || self.is_late(core.now_ms).is_some());
        if matches!(forward.reply, Reply::Done) || waits {
            return Ok(false);
        }
        if let (true, Reply::Length(left)) = (flushed, &forward.reply) {
            let left = *left;
            let plain = !forward.chunk && self.rate == 0 && forward.rate.0 == 0;
            if forward.pipe.is_none() && left >= pipe::LEAST && plain && self.inner.is_none() {
                forward.pipe = core.pipes.take();
            }
            if let Some(pipe) = forward.pipe.take() {
                return self.take_spliced(core, exchange, forward, pipe, left);
            }
        }
        let most = forward.allowance(core.now_ms);
        let Some(connection) = &mut forward.connection else {
            return Ok(false);
        };
        if !connection.readable || most == 0 {
            return Ok(false);
        }
        let mut scratch = std::mem::take(&mut core.scratch);
        let most = most.min(scratch.len());
        let result = match sys::recv(&connection.fd, &mut scratch[..most]) {
            Ok(0) => peer_ended(forward),
            Ok(count) => {
                connection.readable = count == most || connection.ended;
                forward.rate.2 += count as u64;
                if let Some(last) = exchange.tries.last_mut() {
                    last.received += count as u64;
                }
                self.pass_or_keep(core, exchange, forward, &scratch[..count], flushed)
                    .map(|()| true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    connection.readable = false;
                    Ok(false)
                }
                ErrorKind::Interrupted => Ok(true),
                _ => Err(Fault::Error(error.to_string())),
            },
        };
        core.scratch = scratch;
        if matches!(forward.reply, Reply::Done) {
            if forward.chunk {
                let start = self.out.len();
                self.end_chunks(exchange);
                if let Some(overflow) = self.overflow.as_mut().filter(|found| found.held() > 0) {
                    overflow.append(&self.out[start..]).map_err(no_room)?;
                    self.out.truncate(start);
                }
            }
            self.flush();
        }
        result
    }

    pub fn pass(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
        data: &[u8],
    ) -> Result<(), Fault> {
        if !matches!(forward.reply, Reply::Head) {
            return self.pass_body(exchange, forward, data);
        }
        if forward.input.is_empty() {
            return self.pass_head(core, exchange, forward, data);
        }
        let mut input = std::mem::take(&mut forward.input);
        input.extend_from_slice(data);
        self.pass_head(core, exchange, forward, &input)
    }

    /// `data` is all that came since the request; what is no whole head yet is kept.
    fn pass_head(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
        mut data: &[u8],
    ) -> Result<(), Fault> {
        if self.out.capacity() == 0 {
            self.out = core.buffer();
        }
        let to_head = exchange.request.method == Method::Head;
        let mut out = std::mem::take(&mut self.out);
        let begin = out.len();
        let snapshot = exchange.snapshot.clone();
        let options = exchange.options().filter(|options| !options.plain);
        let absolute = |path: &[u8]| self.absolute(exchange, path);
        let passing = Passing {
            absolute: &absolute,
            date: &core.date,
            server: self.product(exchange),
            upgrade: exchange.request.asks_to_switch(),
            redirect: (&forward.redirect.0, &forward.redirect.1),
            rules: options.and_then(|options| {
                let snapshot = snapshot.as_deref()?;
                Some((
                    options,
                    exchange.context(self, snapshot, &forward.group.name),
                ))
            }),
        };
        let read = loop {
            let read = response::pass_head(data, to_head, &passing, &mut out);
            match read {
                Err(bad) => break Err(Fault::Invalid(bad.0)),
                Ok(Some(head)) if head.status < 200 && head.status != response::SWITCHING => {
                    data = &data[head.length..];
                }
                Ok(Some(head)) => break Ok(Some(head)),
                Ok(None) if data.len() > MOST_HEAD => break Err(Fault::Invalid("head too long")),
                Ok(None) => break Ok(None),
            }
        };
        self.out = out;
        let Some(head) = read? else {
            forward.input = data.to_vec();
            return Ok(());
        };
        if let Some(fault) = self.judge(exchange, forward, head.status, core.now_ms) {
            self.out.truncate(begin);
            if let Fault::Intercepted(401) = fault {
                exchange.keep_lines(&data[..head.length], &[b"www-authenticate"]);
            }
            return Err(fault);
        }
        let wants_reply = snapshot.is_some_and(|snapshot| snapshot.wants_reply);
        if wants_reply {
            exchange.reply = data[..head.length].to_vec();
        }
        if let Some(last) = exchange.tries.last_mut() {
            last.status = head.status;
            last.header_ms = Some(core.now_ms);
        }
        if let Some(target) = elsewhere(exchange, &data[..head.length]) {
            self.out.truncate(begin);
            exchange.keep_lines(&data[..head.length], KEPT);
            return Err(Fault::Elsewhere(target));
        }
        exchange.status = head.status;
        if let Some((_, answer)) = exchange.error.filter(|error| error.1 != 0) {
            exchange.status = answer;
        }
        forward.answered = true;
        self.heed_buffering(exchange, forward, &data[..head.length]);
        self.note_answer(core, exchange, forward, true);
        forward.reusable = head.reusable;
        exchange.keep &= exchange.incoming.done();
        if head.status == response::SWITCHING {
            self.switch(exchange, forward);
            return self.pass_body(exchange, forward, &data[head.length..]);
        }
        let length = head.length;
        self.frame(exchange, forward, head, to_head, begin, core.wall_s);
        if let Change::Up = forward.group.succeeded(forward.peer, core.now_ms) {
            let peer = &forward.group.peers[forward.peer].name;
            core.shared.event(
                true,
                &forward.group.name,
                peer,
                "a request to it was answered",
            );
        }
        self.pass_body(exchange, forward, &data[length..])
    }

    /// Whether a whole answer is one that another peer, or a page of ours, is to replace.
    fn judge(
        &self,
        exchange: &Exchange,
        forward: &Forward,
        status: u16,
        now_ms: u64,
    ) -> Option<Fault> {
        if status < 300 {
            return None;
        }
        let options = exchange.options()?;
        let next = &options.next;
        if next.statuses.contains(&status) {
            let made = forward.tried.len() + 1;
            let most = if next.tries > 0 {
                next.tries
            } else {
                usize::MAX
            };
            let others = made < forward.group.tries().min(most);
            let once = exchange.request.method == Method::Once && !next.non_idempotent;
            if others && !once && now_ms < forward.until_ms {
                return Some(Fault::Status(status));
            }
        }
        let paged = options.intercept_errors && exchange.error.is_none();
        let page = paged.then(|| self.page_of(exchange, status)).flatten();
        page.map(|_| Fault::Intercepted(status))
    }

    /// X-Accel-Buffering.
    fn heed_buffering(&self, exchange: &Exchange, forward: &mut Forward, head: &[u8]) {
        let name = b"x-accel-buffering";
        let mut found = response::lines(head).filter(|line| line.0.eq_ignore_ascii_case(name));
        let Some(options) = exchange.options().filter(|options| !options.ignores(name)) else {
            return;
        };
        match found.next() {
            Some((_, value)) if value.eq_ignore_ascii_case(b"no") => forward.waiting_room = None,
            Some((_, value)) if value.eq_ignore_ascii_case(b"yes") => {
                forward.waiting_room = Some(options.waiting.clone()).filter(|room| room.memory > 0);
            }
            _ => {}
        }
    }

    /// Both sides speak another protocol from here on: bytes are passed both ways as they are.
    fn switch(&mut self, exchange: &mut Exchange, forward: &mut Forward) {
        response::end_switching(&mut self.out);
        exchange.keep = false;
        exchange.incoming = Incoming::Tunnel;
        forward.become_tunnel();
        self.flush();
    }

    /// How the client will know the end of the body.
    fn frame(
        &mut self,
        exchange: &mut Exchange,
        forward: &mut Forward,
        head: PeerHead,
        to_head: bool,
        begin: usize,
        wall_s: u64,
    ) {
        let (framing, status) = (head.framing, head.status);
        let minor = exchange.request.minor;
        let streamed = |reply| (reply, minor == 1, minor == 1);
        let (reply, chunk, keep) = match framing {
            Framing::None => (Reply::Done, false, true),
            Framing::Length(length) if self.wants_trailers(exchange, status) => {
                (Reply::Length(length), true, true)
            }
            Framing::Length(length) => {
                response::header_shown(&mut self.out, "Content-Length", length);
                (Reply::Length(length), false, true)
            }
            Framing::Chunked => streamed(Reply::Chunked(Chunked::default())),
            Framing::UntilClose => streamed(Reply::UntilClose),
        };
        if matches!(reply, Reply::Done) && !to_head && !response::is_bodiless(status) {
            response::header(&mut self.out, b"Content-Length", b"0");
        }
        if chunk {
            response::header(&mut self.out, b"Transfer-Encoding", b"chunked");
        }
        exchange.keep &= keep;
        if let Some(cookie) = self.sticky_cookie(exchange, forward, wall_s) {
            response::header(&mut self.out, b"Set-Cookie", &cookie);
        }
        self.add_headers(exchange, begin);
        self.hold(exchange);
        self.set_rate(exchange);
        self.end_head(exchange);
        exchange.head_bytes = (self.out.len() - begin) as u64;
        forward.reply = reply;
        forward.chunk = chunk;
    }

    fn pass_body(
        &mut self,
        exchange: &mut Exchange,
        forward: &mut Forward,
        data: &[u8],
    ) -> Result<(), Fault> {
        let before = self.out.len();
        let mut payload = 0;
        let used = match &mut forward.reply {
            Reply::Head | Reply::Done => 0,
            Reply::Length(left) => {
                let used = (*left).min(data.len() as u64) as usize;
                *left -= used as u64;
                exchange.body_bytes += used as u64;
                payload = used;
                if *left == 0 {
                    forward.reply = Reply::Done;
                }
                if forward.chunk {
                    chunked::encode(&mut self.out, &data[..used]);
                    self.flush();
                } else {
                    self.send_through(&data[..used]);
                }
                used
            }
            Reply::UntilClose if !forward.chunk => {
                exchange.body_bytes += data.len() as u64;
                payload = data.len();
                self.send_through(data);
                data.len()
            }
            Reply::UntilClose => {
                payload = data.len();
                chunked::encode(&mut self.out, data);
                exchange.body_bytes += (self.out.len() - before) as u64;
                self.flush();
                data.len()
            }
            Reply::Chunked(decoder) => {
                let (out, chunk) = (&mut self.out, forward.chunk);
                let used = decoder.decode(data, |part| {
                    payload += part.len();
                    if chunk {
                        chunked::encode(out, part);
                    } else {
                        out.extend_from_slice(part);
                    }
                });
                let used = used.map_err(|bad| Fault::Invalid(bad.0))?;
                exchange.body_bytes += (self.out.len() - before) as u64;
                if decoder.done() {
                    forward.reply = Reply::Done;
                } else {
                    self.flush();
                }
                used
            }
        };
        if let Some(last) = exchange.tries.last_mut() {
            last.length += payload as u64;
        }
        // Bytes nobody asked for: such a connection serves nobody again.
        forward.reusable &= used == data.len();
        Ok(())
    }
}

/// What an answer made elsewhere keeps of the peer's, as in nginx.
const KEPT: &[&[u8]] = &[
    b"content-type",
    b"set-cookie",
    b"content-disposition",
    b"cache-control",
    b"expires",
    b"accept-ranges",
];

/// The value of X-Accel-Redirect, where it is heeded.
fn elsewhere(exchange: &Exchange, head: &[u8]) -> Option<Vec<u8>> {
    let options = exchange.options()?;
    let name = b"x-accel-redirect";
    let mut found = response::lines(head).filter(|line| line.0.eq_ignore_ascii_case(name));
    let (_, target) = found.next()?;
    (!options.ignores(name) && !target.is_empty()).then(|| target.to_vec())
}

pub fn peer_ended(forward: &mut Forward) -> Result<bool, Fault> {
    if let Reply::UntilClose = forward.reply {
        forward.reply = Reply::Done;
        return Ok(true);
    }
    let why = if forward.answered {
        "closed in the middle of its answer"
    } else {
        "closed without an answer"
    };
    Err(Fault::Error(why.into()))
}
