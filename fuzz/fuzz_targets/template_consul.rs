//! No text makes the engine for consul-templates panic, run on or write without bound.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use pillion_model::secrets::TemplateLanguage;
use pillion_secrets::template::{MAX_OUTPUT, Template, Values};

fuzz_target!(|text: &str| {
    let values = Values {
        secrets: BTreeMap::new(),
        requested: BTreeMap::new(),
        configs: BTreeMap::new(),
        env: HashMap::from([("APP".to_owned(), "app".to_owned())]),
        now: SystemTime::UNIX_EPOCH,
    };
    let Ok(template) = Template::parse("fuzz", text, TemplateLanguage::Consul) else { return };
    let _any_result = template.needs(&values);
    if let Ok(rendered) = template.render(&values) {
        assert!(rendered.reveal().len() <= MAX_OUTPUT);
    }
});
