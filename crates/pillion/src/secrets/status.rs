//! `pillion secrets status`: what the secrets role of a sidecar does, asked at its admin interface.

use std::fmt::Write as _;

use http::Request;
use pillion_client::{Client, Options, Target};
use pillion_model::config::ListenAddress;
use pillion_model::settings::Address;
use serde_json::Value;

use crate::check::output;
use crate::cli::StatusArguments;
use crate::failure::Failure;

/// Shows each secret and each set.
///
/// # Errors
/// Nobody answers at the address, or it is no Pillion.
pub(super) fn command(arguments: &StatusArguments) -> Result<u8, Failure> {
    let ListenAddress::At(address) = &arguments.admin else {
        return Err(Failure::usage("--admin off: there is nobody to ask"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the runtime", &error))?;
    let page = runtime.block_on(ask(address))?;
    if arguments.json {
        output(&page)?;
        return Ok(0);
    }
    let page: Value = serde_json::from_str(&page)
        .map_err(|error| Failure::doing("the answer is not one of Pillion", &error))?;
    output(&shown(&page))?;
    Ok(0)
}

async fn ask(address: &Address) -> Result<String, Failure> {
    let target = match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    let failed = |error: &dyn std::error::Error| {
        Failure::doing(&format!("cannot ask the admin interface at {address}"), error)
    };
    let target: Target = target.parse().map_err(|error| failed(&error))?;
    let client = Client::new(target, &Options::default()).map_err(|error| failed(&error))?;
    let mut request = Request::new(bytes::Bytes::new());
    *request.uri_mut() = http::Uri::from_static("/secrets");
    let answer = client.send(request).await.map_err(|error| failed(&error))?;
    match answer.status().is_success() {
        true => Ok(String::from_utf8_lossy(answer.body()).into_owned()),
        false => Err(Failure::usage(&format!(
            "{address} answers {} for /secrets: it is no admin interface of this version",
            answer.status()
        ))),
    }
}

/// The page for people.
fn shown(page: &Value) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _written = write(&mut text, page);
    text
}

fn write(text: &mut String, page: &Value) -> std::fmt::Result {
    let server = &page["server"];
    if !server.is_null() {
        write!(text, "server {}", word(&server["url"]))?;
        match &server["session"] {
            Value::Null => write!(text, ": not logged in")?,
            session => {
                write!(text, ": token {}", word(&session["accessor"]))?;
                if let Some(left) = session["ends_in_seconds"].as_f64() {
                    write!(text, ", ends in {left} s")?;
                }
            }
        }
        writeln!(text, ", {} requests", server["requests"])?;
        trouble(text, &server["error"])?;
    }
    for (name, secret) in members(&page["secrets"]) {
        write_secret(text, name, secret)?;
    }
    for (name, config) in members(&page["configs"]) {
        write!(text, "config {name}: {}", word(&config["version"]))?;
        if let Some(age) = config["age_seconds"].as_f64() {
            write!(text, ", {age} s old")?;
        }
        writeln!(text)?;
        trouble(text, &config["error"])?;
    }
    for (name, set) in members(&page["sets"]) {
        write_set(text, name, set)?;
    }
    write_api(text, &page["api"])?;
    for (limit, hits) in members(&page["limit_hits"]) {
        writeln!(text, "limit secrets.{limit}: hit {hits} times")?;
    }
    if text.is_empty() {
        text.push_str("the secrets role is off");
    }
    Ok(())
}

fn write_api(text: &mut String, api: &Value) -> std::fmt::Result {
    let Some(address) = api["address"].as_str() else { return Ok(()) };
    write!(text, "api {address}: requests")?;
    for (outcome, requests) in members(&api["requests"]) {
        write!(text, " {outcome} {requests},")?;
    }
    writeln!(
        text,
        " joined {}, in flight {}, kept answers {}",
        api["joined"], api["in_flight"], api["kept"]
    )
}

fn write_secret(text: &mut String, name: &str, secret: &Value) -> std::fmt::Result {
    write!(text, "secret {name}: generation {}", secret["generation"])?;
    if let Some(version) = secret["version"].as_u64() {
        write!(text, ", version {version}")?;
    }
    if let Some(age) = secret["age_seconds"].as_f64() {
        write!(text, ", {age} s old")?;
    }
    if let Some(lease) = secret["lease"].as_str() {
        write!(text, ", lease {lease}")?;
    }
    if let Some(left) = secret["lease_ends_in_seconds"].as_f64() {
        write!(text, ", ends in {left} s")?;
    }
    match secret["old_leases"].as_u64() {
        None | Some(0) => {}
        Some(old) => write!(text, ", {old} older leases")?,
    }
    let next = &secret["next"];
    if let (Some(step), Some(wait)) = (next["step"].as_str(), next["in_seconds"].as_f64()) {
        write!(text, ", {step} in {wait} s")?;
    }
    writeln!(text)?;
    if let Some(failing) = secret["failing_seconds"].as_f64() {
        writeln!(text, "  not refreshed for {failing} s")?;
    }
    let last = &secret["last_error"];
    match (secret["error"].as_str(), last["error"].as_str()) {
        (None, Some(error)) => {
            writeln!(text, "  last error {} s ago: {error}", last["seconds_ago"])
        }
        (Some(_), _) | (None, None) => trouble(text, &secret["error"]),
    }
}

fn write_set(text: &mut String, name: &str, set: &Value) -> std::fmt::Result {
    write!(text, "set {name}: {}", word(&set["state"]))?;
    for (word, key) in [("version", "version"), ("confirmed", "confirmed")] {
        if let Some(version) = set[key].as_u64() {
            write!(text, ", {word} {version}")?;
        }
    }
    for (secret, generation) in members(&set["uses"]) {
        write!(text, ", {secret} of generation {generation}")?;
    }
    if let Some(wait) = set["next_try_in_seconds"].as_f64() {
        write!(text, ", tried again in {wait} s")?;
    }
    writeln!(text)?;
    trouble(text, &set["error"])?;
    let last = &set["last"];
    if let Some(steps) = last["steps"].as_array() {
        write!(
            text,
            "  last transaction {} s ago, {}:",
            last["seconds_ago"],
            word(&last["outcome"])
        )?;
        for step in steps {
            let took = step["took_ms"].as_f64().unwrap_or_default();
            write!(text, " {} {took:.1} ms", word(&step["step"]))?;
            if !step["error"].is_null() {
                write!(text, " (failed)")?;
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn trouble(text: &mut String, error: &Value) -> std::fmt::Result {
    match error.as_str() {
        Some(error) => writeln!(text, "  error: {error}"),
        None => Ok(()),
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
