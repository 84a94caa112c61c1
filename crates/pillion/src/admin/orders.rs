//! `/reload`, `/drain`, `/quit`: what the admin interface can ask the process for.

use std::sync::Arc;

use http::StatusCode;
use pillion_runtime::admin::{Response, Routes};
use tokio::sync::{mpsc, oneshot};

use super::View;
use crate::run::{Order, Reloaded};

pub(super) fn add(routes: Routes, view: &Arc<View>) -> Routes {
    let orders = || view.orders.clone();
    let (reloads, drains, ends, ends_too) = (orders(), orders(), orders(), orders());
    routes
        .post("/reload", "reads the configuration again: 200, or 422 and why not", move |_| {
            reload(reloads.clone())
        })
        .post("/drain", "takes nothing new, finishes what is in flight, lives on", move |_| {
            give(drains.clone(), Order::Drain("POST /drain"), "draining\n")
        })
        .post("/quit", "drains, then ends app and sidecar", move |_| {
            give(ends.clone(), Order::End("POST /quit"), "ending\n")
        })
        .post("/quitquitquit", "the same as /quit", move |_| {
            give(ends_too.clone(), Order::End("POST /quitquitquit"), "ending\n")
        })
}

async fn reload(orders: mpsc::Sender<Order>) -> Response {
    let (answer, answered) = oneshot::channel();
    let given = orders.send(Order::Reload(answer)).await;
    let Some(reloaded) = (match given {
        Ok(()) => answered.await.ok(),
        Err(_) => None,
    }) else {
        return over();
    };
    let status = match reloaded {
        Reloaded::Unchanged | Reloaded::Applied { .. } => StatusCode::OK,
        Reloaded::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Response::text(status, format!("{reloaded}\n"))
}

async fn give(orders: mpsc::Sender<Order>, order: Order, answer: &'static str) -> Response {
    match orders.send(order).await {
        Ok(()) => Response::text(StatusCode::OK, answer),
        Err(_) => over(),
    }
}

/// Nobody takes orders any more.
fn over() -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, "the process is about to end\n")
}
