//! Why an exchange failed: one closed list, and the one place that turns it into a status, a
//! header, a metric label and a log field.

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client.
    Downstream,
    /// The endpoint, or the way to it.
    Upstream,
    /// Pillion: its configuration, limits or state.
    Local,
}

/// Why Pillion itself answered or ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client went away before its response was complete.
    DownstreamAbort,
    /// The client did not send its request head in time.
    DownstreamHeadTimeout,
    /// The client stopped sending its request body.
    DownstreamBodyTimeout,
    /// The request could not be read, or could be read in two ways.
    DownstreamMalformed,
    /// The request head has too many bytes or fields.
    DownstreamHeadTooLarge,
    /// The client speaks something that this listener does not take.
    DownstreamProtocol,
    /// The client asks for an HTTP feature that is not supported.
    DownstreamUnsupported,
    /// The drain deadline ended it.
    DrainDeadline,
    /// The process is draining and takes nothing new.
    Draining,
    /// The request came back to the Pillion that sent it.
    Loop,
    /// No route matches.
    NoRoute,
    /// The upstream has no endpoint.
    NoEndpoint,
    /// The app's port is not known yet.
    AppNotListening,
    /// The upstream's connection limit is reached.
    UpstreamConnectionLimit,
    /// The upstream's limit of waiting requests is reached.
    UpstreamPendingLimit,
    /// The upstream's limit of requests in flight is reached.
    UpstreamRequestLimit,
    /// The outbound side knows as many hosts as it may, and all are in use.
    HostLimit,
    /// The process holds as many downstream connections as it may.
    ConnectionLimit,
    /// The name did not resolve.
    DnsFailure,
    /// The endpoint refused the connection.
    UpstreamConnectRefused,
    /// No connection in time.
    UpstreamConnectTimeout,
    /// The connection failed in another way (no route to host, reset, no such socket).
    UpstreamConnectFailed,
    /// The connection ended before a response head.
    UpstreamClosed,
    /// The connection ended inside the response.
    UpstreamTruncated,
    /// The response could not be read, or could be read in two ways.
    UpstreamMalformed,
    /// The response head has too many bytes or fields.
    UpstreamHeadTooLarge,
    /// The endpoint reset the stream.
    UpstreamReset,
    /// The endpoint does not answer any more, not even to a PING or a keepalive of TCP.
    UpstreamLost,
    /// No response head in time.
    UpstreamTimeout,
    /// The response or the tunnel fell silent.
    UpstreamIdleTimeout,
    /// Pillion broke one of its own rules: a bug, please report it.
    Internal,
}

