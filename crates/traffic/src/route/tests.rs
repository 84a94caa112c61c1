//! Matching by table, and the table's answer against that of a naive search.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use pillion_model::snapshot::{
    Action, HeaderMatch, HeaderOps, HeaderTest, PathMatch, RetryPolicy, Route, RouteMatch,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{RequestFields, RequestLine, RouteTable, host_of};

/// Names and values, in any case, as they came in.
#[derive(Clone, Debug, Default)]
struct Fields(Vec<(String, String)>);

impl RequestFields for Fields {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && test(v.as_bytes()))
    }
}

fn route(matches: RouteMatch) -> Arc<Route> {
    Arc::new(Route {
        name: "route".into(),
        matches,
        action: Action::Forward(0),
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        timeout: None,
        try_timeout: None,
        stream_idle_timeout: Duration::from_secs(60),
        retry: RetryPolicy {
            retries: 0,
            statuses: Vec::new(),
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
            body_bytes: 0,
        },
    })
}

fn hosts(hosts: &[&str]) -> RouteMatch {
    RouteMatch { hosts: hosts.iter().map(ToString::to_string).collect(), ..RouteMatch::default() }
}

fn path(path: PathMatch) -> RouteMatch {
    RouteMatch { path, ..RouteMatch::default() }
}

fn find(matches: &[RouteMatch], method: &str, authority: &str, path: &str) -> Option<usize> {
    let routes: Vec<_> = matches.iter().cloned().map(route).collect();
    let (method, authority, path) = (method.as_bytes(), authority.as_bytes(), path.as_bytes());
    RouteTable::new(&routes).find(&RequestLine { method, authority, path }, &Fields::default())
}

