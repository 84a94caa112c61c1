//! Texts of others without our secrets: what a command prints, what a parser quotes.

use pillion_runtime::board::Secret;

/// What stands for a secret.
const MARK: &str = "[secret]";
/// Shorter values are left: they would be found everywhere, and say nothing.
const SHORTEST: usize = 4;
/// Shorter lines of a value of several lines are left, for the same reason.
const SHORTEST_LINE: usize = 12;

/// A text without any of the secrets, and without any longer line of one that has several, as a key
/// in PEM form has.
#[must_use]
pub fn redacted(text: &str, secrets: &[Secret]) -> String {
    let mut needles: Vec<&str> =
        secrets.iter().filter_map(Secret::reveal_text).flat_map(needles).collect();
    // The longest first: one secret may contain another.
    needles.sort_unstable_by_key(|needle| std::cmp::Reverse(needle.len()));
    needles.dedup();
    let mut text = text.to_owned();
    for needle in needles {
        if text.contains(needle) {
            text = text.replace(needle, MARK);
        }
    }
    text
}

fn needles(secret: &str) -> impl Iterator<Item = &str> {
    let whole = Some(secret.trim()).filter(|whole| whole.len() >= SHORTEST);
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
    whole.into_iter().chain(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_left_in_a_text() {
        let secrets: Vec<Secret> =
            ["hunter2", "hunter22 ", "abc", "", "-----BEGIN KEY-----\nMIIEvQIBADANBg\n"]
                .map(Secret::from)
                .into();
        let table = [
            ("password hunter2!", "password [secret]!"),
            ("hunter22", "[secret]"),
            ("abc stays", "abc stays"),
            ("line MIIEvQIBADANBg of a key", "line [secret] of a key"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(redacted(text, &secrets), expected);
        }
    }
}
