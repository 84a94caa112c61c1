//! Each kind of text value: what it takes, how it is written again, and what it says of the rest.

use std::fmt::Debug;
use std::str::FromStr;

use proptest::prelude::*;

use super::*;

/// What a text is read as and written again, or its rule and hint.
fn seen<T: FromStr<Err = Fault> + fmt::Display>(text: &str) -> String {
    match text.parse::<T>() {
        Ok(value) => value.to_string(),
        Err(fault) => format!("! {fault}"),
    }
}

fn check<T: FromStr<Err = Fault> + fmt::Display>(cases: &[(&str, &str)]) {
    for (text, expect) in cases {
        assert_eq!(seen::<T>(text), *expect, "for {text:?}");
    }
}

#[test]
fn a_duration_is_a_number_with_its_unit() {
    const HINT: &str = "(a duration is a number with ms, s, m, h or d, such as 30s)";
    check::<Period>(&[
        ("250ms", "250ms"),
        ("1.5s", "1500ms"),
        ("1.50s", "1500ms"),
        ("90s", "90s"),
        ("60s", "1m"),
        ("5m", "5m"),
        ("0.5d", "12h"),
        ("7d", "7d"),
        ("1ms", "1ms"),
        ("30", &format!("! 30 has no unit {HINT}")),
        ("1.5", &format!("! 1.5 has no unit {HINT}")),
        ("", &format!("! \"\" is not a duration {HINT}")),
        ("s", &format!("! \"s\" is not a duration {HINT}")),
        ("1..5s", &format!("! \"1..5s\" is not a duration {HINT}")),
        ("-1s", &format!("! \"-1s\" is not a duration {HINT}")),
        (
            "1m30s",
            "! \"1m30s\" does not end in a unit we know (a duration is one number with ms, s, m, \
             h or d, such as 30s)",
        ),
        ("0s", "! 0s is no time at all: at least 1ms"),
        ("0.5ms", "! 0.5ms is finer than 1ms"),
        ("1.0000000000001s", "! 1.0000000000001s is finer than 1ms"),
        ("8d", "! 8d is longer than the longest duration, 7d"),
        ("99999999999999999999s", "! 99999999999999999999s is too large a duration"),
        ("18446744073709551615d", "! 18446744073709551615d is too large a duration"),
    ]);
}

#[test]
fn a_timeout_can_be_off() {
    check::<Timeout>(&[
        ("off", "off"),
        ("2s", "2s"),
        ("0s", "! 0s is no time at all: at least 1ms (off switches it off)"),
        (
            "false",
            "! false is not a duration or off (write off; in quotes, \"off\", where a tool turns \
             the bare word into false)",
        ),
    ]);
}

#[test]
fn a_size_is_a_number_of_bytes_with_its_unit() {
    check::<Size>(&[
        ("64KiB", "64KiB"),
        ("65536B", "64KiB"),
        ("1MB", "1MB"),
        ("1.5MiB", "1536KiB"),
        ("0B", "0B"),
        ("1024GiB", "1024GiB"),
        ("1025GiB", "! 1025GiB is more than the largest size, 1024GiB"),
        ("0.5B", "! 0.5B is finer than 1B"),
        (
            "64Ki",
            "! \"64Ki\" does not end in a unit we know (a size is one number with B, KB, KiB, MB, \
             MiB, GB or GiB, such as 64KiB)",
        ),
    ]);
}

#[test]
fn a_listen_address_is_an_ip_address_with_a_port_or_a_socket_path() {
    const PORT: &str = "(write 127.0.0.1:80, 0.0.0.0:80 for every interface, or [::1]:80)";
    let long = format!("unix:/{}", "x".repeat(107));
    check::<ListenAddress>(&[
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:0", "[::1]:0"),
        ("unix:/run/p.sock", "unix:/run/p.sock"),
        ("off", "off"),
        (":80", &format!("! \":80\" is not an address to listen on {PORT}")),
        ("80", &format!("! \"80\" is not an address to listen on {PORT}")),
        ("localhost:80", &format!("! \"localhost:80\" is not an address to listen on {PORT}")),
        (
            "127.0.0.1",
            "! \"127.0.0.1\" is not an address to listen on (write IP:PORT, unix:/PATH or off)",
        ),
        (
            "unix:p.sock",
            "! \"unix:p.sock\" is not a socket path (write unix:/ and the rest of an absolute \
             path)",
        ),
        (&long, "! the socket path has 108 bytes, the system allows 107"),
    ]);
}

