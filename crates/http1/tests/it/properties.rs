//! What holds for any input: no split point matters, nothing panics, both ways through a body agree.

use pillion_http1::{
    Chunked, Fields, Framing, FramingError, HeadError, Parsed, RequestFacts, copy_fields,
    parse_request, parse_response,
};
use proptest::prelude::*;

use crate::conversation::{self, LIMITS, Message};
use crate::generate;
use crate::reference::{self, Chunks};

/// Everything that a head says, as text, so that two readings can be compared.
fn request_reading(bytes: &[u8]) -> Result<Option<(usize, String)>, HeadError> {
    let mut fields = Fields::new();
    match parse_request(bytes, &LIMITS, &mut fields)? {
        Parsed::Complete(head) => Ok(Some((head.len, format!("{head:?}")))),
        Parsed::Partial => Ok(None),
    }
}

fn response_reading(
    bytes: &[u8],
    request: RequestFacts,
) -> Result<Option<(usize, String)>, HeadError> {
    let mut fields = Fields::new();
    match parse_response(bytes, request, &LIMITS, &mut fields)? {
        Parsed::Complete(head) => Ok(Some((head.len, format!("{head:?}")))),
        Parsed::Partial => Ok(None),
    }
}

/// A prefix of `bytes` is unfinished, says what the whole says, or is refused as the whole is.
fn check_prefixes(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<(usize, String)>, HeadError>,
) -> Result<(), TestCaseError> {
    let whole = read(bytes);
    for end in 0..bytes.len() {
        match (read(&bytes[..end]), &whole) {
            (Ok(None), Ok(Some((len, _)))) => prop_assert!(end < *len, "late: {end} of {len}"),
            (Ok(None), _) => {}
            (Ok(Some(early)), Ok(Some(whole))) => {
                prop_assert_eq!(&early, whole);
                prop_assert!(end >= whole.0);
            }
            (Err(_), Err(_)) => {}
            (early, _) => prop_assert!(false, "{early:?} at {end}, but {whole:?}"),
        }
    }
    Ok(())
}

/// What became of a body: bytes that belong to it, payload, whether it is complete.
type Outcome = Result<(usize, Vec<u8>, bool), FramingError>;

fn advanced(mut framing: Framing, pieces: &[&[u8]]) -> Result<(usize, bool), FramingError> {
    let mut len = 0;
    for piece in pieces {
        len += framing.advance(piece)?;
    }
    Ok((len, framing.is_complete()))
}

fn decoded(mut framing: Framing, pieces: &[&[u8]]) -> Outcome {
    let (mut len, mut payload) = (0, Vec::new());
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() && !framing.is_complete() {
            let step = framing.decode(&piece[at..])?;
            assert!(step.consumed > 0, "no progress");
            assert!(step.payload.end <= step.consumed, "payload beyond what was consumed");
            payload.extend_from_slice(&piece[at..][step.payload]);
            at += step.consumed;
        }
        len += at;
    }
    Ok((len, payload, framing.is_complete()))
}

/// Both ways through `body`, whole and split, give the same.
fn check_body(framing: &Framing, body: &[u8]) -> Result<Outcome, TestCaseError> {
    let whole = decoded(framing.clone(), &[body]);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    let mut splits = vec![bytes];
    for first in 0..=body.len() {
        let (start, rest) = body.split_at(first);
        // Every pair of split points for short bodies, every third for the others.
        let step = if body.len() <= 48 { 1 } else { 3 };
        splits.extend((0..=rest.len()).step_by(step).map(|second| {
            let (middle, end) = rest.split_at(second);
            vec![start, middle, end]
        }));
    }
    let verbatim = whole.clone().map(|(len, _, complete)| (len, complete));
    prop_assert_eq!(&advanced(framing.clone(), &[body]), &verbatim);
    for pieces in splits {
        prop_assert_eq!(&decoded(framing.clone(), &pieces), &whole);
        prop_assert_eq!(&advanced(framing.clone(), &pieces), &verbatim);
    }
    Ok(whole)
}

