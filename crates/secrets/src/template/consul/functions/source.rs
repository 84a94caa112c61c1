//! Where values come from: the server, the environment, the clock.

use std::time::{Duration, SystemTime};

use pillion_runtime::timestamp;

use super::super::request;
use super::{ANY, Call, Fault, Function, Value, function};
use crate::fetched::Fetched;

pub(super) const FUNCTIONS: &[Function] = &[
    function("secret", 1, ANY, |call| fetched(call).map(secret)),
    function("pkiCert", 1, ANY, |call| fetched(call).map(certificate)),
    function("env", 1, 1, |call| {
        Ok(Value::text(call.values.env.get(call.text(0)?).map_or("", String::as_str)))
    }),
    function("mustEnv", 1, 1, |call| {
        let name = call.text(0)?;
        let value = call.values.env.get(name).filter(|value| !value.is_empty());
        let unset = || call.fault(format!("the environment variable {name} is not set"));
        Ok(Value::text(value.ok_or_else(unset)?.as_str()))
    }),
    function("envOrDefault", 2, 2, |call| {
        let value = call.values.env.get(call.text(0)?);
        Ok(Value::text(value.map_or(call.text(1)?, String::as_str)))
    }),
    function("timestamp", 0, 1, now),
];

fn fetched<'a>(call: &'a Call<'_>) -> Result<&'a Fetched, Fault> {
    let request = request(call.arguments)?;
    let missing = || call.fault(format!("{} has not been fetched", request.path));
    call.values.requested.get(&request).ok_or_else(missing)
}

fn data(fetched: &Fetched) -> impl Iterator<Item = (String, Value)> {
    fetched.data.iter().map(|(key, value)| (key.clone(), Value::of(value)))
}

fn named(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

/// The answer as consul-template has it: of KV 2, `.Data.data` and `.Data.metadata`.
fn secret(fetched: &Fetched) -> Value {
    let data = Value::map(data(fetched));
    let data = match fetched.version {
        None => data,
        Some(version) => {
            let version = Value::Int(i64::try_from(version).unwrap_or(i64::MAX));
            let metadata = Value::map([named("version", version)]);
            Value::map([named("data", data), named("metadata", metadata)])
        }
    };
    let lease = fetched.lease.as_ref();
    let duration = lease.map_or(0, |lease| lease.duration.as_secs());
    Value::map([
        named("Data", data),
        named("LeaseID", Value::text(lease.map_or("", |lease| lease.id.as_str()))),
        named("LeaseDuration", Value::Int(i64::try_from(duration).unwrap_or(i64::MAX))),
        named("Renewable", Value::Bool(lease.is_some_and(|lease| lease.renewable))),
    ])
}

/// A certificate as `pkiCert` has it; also below `.Data`, where older files look.
fn certificate(fetched: &Fetched) -> Value {
    let field = |key: &str| {
        let value = fetched.data.get(key).and_then(|value| value.secret().reveal_text());
        Value::text(value.unwrap_or("").trim_end_matches('\n'))
    };
    let chain = fetched.data.get("ca_chain").map_or(Value::text(""), Value::of);
    let parts = [
        named("Cert", field("certificate")),
        named("Key", field("private_key")),
        named("CA", field("issuing_ca")),
        named("CAChain", chain),
    ];
    let below = named("Data", Value::map(parts.clone()));
    Value::map(parts.into_iter().chain([below]))
}

fn now(call: &Call<'_>) -> Result<Value, Fault> {
    let since = call.values.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    match call.arguments {
        [] => {
            let stamp = timestamp::rfc3339_ms(since.as_secs() * 1_000_000);
            let seconds = stamp.get(..19).unwrap_or_default();
            Ok(Value::text(format!("{}Z", String::from_utf8_lossy(seconds))))
        }
        _ if call.text(0)? == "unix" => Ok(Value::text(since.as_secs().to_string())),
        _ => Err(call.fault("it takes nothing, for RFC 3339, or \"unix\"")),
    }
}
