//! Texts that the engine shares with us, and that are overwritten when it is done with them.

use std::sync::Arc;

use minijinja::Value;
use zeroize::Zeroize as _;

/// The texts that a template is rendered with. To be dropped after everything that was made of them.
#[derive(Default)]
pub(super) struct Lent(Vec<Arc<str>>);

impl Lent {
    /// The text as a value of the engine, which copies the pointer and not the text.
    pub(super) fn lend(&mut self, text: &str) -> Value {
        let shared: Arc<str> = text.into();
        self.0.push(shared.clone());
        Value::from(shared)
    }

    fn overwrite(&mut self) {
        // Where the engine still had one, it would keep it; it has none once it has rendered.
        self.0.iter_mut().filter_map(Arc::get_mut).for_each(|text| text.zeroize());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.overwrite();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::time::SystemTime;

    use pillion_runtime::board::Secret;

    use super::super::{Jinja, Values};
    use super::*;
    use crate::fetched::{Datum, Fetched};

    const LONG: &str = "a password that is too long to be kept within a value";

    fn values() -> Values {
        let json = format!(r#"{{"list": ["{LONG}", "pin"], "text": "{LONG}"}}"#);
        let data = BTreeMap::from([
            ("short".to_owned(), Datum::from("hunter2")),
            ("long".to_owned(), Datum::from(LONG)),
            ("json".to_owned(), Datum::read(&json).unwrap()),
        ]);
        let fetched = Fetched { data, lease: None, version: None, at: SystemTime::now() };
        let file = Secret::from("password=hunter2");
        Values {
            secrets: BTreeMap::from([("db".into(), fetched)]),
            requested: BTreeMap::new(),
            configs: BTreeMap::from([("app".into(), BTreeMap::from([("ini".to_owned(), file)]))]),
            env: HashMap::from([("HOME".to_owned(), "/root".to_owned())]),
            now: SystemTime::now(),
        }
    }

    #[test]
    fn a_template_that_was_rendered_has_left_no_value_behind() {
        for (text, is_good) in [
            ("{{ secrets.db.short }}{{ secrets.db.long }}{{ configs.app.ini }}", true),
            (
                "{% set all = secrets.db %}{{ all.long ~ all.short }}{{ secret('db').json.list[0] }}",
                true,
            ),
            (
                "{% for key, value in secrets.db | items %}{{ key }}: {{ value }}\n{% endfor %}",
                true,
            ),
            ("{% macro show(it) %}{{ it | upper }}{% endmacro %}{{ show(secrets.db.long) }}", true),
            ("{% set text %}{{ secrets.db.long }}{% endset %}{{ text | b64encode }}", true),
            ("{{ secrets.db.long }}{{ secrets.db.nothing }}", false),
            ("{% for it in secrets.db.json.list %}{{ it / 2 }}{% endfor %}", false),
        ] {
            let mut lent = Lent::default();
            let rendered = Jinja::parse(text).unwrap().render_with(&values(), &mut lent);
            assert_eq!(rendered.is_ok(), is_good, "{text}: {:?}", rendered.err());
            let all: Vec<&str> = lent.0.iter().map(|text| &**text).collect();
            assert_eq!(all, [LONG, "pin", LONG, LONG, "hunter2", "password=hunter2"], "{text}");
            lent.overwrite();
            let is_zero = |text: &Arc<str>| text.bytes().all(|byte| byte == 0);
            assert!(lent.0.iter().all(is_zero), "{text}: {:?}", lent.0);
        }
    }
}
