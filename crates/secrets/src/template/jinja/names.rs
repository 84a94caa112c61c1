//! Which secrets and configuration sources a template names, read off its text.

use crate::template::Need;
use crate::template::fault::Fault;

/// A word within a tag.
#[derive(Clone, Debug, PartialEq)]
enum Word {
    Name(String),
    Text(String),
    Mark(char),
}

/// What `secrets.NAME`, `secrets["NAME"]`, `secret("NAME")`, and the same of `configs` and `version`,
/// name in tags.
///
/// # Errors
/// A name is computed, so that it is not known before the template is rendered.
pub(super) fn needs(source: &str) -> Result<Vec<Need>, Fault> {
    let mut needs = Vec::new();
    for (at, words) in tags(source) {
        for (place, word) in words.iter().enumerate() {
            let follows_dot = place > 0 && words.get(place - 1) == Some(&Word::Mark('.'));
            let Word::Name(word) = word else { continue };
            let (make, called): (fn(&str) -> Need, bool) = match word.as_str() {
                "secrets" | "version" => (|name| Need::Secret(name.into()), false),
                "secret" => (|name| Need::Secret(name.into()), true),
                "configs" => (|name| Need::Config(name.into()), false),
                "config" => (|name| Need::Config(name.into()), true),
                _ => continue,
            };
            let rest = words.get(place + 1..).unwrap_or_default();
            if follows_dot || rest.first() == Some(&Word::Mark('=')) {
                continue;
            }
            let name = match (called, rest) {
                (true, [Word::Mark('('), Word::Text(name), Word::Mark(')'), ..])
                | (false, [Word::Mark('.'), Word::Name(name), ..])
                | (false, [Word::Mark('['), Word::Text(name), Word::Mark(']'), ..]) => name,
                _ => return Err(computed(at, word, called)),
            };
            let need = make(name);
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
    }
    Ok(needs)
}

fn computed(at: usize, word: &str, called: bool) -> Fault {
    let form = if called { format!("{word}(\"NAME\")") } else { format!("{word}.NAME") };
    let text = format!(
        "write {form} with the name itself: what is needed must be known before it is rendered"
    );
    Fault::at(at, text)
}

/// The words of each `{{ }}` and `{% %}`, and where it begins; without comments and raw blocks.
fn tags(source: &str) -> Vec<(usize, Vec<Word>)> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(open) = rest.find('{') else { break };
        let inside = rest.get(open + 2..).unwrap_or("");
        let end = match rest.get(open..open + 2) {
            Some("{#") => inside.find("#}").map_or(rest.len(), |end| open + end + 4),
            Some("{{" | "{%") => {
                let (words, length) = words(inside);
                let is_raw = words.iter().find(|word| **word != Word::Mark('-'))
                    == Some(&Word::Name("raw".to_owned()));
                tags.push((at + open, words));
                let end = open + 2 + length;
                let raw = rest.get(end..).filter(|_| is_raw).and_then(|rest| rest.find("endraw"));
                raw.map_or(end, |raw| end + raw)
            }
            _ => open + 1,
        };
        at += end;
    }
    tags
}

/// The words up to the end of a tag, and how many bytes they take.
fn words(inside: &str) -> (Vec<Word>, usize) {
    let mut words = Vec::new();
    let mut letters = inside.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if matches!(letter, '}' | '%') && inside.get(at + 1..).is_some_and(|r| r.starts_with('}')) {
            return (words, at + 2);
        }
        if letter.is_whitespace() {
            continue;
        }
        if matches!(letter, '"' | '\'') {
            let mut text = String::new();
            while let Some((_, next)) = letters.next() {
                match next {
                    '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
                    _ if next == letter => break,
                    _ => text.push(next),
                }
            }
            words.push(Word::Text(text));
            continue;
        }
        let is_name = |letter: char| letter == '_' || letter.is_alphanumeric();
        if !is_name(letter) {
            words.push(Word::Mark(letter));
            continue;
        }
        let mut name = String::from(letter);
        while let Some((_, next)) = letters.next_if(|(_, next)| is_name(*next)) {
            name.push(next);
        }
        words.push(Word::Name(name));
    }
    (words, inside.len())
}
