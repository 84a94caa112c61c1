//! What the file does not say: the command line first, then the defaults that depend on something.

use serde_json::{Map, Value};

use super::Overrides;
use super::raw::{
    AccessLog, App, Config, Listener, ListenerProtocol, LogForm, LogTarget, Name, Period, Restart,
    Route,
};
use super::text::{ListenAddress, read};
use crate::settings::Address;
use crate::snapshot::{Direction, LogFormat, LogOutput};

/// The upstream that is the app.
pub(super) const APP: &str = "app";
/// The word for the host that a request names.
pub(super) const HOST: &str = "host";

const ADMIN_PORT: u16 = 15000;
const OUTBOUND_PORT: u16 = 15001;
const INBOUND_PORT: u16 = 15006;
const RESTART_MAX: u32 = 5;
const RESTART_BACKOFF: Period = Period::from_millis(500);

/// Puts what the command line says over what the file says.
pub(super) fn overrides(written: &mut Value, overrides: &Overrides) {
    let mut put = |section: &str, key: &str, value: Option<Value>| {
        if let (Some(value), Some(written)) = (value, written.as_object_mut()) {
            let section = written.entry(section).or_insert_with(|| Value::Object(Map::new()));
            if let Some(section) = section.as_object_mut() {
                section.insert(key.to_owned(), value);
            }
        }
    };
    let address =
        |address: &Option<ListenAddress>| address.as_ref().map(|at| Value::from(at.to_string()));
    put("inbound", "listen", address(&overrides.inbound));
    put("outbound", "listen", address(&overrides.outbound));
    put("admin", "listen", address(&overrides.admin));
    put("app", "port", overrides.app_port.map(Value::from));
}

/// Fills in every default that the structs cannot know by themselves.
pub(super) fn defaults(mut config: Config, has_app: bool) -> Config {
    listener(&mut config.inbound, Direction::Inbound);
    listener(&mut config.outbound, Direction::Outbound);
    config.upstreams.entry(APP.to_owned()).or_default();
    config.admin.listen.get_or_insert_with(|| loopback(ADMIN_PORT));
    access_log(&mut config.access_log, has_app);
    app(&mut config.app);
    config
}

fn listener(listener: &mut Listener, direction: Direction) {
    let (port, upstream) = match direction {
        Direction::Inbound => (INBOUND_PORT, APP),
        Direction::Outbound => (OUTBOUND_PORT, HOST),
    };
    listener.listen.get_or_insert_with(|| loopback(port));
    if direction == Direction::Inbound
        && listener.protocol != ListenerProtocol::Http
        && listener.tcp_upstream.is_none()
    {
        listener.tcp_upstream = name(APP);
    }
    if listener.routes.is_empty() && listener.protocol != ListenerProtocol::Tcp {
        listener.routes.push(Route { name: name("default"), ..Route::default() });
    }
    for (index, route) in listener.routes.iter_mut().enumerate() {
        if route.name.is_none() {
            route.name = name(&format!("route-{}", index + 1));
        }
        if route.upstream.is_none() {
            route.upstream = name(upstream);
        }
    }
}

/// One of our own names, which are names by the rule.
fn name(text: &str) -> Option<Name> {
    read(text).ok()
}

fn loopback(port: u16) -> ListenAddress {
    ListenAddress::At(Address::Tcp(([127, 0, 0, 1], port).into()))
}

fn access_log(log: &mut AccessLog, has_app: bool) {
    let (output, format) = if has_app {
        (LogOutput::Stderr, LogForm::readable())
    } else {
        (LogOutput::Stdout, LogForm(LogFormat::Json))
    };
    log.output.get_or_insert(LogTarget(output));
    log.format.get_or_insert(format);
}

fn app(app: &mut App) {
    if app.restart == Restart::OnFailure {
        app.restart_max.get_or_insert(RESTART_MAX);
        app.restart_backoff.get_or_insert(RESTART_BACKOFF);
    }
}
