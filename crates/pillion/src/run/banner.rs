//! What a person sees once everything runs: what is where, and what to try.

use std::io::{self, IsTerminal as _};

use pillion_model::settings::Address;
use pillion_runtime::say;

use super::{Addresses, AppView};
use crate::print;

/// Says that the sidecar, and the app if there is one, is there: a few lines on a terminal, one
/// message elsewhere.
pub(super) fn show(addresses: &Addresses, app: &AppView) {
    if io::stderr().is_terminal() {
        print::error(&banner(addresses, app));
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

fn banner(addresses: &Addresses, app: &AppView) -> String {
    let mut text = String::from("pillion rides along\n");
    let mut line = |name: &str, what: String| text.push_str(&format!("  {name:<9} {what}\n"));
    if let Some(inbound) = &addresses.inbound {
        line("inbound", format!("{} → app at {}", url(inbound), where_the_app_is(app)));
    }
    if let Some(outbound) = &addresses.outbound {
        line("outbound", format!("{} → where requests are addressed", url(outbound)));
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

fn url(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::look::Place;

    fn tcp(port: u16) -> Option<Address> {
        Some(Address::Tcp(([127, 0, 0, 1], port).into()))
    }

    #[test]
    fn the_banner_says_what_is_where_and_what_to_try() {
        let place = Place {
            address: ([127, 0, 0, 1], 8080).into(),
            text: "127.0.0.1:8080 (the only one)".to_owned(),
        };
        let app = AppView { expected: true, place: Some(place), ..AppView::default() };
        let addresses = Addresses {
            inbound: tcp(40001),
            outbound: tcp(15001),
            admin: tcp(15000),
            taken: tcp(15006).into_iter().collect(),
        };
        let text = banner(&addresses, &app);
        for part in [
            "http://127.0.0.1:40001 → app at 127.0.0.1:8080 (the only one)",
            "http://127.0.0.1:15001",
            "http://127.0.0.1:15000",
            "127.0.0.1:15006 is taken",
            "curl http://127.0.0.1:40001/",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn what_is_off_is_not_in_the_banner() {
        let addresses = Addresses { admin: tcp(15000), ..Addresses::default() };
        let text = banner(&addresses, &AppView { expected: true, ..AppView::default() });
        assert!(!text.contains("inbound") && !text.contains("outbound"), "{text}");
        assert!(!text.contains("curl"), "{text}");
    }
}
