//! The JSON gateway of etcd: protobuf as JSON, numbers as text, keys and values in Base64; a watch
//! is one answer that has a line for each message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use pillion_client::{Client, Options};
use pillion_model::secrets::Limits;
use pillion_runtime::board::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::location::LocationError;
use crate::sources::SourceError;
use crate::store::FileName;

/// What is around a key and its value, and the longest key, in Base64.
const PAIR: usize = 4 << 10;

/// One store, and the prefix of interest.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    client: Client,
    prefix: String,
    /// The most keys.
    files: usize,
    /// The most bytes of an answer, and of a line of a watch.
    text: usize,
}

/// One key, put or deleted.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: String,
    /// The key without the prefix and the slash after it.
    pub(super) name: FileName,
    /// `None`: deleted.
    pub(super) content: Option<Secret>,
}

/// What a watch tells.
#[derive(Debug)]
pub(super) enum News {
    /// Nothing has changed up to this revision.
    Progress(i64),
    /// All changes up to this revision.
    Changes(i64, Vec<Change>),
    /// Changes were forgotten by the store before they were told.
    Compacted,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    #[serde(deserialize_with = "number")]
    revision: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pair {
    key: String,
    value: String,
    #[serde(deserialize_with = "number")]
    mod_revision: i64,
}

/// Zeros and empty lists are left out; without a header, it is none of etcd.
#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
    #[serde(default, deserialize_with = "number")]
    count: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    result: Told,
    error: Option<Fault>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fault {
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    header: Header,
    created: bool,
    canceled: bool,
    cancel_reason: String,
    #[serde(deserialize_with = "number")]
    compact_revision: i64,
    events: Vec<Event>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    r#type: String,
    kv: Pair,
}

/// A number of 64 bits, which JSON of protobuf has as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl Gateway {
    pub(super) fn new(
        url: &str,
        options: &Options,
        prefix: &str,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let target = url.parse().map_err(LocationError::from)?;
        let text = 2 * limits.bytes + PAIR * (limits.files + 1);
        let options = Options { body_limit: text, ..options.clone() };
        let client = Client::new(target, &options).map_err(LocationError::from)?;
        Ok(Self { client, prefix: prefix.to_owned(), files: limits.files, text })
    }

    /// All keys, and the revision that they are of.
    pub(super) async fn read(&self) -> Result<(i64, Vec<Change>), SourceError> {
        let limit = self.files + 1;
        let range = self.range(&[("limit", json!(limit))]).await?;
        let pairs = range.kvs.into_iter().map(|pair| self.change(&pair, false));
        Ok((range.header.revision, pairs.collect::<Result<_, _>>()?))
    }

    /// The newest revision of any key there is, and how many keys there are.
    pub(super) async fn newest(&self) -> Result<(i64, usize), SourceError> {
        let newest = [
            ("limit", json!(1)),
            ("sort_target", json!("MOD")),
            ("sort_order", json!("DESCEND")),
            ("keys_only", json!(true)),
        ];
        let range = self.range(&newest).await?;
        let revision = range.kvs.first().map_or(0, |pair| pair.mod_revision);
        Ok((revision, usize::try_from(range.count).unwrap_or(0)))
    }

    /// Watches from a revision on.
    pub(super) async fn watch(&self, from: i64) -> Result<Watch, SourceError> {
        let mut create = self.keys();
        create.insert("start_revision".to_owned(), json!(from.to_string()));
        create.insert("progress_notify".to_owned(), json!(true));
        let body = json!({ "create_request": create });
        let answer = self.client.stream(request("/v3/watch", &body)).await?;
        let body = accepted(self.url("/v3/watch"), answer)?.into_body();
        Ok(Watch { gateway: self.clone(), body, kept: BytesMut::new(), searched: 0 })
    }

    async fn range(&self, more: &[(&str, serde_json::Value)]) -> Result<Range, SourceError> {
        let mut body = self.keys();
        body.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let answer = self.client.send(request("/v3/kv/range", &body.into())).await?;
        let answer = accepted(self.url("/v3/kv/range"), answer)?;
        self.parse("/v3/kv/range", answer.body())
    }

