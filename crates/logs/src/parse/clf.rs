//! Access logs of Apache and nginx: common and combined log format.

use std::borrow::Cow;

use super::logfmt::closing_quote;
use super::{Unparsed, is_number, push, push_number, time};
use crate::record::{Record, Value};

/// Reads `CLIENT IDENT USER [TIME] "REQUEST" STATUS BYTES`, and `"REFERER" "USER AGENT"` where they
/// follow; what follows those is left as `clf.rest`. The request becomes the body. Escapes within
/// quotes stay as the server wrote them.
///
/// # Errors
/// The line does not follow the format. The record is as it was.
pub fn parse<'a>(text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
    let (client, rest) = text.split_once(' ').ok_or(Unparsed("there is no client"))?;
    let (before, rest) = rest.split_once(" [").ok_or(Unparsed("there is no time in brackets"))?;
    let user = before.split_once(' ').ok_or(Unparsed("there is no user"))?.1;
    let (at, rest) = rest.split_once("] ").ok_or(Unparsed("there is no time in brackets"))?;
    let at = time::clf(at).ok_or(Unparsed("the time is none"))?;
    let (request, rest) = quoted(rest).ok_or(Unparsed("there is no request in quotes"))?;
    let (status, rest) = word(rest.strip_prefix(' ').unwrap_or(rest));
    let (bytes, rest) = word(rest);
    let is_status = status.len() == 3 && is_number(status);
    if client.is_empty() || !is_status || !(is_number(bytes) || bytes == "-") {
        return Err(Unparsed("there are no status and size after the request"));
    }
    record.time = Some(at);
    record.body = Value::Text(Cow::Borrowed(request));
    push(record, "client.address", client);
    push_known(record, "user.name", user);
    push_request(record, request);
    push_number(record, "http.response.status_code", status);
    if bytes != "-" {
        push_number(record, "http.response.body.size", bytes);
    }
    push_headers(record, rest);
    Ok(())
}

fn push_request<'a>(record: &mut Record<'a>, request: &'a str) {
    let Some((method, rest)) = request.split_once(' ') else { return };
    let Some((target, protocol)) = rest.rsplit_once(' ') else { return };
    let Some(version) = protocol.strip_prefix("HTTP/") else { return };
    push(record, "http.request.method", method);
    push(record, "url.original", target);
    push(record, "network.protocol.version", version);
}

fn push_headers<'a>(record: &mut Record<'a>, mut rest: &'a str) {
    for name in ["http.request.header.referer", "user_agent.original"] {
        let Some((value, after)) = quoted(rest) else { break };
        push_known(record, name, value);
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    if !rest.is_empty() {
        push(record, "clf.rest", rest);
    }
}

/// Adds what is not `-`, the sign for nothing.
fn push_known<'a>(record: &mut Record<'a>, name: &'a str, value: &'a str) {
    if value != "-" {
        push(record, name, value);
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let (value, rest) = inside.split_at_checked(closing_quote(inside)?)?;
    Some((value, rest.strip_prefix('"')?))
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::{shown, shown_record};

    #[test]
    fn lines_of_apache_and_nginx_are_read() {
        let cases = [
            (
                r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
                "@971211336000000000 body: GET /apache_pb.gif HTTP/1.0 client.address=127.0.0.1 \
                 user.name=frank http.request.method=GET url.original=/apache_pb.gif \
                 network.protocol.version=1.0 http.response.status_code=200 \
                 http.response.body.size=2326",
            ),
            (
                r#"::1 - - [10/Oct/2000:13:55:36 -0700] "-" 400 0 "-" "curl \"x\"" "1.2.3.4""#,
                "@971211336000000000 body: - client.address=::1 http.response.status_code=400 \
                 http.response.body.size=0 user_agent.original=curl \\\"x\\\" clf.rest=\"1.2.3.4\"",
            ),
            (
                r#"h - a b [10/Oct/2000:13:55:36 -0700] "\x16\x03" 400 - "http://a/" "-""#,
                "@971211336000000000 body: \\x16\\x03 client.address=h user.name=a b \
                 http.response.status_code=400 http.request.header.referer=http://a/",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(parse, text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_lines_are_refused_and_leave_the_record() {
        for text in [
            "",
            "plain text",
            "a b c [10/Oct/2000:13:55:36 -0700]",
            r#"a - - [yesterday] "GET / HTTP/1.0" 200 1"#,
            r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / 200 1"#,
            r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 2000 1"#,
            r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 much"#,
            r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0\"#,
        ] {
            let mut record = Record::default();
            assert!(parse(text, &mut record).is_err(), "{text}");
            assert_eq!(shown_record(&record), "", "{text}");
        }
    }
}
