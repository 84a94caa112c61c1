//! Which known word a user most likely meant.

/// The candidate closest to `word`, if one is close enough to be a slip of the hand.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let limit = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits from one to the other; a word that the other begins with is as close as one edit, so that
/// `connect` finds `connect_timeout`.
fn distance(word: &str, candidate: &str) -> usize {
    let candidate = candidate.replace('-', "_");
    if word.len() >= 4 && candidate.starts_with(word) {
        return 1;
    }
    strsim::damerau_levenshtein(word, &candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let known = ["connect_timeout", "idle_timeout", "limits", "on-failure"];
        let check = |word: &str, expect: Option<&str>| {
            assert_eq!(nearest(word, known), expect, "{word}");
        };
        check("conect_timeout", Some("connect_timeout"));
        check("connectTimeout", Some("connect_timeout"));
        check("connect", Some("connect_timeout"));
        check("limit", Some("limits"));
        check("on_failure", Some("on-failure"));
        check("banana", None);
        check("", None);
    }
}
