//! The admin paths that need nothing but this crate.

use std::time::Instant;

use http::{Method, StatusCode};

use super::routes::{Request, Response, Routes};
use crate::metrics::{Format, Registry};
use crate::say::{self, Level};

/// Adds `/metrics`, and `/stats/prometheus` as Envoy calls it.
#[must_use]
pub fn metrics(routes: Routes, registry: &Registry) -> Routes {
    let help = "all metrics: OpenMetrics if the scraper accepts it, else Prometheus text";
    let mut routes = routes;
    for path in ["/metrics", "/stats/prometheus"] {
        let registry = registry.clone();
        routes = routes.get(path, help, move |request| {
            let registry = registry.clone();
            async move { scrape(&registry, &request) }
        });
    }
    routes
}

fn scrape(registry: &Registry, request: &Request) -> Response {
    let format = Format::from_accept(request.header("accept"));
    let body = registry.render_as(format, Instant::now()).into();
    Response { status: StatusCode::OK, content_type: format.content_type(), body }
}

/// Adds `/logging`: GET says which of our own messages are shown, POST or PUT changes it.
#[must_use]
pub fn logging(routes: Routes) -> Routes {
    let help = "level of Pillion's own messages; POST ?level=error|warn|info|debug changes it";
    routes
        .get("/logging", help, async |_| Response::text(StatusCode::OK, current()))
        .on(Method::POST, "/logging", help, async |request| set_level(&request))
        .on(Method::PUT, "/logging", help, async |request| set_level(&request))
}

fn current() -> String {
    format!("level: {}\n", say::level().label())
}

fn set_level(request: &Request) -> Response {
    let Some(asked) = request.parameter("level") else {
        return Response::text(StatusCode::OK, current());
    };
    match Level::from_label(&asked) {
        Some(level) => {
            say::set_level(level);
            Response::text(StatusCode::OK, current())
        }
        None => {
            let text = format!("level is {asked:?}; it must be error, warn, info or debug\n");
            Response::text(StatusCode::BAD_REQUEST, text)
        }
    }
}
