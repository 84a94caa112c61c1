//! What is said of a wrong file, word for word.

use super::*;

/// The problems of a text, rendered, with a blank line between two.
fn rendered(text: &str) -> String {
    let problems = parse("p.yaml", text, &Overrides::default()).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// The problems of a text, each on one line: place, key, rule, hint.
fn listed(text: &str) -> Vec<String> {
    let problems = parse("p.yaml", text, &Overrides::default()).err().unwrap_or_default();
    let line = |problem: &Diagnostic| {
        let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}:{} {}: {}{hint}", problem.line, problem.column, problem.key, problem.rule)
    };
    problems.iter().map(line).collect()
}

fn check(cases: &[(&str, &str)]) {
    for (text, expect) in cases {
        assert_eq!(listed(text), [*expect], "for {text:?}");
    }
}

#[test]
fn a_problem_shows_its_line_and_what_to_do() {
    let text = "upstreams:\n  payments:\n    endpoints: [\"a:1\"]\n    conect_timeout: 1s\n";
    assert_eq!(
        rendered(text),
        "p.yaml:4:5: upstreams.payments.conect_timeout: unknown key
  |
4 |     conect_timeout: 1s
  |     ^^^^^^^^^^^^^^
  = did you mean connect_timeout?"
    );
}

#[test]
fn a_line_with_a_credential_is_not_shown() {
    let text = "admin: {listen: 'http://ann:secret@h:1'}\n\
                secrets: {server: {url: 'http://ann:se/cret@h'}, no: 1}\n";
    assert_eq!(
        rendered(text),
        "p.yaml:1:17: admin.listen: \"http://…@h:1\" is not an address to listen on
  = write 127.0.0.1:1, 0.0.0.0:1 for every interface, or [::1]:1

p.yaml:2:25: secrets.server.url: a user or password in an address would stand in logs and lists of processes
  = leave it out: credentials have keys of their own

p.yaml:2:50: secrets.no: unknown key
  = the keys here are server, secrets, configs, sets, environment, api, cache, readiness, limits"
    );
    let value = |text| parse("p.yaml", text, &Overrides::default()).unwrap_err()[0].value.clone();
    assert_eq!(value("workers: http://ann:secret@h?a"), Some("http://…@h?…".to_owned()));
}

#[test]
fn columns_count_characters_and_tabs_stay_tabs() {
    let text = "# ü\napp: { ready: /é ,\tport: 0 }\n";
    assert_eq!(
        rendered(text),
        "p.yaml:2:15: app.ready: \"/é\" contains 'é', which no path on the wire does
  |
2 | app: { ready: /é ,\tport: 0 }
  |               ^^
  = write it percent-encoded, as clients send it

p.yaml:2:26: app.port: 0 is not between 1 and 65535
  |
2 | app: { ready: /é ,\tport: 0 }
  |                   \t      ^"
    );
}

#[test]
fn nothing_in_a_file_drives_the_terminal() {
    let text = "\"\\e[31m\": 1\naccess_log: {format: \"\\e[0m\"}";
    assert_eq!(
        listed(text),
        [
            "1:1 \u{fffd}[31m: unknown key (the keys here are app, inbound, outbound, upstreams, \
             admin, access_log, logs, secrets, limits, trust, workers, drain)",
            "2:22 access_log.format: a log format has no control characters, found '\\u{1b}'",
        ]
    );
}

#[test]
fn a_long_line_is_cut_around_the_mark() {
    let text = format!("app: {{ready: /{}, port: x{}}}", "a".repeat(200), " ".repeat(200));
    assert_eq!(
        rendered(&text),
        format!(
            "p.yaml:1:223: app.port: \"x\" is not a whole number
  |
1 | …{}, port: x{}
  |  {}^
  = write a number between 1 and 65535",
            "a".repeat(52),
            "",
            " ".repeat(60),
        )
    );
}