impl Reason {
    /// Every reason, for the generated reference.
    pub const ALL: &'static [Self] = &[
        Self::DownstreamAbort,
        Self::DownstreamHeadTimeout,
        Self::DownstreamBodyTimeout,
        Self::DownstreamMalformed,
        Self::DownstreamHeadTooLarge,
        Self::DownstreamProtocol,
        Self::DownstreamUnsupported,
        Self::DrainDeadline,
        Self::Draining,
        Self::Loop,
        Self::NoRoute,
        Self::NoEndpoint,
        Self::AppNotListening,
        Self::UpstreamConnectionLimit,
        Self::UpstreamPendingLimit,
        Self::UpstreamRequestLimit,
        Self::HostLimit,
        Self::ConnectionLimit,
        Self::DnsFailure,
        Self::UpstreamConnectRefused,
        Self::UpstreamConnectTimeout,
        Self::UpstreamConnectFailed,
        Self::UpstreamClosed,
        Self::UpstreamTruncated,
        Self::UpstreamMalformed,
        Self::UpstreamHeadTooLarge,
        Self::UpstreamReset,
        Self::UpstreamLost,
        Self::UpstreamTimeout,
        Self::UpstreamIdleTimeout,
        Self::Internal,
    ];

    /// What each consequence of this reason is.
    // One line each, so that the list reads as the table it is.
    #[rustfmt::skip]
    pub const fn facts(self) -> Facts {
        use Side::{Downstream, Local, Upstream};
        let (side, status, label, error, text) = match self {
            Self::DownstreamAbort => (Downstream, 499, "downstream_abort", "connection_terminated", "the client went away before its response was complete"),
            Self::DownstreamHeadTimeout => (Downstream, 408, "downstream_head_timeout", "http_request_error", "the request head did not arrive in time"),
            Self::DownstreamBodyTimeout => (Downstream, 408, "downstream_body_timeout", "http_request_error", "the request body stopped arriving"),
            Self::DownstreamMalformed => (Downstream, 400, "downstream_malformed", "http_request_error", "the request could not be read, or could be read in two ways"),
            Self::DownstreamHeadTooLarge => (Downstream, 431, "downstream_head_too_large", "http_request_error", "the request head exceeds limits.head_bytes or limits.head_fields"),
            Self::DownstreamProtocol => (Downstream, 400, "downstream_protocol", "http_request_error", "the client does not speak what this listener takes"),
            Self::DownstreamUnsupported => (Downstream, 501, "downstream_unsupported", "http_request_denied", "the request needs something that is not supported here"),
            Self::DrainDeadline => (Local, 503, "drain_deadline", "proxy_internal_response", "the drain deadline passed before the exchange was complete"),
            Self::Draining => (Local, 503, "draining", "proxy_internal_response", "the sidecar is draining and takes nothing new"),
            Self::Loop => (Local, 508, "loop", "proxy_loop_detected", "the request came back to the sidecar that sent it"),
            Self::NoRoute => (Local, 404, "no_route", "destination_not_found", "no route matches the request"),
            Self::NoEndpoint => (Local, 503, "no_endpoint", "destination_unavailable", "the upstream has no endpoint"),
            Self::AppNotListening => (Local, 503, "app_not_listening", "destination_unavailable", "the app does not listen on a port yet"),
            Self::UpstreamConnectionLimit => (Local, 503, "upstream_connection_limit", "connection_limit_reached", "the upstream's limits.connections is reached"),
            Self::UpstreamPendingLimit => (Local, 503, "upstream_pending_limit", "connection_limit_reached", "the upstream's limits.pending is reached"),
            Self::UpstreamRequestLimit => (Local, 503, "upstream_request_limit", "connection_limit_reached", "the upstream's limits.requests is reached"),
            Self::HostLimit => (Local, 503, "host_limit", "connection_limit_reached", "limits.hosts is reached"),
            Self::ConnectionLimit => (Local, 503, "connection_limit", "connection_limit_reached", "limits.connections is reached"),
            Self::DnsFailure => (Upstream, 502, "dns_failure", "dns_error", "the host name did not resolve"),
            Self::UpstreamConnectRefused => (Upstream, 502, "upstream_connect_refused", "connection_refused", "the endpoint refused the connection"),
            Self::UpstreamConnectTimeout => (Upstream, 504, "upstream_connect_timeout", "connection_timeout", "no connection to the endpoint in time"),
            Self::UpstreamConnectFailed => (Upstream, 502, "upstream_connect_failed", "destination_ip_unroutable", "the connection to the endpoint failed"),
            Self::UpstreamClosed => (Upstream, 502, "upstream_closed", "connection_terminated", "the endpoint closed the connection before a response"),
            Self::UpstreamTruncated => (Upstream, 502, "upstream_truncated", "http_response_incomplete", "the endpoint closed the connection inside the response"),
            Self::UpstreamMalformed => (Upstream, 502, "upstream_malformed", "http_protocol_error", "the response could not be read, or could be read in two ways"),
            Self::UpstreamHeadTooLarge => (Upstream, 502, "upstream_head_too_large", "http_response_header_section_size", "the response head exceeds limits.head_bytes or limits.head_fields"),
            Self::UpstreamReset => (Upstream, 502, "upstream_reset", "connection_terminated", "the endpoint reset the stream"),
            Self::UpstreamLost => (Upstream, 502, "upstream_lost", "connection_terminated", "the endpoint does not answer any more, not even to a PING or a keepalive of TCP"),
            Self::UpstreamTimeout => (Upstream, 504, "upstream_timeout", "http_response_timeout", "no response head in time"),
            Self::UpstreamIdleTimeout => (Upstream, 504, "upstream_idle_timeout", "connection_read_timeout", "the response or the tunnel fell silent"),
            Self::Internal => (Local, 500, "internal", "proxy_internal_error", "a bug in Pillion: please report it"),
        };
        Facts { side, status, label, error, text }
    }

    /// The word in metrics, logs and the `proxy-status` header.
    pub const fn label(self) -> &'static str {
        self.facts().label
    }

    /// The status that the client sees, where a response can still be sent.
    pub const fn status(self) -> u16 {
        self.facts().status
    }
}

/// The consequences of a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who is at fault.
    pub side: Side,
    /// Response status; 499 is only ever logged, the client is gone.
    pub status: u16,
    /// Metric label, log field and `reason` parameter of `proxy-status`.
    pub label: &'static str,
    /// Proxy error type of RFC 9209 §2.3, the `error` parameter of `proxy-status`.
    pub error: &'static str,
    /// One sentence for people.
    pub text: &'static str,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_its_own_and_a_status_that_says_whose_fault_it_is() {
        let mut labels = HashSet::new();
        for reason in Reason::ALL {
            let Facts { side, status, label, error, text } = reason.facts();
            assert!(labels.insert(label), "{label} is there twice");
            let word = |text: &str| {
                text.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
            };
            assert!(word(label) && word(error), "{label}, {error}: a word of lower-case letters");
            assert!(!text.is_empty());
            let expect = match side {
                Side::Downstream => 400..=501,
                Side::Upstream => 502..=504,
                Side::Local => 404..=508,
            };
            assert!(expect.contains(&status), "{label}: {status}");
        }
    }
}
