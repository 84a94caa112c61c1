//! The file source on real files.

mod files;
mod links;
mod logrotate;
mod model;
mod positions;
mod reader;
mod rotation;
