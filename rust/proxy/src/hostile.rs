//! The parsers against mutated input: they refuse or understand, never panic, and what they make of
//! it does not depend on how it was cut. Seeded, so that a failure comes again.

use crate::{chunked, fuzzing};

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

fn mutated(seed: u64, seeds: &[&[u8]], mut holds: impl FnMut(&[u8], u64) -> bool) {
    let mut random = Random(seed);
    let mut understood = 0;
    for round in 0..ROUNDS {
        let input = random.mutate(seeds[(round % seeds.len() as u64) as usize], &WORDS);
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| holds(&input, round)));
        match result {
            Ok(meant) => understood += u64::from(meant),
            Err(_) => panic!("round {round}: {}", input.escape_ascii()),
        }
    }
    assert!(understood > ROUNDS / 100, "the mutations are too wild");
}

#[test]
fn a_request_is_refused_or_framed_without_doubt() {
    let seeds: [&[u8]; 3] = [
        b"GET /a/../b?c=%41 HTTP/1.1\r\nHost: a.b:80\r\nConnection: keep-alive\r\n\r\n",
        b"POST http://h/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        b"PUT / HTTP/1.0\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nX: \xff\r\n\r\n",
    ];
    mutated(6, &seeds, |input, _| fuzzing::request(input));
}

#[test]
fn an_answer_is_refused_or_passed_on_with_one_head() {
    let seeds: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: s\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 302 Found\r\nLocation: http://up/x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    mutated(7, &seeds, |input, round| {
        fuzzing::answer(input, round % 4 == 0)
    });
}

#[test]
fn chunks_mean_the_same_however_they_are_cut() {
    let mut seed = Vec::new();
    chunked::encode(&mut seed, b"hello, world");
    chunked::encode(&mut seed, &[b'x'; 40]);
    seed.extend_from_slice(b"1;ext=\"q\"\r\ny\r\n0\r\nTrailer: t\r\n\r\nnext");
    let mut sizes = Random(9);
    mutated(8, &[&seed], |input, _| {
        fuzzing::chunks(input, || 1 + sizes.below(7))
    });
}

#[test]
fn a_proxy_header_is_refused_or_as_long_as_it_says() {
    let seeds: [&[u8]; 3] = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\nGET / HTTP/1.1\r\n\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12\xc0\0\x02\x01\xc0\0\x02\x02\0\x7b\x16\x2e\x02\0\x03abcGET",
    ];
    mutated(10, &seeds, |input, _| fuzzing::proxy_header(input));
}

#[test]
fn a_template_is_refused_or_compiled() {
    let seeds: [&[u8]; 2] = [b"$host-${scheme}://$arg_a$1", b"plain $uri$is_args$args"];
    mutated(11, &seeds, |input, _| fuzzing::template(input));
}
