//! Every Kafka decision, and nothing that acts on one.
//!
//! Rules this folder keeps:
//! - no clock, socket, task, lock or random source: time and randomness are arguments;
//! - `handle_*(now, …)` takes what happened, `poll_*()` gives what is to be done, `poll_timeout()` says when to come
//!   back at the latest;
//! - a state is an enum that holds only its own data; what cannot be is an error, never a panic.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub(crate) mod conn;
pub(crate) mod fetch;
pub(crate) mod identity;
pub(crate) mod metadata;
pub(crate) mod queue;
pub(crate) mod txn;
pub(crate) mod window;

/// Where the time of the machines' tests begins. They add to it; nothing waits.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
pub(crate) fn test_clock() -> std::time::Instant {
    std::time::Instant::now()
}
