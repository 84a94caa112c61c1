//! The effective configuration as YAML that can be read again, with the defaults marked.

use serde_json::Value;

use super::Loaded;

/// Every key that is in force; what nobody wrote has `# default` behind it.
pub fn explain(loaded: &Loaded) -> String {
    let effective = serde_json::to_value(loaded.effective()).unwrap_or_default();
    let written = loaded.written();
    let mut lines = Lines(String::new());
    if let Value::Object(sections) = &effective {
        for (key, value) in sections {
            lines.entry(0, key, value, written.get(key));
        }
    }
    lines.0
}

/// The text so far.
struct Lines(String);

impl Lines {
    /// One key with all that is below it. `written` is what somebody wrote at this place.
    fn entry(&mut self, indent: usize, key: &str, value: &Value, written: Option<&Value>) {
        let margin = "  ".repeat(indent);
        let key = quoted(key);
        match value {
            Value::Null => self.line(&format!("{margin}# {key}: not set"), None),
            Value::Object(entries) if !entries.is_empty() => {
                self.line(&format!("{margin}{key}:"), None);
                for (key, value) in entries {
                    self.entry(indent + 1, key, value, written.and_then(|w| w.get(key)));
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                self.line(&format!("{margin}{key}:"), None);
                for (index, item) in items.iter().enumerate() {
                    self.item(indent + 1, item, written.and_then(|w| w.get(index)));
                }
            }
            value => self.line(&format!("{margin}{key}: {}", inline(value)), Some(written)),
        }
    }

    /// A mapping in a list: its first key stands behind the dash.
    fn item(&mut self, indent: usize, item: &Value, written: Option<&Value>) {
        let start = self.0.len();
        for (key, value) in item.as_object().into_iter().flatten() {
            self.entry(indent + 1, key, value, written.and_then(|w| w.get(key)));
        }
        let dash = start + indent * 2;
        if self.0.get(dash..dash + 1).is_some() {
            self.0.replace_range(dash..dash + 1, "-");
        }
    }

    fn line(&mut self, text: &str, written: Option<Option<&Value>>) {
        self.0.push_str(text);
        if written == Some(None) {
            self.0.push_str("  # default");
        }
        self.0.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// The text as YAML: bare where no reader can take it for anything else, else in double quotes.
fn quoted(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if starts && text.chars().all(bare) && !text.ends_with(':') && !special(text) {
        return text.to_owned();
    }
    // A JSON string is a YAML string.
    Value::from(text).to_string()
}

/// Whether some reader of YAML 1.1 or 1.2 takes the bare text for a number, a truth or nothing.
/// `off` is left bare: that is how people write it, and this reader takes it as it stands.
fn special(text: &str) -> bool {
    let word = ["null", "true", "false", "yes", "no", "on", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    let number = text.parse::<f64>().is_ok()
        || text.starts_with("0x")
        || text.starts_with("0o")
        || text.chars().all(|c| c.is_ascii_digit() || "_-:.".contains(c))
            && !text.contains("..")
            && text.matches('.').count() < 3;
    word || number
}