#[test]
fn the_host_is_told_from_port_brackets_and_final_dot() {
    for (authority, expect) in [
        ("example.com", "example.com"),
        ("example.com:8080", "example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("[::1", "::1"),
        (":80", ""),
        ("", ""),
    ] {
        assert_eq!(host_of(authority.as_bytes()), expect.as_bytes(), "{authority:?}");
    }
}

#[test]
fn a_host_matches_without_regard_to_case_port_and_final_dot() {
    for (pattern, authority, expect) in [
        ("example.com", "example.com", true),
        ("example.com", "EXAMPLE.com:8080", true),
        ("Example.COM.", "example.com.", true),
        ("example.com", "www.example.com", false),
        ("example.com", "example.co", false),
        ("example.com", "", false),
        ("[::1]", "[::1]:80", true),
        ("::1", "[::1]", true),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.b.EXAMPLE.com.:80", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", ".example.com", false),
        ("*.example.com", "badexample.com", false),
        ("*.example.com", "*.example.com", true),
        ("*.com", "example.com", true),
    ] {
        let found = find(&[hosts(&[pattern])], "GET", authority, "/").is_some();
        assert_eq!(found, expect, "{pattern:?} and {authority:?}");
    }
}

#[test]
fn a_path_matches_by_whole_segments_and_without_its_query() {
    let exact = |path: &str| PathMatch::Exact(path.to_owned());
    let prefix = |path: &str| PathMatch::Prefix(path.to_owned());
    for (pattern, request, expect) in [
        (PathMatch::Any, "/a?b", true),
        (PathMatch::Any, "*", true),
        (exact("/a"), "/a", true),
        (exact("/a"), "/a?b=/c", true),
        (exact("/a"), "/a/", false),
        (exact("/a"), "/A", false),
        (exact("/a"), "/", false),
        (exact("/"), "", true),
        (exact("/"), "?q", true),
        (exact("*"), "*", true),
        (prefix("/a"), "/a", true),
        (prefix("/a"), "/a/", true),
        (prefix("/a"), "/a/b?c", true),
        (prefix("/a"), "/a?b", true),
        (prefix("/a"), "/ab", false),
        (prefix("/a"), "/?/a", false),
        (prefix("/a/"), "/a", true),
        (prefix("/a/"), "/a/b", true),
        (prefix("/a/"), "/ab", false),
        (prefix("/"), "/", true),
        (prefix("/"), "/a/b", true),
        (prefix("/"), "", true),
        (prefix("/"), "?q", true),
        (prefix("/"), "*", false),
    ] {
        let found = find(&[path(pattern.clone())], "GET", "h", request).is_some();
        assert_eq!(found, expect, "{pattern:?} and {request:?}");
    }
}

#[test]
fn a_method_is_compared_with_its_case() {
    let methods =
        RouteMatch { methods: vec!["GET".to_owned(), "HEAD".to_owned()], ..RouteMatch::default() };
    for (method, expect) in [("GET", true), ("HEAD", true), ("get", false), ("GETS", false)] {
        assert_eq!(find(slice::from_ref(&methods), method, "h", "/").is_some(), expect, "{method}");
    }
}

#[test]
fn a_header_is_tested_over_all_its_values() {
    let fields = [("X-Tier", "silver"), ("x-tier", "gold"), ("accept", "")];
    let fields = Fields(fields.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec());
    let exact = |value: &str| HeaderTest::Exact(value.to_owned());
    let prefix = |value: &str| HeaderTest::Prefix(value.to_owned());
    for (name, test, expect) in [
        ("x-tier", exact("gold"), true),
        ("x-tier", exact("go"), false),
        ("x-tier", exact("GOLD"), false),
        ("x-tier", prefix("sil"), true),
        ("x-tier", prefix("ilv"), false),
        ("x-tier", HeaderTest::Present, true),
        ("x-tier", HeaderTest::Absent, false),
        ("accept", HeaderTest::Present, true),
        ("accept", exact(""), true),
        ("x-none", HeaderTest::Present, false),
        ("x-none", HeaderTest::Absent, true),
        ("x-none", exact(""), false),
    ] {
        let headers = vec![HeaderMatch { name: name.to_owned(), test: test.clone() }];
        let table = RouteTable::new(&[route(RouteMatch { headers, ..RouteMatch::default() })]);
        let line = RequestLine { method: b"GET", authority: b"h", path: b"/" };
        assert_eq!(table.find(&line, &fields).is_some(), expect, "{name} {test:?}");
    }
}

#[test]
fn the_first_in_the_order_of_the_configuration_wins() {
    let a = || PathMatch::Prefix("/a".to_owned());
    let table = [
        RouteMatch { path: a(), ..hosts(&["x.example.com", "y.example.com"]) },
        RouteMatch { path: a(), ..hosts(&["*.com"]) },
        path(PathMatch::Exact("/early".to_owned())),
        hosts(&["*.example.com"]),
        hosts(&["x.example.com"]),
        RouteMatch::default(),
        hosts(&["late.org"]),
    ];
    for (authority, path, expect) in [
        ("x.example.com", "/a", 0),
        ("y.example.com", "/a", 0),
        ("z.example.com", "/a", 1),
        ("x.example.com", "/early", 2),
        ("x.example.com", "/b", 3),
        ("example.com", "/b", 5),
        ("late.org", "/b", 5),
        ("late.org", "/early", 2),
    ] {
        assert_eq!(find(&table, "GET", authority, path), Some(expect), "{authority}{path}");
    }
    assert_eq!(find(&table[..2], "GET", "example.org", "/a"), None);
    assert_eq!(find(&[], "GET", "example.org", "/a"), None);
}

#[test]
fn each_of_many_hosts_is_found_and_no_other() {
    let routes: Vec<_> =
        (0..3_000).map(|n| route(hosts(&[&format!("h{n}.example.com")]))).collect();
    let table = RouteTable::new(&routes);
    for n in 0..3_200 {
        let authority = format!("H{n}.example.com:80");
        let line = RequestLine { method: b"GET", authority: authority.as_bytes(), path: b"/" };
        assert_eq!(table.find(&line, &Fields::default()), Some(n).filter(|&n| n < 3_000));
    }
}

/// The same question, answered in the plainest way.
fn naive_takes(
    route: &RouteMatch,
    method: &str,
    authority: &str,
    target: &str,
    f: &Fields,
) -> bool {
    let lower = authority.to_lowercase();
    let host = lower.split(':').next().unwrap();
    let host = host.strip_suffix('.').unwrap_or(host);
    let path = match target.split('?').next().unwrap() {
        "" => "/",
        path => path,
    };
    let host_fits = |pattern: &String| match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == pattern,
    };
    let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let header_fits = |header: &HeaderMatch| {
        let values: Vec<&str> =
            f.0.iter()
                .filter(|(n, _)| n.to_lowercase() == header.name)
                .map(|(_, v)| &**v)
                .collect();
        match &header.test {
            HeaderTest::Exact(exact) => values.contains(&exact.as_str()),
            HeaderTest::Prefix(prefix) => values.iter().any(|v| v.starts_with(prefix.as_str())),
            HeaderTest::Present => !values.is_empty(),
            HeaderTest::Absent => values.is_empty(),
        }
    };
    (route.hosts.is_empty() || route.hosts.iter().any(host_fits))
        && match &route.path {
            PathMatch::Any => true,
            PathMatch::Exact(exact) => path == exact,
            PathMatch::Prefix(prefix) => {
                segments(path).starts_with(&segments(prefix.trim_end_matches('/')))
            }
        }
        && (route.methods.is_empty() || route.methods.iter().any(|m| m == method))
        && route.headers.iter().all(header_fits)
}

