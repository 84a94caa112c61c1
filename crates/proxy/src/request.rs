//! Decides about a request from its head, and writes the head that goes upstream. Bytes of the
//! body are never seen here; HTTP/1 and HTTP/2 go through the same code.

use std::rc::Rc;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pillion_http1::{Field, FieldSet, RequestFacts};
use pillion_model::Reason;
use pillion_model::snapshot::{Action, Direction, HeaderOps};
use pillion_traffic::route::{RequestFields, RequestLine};
use pillion_traffic::{hops, retry, trace};

use crate::exchange::Exchange;

/// A borrowed request head, of either protocol.
pub(crate) struct View<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) authority: &'a [u8],
    /// Path and query.
    pub(crate) path: &'a [u8],
    pub(crate) fields: &'a [Field<'a>],
    /// Fields that concern one hop alone.
    pub(crate) drop: FieldSet,
    /// The head's own bytes, where it came over HTTP/1: its lines are copied as they are.
    pub(crate) raw: Option<&'a [u8]>,
    pub(crate) facts: RequestFacts,
    pub(crate) keep_alive: bool,
}

/// What the attempts need to know of a request.
pub(crate) struct Request {
    pub(crate) facts: RequestFacts,
    pub(crate) keep_alive: bool,
    pub(crate) idempotent: bool,
    /// Errors are told in gRPC's own way.
    pub(crate) is_grpc: bool,
    pub(crate) plan: Plan,
    /// The head for an HTTP/2 upstream; for HTTP/1 it is the start of the body's flow.
    pub(crate) h2_head: Option<Box<http::Request<()>>>,
}

/// What was decided about the fields of a request.
pub(crate) struct Plan {
    drop: FieldSet,
    /// Whether a `Host` line goes upstream without our adding one for the authority.
    has_host: bool,
    new_request_id: Option<[u8; 36]>,
    forwarded_for: Option<Vec<u8>>,
    is_grpc: bool,
}

impl RequestFields for View<'_> {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.values(name).any(test)
    }
}

impl<'a> View<'a> {
    fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone {
        let fields = self.fields;
        fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }
}

/// Decides about a request: ids, loop, route, upstream. What is learned goes into `exchange`.
pub(crate) fn plan(exchange: &mut Exchange, view: &View<'_>) -> (Plan, Result<(), Reason>) {
    let seen = Seen::of(view.fields);
    exchange.texts.set_request(view.method, view.authority, view.path);
    exchange.texts.set_user_agent(seen.user_agent);
    let mut plan = Plan {
        drop: view.drop,
        has_host: seen.host && !view.drop_has_host(),
        new_request_id: None,
        forwarded_for: None,
        is_grpc: seen.grpc,
    };
    plan.take_over_ids(exchange, view, &seen);
    let verdict = find_way(exchange, view, &seen);
    if verdict.is_ok() {
        plan.forward(exchange, view, &seen);
        if let Some(route) = exchange.route() {
            plan.drop_changed(view.fields, &route.config.request_headers);
        }
    }
    (plan, verdict)
}

/// Where the request goes, unless it was here before.
fn find_way(exchange: &mut Exchange, view: &View<'_>, seen: &Seen<'_>) -> Result<(), Reason> {
    let mut via = view.values("via");
    if seen.via && via.any(|value| exchange.worker.is_own_via(value)) {
        return Err(Reason::Loop);
    }
    let line = RequestLine { method: view.method, authority: view.authority, path: view.path };
    let route = exchange.listener.table.find(&line, view).ok_or(Reason::NoRoute)?;
    exchange.route = Some(route);
    enter_upstream(exchange, view)
}

fn enter_upstream(exchange: &mut Exchange, view: &View<'_>) -> Result<(), Reason> {
    if view.facts.is_connect && exchange.direction() == Direction::Inbound {
        return Err(Reason::DownstreamUnsupported);
    }
    let Some(route) = exchange.route() else { return Err(Reason::NoRoute) };
    let (pool, config) = match (&route.config.action, &route.upstream) {
        (Action::Forward(_), Some((pool, config))) => (Rc::clone(pool), config.clone()),
        (Action::Forward(_), None) => return Err(Reason::Internal),
        (Action::ForwardToHost, _) => exchange.worker.host(view.authority)?,
    };
    exchange.enter(pool, config)
}

