//! What a broker knows about one connection.

/// A connection, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Session {
    /// The broker that was connected to.
    pub(super) broker: i32,
    /// Where the client comes from, as Kafka writes a host: `/127.0.0.1`.
    pub(super) peer: String,
}

impl Session {
    pub(super) fn new(broker: i32, peer: String) -> Self {
        Self { broker, peer }
    }
}
