//! MessagePack, as far as the forward protocol needs it: records written, small messages read.

use crate::parse::json::text as unquoted;
use crate::tokens::{Kind, Tokens};

/// How deep what we read may be nested; what we await has two levels.
const DEPTH: usize = 8;

/// Appends text.
pub(crate) fn text(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..=31) => out.push(0xa0 | length),
        Ok(length) => out.extend_from_slice(&[0xd9, length]),
        Err(_) => {
            out.push(0xdb);
            out.extend_from_slice(&count(text.len()));
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends text that `write` appends, of at most 255 bytes.
pub(crate) fn short_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[0xd9, 0]);
    let start = out.len();
    write(out);
    let length = u8::try_from(out.len() - start).unwrap_or(u8::MAX);
    if let Some(place) = out.get_mut(start - 1) {
        *place = length;
    }
}

/// Appends a number that is not negative.
pub(crate) fn unsigned(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(small @ 0..=127) => out.push(small),
        Ok(_) | Err(_) => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a time of Fluentd: extension type 0, seconds and nanoseconds since 1970. What is before
/// that or after 2106 is at the end of what can be said.
pub(crate) fn event_time(nanos: i64, out: &mut Vec<u8>) {
    const SECOND: i64 = 1_000_000_000;
    let seconds = nanos.div_euclid(SECOND).clamp(0, u32::MAX.into());
    let part = |number: i64| u32::try_from(number).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(&[0xd7, 0]);
    out.extend_from_slice(&part(seconds));
    out.extend_from_slice(&part(nanos.rem_euclid(SECOND)));
}

/// Appends the head of a list of so many.
pub(crate) fn array(length: u8, out: &mut Vec<u8>) {
    match length {
        0..=15 => out.push(0x90 | length),
        _ => out.extend_from_slice(&[0xdc, 0, length]),
    }
}

/// Begins this many bytes, which follow.
pub(crate) fn bytes(length: usize, out: &mut Vec<u8>) {
    out.push(0xc6);
    out.extend_from_slice(&count(length));
}

/// Something whose length is not known before it is written.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Open(usize);

impl Open {
    /// Begins a map; its length is the number of its pairs.
    pub(crate) fn map(out: &mut Vec<u8>) -> Self {
        Self::new(0xdf, out)
    }

    /// Begins a list.
    pub(crate) fn array(out: &mut Vec<u8>) -> Self {
        Self::new(0xdd, out)
    }

    fn new(kind: u8, out: &mut Vec<u8>) -> Self {
        out.push(kind);
        let place = out.len();
        out.extend_from_slice(&[0; 4]);
        Self(place)
    }

    /// Ends it.
    pub(crate) fn close(self, length: usize, out: &mut [u8]) {
        if let Some(place) = out.get_mut(self.0..self.0 + 4) {
            place.copy_from_slice(&count(length));
        }
    }
}

fn count(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Appends valid JSON. What a number cannot hold, such as one without end, stays text.
pub(crate) fn json(written: &str, out: &mut Vec<u8>) {
    let mut around: Vec<(Open, usize)> = Vec::new();
    for token in Tokens::new(written) {
        let text = written.get(token.range).unwrap_or_default();
        if let (Kind::Text | Kind::Scalar | Kind::Open, Some((_, length))) =
            (token.kind, around.last_mut())
        {
            *length += 1;
        }
        match token.kind {
            Kind::Key | Kind::Text => self::text(&unquoted(text), out),
            Kind::Scalar => scalar(text, out),
            Kind::Open if text == "{" => around.push((Open::map(out), 0)),
            Kind::Open => around.push((Open::array(out), 0)),
            Kind::Close => {
                if let Some((open, length)) = around.pop() {
                    open.close(length, out);
                }
            }
        }
    }
}

fn scalar(written: &str, out: &mut Vec<u8>) {
    match written {
        "null" => return out.push(0xc0),
        "false" => return out.push(0xc2),
        "true" => return out.push(0xc3),
        _ => {}
    }
    if let Ok(number) = written.parse::<u64>() {
        return unsigned(number, out);
    }
    if let Ok(number) = written.parse::<i64>() {
        out.push(0xd3);
        return out.extend_from_slice(&number.to_be_bytes());
    }
    match written.parse::<f64>().ok().filter(|number| number.is_finite()) {
        Some(number) => {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        None => text(written, out),
    }
}

/// Something that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Bool(bool),
    /// Text or bytes: receivers take one for the other.
    Text(Vec<u8>),
    Array(Vec<Item>),
    Map(Vec<(Item, Item)>),
    /// A number, nil, an extension: nothing that we look at.
    Other,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The rest is missing.
    Short,
    /// It is no MessagePack, or nested too deep.
    Bad,
}

impl Item {
    /// The bytes of text.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Array(_) | Self::Map(_) | Self::Other => None,
        }
    }

    /// The elements of a list that begins with this word, without it.
    pub(crate) fn message(&self, word: &str) -> Option<&[Self]> {
        let Self::Array(items) = self else { return None };
        let (first, rest) = items.split_first()?;
        (first.text() == Some(word.as_bytes())).then_some(rest)
    }

    /// What a map has under this name.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        let found = pairs.iter().find(|(key, _)| key.text() == Some(name.as_bytes()));
        found.map(|(_, value)| value)
    }
}

