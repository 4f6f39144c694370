//! What a broker knows about one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::sasl::{Admission, Stage};

/// A connection, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Session {
    /// The broker that was connected to.
    pub(super) broker: i32,
    /// Where the client comes from, as Kafka writes a host: `/127.0.0.1`.
    pub(super) peer: String,
    /// Whom the client's certificate was made for.
    certified: Option<String>,
    stage: Mutex<Stage>,
}

impl Session {
    /// `certified` is the name in the client's certificate, and `asks` whether SASL has to tell who it is.
    pub(super) fn new(broker: i32, peer: String, certified: Option<String>, asks: bool) -> Self {
        let stage = if asks { Stage::Greeting { told_versions: false } } else { Stage::Open };
        Self { broker, peer, certified, stage: Mutex::new(stage) }
    }

    /// Who the client is, as Kafka writes it: `User:alice`, `User:CN=alice`, `User:ANONYMOUS`.
    pub(super) fn principal(&self) -> String {
        let stage = self.stage();
        format!("User:{}", stage.user().or(self.certified.as_deref()).unwrap_or("ANONYMOUS"))
    }

    /// What becomes of a request with this key.
    pub(super) fn admit(&self, key: i16) -> Admission {
        self.stage().admit(key, Instant::now())
    }

    /// Whether the client has shown who it is, or need not.
    pub(super) fn is_proven(&self) -> bool {
        self.stage().is_proven()
    }

    /// How far SASL has come.
    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
