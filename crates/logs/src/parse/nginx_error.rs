//! The error log of nginx: `TIME [LEVEL] PID#TID: *CONNECTION MESSAGE, client: …, server: …`.

use std::borrow::Cow;

use super::{Unparsed, is_number, push, push_number, severity, time};
use crate::record::{Record, Severity, Value};

/// What nginx adds to a message about a request, in its order, and the attributes that it becomes.
const CONTEXT: [(&str, &str); 8] = [
    (", client: ", "client.address"),
    (", server: ", "nginx.server"),
    (", request: ", "nginx.request"),
    (", subrequest: ", "nginx.subrequest"),
    (", upstream: ", "nginx.upstream"),
    (", bytes from/to client:", "nginx.bytes"),
    (", host: ", "nginx.host"),
    (", referrer: ", "http.request.header.referer"),
];

/// Reads one line; its time is taken as UTC.
///
/// # Errors
/// The line does not follow the format. The record is as it was.
pub fn parse<'a>(text: &'a str, record: &mut Record<'a>) -> Result<(), Unparsed> {
    let (at, rest) = text.split_once(" [").ok_or(Unparsed("there is no time before a level"))?;
    let at = time::timestamp(at).ok_or(Unparsed("it does not begin with a time"))?;
    let (level, rest) = rest.split_once("] ").ok_or(Unparsed("there is no level in brackets"))?;
    let number = match level {
        // In a syslog of its own, nginx counts as syslog does.
        "crit" | "alert" | "emerg" | "error" | "warn" | "notice" | "info" | "debug" => {
            severity::by_word(level).unwrap_or(0)
        }
        _ => return Err(Unparsed("the level is none of nginx")),
    };
    let (ids, message) = rest.split_once(": ").ok_or(Unparsed("there is no PID#TID"))?;
    let (process, thread) = ids.split_once('#').ok_or(Unparsed("there is no PID#TID"))?;
    if !is_number(process) || !is_number(thread) {
        return Err(Unparsed("there is no PID#TID"));
    }
    record.time = Some(at);
    record.severity = Severity { number, text: Some(Cow::Borrowed(level)) };
    push_number(record, "process.pid", process);
    push_number(record, "thread.id", thread);
    let message = push_connection(record, message);
    record.body = Value::Text(Cow::Borrowed(push_context(record, message)));
    Ok(())
}

/// Gives the message behind `*CONNECTION`.
fn push_connection<'a>(record: &mut Record<'a>, message: &'a str) -> &'a str {
    let split = message.strip_prefix('*').and_then(|rest| rest.split_once(' '));
    let Some((connection, rest)) = split.filter(|(number, _)| is_number(number)) else {
        return message;
    };
    push_number(record, "nginx.connection", connection);
    rest
}

/// Gives the message in front of what nginx adds. That is written by clients too, so each name
/// counts where it stands first.
fn push_context<'a>(record: &mut Record<'a>, message: &'a str) -> &'a str {
    let Some((message, mut rest)) = message.split_once(", client: ") else { return message };
    let mut name = "client.address";
    for (mark, next) in CONTEXT.into_iter().skip(1) {
        if let Some((value, after)) = rest.split_once(mark) {
            push(record, name, without_quotes(value));
            (name, rest) = (next, after);
        }
    }
    push(record, name, without_quotes(rest));
    message
}

fn without_quotes(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::{shown, shown_record};

    #[test]
    fn lines_of_nginx_are_read() {
        let cases = [
            (
                r#"2026/11/21 10:00:00 [error] 12#34: *99 open() "/x, y" failed (2: No such file), client: 1.2.3.4, server: _, request: "GET /x, HTTP/1.1", upstream: "http://10.0.0.1/", host: "a.b", referrer: "http://r/""#,
                "@1795255200000000000 error(17) body: open() \"/x, y\" failed (2: No such file) \
                 process.pid=12 thread.id=34 nginx.connection=99 client.address=1.2.3.4 \
                 nginx.server=_ nginx.request=GET /x, HTTP/1.1 nginx.upstream=http://10.0.0.1/ \
                 nginx.host=a.b http.request.header.referer=http://r/",
            ),
            (
                "2026/11/21 10:00:00 [notice] 1#1: signal 15 (SIGTERM) received: x",
                "@1795255200000000000 notice(10) body: signal 15 (SIGTERM) received: x \
                 process.pid=1 thread.id=1",
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
            "yesterday [error] 1#1: x",
            "2026/11/21 10:00:00 [loud] 1#1: x",
            "2026/11/21 10:00:00 [error] 1: x",
            "2026/11/21 10:00:00 [error] a#b: x",
            "2026/11/21 10:00:00 [error]",
        ] {
            let mut record = Record::default();
            assert!(parse(text, &mut record).is_err(), "{text}");
            assert_eq!(shown_record(&record), "", "{text}");
        }
    }
}
