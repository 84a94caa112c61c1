//! `pillion check` and `pillion explain`: what a configuration file says, and what is wrong in it.

use pillion_model::config::{self, Diagnostic, Loaded, Overrides};
use serde_json::json;

use crate::cli::{CheckArguments, ExplainArguments};
use crate::failure::{Failure, list, named};
use crate::print;

/// What a file ends the command with that has a problem.
const REFUSED: u8 = 1;

/// `pillion check FILE [--json]`.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn check(arguments: &CheckArguments) -> Result<u8, Failure> {
    let file = named(&arguments.file);
    let loaded = config::load(&arguments.file, &Overrides::default());
    let code = if loaded.is_ok() { 0 } else { REFUSED };
    match loaded {
        loaded if arguments.json => output(&as_json(&file, &loaded))?,
        Ok(loaded) => {
            let (routes, upstreams) = sizes(&loaded);
            output(&format!("{file}: ok ({routes} routes, {upstreams} upstreams)"))?;
        }
        Err(problems) => print::error(&list(&problems)),
    }
    Ok(code)
}

/// `pillion explain FILE`.
///
/// # Errors
/// The file has problems, or standard output cannot be written to.
pub(crate) fn explain(arguments: &ExplainArguments) -> Result<u8, Failure> {
    let loaded = config::load(&arguments.file, &Overrides::default())
        .map_err(|problems| Failure::refused(&problems).with_code(REFUSED))?;
    output(&config::explain(&loaded))?;
    Ok(0)
}

/// Writes to standard output.
///
/// # Errors
/// It is closed or full.
pub(crate) fn output(text: &str) -> Result<(), Failure> {
    print::output(text).map_err(|error| Failure::doing("cannot write to standard output", &error))
}

fn as_json(file: &str, loaded: &Result<Loaded, Vec<Diagnostic>>) -> String {
    let result = match loaded {
        Ok(loaded) => {
            let (routes, upstreams) = sizes(loaded);
            json!({"file": file, "ok": true, "routes": routes, "upstreams": upstreams,
                "problems": []})
        }
        Err(problems) => json!({"file": file, "ok": false, "problems": problems}),
    };
    format!("{result:#}")
}

/// How many routes and upstreams there are.
fn sizes(loaded: &Loaded) -> (usize, usize) {
    let snapshot = &loaded.snapshot;
    (snapshot.inbound.routes.len() + snapshot.outbound.routes.len(), snapshot.upstreams.len())
}
