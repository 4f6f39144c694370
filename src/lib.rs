//! A Kafka client in Rust with no C in it.
//!
//! ```text
//!   client            Kafka and its builders: the only file that knows every client
//!   producer consumer admin       what users hold; they never import each other
//!   cluster           "send this request to whoever must have it"
//!   net               sockets, handshakes, one task per connection
//!   machine           every Kafka decision; no socket, clock, task, lock or random source
//!   wire record security serdes   bytes and what they mean
//! ```
//!
//! Imports go downward only; `tests/layering.rs` checks it.

pub mod error;
pub mod properties;
pub mod record;
pub mod security;
pub mod serdes;
pub mod types;
pub mod wire;

#[cfg(feature = "registry")]
pub mod registry;

#[cfg(feature = "embedded")]
pub mod embedded;

mod backoff;
mod client;
mod cluster;
mod machine;
mod net;

pub mod admin;
pub mod consumer;
pub mod producer;

pub use client::{Kafka, KafkaBuilder};
pub use consumer::Consumer;
pub use error::{Error, ErrorKind, Result};
pub use producer::{Delivery, Producer, Record};
pub use types::{BrokerId, Offset, TopicPartition};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