/// Reads what the bytes begin with, and how many of them it is. It never takes more memory than a
/// small multiple of their number, whatever lengths they claim.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn read(bytes: &[u8]) -> Result<(Item, usize), ReadError> {
    let mut reader = Reader { rest: bytes };
    let item = reader.item(0)?;
    Ok((item, bytes.len() - reader.rest.len()))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn item(&mut self, depth: usize) -> Result<Item, ReadError> {
        if depth > DEPTH {
            return Err(ReadError::Bad);
        }
        let kind = *self.take(1)?.first().ok_or(ReadError::Short)?;
        Ok(match kind {
            0x80..=0x8f => self.map((kind & 15).into(), depth)?,
            0x90..=0x9f => self.array((kind & 15).into(), depth)?,
            0xa0..=0xbf => Item::Text(self.take((kind & 31).into())?.to_vec()),
            0xc2 | 0xc3 => Item::Bool(kind == 0xc3),
            0xc4 | 0xd9 => self.sized_text(1)?,
            0xc5 | 0xda => self.sized_text(2)?,
            0xc6 | 0xdb => self.sized_text(4)?,
            0xdc => self.length(2).and_then(|length| self.array(length, depth))?,
            0xdd => self.length(4).and_then(|length| self.array(length, depth))?,
            0xde => self.length(2).and_then(|length| self.map(length, depth))?,
            0xdf => self.length(4).and_then(|length| self.map(length, depth))?,
            0xc1 => return Err(ReadError::Bad),
            _ => self.other(kind)?,
        })
    }

    /// Numbers, nil and extensions.
    fn other(&mut self, kind: u8) -> Result<Item, ReadError> {
        let length = match kind {
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 | 0xd4 => 2,
            0xd5 => 3,
            0xca | 0xce | 0xd2 => 4,
            0xd6 => 5,
            0xcb | 0xcf | 0xd3 => 8,
            0xd7 => 9,
            0xd8 => 17,
            0xc7 => self.length(1)? + 1,
            0xc8 => self.length(2)? + 1,
            0xc9 => self.length(4)? + 1,
            _ => 0,
        };
        self.take(length)?;
        Ok(Item::Other)
    }

    fn array(&mut self, length: usize, depth: usize) -> Result<Item, ReadError> {
        (0..length).map(|_| self.item(depth + 1)).collect::<Result<_, _>>().map(Item::Array)
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Item, ReadError> {
        let pair = |_| Ok((self.item(depth + 1)?, self.item(depth + 1)?));
        (0..length).map(pair).collect::<Result<_, _>>().map(Item::Map)
    }

    fn sized_text(&mut self, width: usize) -> Result<Item, ReadError> {
        let length = self.length(width)?;
        Ok(Item::Text(self.take(length)?.to_vec()))
    }

    fn length(&mut self, width: usize) -> Result<usize, ReadError> {
        let digits = self.take(width)?;
        Ok(digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Any JSON, as far as MessagePack says the same.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::hash_map(".{0,9}", inner, 0..20)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// Reads what our writer writes, by the specification and not by our reader.
    pub(crate) fn value(bytes: &mut &[u8]) -> Value {
        fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
            bytes.split_off(..length).unwrap()
        }
        fn number(bytes: &mut &[u8], width: usize) -> u64 {
            take(bytes, width).iter().fold(0, |sum, digit| sum << 8 | u64::from(*digit))
        }
        fn text(bytes: &mut &[u8], length: u64) -> Value {
            String::from_utf8(take(bytes, length as usize).to_vec()).unwrap().into()
        }
        fn list(bytes: &mut &[u8], length: u64) -> Value {
            (0..length).map(|_| value(bytes)).collect()
        }
        let kind = number(bytes, 1);
        match kind {
            0x00..=0x7f => kind.into(),
            0x90..=0x9f => list(bytes, kind - 0x90),
            0xa0..=0xbf => text(bytes, kind - 0xa0),
            0xc0 => Value::Null,
            0xc2 | 0xc3 => (kind == 0xc3).into(),
            0xcb => f64::from_bits(number(bytes, 8)).into(),
            0xcf => number(bytes, 8).into(),
            0xd3 => (number(bytes, 8) as i64).into(),
            0xd7 => {
                assert_eq!(number(bytes, 1), 0, "the type of an event's time");
                json!([number(bytes, 4), number(bytes, 4)])
            }
            0xd9 => {
                let length = number(bytes, 1);
                text(bytes, length)
            }
            0xdb => {
                let length = number(bytes, 4);
                text(bytes, length)
            }
            0xdd => {
                let length = number(bytes, 4);
                list(bytes, length)
            }
            0xdf => {
                let length = number(bytes, 4);
                let pair = |_| (value(bytes).as_str().unwrap().to_owned(), value(bytes));
                Value::Object((0..length).map(pair).collect())
            }
            other => panic!("{other:#x} is nothing that we write"),
        }
    }

    #[test]
    fn texts_numbers_and_times_are_read_back_at_their_edges() {
        for length in [0, 31, 32, 255, 256, 70_000] {
            let written = "x".repeat(length);
            let mut out = Vec::new();
            text(&written, &mut out);
            assert_eq!(value(&mut &out[..]), written);
            assert_eq!(read(&out), Ok((Item::Text(written.into_bytes()), out.len())));
        }
        for (nanos, expected) in [
            (0, json!([0, 0])),
            (-1, json!([0, 999_999_999])),
            (1_700_000_000_000_000_001, json!([1_700_000_000, 1])),
            (i64::MAX, json!([u32::MAX, 854_775_807])),
        ] {
            let mut out = Vec::new();
            event_time(nanos, &mut out);
            assert_eq!(value(&mut &out[..]), expected);
        }
        let mut out = Vec::new();
        json("1e999", &mut out);
        assert_eq!(value(&mut &out[..]), "1e999");
    }

    #[test]
    fn what_is_read_is_bounded_in_depth_and_not_by_what_it_claims() {
        let nested = |depth: usize| [&vec![0x91; depth][..], &[0xc0]].concat();
        assert!(read(&nested(DEPTH)).is_ok());
        assert_eq!(read(&nested(DEPTH + 1)), Err(ReadError::Bad));
        for claim in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
            assert_eq!(read(&[claim, 255, 255, 255, 255, 0]), Err(ReadError::Short), "{claim:#x}");
        }
        assert_eq!(read(&[0xc1]), Err(ReadError::Bad));
        assert_eq!(read(&[]), Err(ReadError::Short));
    }

    proptest! {
        #[test]
        fn any_json_is_read_back(json in any_json()) {
            let mut out = Vec::new();
            super::json(&json.to_string(), &mut out);
            let mut rest = &out[..];
            prop_assert_eq!(value(&mut rest), json);
            prop_assert_eq!(rest.len(), 0);
        }

        #[test]
        fn a_message_is_read_once_it_is_whole_and_never_before(json in any_json()) {
            let mut out = Vec::new();
            super::json(&json.to_string(), &mut out);
            prop_assert_eq!(read(&out).unwrap().1, out.len());
            for end in 0..out.len() {
                prop_assert_eq!(read(&out[..end]), Err(ReadError::Short));
            }
        }

        #[test]
        fn nothing_that_comes_is_too_much(bytes: Vec<u8>) {
            if let Ok((_, length)) = read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