fn chunked() -> Framing {
    Framing::Chunked(Chunked::new())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn valid_requests_are_read_as_they_were_meant(request in generate::request()) {
        let expected = Message { method: request.method, body: request.payload };
        prop_assert_eq!(conversation::read(&request.bytes), vec![expected]);
    }

    #[test]
    fn pipelined_requests_are_read_one_by_one(
        requests in prop::collection::vec(generate::request(), 1..5),
    ) {
        let last = requests.iter().position(|request| !request.keep_alive);
        let read = last.map_or(requests.len(), |last| last + 1);
        let bytes: Vec<u8> = requests.iter().flat_map(|request| request.bytes.clone()).collect();
        let expected: Vec<Message> = requests
            .into_iter()
            .take(read)
            .map(|request| Message { method: request.method, body: request.payload })
            .collect();
        prop_assert_eq!(conversation::read(&bytes), expected);
    }

    #[test]
    fn no_split_point_changes_a_request_head(request in generate::request()) {
        check_prefixes(&request.bytes, request_reading)?;
    }

    #[test]
    fn no_split_point_changes_a_broken_request_head(
        bytes in generate::mutated(generate::request().prop_map(|request| request.bytes)),
    ) {
        check_prefixes(&bytes, request_reading)?;
    }

    #[test]
    fn no_split_point_changes_a_response_head(
        bytes in prop_oneof![generate::response_head(), generate::mutated(generate::response_head())],
        (is_head, is_connect, upgrade) in any::<(bool, bool, bool)>(),
    ) {
        let request = RequestFacts { is_head, is_connect, upgrade };
        check_prefixes(&bytes, |bytes| response_reading(bytes, request))?;
    }

    #[test]
    fn no_split_point_changes_a_body(
        request in generate::request(),
        rest in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut fields = Fields::new();
        let head = match parse_request(&request.bytes, &LIMITS, &mut fields) {
            Ok(Parsed::Complete(head)) => head,
            other => panic!("{other:?}"),
        };
        let body = [&request.bytes[request.head_len..], &rest].concat();
        let expected = (request.bytes.len() - request.head_len, request.payload, true);
        prop_assert_eq!(check_body(&head.body, &body)?, Ok(expected));
    }

    #[test]
    fn chunked_bodies_end_where_the_slow_reader_says(
        body in prop_oneof![
            generate::nearly_chunked(),
            generate::mutated(generate::nearly_chunked()),
        ],
    ) {
        match (reference::chunks(&body), check_body(&chunked(), &body)?) {
            (Chunks::Complete(payload, len), ours) => {
                prop_assert_eq!(ours, Ok((len, payload, true)));
            }
            (Chunks::Refused, ours) => prop_assert!(ours.is_err(), "{ours:?}"),
            // A line that is not complete yet may be beyond repair already.
            (Chunks::Unfinished, Ok((len, _, complete))) => {
                prop_assert_eq!((len, complete), (body.len(), false));
            }
            (Chunks::Unfinished, Err(_)) => {}
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(request_reading(&bytes));
        drop(response_reading(&bytes, RequestFacts::default()));
        drop(check_body(&chunked(), &bytes)?);
    }

    /// A head that is written again with only its own fields says the same to the next reader.
    #[test]
    fn what_is_forwarded_reads_the_same(request in generate::request()) {
        let mut fields = Fields::new();
        let head = match parse_request(&request.bytes, &LIMITS, &mut fields) {
            Ok(Parsed::Complete(head)) => head,
            other => panic!("{other:?}"),
        };
        let mut out = [head.method, b" ", head.path, b" HTTP/1.1\r\n"].concat();
        if head.path != head.target {
            out.extend_from_slice(&[b"host: ", head.authority, b"\r\n"].concat());
        }
        copy_fields(&request.bytes[..head.len], head.fields, head.drop, &mut out);
        out.extend_from_slice(b"\r\n");
        let mut fields = Fields::new();
        let again = match parse_request(&out, &LIMITS, &mut fields) {
            Ok(Parsed::Complete(head)) => head,
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(again.len, out.len());
        prop_assert_eq!(
            (again.method, again.path, again.authority, again.body),
            (head.method, head.path, head.authority, head.body)
        );
        let kept = head.fields.iter().enumerate().filter(|(at, _)| !head.drop.contains(*at));
        let skip = usize::from(head.path != head.target);
        let kept: Vec<_> = kept.map(|(_, field)| (field.name, field.value)).collect();
        let seen: Vec<_> =
            again.fields.iter().skip(skip).map(|field| (field.name, field.value)).collect();
        prop_assert_eq!(seen, kept);
    }
}
