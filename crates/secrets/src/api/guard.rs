//! Which requests are served: those of programs that mean to speak to us, on this host.
//!
//! An app can be talked into fetching a URL (server-side request forgery), and a web page in a
//! browser can send requests to loopback. Neither can add a header of its choice that easily, and
//! both leave marks.

use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use pillion_model::settings::Address;
use pillion_runtime::admin::is_ours;

/// The header that a client of the API sends with the value `true`.
const MEANT: &str = "x-vault-request";
/// Headers of proxies and browsers.
const FOREIGN: [&str; 5] =
    ["x-forwarded-for", "forwarded", "origin", "sec-fetch-site", "sec-fetch-mode"];

/// Why a request is not served, if it is not.
pub(super) fn refusal(bound: &Address, headers: &HeaderMap) -> Option<(StatusCode, String)> {
    let refuse = |status, text: String| Some((status, text));
    if headers.get(MEANT).is_none_or(|value| value != "true") {
        let text = "the header X-Vault-Request: true is missing";
        return refuse(StatusCode::PRECONDITION_FAILED, text.to_owned());
    }
    if let Some(name) = FOREIGN.into_iter().find(|name| headers.contains_key(*name)) {
        let text = format!("a request with the header {name} comes from a proxy or a browser");
        return refuse(StatusCode::FORBIDDEN, text);
    }
    let Address::Tcp(bound) = bound else { return None };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    match host {
        Some(host) if is_ours(&host, bound.ip()) => None,
        Some(host) => {
            let text = format!("this is served to localhost and {bound} only, not to {host}");
            refuse(StatusCode::FORBIDDEN, text)
        }
        None => refuse(StatusCode::BAD_REQUEST, "one valid Host header is needed".to_owned()),
    }
}
