//! Fills the peers' configuration files of `bench/`.
//!
//! `@NAME@` stands for a value. The lines between `#repeat` and `#end` appear as often as asked,
//! with `@N@` counting from 1.

use crate::failure::Failure;

/// Fills `template` with `values`, its repeated parts `times` times.
pub(super) fn fill(
    template: &str,
    values: &[(&str, String)],
    times: usize,
) -> Result<String, Failure> {
    let mut filled = repeat(template, times);
    for (name, value) in values {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    // `"@type"` is Envoy's: a name of ours is all capitals.
    match filled.split('@').skip(1).step_by(2).find(|name| is_name(name)) {
        None => Ok(filled),
        Some(name) => Err(Failure::new(format!("the template names @{name}@, which has no value"))),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn repeat(template: &str, times: usize) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut block: Option<String> = None;
    for line in template.split_inclusive('\n') {
        match (line.trim(), &mut block) {
            ("#repeat", None) => block = Some(String::new()),
            ("#end", Some(lines)) => {
                for n in 1..=times {
                    filled.push_str(&lines.replace("@N@", &n.to_string()));
                }
                block = None;
            }
            (_, Some(lines)) => lines.push_str(line),
            (_, None) => filled.push_str(line),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_repeated_lines_are_filled_in() {
        let template = "port @PORT@\n  #repeat\nroute @N@ to @PORT@\n  #end\nlast\n";
        let values = [("PORT", "80".to_owned())];
        let cases = [(0, "port 80\nlast\n"), (2, "port 80\nroute 1 to 80\nroute 2 to 80\nlast\n")];
        for (times, expected) in cases {
            assert_eq!(fill(template, &values, times).unwrap(), expected);
        }
    }

    #[test]
    fn a_name_without_a_value_is_an_error() {
        let message = fill("port @PORT@\n", &[], 0).unwrap_err().to_string();
        assert!(message.contains("@PORT@"), "{message}");
    }

    #[test]
    fn a_lone_at_sign_is_left_alone() {
        assert_eq!(
            fill("\"@type\": a\n\"@type\": b\n", &[], 0).unwrap(),
            "\"@type\": a\n\"@type\": b\n"
        );
    }
}
