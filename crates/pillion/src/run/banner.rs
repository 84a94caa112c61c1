//! What a person sees once everything runs: what is where, and what to try.

use std::io::{self, IsTerminal as _};

use pillion_model::config::Loaded;
use pillion_model::config::raw::{Config, Listener};
use pillion_model::settings::Address;
use pillion_runtime::say;

use super::{Addresses, AppView};
use crate::print;

/// Upstreams of a listener, and endpoints of an upstream, that are shown.
const SHOWN: usize = 3;

/// Says that the sidecar, and the app if there is one, is there: a few lines on a terminal, one
/// message elsewhere.
pub(super) fn show(addresses: &Addresses, app: &AppView, loaded: &Loaded) {
    if io::stderr().is_terminal() {
        print::error(&banner(addresses, app, &loaded.effective()));
        return;
    }
    let listener = |address: &Option<Address>| {
        address.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string)
    };
    say!(
        Info,
        "serving",
        inbound = listener(&addresses.inbound),
        outbound = listener(&addresses.outbound),
        admin = listener(&addresses.admin),
        app = where_the_app_is(app),
    );
    for address in &addresses.taken {
        say!(Warn, "a default address is taken, a free port is used", address = address);
    }
}

/// One line: where the app listens, and how that was found.
pub(super) fn where_the_app_is(app: &AppView) -> String {
    match &app.place {
        Some(place) => place.text.clone(),
        None if app.expected => "no port yet".to_owned(),
        None => "none".to_owned(),
    }
}

fn banner(addresses: &Addresses, app: &AppView, config: &Config) -> String {
    let mut text = String::from("pillion rides along\n");
    let mut line = |name: &str, what: String| text.push_str(&format!("  {name:<9} {what}\n"));
    for (name, address, listener) in [
        ("inbound", &addresses.inbound, &config.inbound),
        ("outbound", &addresses.outbound, &config.outbound),
    ] {
        if let Some(address) = address {
            line(name, format!("{} → {}", url(address), leads_to(listener, config, app)));
        }
    }
    if let Some(admin) = &addresses.admin {
        line("admin", format!("{} (health, metrics, state)", url(admin)));
    }
    for address in &addresses.taken {
        line("note", format!("{address} is taken, a free port is used"));
    }
    if let (Some(Address::Tcp(inbound)), Some(_)) = (&addresses.inbound, &app.place) {
        line("try", format!("curl http://{inbound}/"));
    }
    text
}

/// Where the routes of a listener send what they take.
fn leads_to(listener: &Listener, config: &Config, app: &AppView) -> String {
    let routes = listener.routes.iter().filter_map(|route| route.upstream.as_ref());
    let mut upstreams: Vec<String> =
        routes.chain(&listener.tcp_upstream).map(ToString::to_string).collect();
    upstreams.sort();
    upstreams.dedup();
    let shown = upstreams.iter().map(|name| match (name.as_str(), config.upstreams.get(name)) {
        ("app", _) => format!("the app at {}", where_the_app_is(app)),
        ("host", _) => "the host that each request names".to_owned(),
        (_, Some(upstream)) => {
            let endpoints: Vec<String> =
                upstream.endpoints.iter().take(SHOWN).map(ToString::to_string).collect();
            let more = if upstream.endpoints.len() > SHOWN { " …" } else { "" };
            format!("{name} ({}{more})", endpoints.join(", "))
        }
        (_, None) => name.clone(),
    });
    let more = if upstreams.len() > SHOWN { ", …" } else { "" };
    shown.take(SHOWN).collect::<Vec<_>>().join(", ") + more
}

fn url(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use pillion_model::config::{Overrides, parse};

    use super::*;
    use crate::run::look::Place;

    fn tcp(port: u16) -> Option<Address> {
        Some(Address::Tcp(([127, 0, 0, 1], port).into()))
    }

    fn config(text: &str) -> Config {
        parse("test", text, &Overrides::default()).unwrap().effective()
    }

    #[test]
    fn the_banner_says_what_is_where_and_what_to_try() {
        let place = Place {
            address: ([127, 0, 0, 1], 8080).into(),
            text: "127.0.0.1:8080 (the first of two)".to_owned(),
        };
        let app = AppView { expected: true, place: Some(place), ..AppView::default() };
        let addresses = Addresses {
            inbound: tcp(40001),
            outbound: tcp(15001),
            admin: tcp(15000),
            taken: tcp(15006).into_iter().collect(),
        };
        let text = banner(&addresses, &app, &config(""));
        for part in [
            "http://127.0.0.1:40001 → the app at 127.0.0.1:8080 (the first of two)\n",
            "http://127.0.0.1:15001 → the host that each request names\n",
            "http://127.0.0.1:15000",
            "127.0.0.1:15006 is taken",
            "curl http://127.0.0.1:40001/",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn routes_lead_to_their_upstreams() {
        let config = config(
            "inbound: {protocol: http, routes: [{match: {path: /b}, upstream: b}, {upstream: a}]}\n\
             upstreams: {a: {endpoints: [x:1, x:2, x:3, x:4]}, b: {endpoints: [y:1]}}\n",
        );
        let text = leads_to(&config.inbound, &config, &AppView::default());
        assert_eq!(text, "a (x:1, x:2, x:3 …), b (y:1)");
    }

    #[test]
    fn what_is_off_is_not_in_the_banner() {
        let addresses = Addresses { admin: tcp(15000), ..Addresses::default() };
        let app = AppView { expected: true, ..AppView::default() };
        let text = banner(&addresses, &app, &config(""));
        assert!(!text.contains("inbound") && !text.contains("outbound"), "{text}");
        assert!(!text.contains("curl"), "{text}");
    }
}
