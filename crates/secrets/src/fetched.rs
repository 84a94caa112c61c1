//! What the server answered: values, and how long they hold.

mod json;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use pillion_runtime::board::Secret;
use zeroize::Zeroizing;

use self::json::DEEPEST;
pub(crate) use self::json::Json;

/// One answer of the server.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The data, by key.
    pub data: BTreeMap<String, Datum>,
    /// How long it holds, where the server says so.
    pub lease: Option<Lease>,
    /// The version of a KV 2 secret.
    pub version: Option<u64>,
    /// When it was fetched.
    pub at: SystemTime,
}

impl Fetched {
    /// All keys and values as one JSON object, each value with its type, and the end of a line.
    #[must_use]
    pub fn object(&self) -> Secret {
        // Escaped, a byte becomes six at most. Growing would leave copies behind.
        let most = |(key, datum): (&String, &Datum)| {
            6 * (key.len() + datum.secret().reveal().len()) + "\"\":\"\",".len()
        };
        let room = self.data.iter().map(most).sum::<usize>() + "{}\n".len();
        let mut json = Zeroizing::new(Vec::with_capacity(room));
        for (at, (key, datum)) in self.data.iter().enumerate() {
            json.push(if at > 0 { b',' } else { b'{' });
            quote(key, &mut json);
            json.push(b':');
            match datum {
                Datum::Text(text) => quote(text.reveal_text().unwrap_or_default(), &mut json),
                Datum::Json(value) => json.extend_from_slice(value.reveal()),
            }
        }
        json.extend_from_slice(if self.data.is_empty() { b"{}\n" } else { b"}\n" });
        Secret::from(json.to_vec())
    }
}

fn quote(text: &str, json: &mut Vec<u8>) {
    // A text into memory: that cannot fail.
    let _written = serde_json::to_writer(json, text);
}

/// The value of one key, with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// A text.
    Text(Secret),
    /// Anything else: number, truth value, null, list or object, as the JSON that the server wrote,
    /// to the last digit.
    Json(Secret),
}

impl Datum {
    /// What a file or a variable gets: a text without its quotes, or the JSON.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        match self {
            Self::Text(secret) | Self::Json(secret) => secret,
        }
    }

    /// What must not appear in a log: it as a whole, and the first thousand texts and
    /// numbers that are nested in it.
    #[must_use]
    pub fn texts(&self) -> Vec<Secret> {
        let mut texts = vec![self.secret().clone()];
        if matches!(self, Self::Json(_)) {
            self.json().texts(&mut texts);
        }
        texts
    }

    /// The JSON of what the server wrote.
    ///
    /// # Errors
    /// It is nested too deep: what is wrong, without any of it.
    pub(crate) fn read(raw: &str) -> Result<Self, String> {
        match Json::read(raw) {
            Some(Json::Text(text)) => Ok(Self::Text(Secret::from(text.as_str()))),
            Some(_) => Ok(Self::Json(Secret::from(raw))),
            None => Err(format!("JSON that is nested deeper than {DEEPEST}")),
        }
    }

    /// The value as a tree.
    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Text(secret) => Json::text(secret.reveal_text().unwrap_or_default()),
            // It was read when it came.
            Self::Json(secret) => secret.reveal_text().and_then(Json::read).unwrap_or(Json::Null),
        }
    }
}

impl From<Secret> for Datum {
    fn from(text: Secret) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// How long an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The server's name for it; empty for what cannot be renewed or revoked, as a certificate.
    pub id: String,
    /// From the answer on.
    pub duration: Duration,
    /// Whether its life can be extended.
    pub renewable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_secret_is_an_object_with_the_types_of_its_values() {
        let mut fetched =
            Fetched { data: BTreeMap::new(), lease: None, version: None, at: SystemTime::now() };
        assert_eq!(fetched.object().reveal(), b"{}\n");
        for (key, raw) in
            [("n", "2.50"), ("o", r#"{"a": [1]}"#), ("s", r#""\u0001\"""#), ("z", "null")]
        {
            fetched.data.insert(key.to_owned(), Datum::read(raw).unwrap());
        }
        let expected = concat!(r#"{"n":2.50,"o":{"a": [1]},"s":"\u0001\"","z":null}"#, "\n");
        assert_eq!(fetched.object().reveal_text(), Some(expected));
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_without_its_values() {
        let deep = format!("{}\"hunter2\"{}", "[".repeat(129), "]".repeat(129));
        assert_eq!(Datum::read(&deep).unwrap_err(), "JSON that is nested deeper than 128");
        assert!(Datum::read(&deep[1..deep.len() - 1]).is_ok());
    }
}
