//! The parsers against mutated input: they refuse or understand, never panic, and what they make of
//! it does not depend on how it was cut. Seeded, so that a failure comes again.

use crate::chunked::{self, Chunked};
use crate::config::Limits;
use crate::request::Request;
use crate::response::{self, Passing};

const ROUNDS: u64 = 40_000;

struct Random(u64);

impl Random {
    /// xorshift64: good enough to break things.
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    fn mutate(&mut self, seed: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut out = seed.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(out.len());
            match self.below(5) {
                0 => out[at] = self.below(256) as u8,
                1 => drop(out.remove(at)),
                2 => out.truncate(at + 1),
                3 => {
                    let word = words[self.below(words.len())];
                    out.splice(at..at, word.iter().copied());
                }
                _ => {
                    let end = at + self.below(out.len() - at);
                    let copy = out[at..end].to_vec();
                    out.splice(at..at, copy);
                }
            }
            if out.is_empty() {
                out.push(b'G');
            }
        }
        out
    }
}

const WORDS: [&[u8]; 14] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: close, x\r\n",
    b"ffffffffffffffff",
    b"%2e%2e/",
    b"0\r\n\r\n",
];

fn limits() -> Limits {
    serde_json::from_str(
        r#"{"body_size": 1000, "header_line": 8192, "header_timeout_ms": 1, "body_timeout_ms": 1,
            "send_timeout_ms": 1}"#,
    )
    .unwrap()
}

#[test]
fn a_request_is_refused_or_framed_without_doubt() {
    let seeds: [&[u8]; 3] = [
        b"GET /a/../b?c=%41 HTTP/1.1\r\nHost: a.b:80\r\nConnection: keep-alive\r\n\r\n",
        b"POST http://h/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        b"PUT / HTTP/1.0\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nX: \xff\r\n\r\n",
    ];
    let (limits, mut random) = (limits(), Random(6));
    let mut understood = 0;
    for round in 0..ROUNDS {
        let input = random.mutate(seeds[(round % 3) as usize], &WORDS);
        let mut request = Request::default();
        let Ok(Some(length)) = request.parse(&input, &limits) else {
            continue;
        };
        understood += 1;
        assert!(length <= input.len());
        let head = &input[..length];
        let named = |name: &[u8]| {
            let lines = request.headers.iter();
            let found = lines.filter(|line| request.at(&line.name).eq_ignore_ascii_case(name));
            found.count()
        };
        let (lengths, codings) = (named(b"content-length"), named(b"transfer-encoding"));
        let text = String::from_utf8_lossy(head);
        assert!(lengths + codings <= 1, "round {round}: {text}");
        assert!(named(b"host") <= 1, "round {round}: {text}");
        assert!(request.uri.starts_with(b"/"), "round {round}: {text}");
        let mut parts = request.uri.split(|byte| *byte == b'/');
        assert!(!parts.any(|part| part == b".."), "round {round}: {text}");
        for line in &request.headers {
            let value = request.at(&line.value);
            let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
            assert!(!value.iter().any(breaks), "round {round}: {text}");
        }
    }
    assert!(understood > ROUNDS / 100, "the mutations are too wild");
}

#[test]
fn an_answer_is_refused_or_passed_on_with_one_head() {
    let seeds: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: s\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 302 Found\r\nLocation: http://up/x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    let mut random = Random(7);
    let mut understood = 0;
    for round in 0..ROUNDS {
        let input = random.mutate(seeds[(round % 2) as usize], &WORDS);
        let passing = Passing {
            server: "trimaran",
            date: "D",
            upgrade: round % 4 == 0,
            redirect: (b"http://up/", b"/"),
            absolute: &|path| path.to_vec(),
            rules: None,
        };
        let mut out = Vec::new();
        let Ok(Some(head)) = response::pass_head(&input, false, &passing, &mut out) else {
            continue;
        };
        understood += 1;
        assert!(head.length <= input.len());
        let text = String::from_utf8_lossy(&out);
        assert!(!text.contains("\r\n\r\n"), "round {round}: {text}");
        let bare = text.replace("\r\n", "");
        assert!(!bare.contains(['\r', '\n', '\0']), "round {round}: {text}");
    }
    assert!(understood > ROUNDS / 100, "the mutations are too wild");
}

#[test]
fn chunks_mean_the_same_however_they_are_cut() {
    let mut seed = Vec::new();
    chunked::encode(&mut seed, b"hello, world");
    chunked::encode(&mut seed, &[b'x'; 40]);
    seed.extend_from_slice(b"1;ext=\"q\"\r\ny\r\n0\r\nTrailer: t\r\n\r\nnext");
    let mut random = Random(8);
    for round in 0..ROUNDS {
        let input = random.mutate(&seed, &WORDS);
        let read = |sizes: &mut dyn FnMut() -> usize| {
            let (mut decoder, mut body, mut at) = (Chunked::default(), Vec::new(), 0);
            while at < input.len() && !decoder.done() {
                let end = (at + sizes()).min(input.len());
                let used = decoder.decode(&input[at..end], |part| body.extend_from_slice(part));
                match used {
                    Ok(used) => at += used,
                    Err(_) => return None,
                }
            }
            Some((body, at, decoder.done()))
        };
        let whole = read(&mut || input.len());
        let cut = read(&mut || 1 + random.below(7));
        assert_eq!(whole, cut, "round {round}: {input:?}");
    }
}
