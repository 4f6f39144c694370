//! From a host and a port to a stream of bytes: resolving, connecting, and the kinds of stream there are.
//!
//! Rules this file keeps:
//! - every address a name resolves to is tried in turn (KIP-302, KIP-602), each within its own bound, and an error
//!   tells what happened with each of them;
//! - nothing here knows Kafka; TLS is one more kind of stream over any other.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

#[cfg(feature = "tls")]
use crate::security::TlsConfig;
use crate::{Error, Result, error::ErrorKind};

use super::{NetConfig, Network};

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// A name, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host:port`, `[v6]:port`, and Java's `PROTOCOL://host:port`.
    ///
    /// # Errors
    /// `Config`, if it is none of them.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let bare = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
        let parsed = bare.rsplit_once(':').and_then(|(host, port)| {
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host = bracketed.unwrap_or(host);
            let plausible = !host.is_empty() && (bracketed.is_some() || !host.contains([':', '/', '@', '[', ']', ' ']));
            let port = port.parse().ok().filter(|port| *port != 0)?;
            plausible.then(|| Self::new(host, port))
        });
        parsed.ok_or_else(|| {
            let shown = text.escape_debug();
            Error::new(
                ErrorKind::Config,
                format!("`{shown}` is no broker address: HOST:PORT or [IPV6]:PORT is expected"),
            )
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The bytes of one connection, whatever carries them.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    /// Inside this process.
    #[cfg(feature = "embedded")]
    Memory(crate::memory::MemoryStream),
    #[cfg(test)]
    Duplex(tokio::io::DuplexStream),
    /// Boxed, because a TLS session is a kilobyte and plain streams should not carry it around.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<Stream>>),
}

impl Stream {
    /// Speaks TLS over this stream to the host of `address`.
    ///
    /// # Errors
    /// `Config` for unusable settings, `Tls` if either side refused the other, `Disconnected` if the peer closed.
    #[cfg(feature = "tls")]
    pub(super) async fn secure(self, address: &Address, tls: &TlsConfig) -> Result<Self> {
        let name = crate::security::server_name(&address.host)?;
        let tls = tls.clone();
        // The first call reads certificate files.
        let config = tokio::task::spawn_blocking(move || tls.client_config()).await.map_err(|error| {
            Error::new(ErrorKind::Io, "the task that reads the certificates was stopped").with_source(error)
        })??;
        match tokio_rustls::TlsConnector::from(config).connect(name, self).await {
            Ok(stream) => Ok(Self::Tls(Box::new(stream))),
            Err(error) => Err(during_tls(&error, address)),
        }
    }
}

#[cfg(feature = "tls")]
fn during_tls(error: &io::Error, address: &Address) -> Error {
    // N5: nobody can tell these three apart, so the sentence names all of them and the kind allows another try.
    crate::security::explain_tls(error, &address.to_string()).unwrap_or_else(|| {
        let causes = "the listener may speak no TLS, may refuse this client, or the broker may be starting or stopping";
        let what = format!("{address} closed the connection during the TLS handshake: {causes} ({error})");
        Error::new(ErrorKind::Disconnected, what)
    })
}

/// Connects to the address by what the configuration says that connects.
///
/// # Errors
/// `Connect`, naming every address that was tried and why it failed.
///
/// # Cancel safety
/// Dropping the future closes what was opened.
pub(crate) async fn connect(address: &Address, config: &NetConfig) -> Result<Stream> {
    match &config.network {
        Network::Sockets => connect_tcp(address, config.connect_timeout).await,
        #[cfg(feature = "embedded")]
        Network::Memory(network) => {
            let connected = timeout(config.connect_timeout, network.connect(&address.host, address.port)).await;
            let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            connected.map(Stream::Memory).map_err(|error| {
                Error::new(ErrorKind::Connect, format!("cannot connect to {address}: {error}")).with_source(error)
            })
        }
    }
}

/// Connects to the first address of the host that answers. `setup_timeout` bounds the look-up, and each address
/// (Java: `socket.connection.setup.timeout.ms`, 10 s).
///
/// # Errors
/// `Connect`, naming every address that was tried and why it failed.
///
/// # Cancel safety
/// Dropping the future closes what was opened.
async fn connect_tcp(address: &Address, setup_timeout: Duration) -> Result<Stream> {
    let candidates = resolve(address, setup_timeout).await?;
    let mut failures = Vec::with_capacity(candidates.len());
    let mut last = None;
    for candidate in candidates {
        match connect_one(candidate, setup_timeout).await {
            Ok(stream) => return Ok(Stream::Tcp(stream)),
            Err(error) => {
                failures.push(format!("{candidate}: {error}"));
                last = Some(error);
            }
        }
    }
    let error = Error::new(ErrorKind::Connect, format!("cannot connect to {address} ({})", failures.join("; ")));
    Err(match last {
        Some(last) => error.with_source(last),
        None => error,
    })
}

async fn resolve(address: &Address, limit: Duration) -> Result<Vec<SocketAddr>> {
    let failed = |why: String| Error::new(ErrorKind::Connect, format!("cannot connect to {address}: {why}"));
    let found = match timeout(limit, tokio::net::lookup_host((address.host.as_str(), address.port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(failed(format!("the name cannot be resolved: {error}")).with_source(error)),
        Err(_) => return Err(failed(format!("the name was not resolved within {limit:?}"))),
    };
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for candidate in found {
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    match candidates.is_empty() {
        true => Err(failed("the name has no address".to_owned())),
        false => Ok(candidates),
    }
}

async fn connect_one(candidate: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = match timeout(limit, TcpStream::connect(candidate)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))),
    };
    // A request is written whole; waiting for more of it would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "embedded")]
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(test)]
            Self::Duplex(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "embedded")]
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(test)]
            Self::Duplex(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            #[cfg(feature = "embedded")]
            Self::Memory(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            #[cfg(test)]
            Self::Duplex(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(feature = "embedded")]
            Self::Memory(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Self::Duplex(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "embedded")]
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(test)]
            Self::Duplex(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "embedded")]
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(test)]
            Self::Duplex(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::net::TcpListener;

    #[test]
    fn addresses_are_read_and_printed() {
        let table = [
            ("localhost:9092", "localhost", 9092),
            (" b-1.example.com.:65535 ", "b-1.example.com.", 65535),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:9092", "::1", 9092),
            ("SASL_SSL://kafka:9093", "kafka", 9093),
        ];
        for (text, host, port) in table {
            let address = Address::parse(text).expect(text);
            assert_eq!(address, Address::new(host, port));
            assert_eq!(Address::parse(&address.to_string()).expect("printed"), address);
        }
        for text in
            ["", "localhost", "localhost:", ":9092", "h:0", "h:65536", "h:-1", "::1:9092", "http://h:1/x", "a b:1"]
        {
            let error = Address::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("HOST:PORT"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_next_address_of_a_name_is_tried() {
        // `localhost` is ::1 and 127.0.0.1 on many machines; the listener has only the second.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let stream = connect_tcp(&Address::new("localhost", port), Duration::from_secs(5)).await.expect("one answers");
        let Stream::Tcp(stream) = stream else { panic!("TCP is expected") };
        assert!(stream.nodelay().expect("an option"));
    }

    #[tokio::test]
    async fn an_error_names_every_address_and_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let error =
            connect_tcp(&Address::new("localhost", port), Duration::from_secs(5)).await.expect_err("nobody there");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.is_retriable());
        let text = error.to_string();
        assert!(text.contains(&format!("localhost:{port}")), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port}: ")) && text.contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_an_error_of_its_own() {
        let error =
            connect_tcp(&Address::new("no-such-host.invalid", 9092), Duration::from_secs(20)).await.expect_err("none");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("no-such-host.invalid:9092"), "{error}");
    }
}
