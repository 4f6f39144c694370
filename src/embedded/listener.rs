//! Where a broker listens: a TCP port or a port of an in-process network.
//!
//! Rules this file keeps: a broker that is down keeps its TCP port as far as the system allows, so that nobody else on
//! this machine gets it before the broker is back.

use std::{fmt, io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::server::BoxedStream;
use crate::memory::{MemoryListener, MemoryNetwork};

/// An address to listen at.
#[derive(Debug, Clone)]
pub(super) enum Endpoint {
    Tcp(SocketAddr),
    Memory { network: MemoryNetwork, host: String, port: u16 },
}

/// An address that nobody else can take, where clients are still refused.
#[derive(Debug)]
pub(super) enum Reserved {
    Tcp(TcpSocket),
    Memory { network: MemoryNetwork, host: String, port: u16 },
}

/// An address where clients connect.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Memory { network: MemoryNetwork, host: String, port: u16, listener: MemoryListener },
}

impl Endpoint {
    /// Binds the address, also if connections of an earlier broker there still linger.
    pub(super) fn reserve(&self) -> io::Result<Reserved> {
        match self {
            Self::Tcp(address) => reserve(*address).map(Reserved::Tcp),
            Self::Memory { network, host, port } => {
                Ok(Reserved::Memory { network: network.clone(), host: host.clone(), port: *port })
            }
        }
    }

    /// The host and port that clients on this machine reach it at.
    pub(super) fn reachable(&self) -> (String, u16) {
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => ("localhost".to_owned(), address.port()),
            Self::Tcp(address) => (address.ip().to_string(), address.port()),
            Self::Memory { host, port, .. } => (host.clone(), *port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Memory { host, port, .. } => write!(f, "{host}:{port} in memory"),
        }
    }
}

impl Reserved {
    /// Lets clients connect.
    pub(super) fn listen(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => socket.listen(BACKLOG).map(Listener::Tcp),
            Self::Memory { network, host, port } => {
                let listener = network.listen(&host, port)?;
                Ok(Listener::Memory { network, host, port, listener })
            }
        }
    }
}

impl Listener {
    /// The address with the port that was picked.
    pub(super) fn endpoint(&self) -> io::Result<Endpoint> {
        Ok(match self {
            Self::Tcp(listener) => Endpoint::Tcp(listener.local_addr()?),
            Self::Memory { network, host, port, .. } => {
                Endpoint::Memory { network: network.clone(), host: host.clone(), port: *port }
            }
        })
    }

    /// The next connection, and where it comes from as Kafka writes a host.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub(super) async fn accept(&mut self) -> io::Result<(BoxedStream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), format!("/{}", peer.ip())))
            }
            Self::Memory { listener, .. } => Ok((Box::new(listener.accept().await?), "/127.0.0.1".to_owned())),
        }
    }

    /// Stops listening; the address stays taken where that can be done.
    pub(super) fn into_reserved(self) -> Option<Reserved> {
        let endpoint = self.endpoint();
        drop(self);
        endpoint.and_then(|endpoint| endpoint.reserve()).ok()
    }
}

fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows the option would let two sockets share a port.
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(address)?;
    Ok(socket)
}

const BACKLOG: u32 = 1024;
