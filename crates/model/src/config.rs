//! Reads the configuration: a file, the command line's say over it, and the defaults.
//!
//! A file goes through four steps, each in its own file: `yaml` (text to a tree with places),
//! `check` (the tree against the schema of [`raw`]), `fill` (flags and defaults), `resolve` (what
//! it means). All steps report into one list, so that a reader sees every problem at once. A file
//! with a problem is refused as a whole: what was in force stays in force.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

pub use diagnostic::Diagnostic;
pub use explain::explain;
pub use reference::reference;
pub use shown::shown;
pub use text::{Fault, FileGlob, FilePath, ListenAddress, LogSink, UpstreamUrl};

use crate::settings::{Address, Roles, Settings};
use crate::snapshot::{Snapshot, UpstreamProtocol};
use diagnostic::Problems;
use nearest::nearest;
use yaml::Span;

mod check;
mod diagnostic;
mod explain;
mod fill;
mod key;
mod nearest;
pub mod raw;
mod reference;
mod resolve;
mod schema;
mod shown;
mod text;
mod yaml;

/// The largest file that is read, in bytes.
const FILE_LIMIT: usize = 1 << 20;
/// What stands for the file where there is none.
const NO_FILE: &str = "command line";
/// The upstream of a one-line forward proxy.
const FORWARD_UPSTREAM: &str = "upstream";

/// A configuration without a fault.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is read once, at start.
    pub settings: Settings,
    /// What is swapped whole on a reload.
    pub snapshot: Snapshot,
    /// What the roles beside the proxy do.
    pub roles: Roles,
    /// What somebody wrote, in the file or on the command line, as JSON. A tree of it and one of
    /// what is in force would take ten times the memory, for good, and few ask for them.
    written: Box<str>,
    /// The one default that depends on the command line alone.
    has_app: bool,
}

impl Loaded {
    /// Everything as it is in force, flags and defaults filled in. Made anew by each call.
    pub fn effective(&self) -> raw::Config {
        // It has been read once, so it can be read.
        effective(&self.written, self.has_app).unwrap_or_default()
    }