#[test]
fn an_endpoint_is_an_address_a_name_or_a_socket_path() {
    check::<EndpointAddress>(&[
        ("10.0.0.1:8080", "10.0.0.1:8080"),
        ("[2001:DB8::1]:80", "[2001:db8::1]:80"),
        ("Payments.Internal:80", "payments.internal:80"),
        ("my_app.internal.:1", "my_app.internal.:1"),
        ("unix:/run/x", "unix:/run/x"),
        ("payments", "! \"payments\" is not an endpoint (write IP:PORT, NAME:PORT or unix:/PATH)"),
        ("payments:0", "! \"0\" is not a port, 1 to 65535"),
        ("10.0.0.1:0", "! \"0\" is not a port, 1 to 65535"),
        ("payments:http", "! \"http\" is not a port, 1 to 65535"),
        ("::1:80", "! \"::1:80\" is not an endpoint (an IPv6 address needs brackets: [::1]:80)"),
        (
            "http://x.y/v1",
            "! \"http://x.y/v1\" is a URL, not an endpoint (leave http:// out: x.y:80)",
        ),
        (
            "1.2.3:80",
            "! \"1.2.3\" is not a host name: its last part is a number, as if it were an IP address",
        ),
        (
            "ann:secret@a:80",
            "! a user or password in an address would stand in logs and lists of processes (leave \
             it out: credentials have keys of their own)",
        ),
        ("-a:80", "! \"-a\" is not a host name: no part begins or ends with '-'"),
        ("a..b:80", "! \"a..b\" is not a host name: each part between dots has 1 to 63 characters"),
        (":80", "! \"\" is not a host name: it has 1 to 253 characters"),
    ]);
}

#[test]
fn a_url_of_a_server_has_a_query_only_where_nothing_is_put_behind_it() {
    check::<ServerUrl>(&[
        ("https://bao:8200", "https://bao:8200"),
        ("https://bao/a@b?c=d", "https://bao/a@b?c=d"),
        ("unix:/run/bao@1.sock", "unix:/run/bao@1.sock"),
        ("https://bao?c=d", "! a query stands behind a path (write HOST/?QUERY)"),
        (
            "ftp://bao",
            "! \"ftp://bao\" is not a URL of a server (write http://HOST[:PORT], \
             https://HOST[:PORT] or unix:/PATH)",
        ),
    ]);
    for (url, is_base) in [("https://bao/a", true), ("https://bao/?a", false)] {
        assert_eq!(url.parse::<ServerUrl>().unwrap().base().is_ok(), is_base, "{url}");
    }
}

