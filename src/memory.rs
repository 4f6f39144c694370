//! A network inside this process: names and ports to listen at and to connect to, without a socket.
//!
//! Rules this file keeps:
//! - nothing here knows Kafka;
//! - a port without a listener refuses, as a port of a machine does; a listener that is dropped frees its port.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

/// A network of in-process streams, to be shared by an embedded cluster and its clients. Clones are the same network.
///
/// With it a whole cluster and its clients run in one thread on tokio's paused clock, and in the same order at every
/// run.
#[derive(Debug, Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<Ports>>);

type Ports = BTreeMap<(String, u16), mpsc::Sender<DuplexStream>>;

impl MemoryNetwork {
    /// A network where nobody listens yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens at a name and a port.
    ///
    /// # Errors
    /// `AddrInUse` if somebody does already.
    pub(crate) fn listen(&self, host: &str, port: u16) -> io::Result<MemoryListener> {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        let mut ports = self.ports();
        let free = ports.get(&(host.to_owned(), port)).is_none_or(mpsc::Sender::is_closed);
        if !free {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        ports.insert((host.to_owned(), port), sender);
        Ok(MemoryListener { incoming })
    }

    /// Connects to whoever listens there.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody does, or if too many wait there already.
    pub(crate) fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = self.ports().get(&(host.to_owned(), port)).cloned().ok_or_else(refused)?;
        let (near, far) = duplex(PIPE);
        listener.try_send(far).map_err(|_| refused())?;
        Ok(near)
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the connections of one port. Dropping it frees the port.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    incoming: mpsc::Receiver<DuplexStream>,
}

impl MemoryListener {
    /// The next connection.
    ///
    /// # Cancel safety
    /// Cancel safe: no connection is lost.
    pub(crate) async fn accept(&mut self) -> io::Result<DuplexStream> {
        // The network holds the other end for as long as this listener lives.
        self.incoming.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Connections that wait to be accepted at one port.
const BACKLOG: usize = 1024;

/// Bytes under way in one direction of a connection.
const PIPE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_and_a_dropped_listener_refuses() {
        let network = MemoryNetwork::new();
        assert_eq!(network.connect("broker-0", 9092).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let mut listener = network.listen("broker-0", 9092).unwrap();
        assert_eq!(network.listen("broker-0", 9092).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let mut near = network.connect("broker-0", 9092).unwrap();
        let mut far = listener.accept().await.unwrap();
        near.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
        drop(far);
        assert_eq!(near.read(&mut heard).await.unwrap(), 0, "an end that is gone is seen");
        drop(listener);
        assert_eq!(network.connect("broker-0", 9092).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        network.listen("broker-0", 9092).expect("the port is free again");
    }
}