#[test]
fn the_line_number_has_as_much_room_as_it_needs() {
    let text = format!("{}banana: 1", "\n".repeat(99));
    assert_eq!(
        rendered(&text),
        "p.yaml:100:1: banana: unknown key
    |
100 | banana: 1
    | ^^^^^^
    = the keys here are app, inbound, outbound, upstreams, admin, access_log, logs, secrets, limits, trust, \
         workers, drain"
    );
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
app: {prot: 1, port: 0}
inbound:
  routes:
    - upstream: paymnts
      timeout: 1s
      try_timeout: 2s
    - match: {path: v1}
upstreams:
  payments: {endpoints: [x]}
  empty:
drain: {timeout: 5}
";
    assert_eq!(
        listed(text),
        [
            "1:7 app.prot: unknown key (did you mean port?)",
            "1:22 app.port: 0 is not between 1 and 65535",
            "4:17 inbound.routes[0].upstream: no upstream has the name paymnts (did you mean \
             payments?)",
            "6:20 inbound.routes[0].try_timeout: a try may take 2s, longer than all tries \
             together, 1s (make it shorter than timeout)",
            "7:7 inbound.routes[1]: no request gets here: route route-1 takes all (put the route \
             without a match last)",
            "7:21 inbound.routes[1].match.path: \"v1\" does not begin with / (write /v1)",
            "9:26 upstreams.payments.endpoints[0]: \"x\" is not an endpoint (write IP:PORT, \
             NAME:PORT or unix:/PATH)",
            "10:3 upstreams.empty.endpoints: an upstream has at least one endpoint (add \
             endpoints: [HOST:PORT])",
            "11:18 drain.timeout: 5 has no unit (a duration is a number with ms, s, m, h or d, \
             such as 30s)",
        ]
    );
}

#[test]
fn a_hundred_problems_are_enough() {
    // More than are kept, so that the count goes on where the list ends.
    let text: String = (0..1500).map(|n| format!("k{n}: 1\n")).collect();
    let problems = listed(&text);
    assert_eq!(problems.len(), 101);
    assert_eq!(
        problems[100],
        "0:0 : 1500 problems, of which these are 100 (is this a Pillion configuration?)"
    );
}

#[test]
fn keys_are_known_and_come_once() {
    check(&[
        (
            "listen: x",
            "1:1 listen: unknown key (this key belongs to inbound or outbound or admin or logs.sources.NAME or secrets.api)",
        ),
        (
            "app: {protocol: http2}",
            "1:7 app.protocol: unknown key (this key belongs to inbound or \
          outbound or upstreams.NAME)",
        ),
        (
            "app: {port: 1, port: 2}",
            "1:16 app.port: this key is there twice (remove one: which of them counts is not \
             defined)",
        ),
        (
            "upstreams: {a: {endpoints: [\"b:1\"]}, a: {endpoints: [\"b:1\"]}}",
            "1:38 upstreams.a: this key is there twice (remove one: which of them counts is not \
             defined)",
        ),
        (
            "inbound: {routes: [{request_headers: {set: {X-A: 1, x-a: 2}}}]}",
            "1:53 inbound.routes[0].request_headers.set.x-a: this key is there twice (remove one: \
             which of them counts is not defined)",
        ),
        (
            "upstreams: {\"a b\": {endpoints: [\"b:1\"]}}",
            "1:13 upstreams.a b: \"a b\" is not a name: it contains ' ' (a name has letters, \
             digits, '-', '_' and '.')",
        ),
    ]);
}

