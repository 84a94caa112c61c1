//! Asking the admin interface of a running Pillion.

use bytes::Bytes;
use http::Request;
use pillion_client::{Client, Options, Target};
use pillion_model::config::ListenAddress;
use pillion_model::settings::Address;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// What the admin interface at `admin` answers to `GET path`, as JSON.
///
/// # Errors
/// Nobody answers there, or something else than a Pillion does.
pub(crate) fn admin<T: DeserializeOwned>(admin: &ListenAddress, path: &str) -> Result<T, Failure> {
    let ListenAddress::At(address) = admin else {
        return Err(Failure::usage("--admin off: there is nobody to ask"));
    };
    let target = match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    let target: Target = target.parse().map_err(|error| Failure::because(&error))?;
    let client =
        Client::new(target, &Options::default()).map_err(|error| Failure::because(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the runtime", &error))?;
    let request = Request::get(path)
        .body(Bytes::new())
        .map_err(|error| Failure::doing("cannot ask the admin interface", &error))?;
    let doing = "cannot ask the admin interface (is a Pillion running? --admin says where)";
    let answer =
        runtime.block_on(client.send(request)).map_err(|error| Failure::doing(doing, &error))?;
    if !answer.status().is_success() {
        let text = String::from_utf8_lossy(answer.body()).trim().to_owned();
        return Err(Failure::usage(&format!("{address} answers {}: {text}", answer.status())));
    }
    serde_json::from_slice(answer.body())
        .map_err(|error| Failure::doing("the answer of the admin interface makes no sense", &error))
}
