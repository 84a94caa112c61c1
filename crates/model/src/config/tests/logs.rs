//! The section `logs`: what it means, and what is wrong with it.

use std::path::Path;
use std::time::Duration;

use super::{Overrides, parse, read};
use crate::logs::*;

fn logs(text: &str) -> Logs {
    (*read(text).roles.logs.unwrap()).clone()
}

fn problems(text: &str) -> Vec<String> {
    let problems = parse("p.yaml", text, &Overrides::default()).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_source_there_is_no_role() {
    assert_eq!(read("").roles.logs, None);
    assert_eq!(read("logs: {memory: 4MiB}").roles.logs, None);
}

#[test]
fn what_is_written_is_what_it_means() {
    let logs = logs(
        "
logs:
  state: /var/lib/pillion
  resource: {service.name: shop}
  resource_files: {k8s.pod.labels.: /etc/podinfo/labels}
  redact: {keys: [password], cards: true}
  sources:
    pods:
      files: /var/log/pods/**/*.log
      from: end
      parse: [cri, json]
      multiline: {traces: java}
      steps:
        - drop: [{field: attributes.http.path, prefix: /health}]
        - sample: {percent: 12.5%, when: [{field: severity, at_least: warn, not: true}]}
        - rate_limit: {per_second: 100, by: attributes.user}
        - set: {team: checkout, env: prod}
        - rename: {msg: text, lvl: level}
    app: {app: both, terminal: redacted}
    net: {listen: syslog+udp:/dev/log}
  sinks:
    search: {to: opensearch+https://search/shop, user: u, password_file: /p, compress: zstd}
    loki: {to: 'loki://l', sources: app, when: [{field: stream, equals: stderr}]}
    audit: {to: file:/audit.log, buffer: {disk: 0B, sync: always}}
",
    );
    assert_eq!(logs.state.unwrap().to_str(), Some("/var/lib/pillion"));
    let [app, net, pods] = logs.sources.as_slice() else { panic!("{:?}", logs.sources) };
    let Input::App(output) = &app.input else { panic!("{:?}", app.input) };
    assert_eq!((output.stdout, output.stderr), (true, true));
    assert_eq!((output.terminal, output.full), (Terminal::Redacted, DropPolicy::Newest));
    let Input::Listen(listen) = &net.input else { panic!("{:?}", net.input) };
    assert_eq!(listen.protocol, ListenProtocol::SyslogUdp);
    assert_eq!(listen.full, FullPolicy::Drop(DropPolicy::Newest));
    let Input::Files(files) = &pods.input else { panic!("{:?}", pods.input) };
    assert_eq!((files.from_start, files.compressed, files.open_files), (false, true, 256));
    assert_eq!(pods.parse, [Format::Cri, Format::Json]);
    let rule = &pods.multiline.as_ref().unwrap().rule;
    assert_eq!(*rule, MultilineRule::Traces(vec![TraceLanguage::Java]));
    // One for each entry of the list, so that a place in it names one of them.
    assert_eq!(pods.steps.len(), 5);
    let Step::Sample { ratio, when } = &pods.steps[1] else { panic!("{:?}", pods.steps) };
    assert!((ratio - 0.125).abs() < 1e-9 && when.all[0].negated);
    let Step::RateLimit { burst, .. } = &pods.steps[2] else { panic!("{:?}", pods.steps) };
    assert_eq!(*burst, 100);

    let [audit, loki, search] = logs.sinks.as_slice() else { panic!("{:?}", logs.sinks) };
    assert_eq!((audit.buffer.disk, audit.buffer.sync), (0, Sync::Always));
    let Output::Loki(output) = &loki.output else { panic!("{:?}", loki.output) };
    assert_eq!(&*output.http.url, "http://l:3100");
    let Output::OpenSearch(output) = &search.output else { panic!("{:?}", search.output) };
    assert_eq!((&*output.http.url, &*output.index), ("https://search:9200", "shop"));
    assert_eq!(output.http.compress, Compression::Zstd);
    assert_eq!(search.retry.max, Duration::from_secs(30));
    assert!(format!("{:?}", output.http.headers).contains("password in /p"));
}

#[test]
fn a_forward_sink_has_what_its_address_and_keys_say() {
    let text = "logs:\n  sources: {a: {files: /a}}\n  sinks:\n    \
                plain: {to: 'forward://h'}\n    \
                secure: {to: 'forward+tls://h:1', ca: /ca, tag: 'shop.{severity}', user: u,\n      \
                password_file: /p, shared_key_file: /k, compress: none, concurrency: 2}";
    let logs = logs(text);
    let [plain, secure] = logs.sinks.as_slice() else { panic!("{:?}", logs.sinks) };
    let Output::Forward(output) = &plain.output else { panic!("{:?}", plain.output) };
    assert_eq!((&*output.address, &*output.tag), ("h:24224", "pillion.{source}"));
    assert_eq!((&output.tls, &output.login), (&None, &None));
    assert_eq!(output.compress, Compression::Gzip);
    let Output::Forward(output) = &secure.output else { panic!("{:?}", secure.output) };
    assert_eq!((&*output.address, &*output.tag), ("h:1", "shop.{severity}"));
    assert_eq!(output.tls.as_ref().unwrap().ca.as_deref(), Some(Path::new("/ca")));
    let user = ("u".to_owned(), "/p".into());
    let login = ForwardLogin { shared_key: "/k".into(), user: Some(user) };
    assert_eq!(output.login.as_ref(), Some(&login));
    assert_eq!((output.compress, output.concurrency), (Compression::None, 2));
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let sink = "sinks: {s: {to: stdout}}";
    for (text, message) in [
        ("sinks: {s: {to: stdout}}", "there are sinks, and no source"),
        ("sources: {a: {files: /a}}", "there are sources, and no sink"),
        (&format!("sources: {{a: {{}}}}\n  {sink}"), "exactly one of files, app and listen"),
        (&format!("sources: {{a: {{files: a.log}}}}\n  {sink}"), "is not an absolute glob"),
        (&format!("sources: {{a: {{files: /a, app: both}}}}\n  {sink}"), "exactly one of files"),
        (&format!("sources: {{a: {{app: both, full: block}}}}\n  {sink}"), "the app never waits"),
        (&format!("sources: {{a: {{files: /a, terminal: off}}}}\n  {sink}"), "without app"),
        (&format!("sources: {{a: {{files: /a, parse: regex}}}}\n  {sink}"), "needs an expression"),
        (
            &format!("sources: {{a: {{files: /a, parse: [json, cri]}}}}\n  {sink}"),
            "p.yaml:2:42: logs.sources.a.parse[1]: cri can only come first",
        ),
        (
            &format!("sources: {{a: {{files: /a, parse: [cri, docker]}}}}\n  {sink}"),
            "logs.sources.a.parse[1]: docker can only come first",
        ),
        (
            &format!("sources: {{a: {{files: /a, pattern: '('}}}}\n  {sink}"),
            "is not a regular expression: unclosed group",
        ),
        (
            &format!("sources: {{a: {{files: /a, steps: [{{}}]}}}}\n  {sink}"),
            "a step is exactly one of",
        ),
        (
            &format!(
                "sources: {{a: {{files: /a, multiline: {{start: a, continue: b}}}}}}\n  {sink}"
            ),
            "lines are joined by one of",
        ),
        ("sources: {a: {files: /a}}\n  sinks: {s: {}}", "a sink says where records go"),
        ("sources: {a: {files: /a}}\n  sinks: {s: {to: 'x://y'}}", "is not a log sink"),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: stdout, tenant: t}}",
            "logs.sinks.s.tenant: has no effect without loki",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: stdout, tag: t}}",
            "logs.sinks.s.tag: has no effect without forward",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: 'forward://h', ca: /ca}}",
            "logs.sinks.s.ca: has no effect without TLS; write forward+tls://",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: 'forward://h', headers: {a: b}}}",
            "logs.sinks.s.headers: has no effect without a sink that speaks HTTP",
        ),
        (
            "sources: {a: {files: /a}}\n  \
             sinks: {s: {to: 'forward://h', user: u, password_file: /p}}",
            "logs.sinks.s.user: has no effect without shared_key_file",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: stdout, sources: [b]}}",
            "no source has the name b",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: 'loki://h/?a=b'}}",
            "a query has no meaning here",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: 'forward://h/tag'}}",
            "a path has no meaning here",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: 'http://h?a=b'}}",
            "a query stands behind a path",
        ),
        (
            "sources: {a: {files: /a}}\n  sinks: {s: {to: 'http://u:p@h/'}}",
            "a user or password in an address",
        ),
        (
            &format!("sources: {{a: {{app: both}}, b: {{app: stdout}}}}\n  {sink}"),
            "source a reads the app's output already",
        ),
    ] {
        let all = problems(&format!("logs:\n  {text}"));
        assert!(all.iter().any(|problem| problem.contains(message)), "{text}: {all:#?}");
        assert_eq!(all.len(), 1, "{text}: {all:#?}");
    }
}