/// A field that is to be given once.
#[derive(Clone, Copy, Default)]
enum Given<'a> {
    #[default]
    Never,
    Once(&'a [u8]),
    /// Nobody knows which of them is meant.
    Several,
}

impl<'a> Given<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Never => Self::Once(value),
            Self::Once(_) | Self::Several => Self::Several,
        };
    }

    fn once(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Never | Self::Several => None,
        }
    }
}

/// The fields that Pillion itself looks at.
#[derive(Default)]
struct Seen<'a> {
    host: bool,
    via: bool,
    grpc: bool,
    forwarded: bool,
    traceparent: Given<'a>,
    request_id: Given<'a>,
    user_agent: &'a [u8],
}

impl<'a> Seen<'a> {
    fn of(fields: &[Field<'a>]) -> Self {
        let mut seen = Self::default();
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            // By length first: most fields are none of these, and one comparison says so.
            match field.name.len() {
                3 if is("via") => seen.via = true,
                4 if is("host") => seen.host = true,
                9 if is("forwarded") => seen.forwarded = true,
                10 if is("user-agent") => seen.user_agent = field.value,
                11 if is("traceparent") => seen.traceparent.add(field.value),
                12 if is("x-request-id") => seen.request_id.add(field.value),
                12 if is("content-type") => {
                    seen.grpc = field.value.starts_with(b"application/grpc");
                }
                15 if is("x-forwarded-for") => seen.forwarded = true,
                16 if is("x-forwarded-host") => seen.forwarded = true,
                17 if is("x-forwarded-proto") => seen.forwarded = true,
                _ => {}
            }
        }
        seen
    }
}

impl Plan {
    /// Goes on with the client's ids where they are to be trusted, else with new ones.
    fn take_over_ids(&mut self, exchange: &mut Exchange, view: &View<'_>, seen: &Seen<'_>) {
        let trusted =
            exchange.listener.snapshot.trust.trace || exchange.direction() == Direction::Outbound;
        let worker = Rc::clone(&exchange.worker);
        let mut random = worker.random.borrow_mut();
        let incoming = seen.traceparent.once().filter(|_| trusted);
        exchange.trace = trace::continue_or_new(incoming, &mut random);
        self.drop_all(view.fields, seen.traceparent, "traceparent");
        if incoming.is_none() {
            // What belongs to a trace that is not continued would belong to another one.
            self.drop_named(view.fields, "tracestate");
        }
        let known = seen.request_id.once();
        if let Some(id) = known.filter(|id| trusted && trace::request_id_is_sane(id)) {
            exchange.texts.set_request_id(id);
        } else {
            self.drop_all(view.fields, seen.request_id, "x-request-id");
            let id = trace::new_request_id(&mut random);
            exchange.texts.set_request_id(&id);
            self.new_request_id = Some(id);
        }
    }

    /// Says to the app for whom a request comes; nothing to others, whom it does not concern.
    fn forward(&mut self, exchange: &Exchange, view: &View<'_>, seen: &Seen<'_>) {
        if exchange.direction() == Direction::Outbound {
            return;
        }
        let hops = exchange.listener.snapshot.trust.hops;
        let peer = exchange.downstream.text.as_bytes();
        let mut value = exchange.worker.lend();
        hops::write_forwarded_for(view.values("x-forwarded-for"), hops, peer, &mut value);
        if seen.forwarded {
            self.drop_named(view.fields, "x-forwarded-for");
            if hops == 0 {
                self.drop_named(view.fields, "forwarded");
                self.drop_named(view.fields, "x-forwarded-proto");
                self.drop_named(view.fields, "x-forwarded-host");
            }
        }
        self.forwarded_for = Some(value);
    }