#[test]
fn a_host_pattern_has_no_port_and_at_most_one_star_in_front() {
    check::<HostPattern>(&[
        ("API.example.com", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("api:80", "! \"api:80\" has a port; hosts are compared without (write api)"),
        (
            "a.*.com",
            "! \"a.*.com\" has a '*' that is not a whole first part (*.example.com takes every \
             name below example.com; no host takes all)",
        ),
        (
            "http://api",
            "! \"http://api\" is not a host (write the host alone, without scheme and path)",
        ),
    ]);
}

#[test]
fn paths_methods_and_headers_follow_their_grammar() {
    check::<UrlPath>(&[
        ("/", "/"),
        ("/a%20b/c", "/a%20b/c"),
        ("v1", "! \"v1\" does not begin with / (write /v1)"),
        (
            "/a?b",
            "! \"/a?b\" is more than a path: it contains '?' (paths are compared without the query)",
        ),
        (
            "/é",
            "! \"/é\" contains 'é', which no path on the wire does (write it percent-encoded, as \
             clients send it)",
        ),
    ]);
    check::<Method>(&[
        ("GET", "GET"),
        ("purge", "purge"),
        ("get", "! methods are case-sensitive, and get is not one (write GET)"),
        ("G T", "! \"G T\" is not a method (such as GET)"),
    ]);
    check::<HeaderName>(&[
        ("X-Team", "x-team"),
        (
            ":path",
            "! :path is a pseudo-header of HTTP/2, not a header (match by host, path and method \
             instead)",
        ),
        (
            "a b",
            "! \"a b\" is not a header name (a header name has letters, digits and \
             !#$%&'*+-.^_`|~)",
        ),
    ]);
    check::<HeaderValue>(&[
        ("", ""),
        ("blue, green", "blue, green"),
        (" x", "! a header value has no blanks at its ends"),
        ("a\r\nb", "! a header value has no control characters, found '\\r'"),
    ]);
    check::<Name>(&[
        ("payments-v1.2_x", "payments-v1.2_x"),
        ("", "! a name is not empty"),
        ("-x", "! \"-x\" is not a name: it does not begin with a letter or a digit"),
        (
            "a b",
            "! \"a b\" is not a name: it contains ' ' (a name has letters, digits, '-', '_' and \
             '.')",
        ),
    ]);
}

#[test]
fn a_log_line_is_json_or_a_template_of_known_fields() {
    check::<LogForm>(&[
        ("json", "json"),
        ("%{method} %{path} 100%%", "%{method} %{path} 100%%"),
        ("%{methd}", "! %{methd} is not a field of the access log (did you mean %{method}?)"),
        (
            "%h %l",
            "! a '%' in \"%h %l\" begins no field (write %{field}, and %% for a per cent sign)",
        ),
        (
            "combined",
            "! \"combined\" has no field (write json, or a template such as \"%{method} %{path} \
             %{status}\")",
        ),
    ]);
    check::<LogTarget>(&[
        ("stderr", "stderr"),
        ("file:a.log", "file:a.log"),
        ("/a.log", "! \"/a.log\" is not a log output (for a file, write file:/a.log)"),
        ("syslog", "! \"syslog\" is not a log output (write off, stdout, stderr or file:PATH)"),
    ]);
    let readable = LogForm::readable();
    assert_eq!(readable.to_string().parse::<LogForm>(), Ok(readable));
}

#[test]
fn an_upstream_url_is_a_scheme_a_host_and_a_port() {
    let check = |text: &str, expect: &str| {
        let seen = match text.parse::<UpstreamUrl>() {
            Ok(url) => format!("{} {:?} {}", url.endpoint, url.protocol, url.authority),
            Err(fault) => format!("! {fault}"),
        };
        assert_eq!(seen, expect, "for {text:?}");
    };
    check("http://api.internal:8080", "api.internal:8080 Http1 api.internal:8080");
    check("http://api.internal/", "api.internal:80 Http1 api.internal");
    check("http://api.internal:80", "api.internal:80 Http1 api.internal");
    check("h2c://[::1]:50051", "[::1]:50051 Http2 [::1]:50051");
    check("http://[::1]", "[::1]:80 Http1 [::1]");
    check(
        "https://api.internal",
        "! TLS to the upstream (https://) is not supported yet (write http://HOST:PORT)",
    );
    check(
        "http://api.internal/v1",
        "! \"http://api.internal/v1\" has more than a host and a port ('/') (requests keep their \
         own path and query: leave it out of the URL)",
    );
    check(
        "api.internal:80",
        "! \"api.internal:80\" is not an upstream URL (write http://HOST:PORT or h2c://HOST:PORT)",
    );
    check(
        "http://me:secret@api",
        "! a user or password in the URL is not supported (set the authorization header with \
         request_headers in a configuration file)",
    );
}

/// What is written can be read, and is the same.
fn round_trips<T: FromStr<Err = Fault> + fmt::Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string();
        assert_eq!(again.parse(), Ok(value), "{text:?} became {again:?}");
    }
}

proptest! {
    #[test]
    fn durations_and_sizes_survive_being_written(millis in 1u64..=604_800_000, bytes in 0u64..=1 << 40) {
        let period = Period::from_millis(millis);
        prop_assert_eq!(period.to_string().parse(), Ok(period));
        let size = Size::from_bytes(bytes);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn whatever_is_taken_survives_being_written(text in "(unix:/|file:|\\*\\.|%\\{path\\}|/)?\\PC{0,24}(:80|s|KiB)?") {
        round_trips::<Period>(&text);
        round_trips::<Timeout>(&text);
        round_trips::<Size>(&text);
        round_trips::<ListenAddress>(&text);
        round_trips::<EndpointAddress>(&text);
        round_trips::<HostPattern>(&text);
        round_trips::<UrlPath>(&text);
        round_trips::<Method>(&text);
        round_trips::<HeaderName>(&text);
        round_trips::<HeaderValue>(&text);
        round_trips::<LogTarget>(&text);
        round_trips::<LogForm>(&text);
        round_trips::<Name>(&text);
    }
}
