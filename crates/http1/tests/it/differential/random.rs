//! Random conversations out of pieces that readers are known to disagree on.

use std::hash::{BuildHasher, RandomState};

use crate::conversation::Message;

/// A sequence of conversations that its seed gives again.
pub(crate) struct Conversations {
    seed: u64,
    state: u64,
}

/// Replays a sequence: the number that a failure printed.
const SEED_VARIABLE: &str = "PILLION_TEST_SEED";

const START_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "POST /a HTTP/1.1",
    "PUT /a?b HTTP/1.1",
    "POST / HTTP/1.1",
    "HEAD / HTTP/1.1",
    "POST / HTTP/1.0",
    "OPTIONS * HTTP/1.1",
    "GET http://a/x HTTP/1.1",
    "POST  / HTTP/1.1",
    "DELETE / HTTP/1.1",
    "TRACE / HTTP/1.1",
    "POST / HTTP/1.1 ",
    "CONNECT a:1 HTTP/1.1",
];
const FIELDS: &[&str] = &[
    "Content-Length: 3",
    "Content-Length: 5",
    "Content-Length: 0",
    "content-length:3 ",
    "Content-Length: 3, 3",
    "Content-Length: +3",
    "Content-Length: 03",
    "Content-Length : 3",
    "Content-Length: 3 3",
    "Content-Length:",
    "Content-Length: 0x3",
    "Content-Length: 3\r\n ",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED ",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: , chunked",
    "Transfer-Encoding:\x0bchunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nContent-Length: 3",
    "Transfer_Encoding: chunked",
    "Content-Length: 3\r\nContent-Length: 5",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: content-length",
    "Connection: transfer-encoding",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "TE: trailers",
    "Trailer: x",
    "X-A: b",
    "Host: b",
    "Accept: */*",
    "X:\0",
    " folded",
];
const BODIES: &[&str] = &[
    "",
    "",
    "abc",
    "abcde",
    "0\r\n\r\n",
    "3\r\nabc\r\n0\r\n\r\n",
    "3;a=b\r\nabc\r\n0\r\n\r\n",
    "3\nabc\n0\n\n",
    "3\r\nabc0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    "03\r\nabc\r\n000\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "3;\r\nabc\r\n0\r\n\r\n",
    "3;a\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\r\n",
    "ffffffffffffffff\r\nabc",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "3\r\r\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\r\n0\r\n\r\n",
    "\r\n",
    "\r\n\r\n",
    "0\r\n\r\n\r\n",
    "3\r\nabc\r\n0\r\n\n",
];

impl Conversations {
    /// Seeded by chance, or by the environment.
    pub(crate) fn new() -> Self {
        let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        Self { seed, state: seed }
    }

    /// One to three requests, most of them broken somewhere.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut raw = String::new();
        for _ in 0..1 + self.below(3) {
            raw += self.pick(START_LINES);
            raw += self.line_end();
            raw += "Host: a";
            raw += self.line_end();
            for _ in 0..self.below(4) {
                raw += self.pick(FIELDS);
                raw += self.line_end();
            }
            raw += self.line_end();
            raw += self.pick(BODIES);
        }
        raw.into_bytes()
    }

    /// What to print when two readers disagree.
    pub(crate) fn describe(&self, raw: &[u8], ours: &[Message], theirs: &[Message]) -> String {
        let raw = raw.escape_ascii();
        format!("{SEED_VARIABLE}={}\n  {raw}\n  ours   {ours:?}\n  theirs {theirs:?}", self.seed)
    }

    fn line_end(&mut self) -> &'static str {
        if self.below(40) == 0 { "\n" } else { "\r\n" }
    }

    fn pick(&mut self, pieces: &[&'static str]) -> &'static str {
        pieces[self.below(pieces.len())]
    }

    /// `SplitMix64`.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
