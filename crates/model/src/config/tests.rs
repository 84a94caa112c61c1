//! From a text to a configuration, or to every problem with it.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::settings::{Listen, RestartPolicy};
use crate::snapshot::*;

mod logs;
mod problems;
mod properties;
mod secrets;

const EXAMPLE: &str = include_str!("../../../../examples/pillion.yaml");

fn read(text: &str) -> Loaded {
    parse("p.yaml", text, &Overrides::default()).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn upstream_name(loaded: &Loaded, action: &Action) -> String {
    match action {
        Action::Forward(position) => loaded.snapshot.upstreams[*position].name.to_string(),
        Action::ForwardToHost => "host".to_owned(),
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "# nothing\n", "---\n", "app:\nupstreams:\n"] {
        let loaded = read(text);
        let inbound = &loaded.snapshot.inbound;
        assert_eq!(inbound.routes.len(), 1);
        assert_eq!(inbound.routes[0].matches, RouteMatch::default());
        assert_eq!(inbound.routes[0].action, Action::Forward(0));
        assert_eq!(inbound.tcp_upstream, Some(0));
        assert_eq!(loaded.snapshot.outbound.routes[0].action, Action::ForwardToHost);
        assert_eq!(loaded.snapshot.outbound.tcp_upstream, None);
        assert_eq!(&*loaded.snapshot.upstreams[0].name, "app");
        assert_eq!(loaded.snapshot.upstreams[0].endpoints, [EndpointSource::App]);
        let listen = |port: u16| {
            let address = Address::Tcp(([127, 0, 0, 1], port).into());
            Some(Listen { address, asked: false })
        };
        assert_eq!(loaded.settings.inbound, listen(15006));
        assert_eq!(loaded.settings.outbound, listen(15001));
        assert_eq!(loaded.settings.admin, listen(15000));
        assert_eq!(loaded.settings.app.restart, RestartPolicy::Never);
        assert_eq!(loaded.settings.workers, None);
    }
}

#[test]
fn the_example_means_what_it_says() {
    let loaded = read(EXAMPLE);
    let names: Vec<_> = loaded.snapshot.upstreams.iter().map(|up| up.name.to_string()).collect();
    assert_eq!(names, ["app", "maintenance", "payments"]);
    assert_eq!(loaded.snapshot.upstreams[0].limits.requests, 1000);
    assert_eq!(loaded.snapshot.upstreams[2].connect_timeout, Duration::from_millis(500));
    let inbound = &loaded.snapshot.inbound.routes;
    let upstreams: Vec<_> =
        inbound.iter().map(|route| upstream_name(&loaded, &route.action)).collect();
    assert_eq!(upstreams, ["maintenance", "app", "app"]);
    assert_eq!(inbound[0].matches.headers[0].test, HeaderTest::Absent);
    assert_eq!(inbound[1].timeout, None);
    let payments = &loaded.snapshot.outbound.routes[0];
    assert_eq!(payments.matches.methods, ["GET", "POST"]);
    assert_eq!(payments.retry.statuses, [502, 503]);
    assert_eq!(payments.request_headers.set, [("x-caller".to_owned(), "shop".to_owned())]);
    let restart = RestartPolicy::OnFailure { max: 5, backoff: Duration::from_millis(500) };
    assert_eq!(loaded.settings.app.restart, restart);
    assert_eq!(loaded.snapshot.trust.hops, 1);
}

#[test]
fn short_and_long_forms_mean_the_same() {
    let same = |short: &str, long: &str| {
        let snapshot = |text: &str| read(&format!("outbound: {{routes: [{text}]}}")).snapshot;
        assert_eq!(snapshot(short), snapshot(long), "{short} and {long}");
    };
    same("{match: {host: a.b}}", "{match: {host: [a.b]}}");
    same("{match: {method: GET}}", "{match: {method: [GET]}}");
    same("{match: {headers: {X-A: 1.10}}}", "{match: {headers: {x-a: {exact: \"1.10\"}}}}");
    same("{match: {path_prefix: /v1/}}", "{match: {path_prefix: /v1}}");
    same("{match: {path_prefix: /}}", "{}");
    same("{timeout: 60s}", "{timeout: 1m}");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides = Overrides {
        inbound: Some("127.0.0.1:1".parse().unwrap()),
        outbound: Some(ListenAddress::Off),
        admin: Some("unix:/run/a.sock".parse().unwrap()),
        app_port: Some(3),
        has_app: true,
    };
    let text = "app: {port: 9}\ninbound: {listen: off, idle_timeout: 5s}\nadmin: {listen: off}";
    let loaded = parse("p.yaml", text, &overrides).unwrap();
    let at = |text: &str| match text.parse() {
        Ok(ListenAddress::At(address)) => Some(Listen { address, asked: true }),
        _ => None,
    };
    assert_eq!(loaded.settings.inbound, at("127.0.0.1:1"));
    assert_eq!(loaded.settings.outbound, None);
    assert_eq!(loaded.settings.admin, at("unix:/run/a.sock"));
    assert_eq!(loaded.settings.app.port, Some(3));
    assert_eq!(loaded.snapshot.inbound.idle_timeout, Duration::from_secs(5));
}

#[test]
fn beside_an_app_the_access_log_leaves_stdout_alone() {
    let log = |has_app| {
        let overrides = Overrides { has_app, ..Overrides::default() };
        defaults(&overrides).unwrap().snapshot.access_log
    };
    assert_eq!(log(false).output, LogOutput::Stdout);
    assert_eq!(log(false).format, LogFormat::Json);
    assert_eq!(log(true).output, LogOutput::Stderr);
    assert!(matches!(log(true).format, LogFormat::Template(_)));
}

#[test]
fn a_forward_proxy_in_one_line_sends_all_to_one_upstream_under_its_own_host() {
    let listen: Address = Address::Tcp(([127, 0, 0, 1], 0).into());
    let overrides = Overrides::default();
    let loaded = forward_proxy(listen.clone(), "http://api.internal:8080/", &overrides).unwrap();
    assert_eq!(loaded.settings.inbound, None);
    assert_eq!(loaded.settings.outbound, Some(Listen { address: listen.clone(), asked: true }));
    let [route] = loaded.snapshot.outbound.routes.as_slice() else { panic!("one route") };
    assert_eq!(upstream_name(&loaded, &route.action), "upstream");
    let host = ("host".to_owned(), "api.internal:8080".to_owned());
    assert_eq!(route.request_headers.set, [host]);
    let upstream = &loaded.snapshot.upstreams[1];
    let dns = EndpointSource::Dns { host: "api.internal".to_owned(), port: 8080 };
    assert_eq!(upstream.endpoints, [dns]);
    assert_eq!(upstream.protocol, UpstreamProtocol::Http1);

    let problems = forward_proxy(listen, "https://api.internal", &overrides).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "command line: --upstream: TLS to the upstream (https://) is not supported yet\n  = write \
         http://HOST:PORT"
    );
}