const HOSTS: [&str; 8] =
    ["a.com", "b.a.com", "c.b.a.com", "com", "*.com", "*.a.com", "*.b.a.com", "localhost"];
const PATHS: [&str; 7] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "*"];
const METHODS: [&str; 3] = ["GET", "POST", "get"];
const VALUES: [&str; 4] = ["", "v", "value", "other"];

fn strings<const N: usize>(
    from: [&'static str; N],
    max: usize,
) -> impl Strategy<Value = Vec<String>> {
    subsequence(from.map(str::to_owned).to_vec(), 0..=max)
}

fn some_path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        Just(PathMatch::Any),
        select(&PATHS[..]).prop_map(|path| PathMatch::Exact(path.to_owned())),
        select(&PATHS[..]).prop_map(|path| PathMatch::Prefix(path.to_owned())),
    ]
}

fn some_header() -> impl Strategy<Value = HeaderMatch> {
    let test = prop_oneof![
        select(&VALUES[..]).prop_map(|value| HeaderTest::Exact(value.to_owned())),
        select(&VALUES[..]).prop_map(|value| HeaderTest::Prefix(value.to_owned())),
        Just(HeaderTest::Present),
        Just(HeaderTest::Absent),
    ];
    (select(vec!["x-one", "x-two"]), test)
        .prop_map(|(name, test)| HeaderMatch { name: name.to_owned(), test })
}

fn some_match() -> impl Strategy<Value = RouteMatch> {
    let headers = prop::collection::vec(some_header(), 0..=1);
    (strings(HOSTS, 3), some_path(), strings(METHODS, 1), headers)
        .prop_map(|(hosts, path, methods, headers)| RouteMatch { hosts, path, methods, headers })
}

fn some_fields() -> impl Strategy<Value = Fields> {
    let one = (select(vec!["x-one", "X-Two"]), select(&VALUES[..]));
    prop::collection::vec(one.prop_map(|(n, v)| (n.to_owned(), v.to_owned())), 0..3)
        .prop_map(Fields)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_table_answers_as_a_naive_search_does(
        matches in prop::collection::vec(some_match(), 0..12),
        method in select(&METHODS[..]),
        host in select(vec!["a.com", "B.a.com", "c.b.a.com", "d.c.b.a.com", "com", ".a.com", "", "x"]),
        ending in select(vec!["", ".", ":80", ".:80"]),
        path in select(vec!["/", "/a", "/a/b", "/ab", "/a/b/c", "/a/b/c/d", "", "*", "/A"]),
        query in select(vec!["", "?", "?q=/a/b", "?a?b"]),
        fields in some_fields(),
    ) {
        let (authority, target) = (format!("{host}{ending}"), format!("{path}{query}"));
        let routes: Vec<_> = matches.iter().cloned().map(route).collect();
        let line = RequestLine {
            method: method.as_bytes(),
            authority: authority.as_bytes(),
            path: target.as_bytes(),
        };
        let naive = matches
            .iter()
            .position(|route| naive_takes(route, method, &authority, &target, &fields));
        prop_assert_eq!(RouteTable::new(&routes).find(&line, &fields), naive);
    }

    #[test]
    fn any_bytes_at_all_are_answered(
        method in prop::collection::vec(any::<u8>(), 0..9),
        authority in "[a-c.:\\[\\]*\\PC]{0,20}",
        path in prop::collection::vec(any::<u8>(), 0..20),
        matches in prop::collection::vec(some_match(), 0..6),
    ) {
        let routes: Vec<_> = matches.iter().cloned().map(route).collect();
        let line = RequestLine { method: &method, authority: authority.as_bytes(), path: &path };
        let found = RouteTable::new(&routes).find(&line, &Fields::default());
        prop_assert!(found.is_none_or(|index| index < routes.len()));
    }
}
