//! Chunked transfer coding (RFC 9112 §7.1), strict: CRLF everywhere, bounded lines, trailers dropped.

const MOST_LINE: usize = 4096; // one size line with its extensions
const MOST_TRAILERS: usize = 16384;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size,      // at the first digit of a size
    SizeMore,  // within the digits
    Extension, // after them, up to CR
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

#[derive(Debug, PartialEq, Eq)]
pub struct BadChunk(pub &'static str);

pub struct Chunked {
    state: State,
    remaining: u64,
    line: usize,
}

impl Default for Chunked {
    fn default() -> Chunked {
        Chunked {
            state: State::Size,
            remaining: 0,
            line: 0,
        }
    }
}

impl Chunked {
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Consume from `input`, handing payload to `sink`; how many bytes were consumed (fewer than
    /// given only when the body ended).
    pub fn decode(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let count = self.remaining.min((input.len() - at) as u64) as usize;
                sink(&input[at..at + count]);
                at += count;
                self.remaining -= count as u64;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        match self.state {
            State::Size => {
                self.remaining = digit(byte)?;
                self.line = 1;
                Ok(State::SizeMore)
            }
            State::SizeMore => self.size(byte),
            State::Extension => self.text(byte, MOST_LINE, State::Extension, State::SizeLf),
            State::SizeLf => {
                let next = if self.remaining == 0 {
                    self.line = 0;
                    State::TrailerStart
                } else {
                    State::Data
                };
                expect(byte, b'\n', next)
            }
            State::DataCr => expect(byte, b'\r', State::DataLf),
            State::DataLf => expect(byte, b'\n', State::Size),
            State::TrailerStart if byte == b'\r' => Ok(State::EndLf),
            State::TrailerStart if byte == b' ' || byte == b'\t' => {
                Err(BadChunk("folded trailer line"))
            }
            State::TrailerStart | State::Trailer => {
                self.text(byte, MOST_TRAILERS, State::Trailer, State::TrailerLf)
            }
            State::TrailerLf => expect(byte, b'\n', State::TrailerStart),
            State::EndLf => expect(byte, b'\n', State::Done),
            State::Data | State::Done => Ok(self.state),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, BadChunk> {
        match byte {
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::Extension),
            _ => {
                self.line += 1;
                if self.line > 15 {
                    return Err(BadChunk("chunk size too long"));
                }
                self.remaining = self.remaining << 4 | digit(byte)?;
                Ok(State::SizeMore)
            }
        }
    }

    fn text(&mut self, byte: u8, most: usize, stay: State, end: State) -> Result<State, BadChunk> {
        self.line += 1;
        match byte {
            b'\r' => Ok(end),
            _ if self.line > most => Err(BadChunk("chunk line too long")),
            b'\t' | b' '..=b'~' | 0x80.. => Ok(stay),
            _ => Err(BadChunk("control character in a chunk line")),
        }
    }
}

fn digit(byte: u8) -> Result<u64, BadChunk> {
    char::from(byte)
        .to_digit(16)
        .map(u64::from)
        .ok_or(BadChunk("chunk size is not hexadecimal"))
}

fn expect(byte: u8, wanted: u8, next: State) -> Result<State, BadChunk> {
    if byte == wanted {
        return Ok(next);
    }
    Err(BadChunk("chunk line does not end in CRLF"))
}

/// `data` as one chunk.
pub fn encode(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return; // it would end the body
    }
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

pub const END: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let (mut chunked, mut out, mut at) = (Chunked::default(), Vec::new(), 0);
        while at < input.len() && !chunked.done() {
            let end = (at + step).min(input.len());
            at += chunked.decode(&input[at..end], |data| out.extend_from_slice(data))?;
        }
        Ok((out, at, chunked.done()))
    }

    #[test]
    fn any_split_gives_the_same_body() {
        let input = b"5\r\nhello\r\n1;a=b\r\n \r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext";
        for step in 1..input.len() {
            let (body, used, done) = decode(input, step).unwrap();
            assert_eq!(body, b"hello 0123456789");
            assert_eq!(&input[used..], b"next");
            assert!(done);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut out = Vec::new();
        encode(&mut out, b"");
        encode(&mut out, &[7; 300]);
        out.extend_from_slice(END);
        assert_eq!(decode(&out, 11).unwrap(), (vec![7; 300], out.len(), true));
    }

    #[test]
    fn smuggling_shapes_are_refused() {
        let long = [b"1;".as_slice(), &[b'x'; 5000], b"\r\na\r\n"].concat();
        let bad: &[&[u8]] = &[
            b"x\r\n",
            b"\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x5\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5\nhello",
            b"5\r\nhelloX",
            b"5\r\nhello\nX",
            b"5;a\0\r\n",
            b"5;a\nb\r\n",
            &long,
            b"1000000000000000\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\na\nb\r\n",
        ];
        for input in bad {
            assert!(decode(input, 7).is_err(), "{}", input.escape_ascii());
        }
    }
}
