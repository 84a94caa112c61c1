//! What the server answered, and the values in it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pillion_runtime::board::Secret;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use zeroize::Zeroize as _;

use super::error::Trouble;
use crate::certificate;
use crate::fetched::{Datum, Fetched, Lease};

/// An answer with any status. Its body is overwritten when it is dropped, where we alone have it.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

/// What every answer of the API is wrapped in.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    lease_id: String,
    lease_duration: u64,
    renewable: bool,
    pub(crate) warnings: Option<Vec<String>>,
    pub(crate) auth: Option<Granted>,
}

/// A token that was granted.
#[derive(Deserialize)]
pub(crate) struct Granted {
    #[serde(deserialize_with = "secret")]
    pub(crate) client_token: Secret,
    #[serde(default)]
    pub(crate) accessor: String,
    #[serde(default)]
    pub(crate) policies: Vec<String>,
    /// Seconds; 0 for a token that never ends.
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
}

fn secret<'de, D: Deserializer<'de>>(text: D) -> Result<Secret, D::Error> {
    String::deserialize(text).map(Secret::from)
}

/// The parts of a KV 2 answer.
#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow)]
    data: Option<BTreeMap<String, &'a RawValue>>,
    metadata: VersionMetadata,
}

#[derive(Deserialize)]
pub(crate) struct VersionMetadata {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    pub(crate) deletion_time: String,
    #[serde(default)]
    pub(crate) destroyed: bool,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    errors: Option<Vec<String>>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }

    /// The server's own words about a failure.
    pub(crate) fn words(&self) -> Vec<String> {
        let Ok(failure) = serde_json::from_slice::<Failure>(&self.body) else { return Vec::new() };
        let lists = [failure.errors, failure.warnings];
        lists.into_iter().flatten().flatten().filter(|word| !word.trim().is_empty()).collect()
    }

    /// Whether a failure may be one of the API; pages for people are none.
    pub(crate) fn is_of_the_api(&self) -> bool {
        self.body.is_empty() || serde_json::from_slice::<Failure>(&self.body).is_ok()
    }

    /// Whether it is what servers written in Go say to plain HTTP where they speak TLS.
    pub(crate) fn wants_tls(&self) -> bool {
        self.body.starts_with(b"Client sent an HTTP request to an HTTPS server")
    }

    /// The parts of a successful answer; none of it for 204.
    pub(crate) fn envelope(&self) -> Result<Envelope<'_>, Trouble> {
        match self.body.is_empty() {
            true => Ok(Envelope::default()),
            false => serde_json::from_slice(&self.body).map_err(|error| odd(&error)),
        }
    }

    /// Why a KV 2 secret that has versions cannot be had.
    pub(crate) fn version_is_gone(&self) -> Option<Trouble> {
        let envelope: Envelope<'_> = serde_json::from_slice(&self.body).ok()?;
        let Versioned { metadata, .. } = serde_json::from_str(envelope.data?.get()).ok()?;
        let VersionMetadata { version, deletion_time: at, destroyed } = metadata;
        Some(match destroyed {
            true => Trouble::Destroyed { version },
            false => Trouble::Deleted { version, at },
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Ok(mut body) = std::mem::take(&mut self.body).try_into_mut() {
            body.zeroize();
        }
    }
}

impl<'a> Envelope<'a> {
    /// The data as a type of ours.
    pub(crate) fn data<T: Deserialize<'a>>(&self) -> Result<T, Trouble> {
        let data = self.data.map_or("{}", RawValue::get);
        serde_json::from_str(data).map_err(|error| odd(&error))
    }

    /// What a read or a write brought.
    pub(crate) fn fetched(&self, at: SystemTime) -> Result<Fetched, Trouble> {
        if let Some(granted) = &self.auth {
            return Ok(granted.fetched(at));
        }
        let data = values(&self.data::<BTreeMap<String, &RawValue>>()?)?;
        let lease = self.lease().or_else(|| certificate_lease(&data, at));
        Ok(Fetched { data, lease, version: None, at })
    }

    /// What a read of a KV 2 secret brought.
    pub(crate) fn fetched_version(&self, at: SystemTime) -> Result<Fetched, Trouble> {
        let Versioned { data, metadata } = self.data()?;
        let data = values(&data.unwrap_or_default())?;
        Ok(Fetched { data, lease: None, version: Some(metadata.version), at })
    }

    /// The lease, if there is one: without an id it is but a hint when to look again.
    pub(crate) fn lease(&self) -> Option<Lease> {
        (!self.lease_id.is_empty()).then(|| Lease {
            id: self.lease_id.clone(),
            duration: Duration::from_secs(self.lease_duration),
            renewable: self.renewable,
        })
    }
}

