//! Which route takes a request: the first, in the order of the configuration, that matches.
//!
//! The usual table has few hosts and few paths: those are tried in order. Hosts are found by hash,
//! so that a table of thousands of hosts costs as much as one of ten.

mod hosts;

use std::sync::Arc;

use pillion_model::snapshot::{HeaderMatch, HeaderTest, PathMatch, Route};

use hosts::Hosts;

/// The header fields of a request.
pub trait RequestFields {
    /// Calls `test` with each value of the (lower-case) header `name`, which the request may have
    /// in any case, until it says true; whether it did.
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// The rest of what a route looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method, as received.
    pub method: &'a [u8],
    /// What the request is for: a host in any case, perhaps with a port; IPv6 in brackets.
    pub authority: &'a [u8],
    /// The path with its query; empty (as with `CONNECT`) counts as `/`.
    pub path: &'a [u8],
}

/// The routes of one listener, made ready for look-ups.
#[derive(Debug)]
pub struct RouteTable {
    rules: Box<[Rule]>,
    /// Routes that name hosts.
    hosts: Hosts,
    /// Routes that take every host.
    any_host: Box<[u32]>,
}

/// A route without its hosts.
#[derive(Debug)]
struct Rule {
    path: PathMatch,
    methods: Box<[String]>,
    headers: Box<[HeaderMatch]>,
}

impl RouteTable {
    /// A table of these routes. Their hosts and paths must be as the model says: no port, no query.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let any_host = (0..).zip(routes).filter(|(_, route)| route.matches.hosts.is_empty());
        Self {
            rules: routes.iter().map(|route| Rule::new(route)).collect(),
            hosts: Hosts::new(routes),
            any_host: any_host.map(|(index, _)| index).collect(),
        }
    }

    /// The position of the first route that takes this request. Allocates nothing.
    ///
    /// The host is compared without port, case and final dot.
    pub fn find(&self, line: &RequestLine<'_>, fields: &impl RequestFields) -> Option<usize> {
        let path = match line.path.first() {
            // RFC 9110 §4.2.3.
            None | Some(b'?') => b"/",
            Some(_) => line.path,
        };
        // Only what comes before the best so far can still win.
        let mut best = self.rules.len();
        let mut scan = |candidates: &[u32]| {
            for &index in candidates {
                let index = index as usize;
                let Some(rule) = self.rules.get(index).filter(|_| index < best) else { return };
                if rule.takes(line.method, path, fields) {
                    best = index;
                    return;
                }
            }
        };
        if !self.hosts.is_empty() {
            self.hosts.for_each_match(host_of(line.authority), &mut scan);
        }
        scan(&self.any_host);
        (best < self.rules.len()).then_some(best)
    }
}

impl Rule {
    fn new(route: &Route) -> Self {
        let path = match &route.matches.path {
            // What is below `/a/` is what is below `/a`.
            PathMatch::Prefix(path) => PathMatch::Prefix(path.trim_end_matches('/').to_owned()),
            other @ (PathMatch::Any | PathMatch::Exact(_)) => other.clone(),
        };
        Self {
            path,
            methods: route.matches.methods.clone().into(),
            headers: route.matches.headers.clone().into(),
        }
    }

    fn takes(&self, method: &[u8], path: &[u8], fields: &impl RequestFields) -> bool {
        path_matches(&self.path, path)
            && (self.methods.is_empty() || self.methods.iter().any(|m| m.as_bytes() == method))
            && self.headers.iter().all(|header| header_matches(header, fields))
    }
}

/// Whether `path`, which may have a query, matches. What follows the pattern decides, so that the
/// beginning of the query need not be searched for.
fn path_matches(pattern: &PathMatch, path: &[u8]) -> bool {
    match pattern {
        PathMatch::Any => true,
        PathMatch::Exact(exact) => path
            .strip_prefix(exact.as_bytes())
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'?'))),
        PathMatch::Prefix(prefix) => path
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'?' | b'/'))),
    }
}

fn header_matches(header: &HeaderMatch, fields: &impl RequestFields) -> bool {
    let any = |test: &mut dyn FnMut(&[u8]) -> bool| fields.any(&header.name, test);
    match &header.test {
        HeaderTest::Exact(exact) => any(&mut |value| value == exact.as_bytes()),
        HeaderTest::Prefix(prefix) => any(&mut |value| value.starts_with(prefix.as_bytes())),
        HeaderTest::Present => any(&mut |_| true),
        HeaderTest::Absent => !any(&mut |_| true),
    }
}

/// The host of an authority: without port, brackets and final dot, in the case that it came in.
pub fn host_of(authority: &[u8]) -> &[u8] {
    if let Some(rest) = authority.strip_prefix(b"[") {
        return rest.split(|&byte| byte == b']').next().unwrap_or(rest);
    }
    let host = authority.split(|&byte| byte == b':').next().unwrap_or(authority);
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests;