    /// What somebody wrote: the rest of [`Loaded::effective`] is default.
    fn written(&self) -> Value {
        serde_json::from_str(&self.written).unwrap_or_default()
    }
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--inbound`.
    pub inbound: Option<ListenAddress>,
    /// `--outbound`.
    pub outbound: Option<ListenAddress>,
    /// `--admin`.
    pub admin: Option<ListenAddress>,
    /// `--app-port`; 1 to 65535.
    pub app_port: Option<u16>,
    /// Whether Pillion starts the app itself (`run -- CMD`), and so shares a terminal with it.
    pub has_app: bool,
}

/// Reads a file. That it cannot be read is a diagnostic too.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let outside = |fault| vec![Diagnostic::outside(&name, "", None, fault)];
    let bytes = read_file(path).map_err(|err| outside(unreadable(&err)))?;
    if bytes.len() > FILE_LIMIT {
        return Err(outside(Fault::new(format!("the file is larger than {FILE_LIMIT} bytes"))));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text, overrides),
        Err(err) => Err(not_utf8(&name, &bytes, err.valid_up_to())),
    }
}

/// Reads a text, as the contents of a file of this name. An empty text is all defaults.
pub fn parse(
    file_name: &str,
    text: &str,
    overrides: &Overrides,
) -> Result<Loaded, Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::new(file_name, text);
    if text.len() > FILE_LIMIT {
        let fault = Fault::new(format!("the file is larger than {FILE_LIMIT} bytes"));
        return Err(vec![Diagnostic::outside(file_name, "", None, fault)]);
    }
    let document = match yaml::read(text) {
        Ok(document) => document,
        Err((span, fault)) => {
            problems.report(span, &key::KeyPath::default(), None, fault);
            return Err(problems.into_sorted());
        }
    };
    let written = match &document {
        Some(document) => {
            problems.look_in(document);
            check::check(&mut problems, document)
        }
        None => Value::Object(serde_json::Map::new()),
    };
    finish(written, overrides, problems)
}

/// The configuration without any file.
pub fn defaults(overrides: &Overrides) -> Result<Loaded, Vec<Diagnostic>> {
    finish(Value::Object(serde_json::Map::new()), overrides, Problems::new(NO_FILE, ""))
}

/// A forward proxy in one line: what arrives at `listen` goes to one upstream, `http://HOST[:PORT]`
/// or `h2c://HOST[:PORT]`. `overrides` says where admin is; its listeners are not looked at.
///
/// The `Host` of each request becomes that of the upstream: whoever writes one line means "as if I
/// had called that URL", and an upstream that serves several hosts would answer anything else with
/// a 404. A configuration file leaves `Host` as it is, unless a route sets it.
pub fn forward_proxy(
    listen: Address,
    upstream_url: &str,
    overrides: &Overrides,
) -> Result<Loaded, Vec<Diagnostic>> {
    let url: UpstreamUrl = upstream_url.parse().map_err(|fault| {
        vec![Diagnostic::outside(NO_FILE, "--upstream", Some(upstream_url), fault)]
    })?;
    let protocol = match url.protocol {
        UpstreamProtocol::Auto => "auto",
        UpstreamProtocol::Http1 => "http1",
        UpstreamProtocol::Http2 => "http2",
    };
    let written = serde_json::json!({
        "outbound": {
            "protocol": "http",
            "routes": [{
                "name": FORWARD_UPSTREAM,
                "upstream": FORWARD_UPSTREAM,
                "request_headers": {"set": {"host": url.authority}},
            }],
        },
        "upstreams": {
            FORWARD_UPSTREAM: {"endpoints": [url.endpoint.to_string()], "protocol": protocol},
        },
    });
    let overrides = Overrides {
        inbound: Some(ListenAddress::Off),
        outbound: Some(ListenAddress::At(listen)),
        ..overrides.clone()
    };
    finish(written, &overrides, Problems::new(NO_FILE, ""))
}

/// A shipper in one line: what it reads, and where that goes.
#[derive(Clone, Debug)]
pub struct Ship {
    /// Which files.
    pub files: Vec<FileGlob>,
    /// Formats of their lines.
    pub parse: Vec<raw::logs::LineFormat>,
    /// Where records go.
    pub to: LogSink,
    /// Folder for positions, disk buffer and dead letters.
    pub state: Option<FilePath>,
    /// How bodies are compressed.
    pub compress: Option<raw::logs::Compression>,
}

/// The configuration of a shipper in one line: the logs role alone, with one source and one sink.
pub fn ship(ship: &Ship) -> Result<Loaded, Vec<Diagnostic>> {
    let files: Vec<_> = ship.files.iter().map(ToString::to_string).collect();
    let mut written = serde_json::json!({
        "inbound": {"listen": "off"},
        "outbound": {"listen": "off"},
        "logs": {
            "sources": {"files": {"files": files, "parse": ship.parse}},
            "sinks": {"sink": {"to": ship.to.to_string()}},
        },
    });
    if let Some(state) = &ship.state {
        written["logs"]["state"] = state.to_string().into();
    }
    if let Some(compress) = ship.compress {
        written["logs"]["sinks"]["sink"]["compress"] = serde_json::json!(compress);
    }
    let overrides = Overrides { admin: Some(ListenAddress::Off), ..Overrides::default() };
    finish(written, &overrides, Problems::new(NO_FILE, ""))
}

/// The keys whose change a running process cannot follow.
pub fn restart_needed(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let restart = |settings: &Settings| settings.app.restart;
    [
        ("admin.listen", old.admin != new.admin),
        ("inbound.listen", old.inbound != new.inbound),
        ("outbound.listen", old.outbound != new.outbound),
        ("workers", old.workers != new.workers),
        ("app.port", old.app.port != new.app.port),
        ("app.ready", old.app.ready_path != new.app.ready_path),
        ("app.port_timeout", old.app.port_timeout != new.app.port_timeout),
        ("app.stop_timeout", old.app.stop_timeout != new.app.stop_timeout),
        ("app.restart", restart(old) != restart(new)),
        ("drain.timeout", old.drain_timeout != new.drain_timeout),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> Value {
    schema::SCHEMA.clone()
}

/// From what was written to what is in force.
fn finish(
    mut written: Value,
    overrides: &Overrides,
    mut problems: Problems<'_>,
) -> Result<Loaded, Vec<Diagnostic>> {
    fill::overrides(&mut written, overrides);
    let text = written.to_string();
    let effective = match effective(&text, overrides.has_app) {
        Ok(effective) => effective,
        // What `check` let through fits the structs; should it not, say so rather than guess.
        Err(err) => {
            problems.at(&key::KeyPath::default(), Fault::new(err.to_string()));
            return Err(problems.into_sorted());
        }
    };
    let (settings, snapshot, roles) = resolve::resolve(&effective, &written, &mut problems);
    if problems.is_empty() {
        Ok(Loaded { settings, snapshot, roles, written: text.into(), has_app: overrides.has_app })
    } else {
        Err(problems.into_sorted())
    }
}

/// What is in force when somebody wrote this.
fn effective(written: &str, has_app: bool) -> serde_json::Result<raw::Config> {
    serde_json::from_str(written).map(|config| fill::defaults(config, has_app))
}

/// At most one byte more than the limit, whatever the file is.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(err: &io::Error) -> Fault {
    let fault = Fault::new(format!("cannot read the file: {err}"));
    match err.kind() {
        io::ErrorKind::NotFound => fault.hint("is the path right?"),
        io::ErrorKind::PermissionDenied => fault.hint("the user that runs pillion must read it"),
        _ => fault,
    }
}

fn not_utf8(name: &str, bytes: &[u8], position: usize) -> Vec<Diagnostic> {
    let text = String::from_utf8_lossy(bytes);
    let before = String::from_utf8_lossy(bytes.get(..position).unwrap_or(bytes));
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let mut problems = Problems::new(name, &text);
    let fault = Fault::new("the file is not UTF-8").hint("save it as UTF-8, without other bytes");
    problems.report(Span::point(line, column), &key::KeyPath::default(), None, fault);
    problems.into_sorted()
}

#[cfg(test)]
mod tests;
