//! The floor: a relay that never looks at the bytes, on one thread, on the runtime that Pillion
//! uses too. What it costs is the kernel's price for receiving and sending everything twice.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use crate::failure::{Doing, Failure};

/// Large enough that bodies of 64 KB pass in one piece, as in Pillion.
const BUFFER_BYTES: usize = 128 * 1024;

/// `xtask relay LISTEN UPSTREAM`: relays until it is killed.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    let [listen, upstream] = arguments else {
        return Err(Failure::new("relay takes two addresses: LISTEN UPSTREAM"));
    };
    let listen: SocketAddr = listen.parse().doing(format!("the address {listen}"))?;
    let upstream: SocketAddr = upstream.parse().doing(format!("the address {upstream}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .doing("starting the runtime")?;
    runtime.block_on(serve(listen, upstream))
}

async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await.doing(format!("listening on {listen}"))?;
    loop {
        let (downstream, _) = listener.accept().await.doing("accepting a connection")?;
        tokio::spawn(async move {
            if let Err(error) = relay(downstream, upstream).await {
                eprintln!("relay: {error}");
            }
        });
    }
}

async fn relay(mut downstream: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(upstream).await?;
    downstream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut downstream, &mut upstream, BUFFER_BYTES, BUFFER_BYTES)
        .await?;
    Ok(())
}
