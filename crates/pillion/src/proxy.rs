//! `pillion proxy`: everything that arrives at one address goes to one upstream.

use pillion_model::config::{ListenAddress, Overrides, forward_proxy};

use crate::cli::ProxyArguments;
use crate::failure::Failure;
use crate::run::{Plan, Source, ride};

/// Where the upstream is named unless the command line does.
const UPSTREAM_URL: &str = "UPSTREAM_URL";

/// `pillion proxy --listen ADDR [--upstream URL]`.
///
/// # Errors
/// An address or the URL is wrong, or the proxy cannot start.
pub(crate) fn command(arguments: &ProxyArguments) -> Result<u8, Failure> {
    let ListenAddress::At(listen) = &arguments.listen else {
        return Err(Failure::usage("--listen off: a proxy needs an address to listen on"));
    };
    let upstream = arguments.upstream.clone().or_else(|| std::env::var(UPSTREAM_URL).ok());
    let upstream = upstream.ok_or_else(|| {
        Failure::usage("no upstream: say where requests go with --upstream URL, or UPSTREAM_URL")
    })?;
    let overrides = Overrides { admin: arguments.admin.clone(), ..Overrides::default() };
    let loaded = forward_proxy(listen.clone(), &upstream, &overrides)
        .map_err(|problems| Failure::refused(&problems))?;
    ride(Plan {
        loaded,
        source: Source { file: None, overrides },
        app: Vec::new(),
        ready_file: arguments.ready_file.clone(),
    })
}
