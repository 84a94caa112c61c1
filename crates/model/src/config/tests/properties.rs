//! Over generated configurations and broken files: nothing is lost in `explain`, nothing panics.

use super::*;

fn period() -> impl Strategy<Value = String> {
    (1u64..604_800_000).prop_map(|millis| raw::Period::from_millis(millis).to_string())
}

/// Text that header values and templates may have: anything printable, blanks not at the ends.
fn value() -> impl Strategy<Value = String> {
    "(\\PC{0,12})".prop_map(|text| text.trim().to_owned())
}

fn headers() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("x-[a-z!#$%&'*+.^_`|~]{1,8}", value(), 0..3)
        .prop_map(|headers| json!(headers))
}

fn matches() -> impl Strategy<Value = Value> {
    let host = prop_oneof![
        Just(json!("*.example.com")),
        Just(json!(["a.b", "::1", "10.0.0.1"])),
        Just(json!([])),
    ];
    let test = prop_oneof![
        value().prop_map(|value| json!(value)),
        value().prop_map(|value| json!({"prefix": value})),
        any::<bool>().prop_map(|present| json!({"present": present})),
    ];
    // A path in each, so that no route takes all and hides the next.
    ("/[!-~&&[^?#]]{0,10}", any::<bool>(), host, prop::collection::btree_map("x-[a-z]{1,4}", test, 0..3))
        .prop_map(|(path, exact, host, headers)| {
            let key = if exact { "path" } else { "path_prefix" };
            json!({key: format!("{path}x"), "host": host, "method": ["GET", "M-SEARCH"], "headers": headers})
        })
}

fn route(upstream: &'static [&'static str]) -> impl Strategy<Value = Value> {
    (
        matches(),
        prop::sample::select(upstream),
        period(),
        headers(),
        prop::option::of(0u32..=10),
        0u64..=16 << 20,
    )
        .prop_map(|(matches, upstream, timeout, headers, retries, body)| {
            json!({
                "match": matches,
                "upstream": upstream,
                "timeout": timeout,
                "request_headers": {"set": headers, "remove": ["X-Gone"]},
                "response_headers": {"add": headers},
                "retry": {
                    "retries": retries.unwrap_or(2),
                    "body": raw::Size::from_bytes(body).to_string(),
                },
            })
        })
}

fn routes(upstream: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(route(upstream), 0..4).prop_map(|routes| json!({"routes": routes}))
}

/// A configuration without a fault.
fn config() -> impl Strategy<Value = Value> {
    let format = prop_oneof![
        Just("json".to_owned()),
        value().prop_map(|text| format!("%{{time}}{}", text.replace('%', "%%"))),
    ];
    let inbound = routes(&["app", "one", "two"]);
    let outbound = routes(&["host", "app", "one", "two"]);
    (inbound, outbound, period(), format, prop::option::of(1u32..=256)).prop_map(
        |(inbound, outbound, idle, format, workers)| {
            let mut config = json!({
                "inbound": inbound,
                "outbound": outbound,
                "upstreams": {
                    "one": {"endpoints": ["10.0.0.1:80", "[::1]:80"], "idle_timeout": idle},
                    "two": {"endpoints": ["a.b.:1", "unix:/run/x y"], "balance": "round_robin"},
                },
                "access_log": {"format": format},
            });
            if let Some(workers) = workers {
                config["workers"] = json!(workers);
            }
            config
        },
    )
}

/// Reads a text that may be anything; whatever is said of it must be in it.
fn any_text_is_answered(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = parse("p.yaml", text, &Overrides::default()) else { return Ok(()) };
    prop_assert!(!problems.is_empty());
    for problem in problems {
        let lines = text.lines().count().max(1);
        prop_assert!(problem.line >= 1 && problem.line <= lines, "{problem}");
        let width = text.lines().nth(problem.line - 1).unwrap_or("").chars().count();
        prop_assert!(problem.column >= 1 && problem.column <= width + 1, "{problem}");
        let shown = problem.to_string();
        prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_explain_prints_means_the_same(config in config(), has_app in any::<bool>()) {
        let overrides = Overrides { has_app, ..Overrides::default() };
        // JSON is YAML.
        let loaded = parse("p.yaml", &config.to_string(), &overrides);
        let loaded = loaded.map_err(|problems| TestCaseError::fail(problems[0].to_string()))?;
        let page = explain(&loaded);
        let again = parse("explain", &page, &overrides);
        let again = again.map_err(|problems| TestCaseError::fail(problems[0].to_string()))?;
        prop_assert_eq!(&again.snapshot, &loaded.snapshot);
        prop_assert_eq!(again.effective(), loaded.effective());
        // And nothing is default any more.
        let marked = explain(&again);
        prop_assert!(!marked.contains("# default"), "{}", marked);
    }

    #[test]
    fn a_broken_file_is_answered_with_places_in_it(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, "[ -~é\t\n]{0,3}"), 1..4),
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, remove, insert) in edits {
            let at = at.index(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        any_text_is_answered(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn any_text_at_all_is_answered(text in "(\\PC|[\\[\\]{}:,&*!|>'\"%#\n \t-]){0,60}") {
        any_text_is_answered(&text)?;
    }
}
