mod app;
mod grpc;
mod received;
mod requests;
mod sockets;