impl Granted {
    /// A token as a secret like others.
    fn fetched(&self, at: SystemTime) -> Fetched {
        let data = [
            ("client_token".to_owned(), Datum::Text(self.client_token.clone())),
            ("accessor".to_owned(), Datum::from(self.accessor.as_str())),
        ];
        let lease = (self.lease_duration > 0).then(|| Lease {
            id: String::new(),
            duration: Duration::from_secs(self.lease_duration),
            renewable: false,
        });
        Fetched { data: data.into(), lease, version: None, at }
    }
}

fn values(data: &BTreeMap<String, &RawValue>) -> Result<BTreeMap<String, Datum>, Trouble> {
    let value = |raw: &RawValue| Datum::read(raw.get()).map_err(Trouble::Odd);
    data.iter().map(|(key, raw)| Ok((key.clone(), value(raw)?))).collect()
}

/// A certificate without a lease holds until the day that is written in it.
fn certificate_lease(data: &BTreeMap<String, Datum>, at: SystemTime) -> Option<Lease> {
    let end = certificate::not_after(data.get("certificate")?.secret().reveal())?;
    let duration = end.duration_since(at).unwrap_or_default();
    Some(Lease { id: String::new(), duration, renewable: false })
}

/// What is wrong with JSON, without any of it: its own words repeat values.
fn odd(error: &serde_json::Error) -> Trouble {
    let what = match error.classify() {
        serde_json::error::Category::Data => "JSON of another form",
        serde_json::error::Category::Eof => "JSON that breaks off",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not JSON",
    };
    Trouble::Odd(format!("{what}, line {} column {}", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer::new(StatusCode::OK, HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()))
    }

    fn text<'a>(fetched: &'a Fetched, key: &str) -> &'a str {
        fetched.data[key].secret().reveal_text().unwrap()
    }

    #[test]
    fn values_are_kept_to_the_last_digit() {
        let answer = answer(
            r#"{"data":{"s":"a\"\u00fc","n":12345678901234567890123,"f":2.50,"o":{"x":[1, null]},"b":true,"z":null}}"#,
        );
        let fetched = answer.envelope().unwrap().fetched(SystemTime::UNIX_EPOCH).unwrap();
        for (key, value) in [
            ("s", "a\"ü"),
            ("n", "12345678901234567890123"),
            ("f", "2.50"),
            ("o", r#"{"x":[1, null]}"#),
            ("b", "true"),
            ("z", "null"),
        ] {
            assert_eq!(text(&fetched, key), value);
            let is_text = matches!(fetched.data[key], Datum::Text(_));
            assert_eq!(is_text, key == "s", "{key}");
        }
        assert_eq!(fetched.lease, None);
    }

    #[test]
    fn only_a_lease_with_an_id_is_one() {
        let kv1 = answer(r#"{"lease_id":"","lease_duration":2764800,"data":{"a":"b"}}"#);
        assert_eq!(kv1.envelope().unwrap().lease(), None);
        let dynamic = answer(
            r#"{"lease_id":"database/creds/a/x","lease_duration":20,"renewable":true,"data":{}}"#,
        );
        let lease = Lease {
            id: "database/creds/a/x".to_owned(),
            duration: Duration::from_secs(20),
            renewable: true,
        };
        assert_eq!(dynamic.envelope().unwrap().lease(), Some(lease));
    }

    #[test]
    fn a_version_that_is_gone_says_how() {
        let gone = |destroyed| {
            let body = format!(
                r#"{{"data":{{"data":null,"metadata":{{"version":4,"deletion_time":"T","destroyed":{destroyed}}}}}}}"#
            );
            answer(&body).version_is_gone().unwrap().to_string()
        };
        assert!(gone(false).starts_with("version 4 was deleted at T"), "{}", gone(false));
        assert!(gone(true).starts_with("version 4 was destroyed"), "{}", gone(true));
        assert!(answer(r#"{"errors":[]}"#).version_is_gone().is_none());
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_said_without_its_values() {
        for body in [
            r#"{"data":"hunter2"}"#,
            r#"{"data":{"a":"hunter2"#,
            "hunter2",
            r#"{"auth":"hunter2"}"#,
        ] {
            let answer = answer(body);
            let error = answer.envelope().and_then(|parts| parts.fetched(SystemTime::now()));
            let text = error.unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