#[test]
fn values_are_of_the_type_of_their_key() {
    check(&[
        ("- a", "1:1 : must be a mapping, found a list"),
        ("hello", "1:1 : must be a mapping, found \"hello\""),
        ("app: 1", "1:6 app: must be a mapping, found \"1\""),
        ("trust: [1]", "1:1 trust: must be a mapping, found a list"),
        ("workers: [1]", "1:1 workers: must be a whole number, found a list"),
        ("workers: \"2\"", "1:10 workers: \"2\" is text, not a number (remove the quotes)"),
        (
            "workers: 1.5",
            "1:10 workers: \"1.5\" is not a whole number (write a number between 1 and 256)",
        ),
        ("workers: 0", "1:10 workers: 0 is not between 1 and 256"),
        ("workers: 257", "1:10 workers: 257 is not between 1 and 256"),
        (
            "workers:",
            "1:1 workers: has no value; it must be a whole number (write a value, or leave the \
             key out for the default)",
        ),
        (
            "trust: {trace: yes}",
            "1:16 trust.trace: \"yes\" is not true or false (write true, without quotes)",
        ),
        (
            "app: {restart: on_failure}",
            "1:16 app.restart: \"on_failure\" is not one of never, on-failure (did you mean \
             on-failure?)",
        ),
        (
            "inbound: {routes: {timeout: 1s}}",
            "1:11 inbound.routes: must be a list, found a mapping",
        ),
        (
            "inbound: {routes: [{match: {host: {a: b}}}]}",
            "1:29 inbound.routes[0].match.host: must be a list, found a mapping",
        ),
        ("limits: {head_bytes: 2MiB}", "1:22 limits.head_bytes: 2MiB is not between 1KiB and 1MiB"),
        (
            "inbound: {routes: [{retry: {statuses: [502, 200]}}]}",
            "1:45 inbound.routes[0].retry.statuses[1]: 200 is not between 400 and 599",
        ),
        (
            "upstreams: {a: {endpoints: [\"b:1\", \"b:1\"]}}",
            "1:36 upstreams.a.endpoints[1]: is in the list twice (remove one)",
        ),
        (
            "inbound: {listen: false}",
            "1:19 inbound.listen: false is not a listen address (write off; in quotes, \"off\", \
             where a tool turns the bare word into false)",
        ),
    ]);
}

#[test]
fn upstreams_have_names_of_their_own_and_endpoints() {
    check(&[
        (
            "upstreams: {host: {endpoints: [\"b:1\"]}}",
            "1:13 upstreams.host: the name host is taken: in a route it means the host of the \
             request (give the upstream another name)",
        ),
        (
            "upstreams: {app: {endpoints: [\"b:1\"]}}",
            "1:19 upstreams.app.endpoints: the endpoint of app is the app itself (set app.port \
             instead)",
        ),
        (
            "upstreams: {a: {endpoints: []}}",
            "1:17 upstreams.a.endpoints: an upstream has at least one endpoint (add endpoints: \
             [HOST:PORT])",
        ),
        (
            "outbound: {tcp_upstream: nobody}",
            "1:26 outbound.tcp_upstream: no upstream has the name nobody (add it under upstreams: \
             nobody: {endpoints: [HOST:PORT]})",
        ),
    ]);
}

#[test]
fn keys_without_effect_are_errors() {
    check(&[
        (
            "app: {restart_max: 3}",
            "1:20 app.restart_max: has no effect without restart: on-failure (add restart: \
             on-failure under app, or remove this key)",
        ),
        (
            "app: {restart_backoff: 1s}",
            "1:24 app.restart_backoff: has no effect without restart: on-failure (add restart: \
             on-failure under app, or remove this key)",
        ),
        (
            "inbound: {protocol: http, tcp_upstream: app}",
            "1:41 inbound.tcp_upstream: has no effect with protocol: http (remove it, or set \
             protocol: auto)",
        ),
        (
            "inbound: {protocol: tcp, routes: [{timeout: 1s}]}",
            "1:26 inbound.routes: routes have no effect with protocol: tcp (remove them, or set \
             protocol: auto)",
        ),
        (
            "outbound: {protocol: tcp}",
            "1:1 outbound.tcp_upstream: protocol: tcp needs an upstream to send connections to \
             (add tcp_upstream: NAME)",
        ),
        (
            "admin: {listen: \"[::1]:1\"}\ninbound: {listen: \"[::1]:1\"}",
            "1:17 admin.listen: [::1]:1 is also where inbound listens (give each its own port)",
        ),
    ]);
    assert_eq!(listed("admin: {listen: 127.0.0.1:0}\ninbound: {listen: 127.0.0.1:0}"), [""; 0]);
}