#[test]
fn what_needs_a_restart_is_named() {
    let old = read("").settings;
    assert!(restart_needed(&old, &old).is_empty());
    let new = read(
        "app: {port: 1, ready: /r, port_timeout: 1s, stop_timeout: 1s, restart: on-failure}\n\
         inbound: {listen: off}\noutbound: {listen: off}\nadmin: {listen: off}\nworkers: 3\n\
         drain: {timeout: 1s}",
    );
    let named = restart_needed(&old, &new.settings);
    // Exactly the keys that the schema says need one; the two details of `restart` go with it.
    let mut keys = Vec::new();
    restart_keys(&schema(), "", &mut keys);
    keys.retain(|key| !key.starts_with("app.restart_"));
    let mut named: Vec<_> = named.into_iter().map(str::to_owned).collect();
    named.sort_unstable();
    keys.sort_unstable();
    assert_eq!(named, keys);
}

fn restart_keys(schema: &Value, path: &str, keys: &mut Vec<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if schema["x-reload"] == "restart" {
            keys.push(path.clone());
        }
        restart_keys(schema, &path, keys);
    }
}

/// Every mapping, list and value of the schema, with its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    use super::schema::Shape;
    visit(path, schema);
    match Shape::of(schema).unwrap_or_else(|| panic!("{path}: no shape for {schema}")) {
        Shape::Struct(properties) => {
            properties.iter().for_each(|(key, below)| walk(below, &format!("{path}.{key}"), visit));
        }
        Shape::Table { values, .. } => walk(values, &format!("{path}.NAME"), visit),
        Shape::List { items, .. } => walk(items, &format!("{path}[]"), visit),
        Shape::Either(short, long) => {
            walk(short, path, visit);
            walk(long, path, visit);
        }
        Shape::Integer(..) | Shape::Boolean | Shape::Choice(_) | Shape::Text(_) => {}
    }
}

