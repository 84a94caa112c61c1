//! HTTP/1 heads and framing: bytes in, decisions out. Pure: no I/O, no clock, no task.
//!
//! A proxy needs four answers from HTTP/1, and this crate gives them from borrowed bytes:
//!
//! 1. Is this HTTP at all? [`is_preface`].
//! 2. What does the head say? [`parse_request`], [`parse_response`]. Both are strict: whatever two
//!    readers could read in two ways is a [`HeadError`], because a request that the proxy and the
//!    app cut at different places is a smuggled request (RFC 9112 §11.2).
//! 3. Where does the message end? [`Framing`], byte by byte or in bulk, verbatim
//!    ([`Framing::advance`]) or decoded ([`Framing::decode`]).
//! 4. How is it written again? [`copy_fields`], [`write_chunk_size`].
//!
//! Nothing here allocates, except [`Trailers`] when a chunked body is decoded and has some.

mod field_set;
mod framing;
mod grammar;
mod head;
mod preface;
mod write;

pub use field_set::FieldSet;
pub use framing::chunked::{Chunked, EXTENSION_BYTES_MAX};
pub use framing::trailers::{TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX, Trailers};
pub use framing::{Decoded, Framing, FramingError};
pub use head::request::{METHOD_BYTES_MAX, RequestHead, parse_request};
pub use head::response::{RequestFacts, ResponseHead, parse_response};
pub use head::target::TargetForm;
pub use head::{FIELDS_MAX, Fields, HeadError, Limits, Parsed, Version};
/// One field line of a head: its name and value are slices of the buffer that was parsed.
pub use httparse::Header as Field;
pub use preface::{PREFACE_BYTES_MAX, Preface, is_preface};
pub use write::{copy_fields, write_chunk_size};
