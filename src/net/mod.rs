//! Sockets, handshakes and the task of each connection: moves bytes, decides nothing.

use std::time::Duration;

use crate::security::Security;

pub(crate) mod buffers;
pub(crate) mod conn;
pub(crate) mod handshake;
pub(crate) mod pool;
pub(crate) mod transport;

/// What every connection of a client is made with.
#[derive(Debug, Clone)]
pub(crate) struct NetConfig {
    /// How long one address may take to become a ready connection (`socket.connection.setup.timeout.ms`).
    pub(crate) connect_timeout: Duration,
    /// The longest reply that is read.
    pub(crate) max_frame: usize,
    pub(crate) security: Security,
    pub(crate) network: Network,
}

/// What connects a client with its brokers.
#[derive(Debug, Clone, Default)]
pub(crate) enum Network {
    #[default]
    Sockets,
    /// Streams inside this process.
    #[cfg(feature = "embedded")]
    Memory(crate::memory::MemoryNetwork),
}