    /// The keys of interest, as requests name them (`range_end` is the first key that is none).
    fn keys(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut end = self.prefix.clone().into_bytes();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            // No key is after all of them.
            None => end = vec![0],
        }
        let begin = if self.prefix.is_empty() { b"\0" } else { self.prefix.as_bytes() };
        serde_json::Map::from_iter([
            ("key".to_owned(), json!(STANDARD.encode(begin))),
            ("range_end".to_owned(), json!(STANDARD.encode(end))),
        ])
    }

    fn change(&self, pair: &Pair, is_deleted: bool) -> Result<Change, SourceError> {
        let wrong = |what: &str| self.wrong("", what);
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| wrong("no Base64"));
        let key =
            String::from_utf8(decoded(&pair.key)?).map_err(|_| wrong("a key is not UTF-8"))?;
        let name =
            key.strip_prefix(&self.prefix).ok_or_else(|| wrong("a key of another prefix"))?;
        let name = FileName::new(name.strip_prefix('/').unwrap_or(name))?;
        let content = match is_deleted {
            true => None,
            false => Some(Secret::from(decoded(&pair.value)?)),
        };
        Ok(Change { key, name, content })
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, text: &[u8]) -> Result<T, SourceError> {
        // The message of the parser might quote a value.
        serde_json::from_slice(text).map_err(|error| {
            self.wrong(path, &format!("not the JSON of etcd, at column {}", error.column()))
        })
    }

    fn wrong(&self, path: &str, what: &str) -> SourceError {
        SourceError::Answer { url: self.url(path), what: what.to_owned() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.client.target())
    }
}

fn request(path: &'static str, body: &serde_json::Value) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    request
}

fn accepted<T>(url: String, answer: Response<T>) -> Result<Response<T>, SourceError> {
    match answer.status().is_success() {
        true => Ok(answer),
        false => Err(SourceError::Status { url, status: answer.status().as_u16() }),
    }
}

/// A watch under way.
#[derive(Debug)]
pub(super) struct Watch {
    gateway: Gateway,
    body: Incoming,
    /// What was read of the next line.
    kept: BytesMut,
    /// So much of it has no end of a line.
    searched: usize,
}

impl Watch {
    /// What the store tells next. Cancel-safe: what was read of a line is kept.
    pub(super) async fn next(&mut self) -> Result<News, SourceError> {
        loop {
            let unsearched = self.kept.get(self.searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.kept.split_to(self.searched + end + 1);
                self.searched = 0;
                return self.news(self.gateway.parse("/v3/watch", &line)?);
            }
            self.searched = self.kept.len();
            if self.kept.len() > self.gateway.text {
                return Err(self.wrong(
                    "a message that is too long; raise secrets.limits.bytes, or have less",
                ));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.kept.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(self.wrong(&format!("the watch broke off: {error}")));
                }
                None => return Err(self.wrong("the watch ended")),
            }
        }
    }

    fn news(&self, message: Message) -> Result<News, SourceError> {
        let Message { result, error } = message;
        if let Some(fault) = error {
            return Err(self.wrong(&fault.message));
        }
        if result.compact_revision > 0 {
            return Ok(News::Compacted);
        }
        if result.canceled {
            return Err(self.wrong(&format!("the watch was cancelled: {}", result.cancel_reason)));
        }
        let revision = result.header.revision;
        if result.created {
            // The revision of the store, which may be beyond what is still to be told.
            return Ok(News::Progress(0));
        }
        if result.events.is_empty() {
            return Ok(News::Progress(revision));
        }
        let changes = result
            .events
            .into_iter()
            .map(|event| self.gateway.change(&event.kv, event.r#type == "DELETE"));
        Ok(News::Changes(revision, changes.collect::<Result<_, _>>()?))
    }

    fn wrong(&self, what: &str) -> SourceError {
        self.gateway.wrong("/v3/watch", what)
    }
}