#[test]
fn routes_are_checked_against_each_other_and_in_themselves() {
    let check = |routes: &str, expect: &str| {
        assert_eq!(listed(&format!("inbound:\n  routes: {routes}")), [expect], "for {routes}");
    };
    check(
        "[{name: a, match: {path: /}}, {name: a}]",
        "2:48 inbound.routes[1].name: route 1 has this name too (give each route its own name)",
    );
    check(
        "[{}, {match: {path: /a}}]",
        "2:16 inbound.routes[1]: no request gets here: route route-1 takes all (put the route \
         without a match last)",
    );
    check(
        "[{upstream: host}]",
        "2:23 inbound.routes[0].upstream: host is for outbound routes: here it would make an open \
         proxy (write app, or the name of an upstream)",
    );
    check(
        "[{match: {path: /a, path_prefix: /b}}]",
        "2:44 inbound.routes[0].match.path_prefix: a route has path or path_prefix, not both \
         (remove one, or make two routes)",
    );
    check(
        "[{match: {headers: {x-a: {prefix: a, present: true}}}}]",
        "2:31 inbound.routes[0].match.headers.x-a: a header test is exactly one of exact, prefix \
         and present (such as {prefix: VALUE} or {present: false})",
    );
    check(
        "[{match: {headers: {x-a: {}}}}]",
        "2:31 inbound.routes[0].match.headers.x-a: a header test is exactly one of exact, prefix \
         and present (such as {prefix: VALUE} or {present: false})",
    );
    check(
        "[{retry: {backoff: 1s}}]",
        "2:30 inbound.routes[0].retry.backoff: the first wait, 1s, is longer than the longest, \
         250ms (raise backoff_max, or make this shorter)",
    );
    check(
        "[{timeout: 0s}]",
        "2:22 inbound.routes[0].timeout: 0s is no time at all: at least 1ms (off switches it off)",
    );
}

#[test]
fn headers_that_belong_to_the_connection_stay_as_they_are() {
    let check = |changes: &str, expect: &str| {
        let text = format!("inbound: {{routes: [{{request_headers: {changes}}}]}}");
        let seen = listed(&text).join("\n");
        assert!(seen.contains(expect), "for {changes}: {seen:?}");
    };
    let own = |name: &str| format!("{name} belongs to the connection, and is Pillion's own");
    for name in ["Connection", "Content-Length", "transfer-encoding", "TE", "Upgrade", "trailer"] {
        let expect = own(&name.to_lowercase());
        check(&format!("{{set: {{{name}: x}}}}"), &expect);
        check(&format!("{{add: {{{name}: x}}}}"), &expect);
        check(&format!("{{remove: [{name}]}}"), &expect);
    }
    check("{remove: [Host]}", "a request has exactly one host");
    check("{add: {Host: x}}", "a request has exactly one host");
    check("{set: {X-A: \"a\\nb\"}}", "a header value has no control characters, found '\\n'");
    check("{set: {\":path\": /}}", ":path is a pseudo-header of HTTP/2");
    assert_eq!(listed("inbound: {routes: [{request_headers: {set: {Host: x}}}]}"), [""; 0]);
    let response = listed("inbound: {routes: [{response_headers: {set: {Host: x}}}]}");
    assert_eq!(
        response,
        ["1:52 inbound.routes[0].response_headers.set.Host: a response has no host (remove it)"]
    );
}

#[test]
fn a_value_that_came_through_a_merge_key_is_shown_where_it_stands() {
    let text = "\
outbound:
  routes:
    - &base
      match: {path: /a}
      timeout: 5
    - <<: *base
      match: {path: /b}
";
    let expect = |index: usize| {
        format!(
            "5:16 outbound.routes[{index}].timeout: 5 has no unit (a duration is a number with \
             ms, s, m, h or d, such as 30s)"
        )
    };
    assert_eq!(listed(text), [expect(0), expect(1)]);
}

#[test]
fn text_that_is_not_yaml_says_so_where_it_stops() {
    check(&[
        (
            "app:\n\tport: 1",
            "2:2 : this is not YAML: tabs disallowed within this context (block indentation) \
             (YAML allows no tabs before a key: indent with spaces)",
        ),
        (
            "app: {port: 8080",
            "1:17 : this is not YAML: while parsing a flow mapping, did not find expected ',' or \
             '}'",
        ),
        (
            "app: {}\n---\napp: {}",
            "2:1 : a second YAML document begins here (a configuration is one document: remove \
             the --- line, or split the file)",
        ),
    ]);
}
