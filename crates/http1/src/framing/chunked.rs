//! Chunked transfer coding, RFC 9112 §7.1, read strictly and in one pass.

use crate::framing::trailers::{TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX, Trailers};
use crate::framing::{Decoded, FramingError, take};
use crate::grammar;

/// The most bytes of extensions that one chunk may carry, its semicolon included.
pub const EXTENSION_BYTES_MAX: u16 = 512;

/// The most hexadecimal digits of a chunk size: any size of so many fits 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where in a chunked body the next byte is. White space around the size, a bare CR or LF, and a
/// folded trailer line have no place in it: other readers differ on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    /// Size digits seen of this chunk.
    digits: u8,
    /// Extension bytes seen of this chunk.
    extension: u16,
    /// Bytes and lines of the trailer section.
    trailer_bytes: usize,
    trailer_fields: usize,
    /// The size while it is read, then the payload of this chunk that is still to come.
    remaining: u64,
    /// Only when the body is decoded.
    trailers: Option<Trailers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    Complete,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunked {
    /// At the start of a body.
    pub const fn new() -> Self {
        Self {
            state: State::Size,
            digits: 0,
            extension: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            remaining: 0,
            trailers: None,
        }
    }

    /// Whether the last byte of the body was seen.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The trailers of a body that was decoded. Empty for one that was only advanced.
    pub fn take_trailers(&mut self) -> Trailers {
        self.trailers.take().unwrap_or_default()
    }

    pub(crate) fn advance(&mut self, data: &[u8]) -> Result<usize, FramingError> {
        let mut at = 0;
        while at < data.len() && !self.is_complete() {
            at += self.next_piece(data.get(at..).unwrap_or_default())?.consumed;
        }
        Ok(at)
    }

    pub(crate) fn decode(&mut self, data: &[u8]) -> Result<Decoded, FramingError> {
        self.trailers.get_or_insert_default();
        self.next_piece(data)
    }

    /// Reads up to the second piece of payload in `data`, the end of the body or of `data`.
    fn next_piece(&mut self, data: &[u8]) -> Result<Decoded, FramingError> {
        let mut payload = 0..0;
        let mut at = 0;
        while let Some(&byte) = data.get(at) {
            match self.state {
                State::Complete => break,
                State::Data if payload.is_empty() => {
                    let taken = take(&mut self.remaining, data.len() - at);
                    payload = at..at + taken;
                    at += taken;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                }
                State::Data => break,
                _ => {
                    self.step(byte)?;
                    at += 1;
                }
            }
        }
        Ok(Decoded { consumed: at, payload })
    }

    /// Takes one byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), FramingError> {
        self.state = match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => self.extension()?,
            (State::Size, _) => self.digit(byte)?,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if grammar::is_text_byte(byte) => self.extension()?,
            (State::SizeLf, b'\n') => self.end_of_size(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::Line, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Complete,
            (State::Line | State::Name | State::Value | State::ValueLf, _) => self.trailer(byte)?,
            _ => return Err(FramingError::Malformed(self.state.rule())),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<State, FramingError> {
        let digit =
            char::from(byte).to_digit(16).ok_or(FramingError::Malformed(State::Size.rule()))?;
        if self.digits == SIZE_DIGITS_MAX {
            return Err(FramingError::TooLarge("a chunk size of more than 16 digits"));
        }
        self.digits += 1;
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn extension(&mut self) -> Result<State, FramingError> {
        self.extension += 1;
        if self.extension > EXTENSION_BYTES_MAX {
            return Err(FramingError::TooLarge("more than 512 bytes of extensions in a chunk"));
        }
        Ok(State::Extension)
    }

    fn end_of_size(&mut self) -> State {
        self.digits = 0;
        self.extension = 0;
        if self.remaining == 0 { State::Line } else { State::Data }
    }

    /// Takes one byte of a trailer line.
    fn trailer(&mut self, byte: u8) -> Result<State, FramingError> {
        let next = match (self.state, byte) {
            (State::Line | State::Name, _) if grammar::is_token_byte(byte) => State::Name,
            (State::Name, b':') => State::Value,
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, _) if grammar::is_text_byte(byte) => State::Value,
            (State::ValueLf, b'\n') => State::Line,
            _ => return Err(FramingError::Malformed(self.state.rule())),
        };
        self.trailer_bytes += 1;
        self.trailer_fields += usize::from(next == State::Line);
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(FramingError::TooLarge("more than 8 KiB of trailers"));
        }
        if self.trailer_fields > TRAILER_FIELDS_MAX {
            return Err(FramingError::TooLarge("more than 64 trailers"));
        }
        if let Some(trailers) = &mut self.trailers {
            trailers.push(byte);
        }
        Ok(next)
    }
}

impl State {
    /// The rule that a byte breaks that this state has no place for.
    fn rule(self) -> &'static str {
        match self {
            Self::Size => "a chunk size has to be hexadecimal digits and nothing else",
            Self::Extension => "a chunk extension holds a control character",
            Self::SizeLf | Self::ValueLf | Self::EndLf => "a line has to end in CR LF",
            Self::DataCr | Self::DataLf => "chunk data has to end in CR LF",
            Self::Line | Self::Name => "a trailer name may only hold token characters",
            Self::Value => "a trailer value holds a control character",
            Self::Data | Self::Complete => "a byte of framing where there is none",
        }
    }
}