#[test]
fn every_key_of_the_schema_has_a_meaning_a_default_and_limits() {
    let mut keys = 0;
    walk(&schema(), "", &mut |path, schema| {
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            keys += 1;
            assert!(below["description"].is_string(), "{path}.{key} has no description");
            let default = !below["default"].is_null() || below["x-default"].is_string();
            assert!(default, "{path}.{key} has no default");
        }
        if let Some(kind) = schema["x-text"].as_str() {
            let kind = text::kind(kind).unwrap_or_else(|| panic!("{path}: kind {kind}"));
            assert!((kind.check)(kind.example).is_ok(), "{} is no {}", kind.example, kind.name);
        }
        for bound in ["x-min", "x-max"] {
            if let Some(bound) = schema[bound].as_str() {
                assert!(bound.parse::<raw::Size>().is_ok(), "{path}: {bound} is no size");
            }
        }
    });
    assert!(keys > 80, "only {keys} keys were seen");
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let page = reference();
    walk(&schema(), "", &mut |path, schema| {
        for key in schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(page.contains(&format!("\n| `{key}` | ")), "no row for {path}.{key}");
        }
    });
    let row = "| `head_bytes` | size, 1KiB to 1MiB | `32KiB` | yes | Bytes of one request or \
               response head. |\n";
    assert!(page.contains(row));
}

#[test]
fn explain_marks_what_nobody_wrote() {
    let overrides = Overrides { app_port: Some(3), ..Overrides::default() };
    let text = "inbound: {routes: [{timeout: 2s}]}\nupstreams: {a: {endpoints: [\"b:1\"]}}";
    let page = explain(&parse("p.yaml", text, &overrides).unwrap());
    for line in [
        "  port: 3",
        "  stop_timeout: 10s  # default",
        "  # ready: not set",
        "  listen: 127.0.0.1:15006  # default",
        "    - name: route-1  # default",
        "      timeout: 2s",
        "      try_timeout: off  # default",
        "    endpoints: [b:1]",
    ] {
        assert!(page.lines().any(|seen| seen == line), "no line {line:?} in\n{page}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_diagnostic() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, contents: Option<&[u8]>, expect: &str| {
        let path = folder.path().join(name);
        if let Some(contents) = contents {
            std::fs::write(&path, contents).unwrap();
        }
        let problems = load(&path, &Overrides::default()).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("one problem: {problems:?}") };
        let text = problem.to_string().replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(text, expect);
    };
    check(
        "none.yaml",
        None,
        "none.yaml: cannot read the file: No such file or directory (os error 2)\n  = is the path \
         right?",
    );
    check(
        "latin1.yaml",
        Some(b"app:\n  ready: /caf\xe9\n"),
        "latin1.yaml:2:14: the file is not UTF-8\n  |\n2 |   ready: /caf\u{fffd}\n  |              \
         ^\n  = save it as UTF-8, without other bytes",
    );
    let large = vec![b'#'; FILE_LIMIT + 1];
    check("large.yaml", Some(&large), "large.yaml: the file is larger than 1048576 bytes");
    let fits = folder.path().join("fits.yaml");
    std::fs::write(&fits, vec![b'#'; FILE_LIMIT]).unwrap();
    assert!(load(&fits, &Overrides::default()).is_ok());
}

#[test]
fn a_diagnostic_is_json_for_machines() {
    let problems = parse("p.yaml", "app: {port: 0}", &Overrides::default()).unwrap_err();
    assert_eq!(
        serde_json::to_value(&problems).unwrap(),
        json!([{
            "file": "p.yaml",
            "line": 1,
            "column": 13,
            "key": "app.port",
            "value": "0",
            "rule": "0 is not between 1 and 65535",
        }])
    );
}
