use super::*;
use crate::parse::tests::shown_record;

/// 2026-11-21T10:00:00Z.
const NOW: i64 = 1_795_255_200_000_000_000;

fn shown_now(text: &str) -> Result<String, Unparsed> {
    let mut record = Record { observed: NOW, ..Record::default() };
    parse(text, &mut record)?;
    Ok(shown_record(&record))
}

#[test]
fn messages_of_rfc_5424_are_read() {
    let cases = [
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
            "@1065910455003000000 crit(18) body: 'su root' failed for lonvick on /dev/pts/8 \
             host.name=mymachine.example.com syslog.appname=su syslog.msgid=ID47 syslog.facility=4",
        ),
        (
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            "@1061727255000003000 notice(10) body: %% It's time to make the do-nuts. \
             host.name=192.0.2.1 syslog.appname=myproc syslog.procid=8710 syslog.facility=20",
        ),
        (
            r#"<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App \"x\]\n"][e@1 class="high"] An event"#,
            "@1065910455003000000 notice(10) body: An event host.name=h syslog.appname=evntslog \
             syslog.msgid=ID47 syslog.exampleSDID@32473.iut=3 \
             syslog.exampleSDID@32473.eventSource=App \"x]\\n syslog.e@1.class=high \
             syslog.facility=20",
        ),
        ("<0>1 - - - - - -", "emerg(21) syslog.facility=0"),
        ("<191>1 - - - - - [a]", "debug(5) syslog.facility=23"),
    ];
    for (text, expected) in cases {
        assert_eq!(shown_now(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn messages_of_rfc_3164_are_read() {
    let cases = [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            "@1791756855000000000 crit(18) body: 'su root' failed host.name=mymachine \
             syslog.appname=su syslog.facility=4",
        ),
        (
            "<13>Nov 21 09:00:00 app[42]: from the C library",
            "@1795251600000000000 notice(10) body: from the C library syslog.appname=app \
             syslog.procid=42 syslog.facility=1",
        ),
        (
            "<13>2026-11-21T09:00:00+00:00 h app: rsyslog",
            "@1795251600000000000 notice(10) body: rsyslog host.name=h syslog.appname=app \
             syslog.facility=1",
        ),
        (
            "Nov 21 09:00:00 h kernel: in a file",
            "@1795251600000000000 body: in a file host.name=h syslog.appname=kernel",
        ),
        ("Nov 21 09:00:00 h no tag here", "@1795251600000000000 body: no tag here host.name=h"),
        ("<13>Use the BFG!", "notice(10) body: Use the BFG! syslog.facility=1"),
    ];
    for (text, expected) in cases {
        assert_eq!(shown_now(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn other_lines_are_refused_and_leave_the_record() {
    for text in [
        "",
        "plain text",
        "<192>1 - - - - - -",
        "<>x",
        "<+1>x",
        "<0001>x",
        "<34",
        "<34>1 - - -",
        "<34>1 yesterday - - - - -",
        "<34>1 - - - - - x",
        "<34>1 - - - - - [a b]",
        "<34>1 - - - - - [a b=\"c]",
        "<34>1 - - - - - [a b=\"c\"",
        "<34>1 - h app - - []",
        "<34>1 - - - - - -x",
    ] {
        let mut record = Record::default();
        assert!(parse(text, &mut record).is_err(), "{text}");
        assert_eq!(shown_record(&record), "", "{text}");
    }
}
