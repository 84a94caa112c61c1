//! `pillion secrets sync`: the secrets role without a sidecar around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion_model::secrets::{
    Auth, Confirm, Content, Environment, FileSet, FileSpec, Limits, Readiness, SecretSource,
    Secrets, Server, Tell, TemplateLanguage, TemplateSource, TemplateText,
};
use pillion_runtime::board::{AppControl, Board};
use pillion_runtime::code_pages::release_after;
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::Role;
use pillion_runtime::say;
use pillion_runtime::signals::{Blocked, Intent, Signals};
use pillion_secrets::{CONDITION, Context, Status};
use tokio::sync::watch;

use crate::cli::SyncArguments;
use crate::failure::Failure;
use crate::{metrics, panics};

/// The name of the one set.
const SET: &str = "sync";
/// What is under way at the end has this long.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// As they are in a configuration that does not say.
const LIMITS: Limits = Limits { files: 1_024, bytes: 16 << 20 };
const ANSWER_BYTES: usize = 4 << 20;
/// How long the command and its confirmation may take.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// Delivers until it is told to end, or once.
///
/// # Errors
/// An argument is wrong, or with `--once`: something could not be delivered.
pub(super) fn command(arguments: SyncArguments) -> Result<u8, Failure> {
    let once = arguments.once;
    let secrets = secrets(arguments)?;
    panics::watch();
    let blocked =
        Blocked::block().map_err(|error| Failure::doing("cannot receive signals", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("cannot start the runtime", &error))?;
    runtime.block_on(run(secrets, once, blocked))
}

async fn run(secrets: Secrets, once: bool, blocked: Blocked) -> Result<u8, Failure> {
    let mut signals =
        blocked.listen().map_err(|error| Failure::doing("cannot receive signals", &error))?;
    let registry = Registry::new(metrics::SERIES_LIMIT);
    let status = Status::new(&registry);
    tokio::spawn(release_after(status.watch()));
    // Nobody changes what was asked for on the command line.
    let (_settings, followed) = watch::channel(Arc::new(secrets));
    // There is no app of ours: who is to be told is told by a command.
    let (app, _) = AppControl::new();
    let context = Context {
        settings: followed,
        board: Board::default(),
        app,
        supervised: false,
        lifecycle: Lifecycle::new(&[CONDITION]),
        registry: registry.clone(),
        status: status.clone(),
    };
    let mut role =
        Role::start("secrets", &registry, move |stop| pillion_secrets::run(context.clone(), stop))
            .map_err(|error| Failure::doing("cannot start a thread", &error))?;
    let delivered = async {
        match once {
            true => status.delivered_once().await,
            false => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        delivered = delivered => delivered,
        told = told_to_end(&mut signals) => {
            say!(Info, "told to end", signal = told);
            Ok(())
        }
    };
    role.stop(Instant::now() + END_TIMEOUT);
    role.ended().await;
    match result {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::because(&Undelivered(error))),
    }
}

/// Waits for a signal that asks for the end.
async fn told_to_end(signals: &mut Signals) -> &'static str {
    loop {
        match signals.next().await {
            Ok(received) if matches!(received.intent(), Intent::Drain { .. }) => {
                return received.signal.as_str();
            }
            Ok(_) => {}
            // Without signals, only an end by force is left.
            Err(_) => std::future::pending().await,
        }
    }
}

/// What could not be delivered, and why.
#[derive(Debug, thiserror::Error)]
#[error("nothing was delivered: {0}")]
struct Undelivered(String);

/// The configuration that the arguments stand for.
fn secrets(arguments: SyncArguments) -> Result<Secrets, Failure> {
    let interval = arguments.interval.get();
    let mut sources: Vec<Arc<SecretSource>> = Vec::new();
    let mut files = Vec::new();
    for wanted in arguments.secrets {
        let name: Arc<str> = wanted.path.as_str().into();
        if !sources.iter().any(|source| source.name == name) {
            sources.push(Arc::new(SecretSource {
                name: name.clone(),
                path: wanted.path,
                data: Vec::new(),
                interval,
                version: None,
            }));
        }
        let content = match wanted.key {
            Some(key) => Content::Key { secret: name, key },
            None => Content::Json(name),
        };
        files.push((wanted.file, content));
    }
    for wanted in arguments.templates {
        let is_consul = wanted.template.extension().is_some_and(|it| it == "ctmpl" || it == "tpl");
        let language = match is_consul {
            true => TemplateLanguage::Consul,
            false => TemplateLanguage::Jinja,
        };
        let text = TemplateText::File(wanted.template);
        files.push((wanted.file, Content::Template(TemplateSource { text, language })));
    }
    if files.is_empty() {
        return Err(Failure::usage(
            "nothing to deliver: say what with --secret PATH#KEY=NAME or --template FILE=NAME",
        ));
    }
    let mode = arguments.mode.bits();
    let files = files
        .into_iter()
        .map(|(name, content)| FileSpec { name, content, mode, owner: None })
        .collect();
    let url = arguments.server.base();
    let url = url.map_err(|fault| Failure::usage(&format!("--server: {fault}")))?;
    let tell = match arguments.exec {
        Some(command) => Tell::Command(vec!["/bin/sh".to_owned(), "-c".to_owned(), command]),
        None => Tell::Nothing,
    };
    Ok(Secrets {
        server: Some(Server {
            url: url.into(),
            ca: arguments.ca,
            server_name: None,
            namespace: arguments.namespace,
            auth: Auth::TokenFile { path: arguments.token_file, wrapped: false },
            timeout: Duration::from_secs(10),
            backoff: (Duration::from_millis(500), Duration::from_secs(60)),
            renew_at: 0.67,
            revoke_on_exit: false,
            answer_bytes: ANSWER_BYTES,
        }),
        secrets: sources,
        configs: Vec::new(),
        sets: vec![Arc::new(FileSet {
            name: SET.into(),
            directory: arguments.to,
            files,
            checks: Vec::new(),
            tell,
            confirm: Confirm::Told,
            confirm_timeout: CONFIRM_TIMEOUT,
            grace: arguments.grace.get(),
            keep: 1,
        })],
        environment: Environment::default(),
        api: None,
        cache: None,
        readiness: Readiness { wait: true, max_stale: None },
        limits: LIMITS,
    })
}
