//! Facts about where records come from: the resource, which is the same on every record, and the
//! attributes that a source adds.

use std::borrow::Cow;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

use pillion_model::logs::Resource;
use pillion_runtime::say;
use pillion_runtime::watch::FileWatch;

use crate::record::{Record, Value};

/// A downward API file that is longer is not read: labels and annotations of a pod are 256 KiB at
/// most.
const LONGEST: u64 = 1 << 20;

/// The resource, and the files that it is partly read from.
#[derive(Debug)]
pub struct Enrichment {
    configured: Vec<(String, String)>,
    files: Vec<Labels>,
    attributes: Vec<(String, String)>,
}

/// A file of a downward API volume.
#[derive(Debug)]
struct Labels {
    watch: FileWatch,
    prefix: String,
    /// What was in it when it could last be read.
    pairs: Vec<(String, String)>,
}

/// What is known of the process and is used where the configuration says nothing.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// `host.name`.
    pub host: String,
    /// `service.name`: the name of the app's program, where there is one.
    pub service: Option<String>,
}

impl Enrichment {
    /// Reads what there is to read. To be called in a Tokio runtime with its I/O driver on.
    #[must_use]
    pub fn new(resource: &Resource, defaults: Defaults) -> Self {
        let configured = |name: &str| resource.attributes.iter().any(|(known, _)| known == name);
        let of_process = [("host.name", Some(defaults.host)), ("service.name", defaults.service)];
        let missing = of_process.into_iter().filter(|(name, _)| !configured(name));
        let mut pairs: Vec<(String, String)> =
            missing.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        pairs.extend(resource.attributes.iter().cloned());
        let labels = |(path, prefix): &(PathBuf, String)| {
            let watch = FileWatch::new(path);
            let mut labels = Labels { watch, prefix: prefix.clone(), pairs: Vec::new() };
            labels.read();
            labels
        };
        let files = resource.files.iter().map(labels).collect();
        let mut enrichment = Self { configured: pairs, files, attributes: Vec::new() };
        enrichment.gather();
        enrichment
    }

    /// The attributes of the resource, each name once: what is configured counts before a file, and
    /// a file before those that follow it.
    #[must_use]
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// Waits until a file has other contents, and takes them. Never returns where there is no file.
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        let waits = self.files.iter_mut().map(|labels| Box::pin(labels.watch.changed()));
        let mut waits: Vec<_> = waits.collect();
        let first = poll_fn(|cx| {
            let ready = waits.iter_mut().position(|wait| pin!(wait).poll(cx).is_ready());
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        let changed = first.await;
        drop(waits);
        if let Some(labels) = self.files.get_mut(changed) {
            labels.read();
        }
        self.gather();
    }

    fn gather(&mut self) {
        let files = self.files.iter().flat_map(|labels| &labels.pairs);
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in self.configured.iter().chain(files) {
            if !all.iter().any(|(known, _)| known == name) {
                all.push((name.clone(), value.clone()));
            }
        }
        self.attributes = all;
    }
}

impl Labels {
    /// A file that cannot be read leaves what was known.
    fn read(&mut self) {
        match read(self.watch.path()) {
            Ok(text) => self.pairs = parse(&text, &self.prefix),
            Err(error) => {
                let path = self.watch.path().display();
                say!(Warn, "cannot read the facts of the pod", file = path, error = error);
            }
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    let read = file.take(LONGEST + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > LONGEST) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(text)
}

/// Lines of `key="value"`, the value escaped as Go's `%q` does it. Others are left.
fn parse(text: &str, prefix: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim_end().strip_prefix('"')?.strip_suffix('"')?;
        Some((format!("{prefix}{key}"), unescape(value)?))
    };
    text.lines().filter_map(pair).collect()
}

/// What Go's `strconv.Quote` made of a text; `None` where it did not.
fn unescape(quoted: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at_checked(at)?;
        bytes.extend_from_slice(plain.as_bytes());
        let kind = escape.as_bytes().get(1)?;
        let digits = match kind {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        let number = u32::from_str_radix(escape.get(2..2 + digits)?, 16).unwrap_or(0);
        match kind {
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'v' => bytes.push(11),
            b'x' => bytes.push(u8::try_from(number).ok()?),
            b'u' | b'U' => {
                let character = char::from_u32(number)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'"' | b'\\' => bytes.push(*kind),
            _ => return None,
        }
        rest = escape.get(2 + digits..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds the attributes of a source. They count before what the record says.
pub fn add<'a>(attributes: &'a [(String, String)], record: &mut Record<'a>) {
    for (name, value) in attributes {
        let value = Value::Text(Cow::Borrowed(value.as_str()));
        record.attributes.push((Cow::Borrowed(name.as_str()), value));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn defaults() -> Defaults {
        Defaults { host: "node-1".into(), service: Some("shop".into()) }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn what_is_configured_counts_before_what_is_found_out() {
        let resource = Resource {
            attributes: pairs(&[("service.name", "cart"), ("team", "a")]),
            files: Vec::new(),
        };
        let enrichment = Enrichment::new(&resource, defaults());
        let expected = [("host.name", "node-1"), ("service.name", "cart"), ("team", "a")];
        assert_eq!(enrichment.attributes(), pairs(&expected));
        let nameless = Defaults { service: None, ..defaults() };
        let enrichment = Enrichment::new(&Resource::default(), nameless);
        assert_eq!(enrichment.attributes(), pairs(&[("host.name", "node-1")]));
    }

    #[test]
    fn a_downward_api_file_is_read_as_the_kubelet_writes_it() {
        let text = concat!(
            "app=\"shop\"\n",
            "app.kubernetes.io/name=\"a=b\"\n",
            "odd=\"tab\\t quote\\\" back\\\\ line\\n \\u00e4 \\x41 \\U0001f600 ä\"\n",
            "empty=\"\"\n",
            "no value\n",
            "unquoted=x\n",
            "bad=\"\\q\"\n",
        );
        let expected = [
            ("l.app", "shop"),
            ("l.app.kubernetes.io/name", "a=b"),
            ("l.odd", "tab\t quote\" back\\ line\n ä A 😀 ä"),
            ("l.empty", ""),
        ];
        assert_eq!(parse(text, "l."), pairs(&expected));
    }

    #[tokio::test]
    async fn labels_follow_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let fill = |version: &str, text: &str| {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("labels"), text).unwrap();
            symlink(version, path("..data_tmp")).unwrap();
            fs::rename(path("..data_tmp"), path("..data")).unwrap();
        };
        fill("..1", "app=\"old\"\n");
        symlink("..data/labels", path("labels")).unwrap();
        let prefix = "k8s.pod.labels.".to_owned();
        let missing = (path("missing"), String::new());
        let resource =
            Resource { attributes: Vec::new(), files: vec![missing, (path("labels"), prefix)] };
        let mut enrichment = Enrichment::new(&resource, defaults());
        assert_eq!(enrichment.attributes().last().unwrap().1, "old");
        fill("..2", "app=\"new\"\nhost.name=\"x\"\n");
        enrichment.changed().await;
        let found = enrichment.attributes();
        assert!(found.contains(&("k8s.pod.labels.app".into(), "new".into())), "{found:?}");
        assert!(found.contains(&("host.name".into(), "node-1".into())), "{found:?}");
    }

    #[test]
    fn the_attributes_of_a_source_come_last() {
        let attributes = pairs(&[("env", "prod")]);
        let mut record = Record::default();
        record.attributes.push((Cow::Borrowed("env"), Value::Text("test".into())));
        add(&attributes, &mut record);
        assert_eq!(record.attribute("env").unwrap(), "prod");
    }
}
