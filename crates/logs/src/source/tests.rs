//! Sources with real clients.

mod app;
mod grpc;
mod received;
mod requests;
mod sockets;
