//! Texts of a user as they may be shown: URLs in them, without what is a credential there.

/// What stands for a part that is left out.
const LEFT_OUT: &str = "…";
/// What a text has around a URL, and no URL has at its end.
const AROUND: [char; 12] = ['"', '\'', '(', ')', '[', ']', '{', '}', ',', '.', ':', ';'];

/// The text without the credentials of URLs in it: neither user nor password, which also go from
/// `USER:PASSWORD@HOST`, nor what is asked for behind a `?`, where many servers take a token.
#[must_use]
pub fn shown(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

/// Whether there is a user or a password in this address.
pub(super) fn has_login(address: &str) -> bool {
    match address.split_once("://") {
        Some((_, rest)) => login(rest) > 0,
        None => bare_login(address).is_some(),
    }
}

fn line(line: &str) -> String {
    match line.split_once("://") {
        None => line.split_inclusive(char::is_whitespace).map(word).collect(),
        Some((before, urls)) => {
            let urls = urls.split("://").map(|rest| format!("://{}", without_secrets(rest)));
            urls.fold(before.to_owned(), |line, url| line + &url)
        }
    }
}

/// A word that may be `USER:PASSWORD@HOST`.
fn word(word: &str) -> String {
    let mut shown = word.to_owned();
    if let Some((start, at)) = bare_login(word) {
        shown.replace_range(start..at, LEFT_OUT);
    }
    shown
}

/// Where a user begins in a word, and the `@` behind the password.
fn bare_login(word: &str) -> Option<(usize, usize)> {
    let start = word.len() - word.trim_start_matches(AROUND).len();
    let (colon, at) = (word.get(start..)?.find(':')? + start, word.rfind('@')?);
    let (user, rest) = (word.get(start..colon)?, word.get(colon + 1..)?);
    let is_user = user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    // `unix:/run/app@1.sock` is a path.
    (colon < at && is_user && !rest.starts_with('/')).then_some((start, at))
}

/// What follows `://`, without its credentials.
fn without_secrets(rest: &str) -> String {
    let mut shown = rest.to_owned();
    let at = login(rest);
    if at > 0 {
        shown.replace_range(..at, LEFT_OUT);
    }
    let url = first_word(&shown).trim_end_matches(AROUND);
    let query = url.find('?').map(|mark| mark + 1..url.len()).filter(|query| !query.is_empty());
    if let Some(query) = query {
        shown.replace_range(query, LEFT_OUT);
    }
    shown
}

/// The place of the `@` behind user and password, in what follows `://`; 0 for none.
fn login(rest: &str) -> usize {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let port = authority.split_once(':').map(|(_, port)| port);
    // RFC 3986 has these characters in no password, but people do: what follows the colon is none
    // of a port then.
    let is_port = port.is_none_or(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    let reach = match is_port {
        true => "",
        false => first_word(rest),
    };
    let last = |text: &str| text.rfind('@').unwrap_or(0);
    last(authority).max(last(reach))
}

fn first_word(text: &str) -> &str {
    text.split(char::is_whitespace).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_password_is_shown(password in r"[^\s0-9][^\s]{5,20}", around in "[ \"'(]{0,3}") {
            let shown = shown(&format!("{around}http://ann:{password}@bao/{around}"));
            prop_assert!(!shown.contains(&password), "{shown}");
        }
    }

    #[test]
    fn urls_are_shown_without_user_password_and_query() {
        for (text, expected) in [
            ("http://jane:hunter2@bao:8200/v1", "http://…@bao:8200/v1"),
            ("http://hunter2@bao", "http://…@bao"),
            ("loki://jane:hun/ter2@loki", "loki://…@loki"),
            ("loki://jane:hun?ter2@loki", "loki://…@loki"),
            ("loki://jane:hun#t@er2@loki", "loki://…@loki"),
            ("loki://jane:hun ter2@loki", "loki://…@loki"),
            ("https://:hunter2@[::1]:80/", "https://…@[::1]:80/"),
            ("https://in.example/logs?key=hunter2&a=b", "https://in.example/logs?…"),
            ("see https://in.example?hunter2, or not", "see https://in.example?…, or not"),
            ("\"http://a:hunter2@b?hunter2\" is bad", "\"http://…@b?…\" is bad"),
            ("a://b:hunter2@c and d://e:hunter2@f", "a://…@c and d://…@f"),
            ("'a://b:hun/ter2@c' for --to: 'd'", "'a://…@c' for --to: 'd'"),
            ("jane:hunter2@db:5432", "…@db:5432"),
            ("endpoints: [\"jane:hun@ter2@db\"]", "endpoints: [\"…@db\"]"),
            ("to: |\n  http://a:hunter2@b\n", "to: |\n  http://…@b\n"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_credential_is_shown_as_it_is() {
        for text in [
            "",
            "http://bao:8200/v1/a@b",
            "https://bao/@b",
            "https://bao/?",
            "listen: unix:/run/app@1.sock",
            "write http://HOST[:PORT], https://… or unix:/PATH",
            "to: loki://loki:3100 # of ops@example.com, as a:b",
            "ops@example.com: is this right?",
            r"(?P<user>\w+):\S+@",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_login_is_found_with_and_without_a_scheme() {
        for (address, expected) in [
            ("http://jane:hunter2@bao", true),
            ("http://hunter2@bao", true),
            ("jane:hunter2@bao:80", true),
            ("http://bao:8200/a@b", false),
            ("[::1]:80", false),
            ("bao:80", false),
        ] {
            assert_eq!(has_login(address), expected, "{address}");
        }
    }
}
