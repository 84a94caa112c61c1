//! The file source on real files.

mod files;
mod links;
mod logrotate;
mod model;
mod order;
mod positions;
mod reader;
mod rotation;
mod unread;
