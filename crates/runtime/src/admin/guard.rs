//! Keeps web pages in a browser on this machine away from the admin interface.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pillion_model::settings::Address;

use super::routes::Response;

/// The answer to a request that is not served, if it is not.
pub(super) fn refuse(
    bound: &Address,
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Option<Response> {
    // No browser speaks to a Unix socket, and its mode says who may.
    let Address::Tcp(bound) = bound else { return None };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        // HTTP/1.0 knows no Host, and no browser speaks it.
        (None, _) if version < Version::HTTP_11 => return None,
        _ => None,
    };
    let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return Some(Response::text(StatusCode::BAD_REQUEST, "one valid Host header is needed\n"));
    };
    if !is_ours(&host, bound.ip()) {
        return Some(Response::text(
            StatusCode::FORBIDDEN,
            format!("the admin interface is served to localhost and {bound} only, not to {host}\n"),
        ));
    }
    let from_a_page = headers.get(header::ORIGIN).is_some_and(|origin| {
        origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"))
            != Some(host.as_str())
    });
    (from_a_page && *method != Method::GET && *method != Method::HEAD)
        .then(|| Response::text(StatusCode::FORBIDDEN, "not from the page of another origin\n"))
}

/// Whether a page that names this host can only be our own. A stranger's host name can be made to
/// resolve to our address (DNS rebinding); an address cannot.
///
/// `bound` is the address that is listened on.
#[must_use]
pub fn is_ours(host: &Authority, bound: IpAddr) -> bool {
    let name = host.host().trim_end_matches('.');
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback() || address == bound || bound.is_unspecified(),
        Err(_) => {
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}
