//! Answers that a peer says are elsewhere: X-Accel-Redirect.

use crate::conn::Client;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::request::normalise;
use crate::rewrite::unescape;
use crate::route::{set_uri, Next};

impl Client {
    /// A peer said that the answer is at this path, or at this name, of ours.
    pub fn go_elsewhere(&mut self, core: &mut Core, exchange: &mut Exchange, target: &[u8]) {
        exchange.error = None;
        if target.starts_with(b"@") {
            if let Some(Next::Done) = self.redirect_within(core, exchange, target) {
                return;
            }
        } else {
            let question = target.iter().position(|byte| *byte == b'?');
            let path = &target[..question.unwrap_or(target.len())];
            let mut uri = Vec::new();
            let decoded = unescape(path);
            let up = decoded
                .split(|byte| *byte == b'/')
                .any(|part| part == b"..");
            if up || !path.starts_with(b"/") || normalise(path, true, &mut uri).is_err() {
                return self.fail(core, exchange, 404);
            }
            exchange.request.become_get();
            set_uri(exchange, target);
            exchange.request.uri = uri;
        }
        self.route(core, exchange);
    }
}
