//! What can become of a transaction: the errors after which the producer lives, and those after which it does not.
//!
//! Rules this file keeps:
//! - whether a transaction is over and whether its producer is are two types, not two texts;
//! - “not known” is an answer of its own and never dressed up as one of the others (T4);
//! - each of them becomes an [`Error`], for callers that only pass it on.

use std::{error, fmt};

use crate::error::{Error, ErrorKind};

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is visible, or will be in a moment.
    Committed,
    /// None of it ever will be, for consumers that read committed records.
    Aborted,
}

/// The transaction cannot be committed. The producer lives: abort it, or drop it, and begin another.
#[derive(Debug, Clone)]
pub struct Abortable(pub(super) Error);

/// The producer cannot go on. What it had not committed is aborted or will be.
#[derive(Debug, Clone)]
pub struct Fatal {
    pub(super) error: Error,
    pub(super) fenced_by: Option<FencedBy>,
    pub(super) outcome: Option<Outcome>,
}

/// Who has taken a transactional id away from its producer, as far as the coordinator can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FencedBy {
    /// A newer producer with the same transactional id. These are its producer id and epoch.
    NewerProducer {
        /// The producer id that owns the transactional id now.
        producer_id: i64,
        /// And its epoch.
        epoch: i16,
    },
    /// The coordinator, which aborted the transaction because it was open for longer than `transaction.timeout.ms`. (A
    /// newer producer that is taking over at this very moment looks the same.)
    TransactionTimeout,
    /// It could not be found out.
    Unknown,
}

/// Nobody knows whether the transaction is committed, aborted or still open: the coordinator did not answer. Ask again
/// by [`TransactionalProducer::outcome`](super::TransactionalProducer::outcome), now or later.
#[derive(Debug, Clone)]
pub struct UnknownOutcome(pub(super) Error);

/// Why a step within a transaction failed.
#[derive(Debug, Clone)]
pub enum TransactionError {
    /// This call did nothing, and the transaction is as it was before: a record was too large, no memory came free.
    Refused(Error),
    /// The transaction can only be aborted.
    Abortable(Abortable),
    /// The producer is dead.
    Fatal(Fatal),
}

/// Why a transaction was not committed, or is not known to be.
#[derive(Debug, Clone)]
pub enum CommitError {
    /// It was aborted; the producer lives.
    Aborted(Abortable),
    /// It is not known.
    Unknown(UnknownOutcome),
    /// The producer is dead; [`Fatal::outcome`] says what became of the transaction, if that is known.
    Fatal(Fatal),
}

impl Fatal {
    /// Who has taken over, if that is why. `None`: something was refused for good.
    pub fn fenced_by(&self) -> Option<FencedBy> {
        self.fenced_by
    }

    /// What became of the transaction that was open, if one was and it is known.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }
}

impl TransactionError {
    /// Whether the producer is dead: another one has to be made.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal(_))
    }
}

impl CommitError {
    /// Whether the producer is dead: another one has to be made.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal(_))
    }
}

macro_rules! becomes_error {
    ($($name:ident: $this:ident => $error:expr;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $this = self;
                fmt::Display::fmt(&$error, f)
            }
        }

        impl error::Error for $name {
            fn source(&self) -> Option<&(dyn error::Error + 'static)> {
                let $this = self;
                $error.source()
            }
        }

        impl $name {
            /// The same as an [`Error`].
            pub fn as_error(&self) -> &Error {
                let $this = self;
                &$error
            }
        }

        impl From<$name> for Error {
            fn from(error: $name) -> Self {
                error.as_error().clone()
            }
        }
    )*};
}

becomes_error! {
    Abortable: this => this.0;
    Fatal: this => this.error;
    UnknownOutcome: this => this.0;
    TransactionError: this => *match this {
        TransactionError::Refused(error) => error,
        TransactionError::Abortable(why) => &why.0,
        TransactionError::Fatal(why) => &why.error,
    };
    CommitError: this => *match this {
        CommitError::Aborted(why) => &why.0,
        CommitError::Unknown(why) => &why.0,
        CommitError::Fatal(why) => &why.error,
    };
}

/// The producer's task is gone.
pub(super) fn closed() -> TransactionError {
    let error = Error::new(ErrorKind::Closed, "the producer's task ended");
    TransactionError::Fatal(Fatal { error, fenced_by: None, outcome: None })
}
