//! A relay between a client and the brokers that breaks connections on purpose, one port per broker.
//!
//! Rules this file keeps:
//! - a byte is passed on in its place or its connection is reset later: nobody is shown a stream with a hole;
//! - what happens to a broker's connections is one value, which every connection watches;
//! - nothing is buffered beyond one chunk per direction.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// The relay; ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct Relay {
    brokers: Vec<watch::Sender<Weather>>,
    _listening: JoinSet<()>,
}

/// What happens to the bytes of a broker's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// They arrive.
    Pass,
    /// They are taken and thrown away, both ways; new connections are accepted, and stay silent.
    Swallow,
    /// Requests arrive, answers are thrown away: what is written is not acknowledged.
    SwallowAnswers,
}

/// Before connections are reset for the `cuts`th time, this happens to their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weather {
    bytes: Bytes,
    cuts: u64,
}

impl Relay {
    /// Listens on the addresses of `routes`, which are `ADVERTISED=LISTENING` separated by commas as
    /// `compose/with-kafka` exports them in `MILENA_RELAYED`, and passes each on to the broker behind it.
    ///
    /// # Errors
    /// When an address is malformed or taken.
    pub async fn start(routes: &str) -> io::Result<Self> {
        let (mut brokers, mut listening) = (Vec::new(), JoinSet::new());
        for route in routes.split(',') {
            let (advertised, broker) = route.split_once('=').ok_or_else(|| io::Error::other(route.to_owned()))?;
            let listener = TcpListener::bind(advertised).await?;
            let (weather, watched) = watch::channel(Weather { bytes: Bytes::Pass, cuts: 0 });
            brokers.push(weather);
            listening.spawn(accept(listener, broker.into(), watched));
        }
        Ok(Self { brokers, _listening: listening })
    }

    /// Resets every connection to a broker, counted from 1. New ones are accepted at once.
    pub fn cut(&self, broker: usize) {
        self.change(broker, |weather| weather.cuts += 1);
    }

    /// From now on this happens to the bytes of a broker's connections. Those that lost some are reset when it is
    /// [`Bytes::Pass`] again.
    pub fn set(&self, broker: usize, bytes: Bytes) {
        self.change(broker, |weather| weather.bytes = bytes);
    }

    fn change(&self, broker: usize, change: impl FnOnce(&mut Weather)) {
        self.brokers[broker - 1].send_modify(change);
    }
}

async fn accept(listener: TcpListener, broker: Arc<str>, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(client, broker.clone(), weather.clone()));
    }
}

/// One connection, until either side ends it or it is reset. Its sockets are told beforehand that closing them is a
/// reset, which after an orderly end of both directions changes nothing any more.
async fn connection(mut client: TcpStream, broker: Arc<str>, weather: watch::Receiver<Weather>) {
    let Ok(mut server) = TcpStream::connect(&*broker).await else { return drop(client.set_zero_linger()) };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true).and_then(|()| socket.set_zero_linger());
    }
    // Borrowed halves: an owned one says goodbye when it is dropped.
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let requests = pass_on(from_client, to_server, weather.clone(), |bytes| bytes == Bytes::Swallow);
    let answers = pass_on(from_server, to_client, weather, |bytes| bytes != Bytes::Pass);
    // The first that fails takes the other with it.
    let _ = tokio::try_join!(requests, answers);
}

async fn pass_on(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    swallowed: fn(Bytes) -> bool,
) -> io::Result<()> {
    let (mut chunk, mut has_hole) = (vec![0; CHUNK], false);
    let begun = *weather.borrow_and_update();
    loop {
        let now = tokio::select! {
            biased;
            changed = weather.changed() => {
                changed.map_err(io::Error::other)?;
                let now = *weather.borrow_and_update();
                if now.cuts != begun.cuts || (has_hole && !swallowed(now.bytes)) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                continue;
            }
            read = from.read(&mut chunk) => read?,
        };
        // Read together with what was read: a change is seen before the next byte is passed on.
        let hole = swallowed(weather.borrow().bytes);
        match now {
            _ if hole => has_hole = true,
            0 => {
                to.shutdown().await?;
                return Ok(());
            }
            length => to.write_all(chunk.get(..length).unwrap_or_default()).await?,
        }
        if now == 0 {
            // The end was swallowed too: the other side is not told until the weather changes.
            weather.changed().await.map_err(io::Error::other)?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An echo server behind a relay, and a connection through it.
    async fn echo() -> (Relay, String, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let relay = Relay::start(&format!("{address}={}", server.local_addr().unwrap())).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let client = TcpStream::connect(&address).await.unwrap();
        (relay, address, client)
    }

    async fn echoed(client: &mut TcpStream) -> io::Result<u8> {
        client.write_u8(7).await?;
        client.read_u8().await
    }

    #[tokio::test]
    async fn bytes_pass_and_an_orderly_end_does_too() {
        let (_relay, _, mut client) = echo().await;
        assert_eq!(echoed(&mut client).await.unwrap(), 7);
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_lets_new_ones_in() {
        let (relay, address, mut client) = echo().await;
        assert_eq!(echoed(&mut client).await.unwrap(), 7);
        relay.cut(1);
        assert_eq!(client.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut client = TcpStream::connect(&address).await.unwrap();
        assert_eq!(echoed(&mut client).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn swallowed_bytes_are_silence_and_the_connection_ends_when_they_pass_again() {
        for bytes in [Bytes::Swallow, Bytes::SwallowAnswers] {
            let (relay, _, mut client) = echo().await;
            assert_eq!(echoed(&mut client).await.unwrap(), 7);
            relay.set(1, bytes);
            tokio::time::timeout(Duration::from_millis(200), echoed(&mut client)).await.expect_err("silence");
            relay.set(1, Bytes::Pass);
            assert!(client.read_u8().await.is_err(), "a stream with a hole goes on after {bytes:?}");
        }
    }
}