    /// The buffer of the value that was made, for another use.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.forwarded_for.take().unwrap_or_default()
    }

    fn drop_changed(&mut self, fields: &[Field<'_>], ops: &HeaderOps) {
        for name in ops.remove.iter().chain(ops.set.iter().map(|(name, _)| name)) {
            self.drop_named(fields, name);
            if name == "host" {
                self.has_host = true;
            }
        }
    }

    fn drop_all(&mut self, fields: &[Field<'_>], seen: Given<'_>, name: &str) {
        if !matches!(seen, Given::Never) {
            self.drop_named(fields, name);
        }
    }

    fn drop_named(&mut self, fields: &[Field<'_>], name: &str) {
        drop_named(&mut self.drop, fields, name);
    }

    /// Everything that Pillion adds to a request, in order.
    fn additions(&self, exchange: &Exchange, view: &View<'_>, put: &mut dyn FnMut(&str, &[u8])) {
        let ops = exchange.route().map(|route| &route.config.request_headers);
        let mut own = |name: &str, value: &[u8]| put_own(ops, name, value, put);
        own("via", exchange.worker.via(exchange.protocol));
        if let Some(id) = &self.new_request_id {
            own("x-request-id", id);
        }
        own("traceparent", &exchange.trace.traceparent());
        if let Some(value) = self.forwarded_for.as_deref().filter(|value| !value.is_empty()) {
            own("x-forwarded-for", value);
        }
        if self.forwarded_for.is_some() {
            put_missing(self, view, "x-forwarded-proto", b"http", &mut own);
        }
        if let Some(ops) = ops {
            for (name, value) in ops.set.iter().chain(&ops.add) {
                put(name, value.as_bytes());
            }
        }
    }
}

/// Puts a field of Pillion's own, unless the route says itself what becomes of that name.
pub(crate) fn put_own(
    ops: Option<&HeaderOps>,
    name: &str,
    value: &[u8],
    put: &mut dyn FnMut(&str, &[u8]),
) {
    let is_decided = ops.is_some_and(|ops| {
        let set = ops.set.iter().map(|(name, _)| name);
        ops.remove.iter().chain(set).any(|decided| decided == name)
    });
    if !is_decided {
        put(name, value);
    }
}

fn put_missing(
    plan: &Plan,
    view: &View<'_>,
    name: &str,
    value: &[u8],
    put: &mut dyn FnMut(&str, &[u8]),
) {
    let mut fields = view.fields.iter().enumerate();
    if !fields.any(|(at, f)| !plan.drop.contains(at) && f.name.eq_ignore_ascii_case(name)) {
        put(name, value);
    }
}

pub(crate) fn drop_named(drop: &mut FieldSet, fields: &[Field<'_>], name: &str) {
    for (at, field) in fields.iter().enumerate() {
        if field.name.eq_ignore_ascii_case(name) {
            drop.insert(at);
        }
    }
}

/// Appends `name: value` and a line end.
pub(crate) fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The request head in HTTP/1.1; `chunked` where the body is framed anew so.
pub(crate) fn write_h1(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    view: &View<'_>,
    plan: &Plan,
    chunked: bool,
) {
    out.extend_from_slice(view.method);
    out.push(b' ');
    out.extend_from_slice(if view.facts.is_connect { view.authority } else { view.path });
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(out, view.raw, view.fields, plan.drop);
    if !plan.has_host {
        put_line(out, "host", view.authority);
    }
    plan.additions(exchange, view, &mut |name, value| put_line(out, name, value));
    if chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if view.facts.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

impl View<'_> {
    /// Whether the target's own authority replaces the `Host` field.
    fn drop_has_host(&self) -> bool {
        let mut fields = self.fields.iter().enumerate();
        fields.any(|(at, f)| self.drop.contains(at) && f.name.eq_ignore_ascii_case("host"))
    }
}

/// Appends the fields that are not dropped: as they came over HTTP/1, else line by line, with the
/// pieces of a cookie put together again (RFC 9113 §8.2.3).
pub(crate) fn write_fields(
    out: &mut Vec<u8>,
    raw: Option<&[u8]>,
    fields: &[Field<'_>],
    drop: FieldSet,
) {
    if let Some(raw) = raw {
        pillion_http1::copy_fields(raw, fields, drop, out);
        return;
    }
    let kept = || fields.iter().enumerate().filter(|(at, _)| !drop.contains(*at)).map(|(_, f)| f);
    for field in kept().filter(|field| field.name != "cookie") {
        put_line(out, field.name, field.value);
    }
    let mut cookies = kept().filter(|field| field.name == "cookie");
    if let Some(first) = cookies.next() {
        out.extend_from_slice(b"cookie: ");
        out.extend_from_slice(first.value);
        for more in cookies {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(more.value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The request head in HTTP/2.
pub(crate) fn to_h2(
    exchange: &Exchange,
    view: &View<'_>,
    plan: &Plan,
) -> Result<http::Request<()>, Reason> {
    if view.facts.upgrade || view.facts.is_connect {
        return Err(Reason::DownstreamUnsupported);
    }
    let mut drop = plan.drop;
    drop_named(&mut drop, view.fields, "host");
    drop_named(&mut drop, view.fields, "transfer-encoding");
    let mut headers = HeaderMap::with_capacity(view.fields.len() + 6);
    copy_to_map(&mut headers, view.raw, view.fields, drop);
    let mut authority = view.authority.to_vec();
    plan.additions(exchange, view, &mut |name, value| {
        if name == "host" {
            value.clone_into(&mut authority);
        } else {
            put_in_map(&mut headers, name, value);
        }
    });
    let malformed = |_| Reason::DownstreamMalformed;
    let mut request = http::Request::new(());
    *request.method_mut() =
        Method::from_bytes(view.method).map_err(|_| Reason::DownstreamMalformed)?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    let authority = if authority.is_empty() { b"localhost" } else { &authority[..] };
    uri.authority = Some(Authority::try_from(authority).map_err(malformed)?);
    uri.path_and_query = Some(PathAndQuery::try_from(view.path).map_err(malformed)?);
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Reason::DownstreamMalformed)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Copies the fields that are not dropped. What came over HTTP/1 is copied once, as a whole head,
/// and the values share that copy.
pub(crate) fn copy_to_map(
    map: &mut HeaderMap,
    raw: Option<&[u8]>,
    fields: &[Field<'_>],
    drop: FieldSet,
) {
    let head = raw.map(|raw| (raw.as_ptr() as usize, Bytes::copy_from_slice(raw)));
    for (at, field) in fields.iter().enumerate() {
        if drop.contains(at) {
            continue;
        }
        let Some((start, head)) = &head else {
            put_in_map(map, field.name, field.value);
            continue;
        };
        let from = (field.value.as_ptr() as usize).wrapping_sub(*start);
        let to = from.saturating_add(field.value.len());
        let name = HeaderName::from_bytes(field.name.as_bytes());
        // An empty value may point anywhere.
        let shared = if to <= head.len() { head.slice(from..to) } else { Bytes::new() };
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(shared)) {
            map.append(name, value);
        }
    }
}

pub(crate) fn put_in_map(map: &mut HeaderMap, name: &str, value: &[u8]) {
    // Names and values were checked when they were read; what cannot be said in HTTP/2 is left out.
    if let (Ok(name), Ok(mut value)) =
        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
    {
        // An id never comes again: kept in the table of HPACK (RFC 7541 §6.2.3) it would only drive
        // out what does.
        value.set_sensitive(matches!(name.as_str(), "x-request-id" | "traceparent"));
        map.append(name, value);
    }
}

/// What the attempts need to know, once the head was planned.
pub(crate) fn facts(view: &View<'_>, plan: Plan) -> Request {
    Request {
        facts: view.facts,
        keep_alive: view.keep_alive,
        idempotent: retry::is_idempotent(view.method),
        is_grpc: plan.is_grpc,
        plan,
        h2_head: None,
    }
}
