//! Kafka's error codes and what each asks of a client.

use std::fmt;

/// An error code of the protocol. Unknown codes survive and print.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// Whether the request may succeed if it is sent again (`RetriableException` in Java).
    pub fn is_retriable(self) -> bool {
        false
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
