//! A Kafka client in Rust with no C in it.
//!
//! Begin with [`Kafka`]: it makes [producers](Kafka::producer), [consumers](Kafka::consumer) and
//! [admin calls](Kafka::admin), which share its connections. All of it needs a tokio runtime with time and I/O enabled;
//! one thread is enough. Every error is an [`Error`]; `docs/errors.md` says what to do about each kind.
//!
//! Settings are made in code, or by the names of Java's clients ([`properties`]). Where this documentation says
//! "Java: `linger.ms`", that property sets the same; durations are `Duration`s in code, sizes are bytes.
//!
//! # Features
//!
//! - `tls` (default): TLS by rustls.
//! - `registry` (default): the client of a Schema Registry, module `registry`.
//! - `avro` (default): Avro serializers over the registry.
//! - `embedded`: a broker and a registry inside this process, module `embedded`.
//! - `cli`: what the command-line tool needs.
//! - `full`: all of them.
//!
//! # Layers
//!
//! ```text
//!   client                             Kafka and its builders: the only file that knows every client
//!   producer consumer admin            what users hold; they never import each other
//!   cluster                            "send this request to whoever must have it"
//!   net                                sockets, handshakes, one task per connection
//!   machine                            every Kafka decision; no socket, clock, task, lock or random source
//!   wire record security serdes registry    bytes and what they mean
//!   error types backoff properties     words that all share
//! ```
//!
//! Imports go downward only; `tests/layering.rs` checks it. `embedded` stands beside them, the other end of the wire.

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
#[cfg(feature = "embedded")]
mod memory;
mod net;

#[cfg(not(feature = "plants"))]
#[allow(dead_code, unreachable_pub, reason = "three are for the raw actors of the simulation; public with the feature")]
mod plant;
#[cfg(feature = "plants")]
#[doc(hidden)]
pub mod plant;
mod watch;

pub mod admin;
pub mod consumer;
pub mod producer;

pub use client::{Kafka, KafkaBuilder};
pub use cluster::Call;
pub use consumer::Consumer;
pub use error::{Error, ErrorKind, Result};
pub use producer::{Delivery, Producer, Record, Transaction, TransactionalProducer};
pub use types::{BrokerId, ConsumerGroupMetadata, Offset, OffsetAndMetadata, TopicPartition};
pub use wire::ErrorCode;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And those of the page for users' tests.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../docs/testing.md")]
struct Testing;
