//! `POST` of newline-delimited JSON to any server.

use http::Uri;
use http::uri::PathAndQuery;
use pillion_model::logs::HttpOutput;

use super::http::{Message, Server, judge};
use super::{Load, SinkError, Verdict};

/// A server that takes lines. What it takes once, it may take twice: there is no id that it has to
/// look at.
#[derive(Debug)]
pub(super) struct Plain {
    server: Server,
    /// Path and query, exactly as they were configured.
    path: String,
}

impl Plain {
    pub(super) fn new(output: &HttpOutput) -> Result<Self, SinkError> {
        let uri: Option<Uri> = output.url.parse().ok();
        let path = uri.as_ref().and_then(Uri::path_and_query).map_or("/", PathAndQuery::as_str);
        let base = output.url.strip_suffix(path).unwrap_or(&output.url);
        Ok(Self { server: Server::new(output, base)?, path: path.to_owned() })
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        let body = [load.shared()];
        let content_type = "application/x-ndjson";
        let message = Message { path: &self.path, content_type, body: &body, header: None };
        match self.server.post(&message).await {
            Ok(answer) => judge(&answer, Verdict::Refused).unwrap_or(Verdict::Delivered),
            Err(trouble) => Verdict::Retry(trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::http_output;
    use super::*;

    #[test]
    fn path_and_query_are_sent_as_they_were_configured() {
        for (url, path) in [
            ("http://host", "/"),
            ("http://host/", "/"),
            ("http://host:8080/logs", "/logs"),
            ("https://host/a/b/?key=1/2", "/a/b/?key=1/2"),
        ] {
            assert_eq!(Plain::new(&http_output(url)).unwrap().path, path, "{url}");
        }
        assert!(Plain::new(&http_output("nowhere")).is_err());
    }
}
