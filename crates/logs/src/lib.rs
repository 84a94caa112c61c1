//! The logs role: lines come from files, the app and sockets, become records, lose what must not
//! leave, and are delivered at least once.
//!
//! One thread, one direction: a *source* reads a chunk and gets a receipt for it; each line becomes
//! a [`record::Record`] that borrows from the chunk; each sink's batch takes its encoding and a
//! clone of the receipt; a delivered batch gives its receipts back; and when all of a chunk's are
//! back, the source's position moves.

pub mod assemble;
pub mod batch;
pub mod batcher;
pub mod budget;
pub mod condition;
pub mod dead_letters;
pub mod decode;
pub mod deliver;
pub mod encode;
pub mod enrich;
mod flow;
pub mod fsck;
pub mod lines;
mod msgpack;
mod multiline;
pub mod parse;
pub mod queue;
pub mod receipt;
pub mod record;
pub mod redact;
mod role;
pub mod segments;
pub mod sink;
pub mod source;
pub mod status;
pub mod steps;
pub mod tail;
pub mod tally;
mod tokens;

pub use flow::{Left, OutletError};
pub use role::{Context, Error, Once, run};
