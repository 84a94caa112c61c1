//! Routes: which requests, where to, and the header changes on the way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Scope, waits_fit};
use crate::config::diagnostic::Problems;
use crate::config::fill::{APP, HOST};
use crate::config::key::KeyPath;
use crate::config::raw::{self, HeaderValue};
use crate::config::text::Fault;
use crate::snapshot::{
    Action, Direction, HeaderMatch, HeaderOps, HeaderTest, PathMatch, RetryPolicy, Route,
    RouteMatch,
};

/// Headers that frame a message or belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6):
/// changing them by hand breaks the message.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The routes of one listener, which stand at `path`.
pub(super) fn routes(
    raw: &[raw::Route],
    path: &KeyPath,
    scope: &mut Scope<'_, '_>,
) -> Vec<Arc<Route>> {
    let mut first_of_name: HashMap<&str, usize> = HashMap::new();
    let mut takes_all: Option<&str> = None;
    let mut routes = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let path = path.item(index);
        let name = raw.name.as_ref().map_or("", |name| name.as_str());
        match first_of_name.entry(name) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(first) => {
                let fault = Fault::new(format!("route {} has this name too", first.get() + 1));
                scope.problems.at(&path.key("name"), fault.hint("give each route its own name"));
            }
        }
        if let Some(earlier) = takes_all {
            let fault = Fault::new(format!("no request gets here: route {earlier} takes all"));
            scope.problems.at(&path, fault.hint("put the route without a match last"));
        }
        let route = route(name, raw, &path, scope);
        // A match with an error in it only looks empty.
        if route.matches == RouteMatch::default() && !scope.problems.within(&path.key("match")) {
            takes_all.get_or_insert(name);
        }
        routes.push(Arc::new(route));
    }
    routes
}

fn route(name: &str, raw: &raw::Route, path: &KeyPath, scope: &mut Scope<'_, '_>) -> Route {
    let action = action(raw, &path.key("upstream"), scope);
    let problems = &mut *scope.problems;
    let timeouts = (raw.timeout.get(), raw.try_timeout.get());
    if let (Some(whole), Some(one)) = timeouts
        && one > whole
    {
        let fault = Fault::new(format!(
            "a try may take {}, longer than all tries together, {}",
            raw.try_timeout, raw.timeout
        ));
        problems.at(&path.key("try_timeout"), fault.hint("make it shorter than timeout"));
    }
    let request_headers = path.key("request_headers");
    let response_headers = path.key("response_headers");
    if let Some(name) = raw.response_headers.set.keys().find(|name| is_host(name)) {
        let fault = Fault::new("a response has no host");
        problems.at(&response_headers.key("set").key(name), fault.hint("remove it"));
    }
    Route {
        name: Arc::from(name),
        matches: matches(&raw.matches, &path.key("match"), problems),
        action,
        request_headers: changes(&raw.request_headers, &request_headers, problems),
        response_headers: changes(&raw.response_headers, &response_headers, problems),
        timeout: timeouts.0,
        try_timeout: timeouts.1,
        stream_idle_timeout: raw.stream_idle_timeout.get(),
        retry: retry(&raw.retry, &path.key("retry"), problems),
    }
}

fn action(raw: &raw::Route, path: &KeyPath, scope: &mut Scope<'_, '_>) -> Action {
    let name = raw.upstream.as_ref().map_or(APP, |name| name.as_str());
    if name == HOST {
        if scope.direction == Direction::Inbound {
            let fault = Fault::new("host is for outbound routes: here it would make an open proxy");
            scope.problems.at(path, fault.hint("write app, or the name of an upstream"));
        }
        return Action::ForwardToHost;
    }
    let position = scope.names.position(name);
    if position.is_none() {
        let words: &[_] = if scope.direction == Direction::Outbound { &[HOST] } else { &[] };
        scope.problems.at(path, scope.names.unknown(name, words));
    }
    Action::Forward(position.unwrap_or(0))
}

