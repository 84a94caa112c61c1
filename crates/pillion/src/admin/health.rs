//! `/live`, `/ready`, `/app/ready`: three questions, three answers.

use std::sync::Arc;

use http::StatusCode;
use pillion_runtime::admin::{Request, Response, Routes};
use pillion_runtime::lifecycle::{Lifecycle, Phase, Status};
use serde_json::json;

use super::View;
use crate::run::{AppView, ask};

/// The condition that `/healthcheck/fail` takes away.
const ADMIN: &str = "admin";

pub(super) fn add(routes: Routes, view: &Arc<View>) -> Routes {
    let lifecycle = view.sidecar.lifecycle.clone();
    let app = view.app.clone();
    let routes = routes
        .get("/live", "200 while the process runs", async |_| {
            Response::text(StatusCode::OK, "alive\n")
        })
        .get("/ready", "200 when the sidecar takes traffic, else 503 and why", move |request| {
            let status = lifecycle.status();
            async move { ready(&request, &status) }
        })
        .get("/app/ready", "200 when the app alone is ready, else 503 and why", move |_| {
            let app = app.borrow().clone();
            async move { app_ready(&app).await }
        });
    let (fail, ok) = (view.sidecar.lifecycle.clone(), view.sidecar.lifecycle.clone());
    routes
        .post("/healthcheck/fail", "makes /ready answer 503", move |_| {
            fail.miss(ADMIN, "switched off by POST /healthcheck/fail");
            phase_of(fail.clone())
        })
        .post("/healthcheck/ok", "takes /healthcheck/fail back", move |_| {
            ok.meet(ADMIN);
            phase_of(ok.clone())
        })
}

async fn phase_of(lifecycle: Lifecycle) -> Response {
    Response::text(StatusCode::OK, format!("{}\n", lifecycle.phase()))
}

fn ready(request: &Request, status: &Status) -> Response {
    let code = match status.phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting | Phase::Draining | Phase::Stopped => StatusCode::SERVICE_UNAVAILABLE,
    };
    if request.header("accept").is_some_and(|accept| accept.contains("application/json")) {
        let body = json!({
            "ready": status.phase == Phase::Ready,
            "phase": status.phase.name(),
            "missing": status.missing,
            "drain_reason": status.drain_reason,
        });
        return Response { status: code, ..Response::json(format!("{body}\n")) };
    }
    let mut text = status.phase.to_string();
    if let Some(reason) = &status.drain_reason {
        text.push_str(&format!(": {reason}"));
    }
    text.push('\n');
    for (condition, why) in &status.missing {
        text.push_str(&format!("{condition}: {why}\n"));
    }
    Response::text(code, text)
}

/// Asks the app itself, so that the sidecar's own state never makes an app look ill.
async fn app_ready(app: &AppView) -> Response {
    let ready = match &app.place {
        Some(place) => ask(place.address, app.ready_path.as_deref()).await,
        None if app.expected => Err("the app listens on no port".to_owned()),
        None => Err("there is no app: neither a command nor app.port names one".to_owned()),
    };
    match ready {
        Ok(()) => Response::text(StatusCode::OK, "ready\n"),
        Err(why) => Response::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
