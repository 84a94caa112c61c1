//! Tricky requests, and why a peer that reads one of them differently does so.

/// The start of a conversation; one more request follows it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) raw: &'static str,
    /// Why hyper differs, if it does.
    pub(crate) hyper: Option<&'static str>,
    /// Why HAProxy differs, if it does.
    pub(crate) haproxy: Option<&'static str>,
}

const fn case(name: &'static str, raw: &'static str) -> Case {
    Case { name, raw, hyper: None, haproxy: None }
}

impl Case {
    const fn hyper(self, reason: &'static str) -> Self {
        Self { hyper: Some(reason), ..self }
    }

    const fn haproxy(self, reason: &'static str) -> Self {
        Self { haproxy: Some(reason), ..self }
    }
}

macro_rules! post {
    ($fields:literal, $body:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n", $body)
    };
}
macro_rules! chunked {
    ($body:literal) => {
        post!("Transfer-Encoding: chunked\r\n", $body)
    };
}

pub(crate) const CASES: &[Case] = &[
    // Plain.
    case("no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("length", post!("Content-Length: 3\r\n", "abc")),
    case("length zero", post!("Content-Length: 0\r\n", "")),
    case("chunked", chunked!("3\r\nabc\r\n0\r\n\r\n")),
    case("two requests", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
    case("HEAD with a body", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
    case("connection close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    case("1.0 closes", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
    case("1.0 keep-alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
    case("1.0 without host", "GET / HTTP/1.0\r\n\r\n"),
    case("unfinished head", "GET / HTTP/1.1\r\nX: "),
    case("length too long", post!("Content-Length: 300\r\n", "abc")),
    // Start lines.
    case("empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("skips any number of empty lines")
        .haproxy("skips any number of empty lines"),
    case("bare LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("space first", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n")
        .haproxy("skips blanks between the parts of the request line"),
    case("tab for space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .haproxy("skips blanks between the parts of the request line"),
    case("space after version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    case("no version", "GET /\r\n\r\n"),
    case("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n")
        .haproxy("takes any version of one digit each"),
    case("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n")
        .haproxy("takes any version of one digit each"),
    case("lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    case("odd method", "G^T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("method with a colon", "G:T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n").hyper("cuts a fragment off the target"),
    case("control in target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("UTF-8 in target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("takes UTF-8 in a target"),
    case("space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("target without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("takes a bare host as the target of any method")
        .haproxy("takes a bare word as a path"),
    case("asterisk of GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("takes an asterisk for any method")
        .haproxy("takes an asterisk for any method"),
    case("asterisk of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("absolute target, other host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .haproxy("refuses, where RFC 9112 §3.2.2 lets the target win"),
    case("absolute target, user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("leaves user information to the service")
        .haproxy("takes user information for a part of the host"),
    case("absolute target, query only", "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("takes a query without a path"),
    case("absolute target, no path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    case("CONNECT without port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n")
        .hyper("leaves the port of CONNECT to the service"),
    case(
        "CONNECT with a body",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc",
    )
    .hyper("reads the body of a CONNECT")
    .haproxy("takes what follows a CONNECT for the tunnel"),
    // Field lines.
    case("bare LF after start line", "GET / HTTP/1.1\nHost: a\r\n\r\n")
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("bare LF after field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("bare LF for the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n")
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n")
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 3\r\n\r\nabc"),
    case("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n")
        .haproxy("refuses no control character in a value but CR and LF"),
    case("vertical tab in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n")
        .haproxy("refuses no control character in a value but CR and LF"),
    case("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n")
        .haproxy("refuses no control character in a value but CR and LF"),
    case("UTF-8 in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n"),
    case("folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n").haproxy("unfolds lines"),
    case("folded length", post!("Content-Length:\r\n 3\r\n", "abc")).haproxy("unfolds lines"),
    case("folded first line", "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n"),
    case("space before colon", post!("Content-Length : 3\r\n", "abc")),
    case("tab before colon", post!("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n")),
    case("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    case("empty name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
    case("empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n"),
    case("bracket in a name", "GET / HTTP/1.1\r\nHost: a\r\nX[: y\r\n\r\n"),
    case("underscore in a name", post!("Content_Length: 3\r\n", "")),
    case("every token character", "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~: y\r\n\r\n"),
    // Host.
    case("no host", "GET / HTTP/1.1\r\n\r\n")
        .hyper("leaves the host to the service")
        .haproxy("does not ask for a host"),
    case("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    case("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .hyper("leaves the host to the service"),
    case("the same host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
        .hyper("leaves the host to the service")
        .haproxy("takes equal hosts as one"),
    case("two hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")
        .hyper("leaves the host to the service"),
    case("list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n")
        .hyper("leaves the host to the service")
        .haproxy("compares hosts only, and does not look into them"),
    case("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")
        .hyper("leaves the host to the service")
        .haproxy("compares hosts only, and does not look into them"),
    case("host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n")
        .hyper("leaves the host to the service")
        .haproxy("compares hosts only, and does not look into them"),
    case("host with a large port", "GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n")
        .hyper("leaves the host to the service")
        .haproxy("compares hosts only, and does not look into them"),
    // Lengths.
    case("same length twice", post!("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"))
        .hyper("takes equal lengths as one")
        .haproxy("takes equal lengths as one"),
    case("two lengths", post!("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")),
    case("listed length", post!("Content-Length: 3, 3\r\n", "abc"))
        .haproxy("takes equal lengths as one"),
    case("signed length", post!("Content-Length: +3\r\n", "abc")),
    case("negative length", post!("Content-Length: -3\r\n", "abc")),
    case("empty length", post!("Content-Length:\r\n", "")),
    case("hexadecimal length", post!("Content-Length: 0x3\r\n", "abc")),
    case("length with a space", post!("Content-Length: 1 0\r\n", "abc")),
    case("length with leading zeros", post!("Content-Length: 003\r\n", "abc")),
    case("length with tabs", post!("Content-Length:\t3\t\r\n", "abc")),
    case("length beyond 64 bits", post!("Content-Length: 18446744073709551619\r\n", "abc")),
    case("long length", post!("Content-Length: 00000000000000000003\r\n", "abc"))
        .hyper("takes any number of leading zeros")
        .haproxy("takes any number of leading zeros"),
    case("length in quotes", post!("Content-Length: \"3\"\r\n", "abc")),
    // Transfer codings.
    case(
        "length and chunked",
        post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    )
    .hyper("prefers chunked, then closes")
    .haproxy("prefers chunked, then closes"),
    case(
        "chunked and length",
        post!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
    )
    .hyper("prefers chunked, then closes")
    .haproxy("prefers chunked, then closes"),
    case("upper-case coding", post!("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n")),
    case("chunked twice", post!("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"))
        .hyper("looks at the last coding only"),
    case(
        "chunked in two lines",
        post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    )
    .hyper("looks at the last coding only"),
    case("gzip then chunked", post!("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"))
        .hyper("looks at the last coding only"),
    case(
        "gzip and chunked in two lines",
        post!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    )
    .hyper("looks at the last coding only"),
    case("chunked then gzip", post!("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
    case("identity", post!("Transfer-Encoding: identity\r\n", "")),
    case(
        "identity and length",
        post!("Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "abc"),
    ),
    case("unknown coding", post!("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    case("empty coding", post!("Transfer-Encoding:\r\n", "")),
    case("empty element", post!("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"))
        .hyper("looks at the last coding only"),
    case("coding with a parameter", post!("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")),
    case("coding in quotes", post!("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
    case("coding after vertical tab", post!("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
    case(
        "coding in 1.0",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .haproxy("takes chunked from a 1.0 client, then closes"),
    case("coding behind a bare LF", post!("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"))
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    // Chunks.
    case("chunk extension", chunked!("3;a=b\r\nabc\r\n0\r\n\r\n")),
    case("empty chunk extension", chunked!("3;\r\nabc\r\n0;\r\n\r\n")),
    case("quoted chunk extension", chunked!("3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n")),
    case("upper-case size", chunked!("A\r\n0123456789\r\n0\r\n\r\n")),
    case("leading zeros in a size", chunked!("003\r\nabc\r\n000\r\n\r\n")),
    case("17 digits in a size", chunked!("00000000000000003\r\nabc\r\n0\r\n\r\n"))
        .hyper("bounds the size by its value, not by its digits")
        .haproxy("bounds the size by its value, not by its digits"),
    case("size beyond 64 bits", chunked!("10000000000000003\r\nabc\r\n0\r\n\r\n")),
    case("space after a size", chunked!("3 \r\nabc\r\n0\r\n\r\n"))
        .hyper("skips blanks after a size")
        .haproxy("skips blanks after a size"),
    case("space before extension", chunked!("3 ;a\r\nabc\r\n0\r\n\r\n"))
        .hyper("skips blanks after a size")
        .haproxy("skips blanks after a size"),
    case("space before a size", chunked!(" 3\r\nabc\r\n0\r\n\r\n")),
    case("empty size", chunked!("\r\nabc\r\n0\r\n\r\n")),
    case("0x in a size", chunked!("0x3\r\nabc\r\n0\r\n\r\n")),
    case("sign in a size", chunked!("+3\r\nabc\r\n0\r\n\r\n")),
    case("bare LF after a size", chunked!("3\nabc\r\n0\r\n\r\n"))
        .haproxy("takes a bare LF for the end of a line"),
    case("bare LF after data", chunked!("3\r\nabc\n0\r\n\r\n"))
        .haproxy("takes a bare LF for the end of a line"),
    case("bare LF in an extension", chunked!("3;a\nabc\r\n0\r\n\r\n"))
        .haproxy("takes a bare LF for the end of a line"),
    case("bare CR in an extension", chunked!("3;a\rb\r\nabc\r\n0\r\n\r\n")),
    case("CR twice after a size", chunked!("3\r\r\nabc\r\n0\r\n\r\n")),
    case("data longer than its size", chunked!("3\r\nabcd\r\n0\r\n\r\n")),
    case("no CR LF after data", chunked!("3\r\nabc0\r\n\r\n")),
    case("any two bytes after data", chunked!("3\r\nabcXX0\r\n\r\n")),
    case("bare LF for the last line", chunked!("0\r\n\n"))
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("bare LF after the last chunk", chunked!("0\n\r\n"))
        .haproxy("takes a bare LF for the end of a line"),
    case("trailer", chunked!("0\r\nX: y\r\n\r\n")),
    case("bare LF after a trailer", chunked!("0\r\nX: y\n\r\n"))
        .hyper("takes a bare LF for the end of a line")
        .haproxy("takes a bare LF for the end of a line"),
    case("folded trailer", chunked!("0\r\nX: y\r\n z\r\n\r\n")).haproxy("unfolds lines"),
    case("trailer without colon", chunked!("0\r\nX\r\n\r\n")),
    case("space before a trailer colon", chunked!("0\r\nX : y\r\n\r\n")),
    case("length as a trailer", chunked!("0\r\nContent-Length: 30\r\n\r\n")),
    case("a request as a trailer", chunked!("0\r\nGET / HTTP/1.1\r\n\r\n")),
    case("empty line after a body", post!("Content-Length: 3\r\n", "abc\r\n")),
    // Connection.
    case(
        "connection names length",
        post!("Content-Length: 3\r\nConnection: content-length\r\n", "abc"),
    )
    .hyper("leaves what connection names to the service")
    .haproxy("never drops a field that frames the message"),
    case(
        "connection names coding",
        post!("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", "0\r\n\r\n"),
    )
    .hyper("leaves what connection names to the service")
    .haproxy("never drops a field that frames the message"),
    case("connection names host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n")
        .hyper("leaves what connection names to the service")
        .haproxy("drops only what it knows of connection"),
    case("connection names a field", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: y\r\n\r\n"),
    case(
        "close and keep-alive",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
    ),
    case("connection with a space", "GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n")
        .hyper("leaves what connection names to the service")
        .haproxy("drops only what it knows of connection"),
    case("upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    case(
        "websocket without a key",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .haproxy("refuses a WebSocket handshake that has no key"),
    case(
        "upgrade with a body",
        post!("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", "abc"),
    ),
    case(
        "upgrade to h2c",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
    ),
    case("expect", post!("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc")),
    case("unknown expectation", post!("Expect: something\r\nContent-Length: 3\r\n", "abc")),
];
