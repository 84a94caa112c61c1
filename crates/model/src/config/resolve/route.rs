//! Routes: which requests, where to, and the header changes on the way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::diagnostic::Problems;
use super::super::fill::{APP, HOST};
use super::super::key::KeyPath;
use super::super::raw::{self, HeaderValue};
use super::super::text::Fault;
use super::Names;
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

/// The routes of one listener.
pub(super) fn routes(
    raw: &[raw::Route],
    direction: Direction,
    names: &Names<'_>,
    problems: &mut Problems<'_>,
) -> Vec<Arc<Route>> {
    let path = KeyPath::top(direction.label()).key("routes");
    let mut first_of_name: HashMap<&str, usize> = HashMap::new();
    let mut takes_all: Option<&str> = None;
    let mut routes = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let path = path.item(index);
        let name = raw.name.as_ref().map_or("", |name| name.as_str());
        if let Some(first) = first_of_name.insert(name, index) {
            let fault = Fault::new(format!("the route {} has this name too", first + 1));
            problems.at(&path.key("name"), fault.hint("give each route its own name"));
        }
        let route = route(name, raw, direction, (&path, names), problems);
        // Only in a file that is right so far: a match with an error in it looks empty.
        if let Some(earlier) = takes_all.filter(|_| problems.is_empty()) {
            let fault = Fault::new(format!("no request gets here: the route {earlier} takes all"));
            problems.at(&path, fault.hint("put the route without a match last"));
        }
        if route.matches == RouteMatch::default() {
            takes_all.get_or_insert(name);
        }
        routes.push(Arc::new(route));
    }
    routes
}

fn route(
    name: &str,
    raw: &raw::Route,
    direction: Direction,
    (path, names): (&KeyPath, &Names<'_>),
    problems: &mut Problems<'_>,
) -> Route {
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
    Route {
        name: Arc::from(name),
        matches: matches(&raw.matches, &path.key("match"), problems),
        action: action(raw, direction, (&path.key("upstream"), names), problems),
        request_headers: changes(&raw.request_headers, &path.key("request_headers"), problems),
        response_headers: response_changes(raw, path, problems),
        timeout: timeouts.0,
        try_timeout: timeouts.1,
        stream_idle_timeout: raw.stream_idle_timeout.get(),
        retry: retry(&raw.retry, &path.key("retry"), problems),
    }
}

fn action(
    raw: &raw::Route,
    direction: Direction,
    (path, names): (&KeyPath, &Names<'_>),
    problems: &mut Problems<'_>,
) -> Action {
    let name = raw.upstream.as_ref().map_or(APP, |name| name.as_str());
    match (name, direction) {
        (HOST, Direction::Outbound) => return Action::ForwardToHost,
        (HOST, Direction::Inbound) => problems.at(
            path,
            Fault::new("host is for outbound routes: here it would make an open proxy")
                .hint("write app, or the name of an upstream"),
        ),
        _ => {}
    }
    let position = names.position(name);
    if position.is_none() && name != HOST {
        let words: &[_] = if direction == Direction::Outbound { &[HOST] } else { &[] };
        problems.at(path, names.unknown(name, words));
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
        (None, None, None) if !problems.is_empty() => None,
        _ => {
            let fault = Fault::new("a header test is exactly one of exact, prefix and present");
            problems.at(path, fault.hint("such as {prefix: VALUE} or {present: false}"));
            None
        }
    }
}

fn retry(raw: &raw::Retry, path: &KeyPath, problems: &mut Problems<'_>) -> RetryPolicy {
    if raw.backoff > raw.backoff_max {
        let fault = Fault::new(format!(
            "the first wait, {}, is longer than the longest, {}",
            raw.backoff, raw.backoff_max
        ));
        problems.at(&path.key("backoff"), fault.hint("raise backoff_max, or make this shorter"));
    }
    RetryPolicy {
        retries: raw.retries,
        statuses: raw.statuses.clone(),
        backoff: raw.backoff.get(),
        backoff_max: raw.backoff_max.get(),
        body_bytes: raw.body.bytes(),
    }
}

fn response_changes(raw: &raw::Route, path: &KeyPath, problems: &mut Problems<'_>) -> HeaderOps {
    changes(&raw.response_headers, &path.key("response_headers"), problems)
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
        problems.at(path, fault.hint("remove it from the list"));
    } else if name == "host" && verb != "set" {
        let fault = Fault::new("a request has exactly one host");
        problems.at(path, fault.hint("it may be set, in request_headers.set"));
    }
}
