//! The file source on real files.

mod model;
mod reader;