fn matches(raw: &raw::Match, path: &KeyPath, problems: &mut Problems<'_>) -> RouteMatch {
    let paths = match (&raw.path, &raw.path_prefix) {
        (None, None) => PathMatch::Any,
        (Some(exact), None) => PathMatch::Exact(exact.to_string()),
        (None, Some(prefix)) => prefix_match(prefix.as_str()),
        (Some(exact), Some(_)) => {
            let fault = Fault::new("a route has path or path_prefix, not both");
            problems.at(&path.key("path_prefix"), fault.hint("remove one, or make two routes"));
            PathMatch::Exact(exact.to_string())
        }
    };
    let header = |(name, test): (&String, &raw::HeaderTest)| {
        let path = path.key("headers").key(name);
        let test = header_test(test, &path, problems)?;
        Some(HeaderMatch { name: name.to_ascii_lowercase(), test })
    };
    RouteMatch {
        headers: raw.headers.iter().filter_map(header).collect(),
        hosts: raw.host.iter().map(ToString::to_string).collect(),
        path: paths,
        methods: raw.method.iter().map(ToString::to_string).collect(),
    }
}

/// Prefixes go by whole segments, so that a slash at the end says nothing, and `/` takes all.
fn prefix_match(prefix: &str) -> PathMatch {
    match prefix.trim_end_matches('/') {
        "" => PathMatch::Any,
        prefix => PathMatch::Prefix(prefix.to_owned()),
    }
}

fn header_test(
    raw: &raw::HeaderTest,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<HeaderTest> {
    match (&raw.exact, &raw.prefix, raw.present) {
        (Some(value), None, None) => Some(HeaderTest::Exact(value.to_string())),
        (None, Some(value), None) => Some(HeaderTest::Prefix(value.to_string())),
        (None, None, Some(true)) => Some(HeaderTest::Present),
        (None, None, Some(false)) => Some(HeaderTest::Absent),
        (None, None, None) if problems.within(path) => None,
        _ => {
            let fault = Fault::new("a header test is exactly one of exact, prefix and present");
            problems.at(path, fault.hint("such as {prefix: VALUE} or {present: false}"));
            None
        }
    }
}

fn retry(raw: &raw::Retry, path: &KeyPath, problems: &mut Problems<'_>) -> RetryPolicy {
    waits_fit(("backoff", raw.backoff), ("backoff_max", raw.backoff_max), path, problems);
    RetryPolicy {
        retries: raw.retries,
        statuses: raw.statuses.clone(),
        backoff: raw.backoff.get(),
        backoff_max: raw.backoff_max.get(),
        body_bytes: raw.body.bytes(),
    }
}

fn changes(raw: &raw::HeaderChanges, path: &KeyPath, problems: &mut Problems<'_>) -> HeaderOps {
    for (index, name) in raw.remove.iter().enumerate() {
        allowed(name.as_str(), "remove", &path.key("remove").item(index), problems);
    }
    HeaderOps {
        remove: raw.remove.iter().map(ToString::to_string).collect(),
        set: values(&raw.set, "set", path, problems),
        add: values(&raw.add, "add", path, problems),
    }
}

fn values(
    raw: &BTreeMap<String, HeaderValue>,
    verb: &str,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Vec<(String, String)> {
    raw.iter()
        .map(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            allowed(&lower, verb, &path.key(verb).key(name), problems);
            (lower, value.to_string())
        })
        .collect()
}

fn allowed(name: &str, verb: &str, path: &KeyPath, problems: &mut Problems<'_>) {
    if OWN_HEADERS.contains(&name) {
        let fault = Fault::new(format!("{name} belongs to the connection, and is Pillion's own"));
        problems.at(path, fault.hint("remove it"));
    } else if is_host(name) && verb != "set" {
        let fault = Fault::new("a request has exactly one host");
        problems.at(path, fault.hint("it may be set, in request_headers.set"));
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host")
}
