//! The one error type: what went wrong, who said so, and what may be done about it.
//!
//! Rules this file keeps:
//! - an error answers questions (`is_retriable`, `maybe_written`, …) instead of making callers match texts;
//! - `Display` prints this level only, the cause is behind `source()`;
//! - no secret ever reaches a message.

use std::{error, fmt, sync::Arc};

use crate::wire::ErrorCode;

/// What milena's fallible calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. One pointer wide and `Clone`, so that every waiter of a batch can have it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    maybe_written: bool,
    source: Option<Arc<dyn error::Error + Send + Sync>>,
}

/// The class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is unknown, malformed, out of its range or at odds with another; or a call named a partition that is
    /// not assigned.
    Config,
    /// No address could be reached, or none answered as a Kafka broker in time.
    Connect,
    /// A connection that stood was lost.
    Disconnected,
    /// The time given to the call ran out, or a record's time or tries (`delivery.timeout.ms`, `retries`). The source
    /// is what went wrong last.
    Timeout,
    /// The peer sent bytes that are not what the protocol allows, or speaks another one.
    Protocol,
    /// The broker and milena have no common version of a request, or lack a field the call needs.
    UnsupportedVersion,
    /// A broker answered with this error code, and it was final or did not pass in time.
    Broker(ErrorCode),
    /// The broker or the registry did not accept who we say we are, or could not prove who it is.
    Authentication,
    /// The TLS handshake failed: unknown authority, wrong host, expired certificate, no common cipher.
    Tls,
    /// The topic or partition is not known to the cluster, or nobody leads it for too long.
    UnknownTopic,
    /// A record is larger than `max.request.size` or `buffer.memory`. What the broker finds too large is
    /// `Broker(MESSAGE_TOO_LARGE)`.
    RecordTooLarge,
    /// No memory was free for the record within `max.block.ms`.
    BufferFull,
    /// The producer was closed, or has stopped after a refusal that concerns all of it; or the runtime is ending.
    Closed,
    /// A newer producer with the same id has taken over; this one is dead.
    Fenced,
    /// The transaction was aborted, or can only be. The producer lives, and the next transaction may do better.
    Aborted,
    /// The transaction coordinator did not answer: the transaction may be committed, aborted or still open.
    OutcomeUnknown,
    /// A record batch is damaged: checksum, lengths or compressed data are wrong.
    CorruptBatch,
    /// A value could not be serialized or deserialized.
    Serialization,
    /// The Schema Registry refused a request; the code is the HTTP status. 401 is `Authentication` instead.
    Registry(u16),
    /// The local system failed: a property file could not be read, or there were no random bytes.
    Io,
}

impl Error {
    /// Makes an error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), maybe_written: false, source: None }))
    }

    /// A broker's error code, said about `what`.
    pub fn broker(code: ErrorCode, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Broker(code), format!("{what}: {code}"))
    }

    /// The same error with the error that caused it.
    #[must_use]
    pub fn with_source(self, source: impl error::Error + Send + Sync + 'static) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.source = Some(Arc::new(source));
        Self(Arc::new(inner))
    }

    /// The same error, now saying that the record may stand in the log all the same.
    #[must_use]
    pub fn with_maybe_written(self, maybe_written: bool) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.maybe_written = maybe_written;
        Self(Arc::new(inner))
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's error code, if a broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self.0.kind {
            ErrorKind::Broker(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the same call may succeed if it is made again later. milena has tried for as long as the settings allow
    /// already. About a record, ask [`maybe_written`](Self::maybe_written) too: sending it again may write it twice.
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Connect
            | ErrorKind::Disconnected
            | ErrorKind::Timeout
            | ErrorKind::BufferFull
            | ErrorKind::UnknownTopic => true,
            ErrorKind::Broker(code) => code.is_retriable(),
            ErrorKind::Registry(status) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether the handle that returned this can never work again (`Closed`, `Fenced`).
    pub fn is_fatal(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Fenced | ErrorKind::Closed)
    }

    /// Whether the record may have been written, or what was asked may have been done, although the call failed.
    /// Answered for records that were enqueued, and for requests that are not repeated once they may have been sent;
    /// `false` for everything else, which says nothing about that.
    pub fn maybe_written(&self) -> bool {
        self.0.maybe_written
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn error::Error + 'static))
    }
}
