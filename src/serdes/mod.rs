//! How values become bytes and bytes become values: two traits, and the serializers that need no registry.
//!
//! Rules this folder keeps:
//! - `serialize` and `deserialize` never wait: what needs a registry is fetched before, by `prepare`;
//! - a serializer writes into the caller's buffer, it never returns one;
//! - bad bytes are an error of kind `Serialization`, never a panic.

use std::future::{Future, ready};

use crate::error::Result;

mod plain;

#[cfg(feature = "avro")]
pub mod avro;
pub mod wire_format;

pub use plain::{Bytes, Nullable, Utf8};

/// Which part of which topic's records is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// Key or value.
    pub part: Part,
}

/// The two parts of a record that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The record's key.
    Key,
    /// The record's value.
    Value,
}

/// Turns a `T` into the bytes of a key or a value.
pub trait Serializer<T: ?Sized>: Send + Sync {
    /// Fetches what [`serialize`](Self::serialize) needs for `target`, for example registers the schema.
    /// Called before every `serialize`; it must be cheap once all is at hand. Default: nothing is needed.
    ///
    /// # Errors
    /// What was needed cannot be had; the record is not enqueued.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the work done so far.
    fn prepare(&self, _target: Target<'_>) -> impl Future<Output = Result<()>> + Send {
        ready(Ok(()))
    }

    /// The bytes of `value` if they are there already: then nothing is written and nothing copied on the way, and
    /// neither [`prepare`](Self::prepare) nor [`serialize`](Self::serialize) is called.
    fn as_bytes<'a>(&self, _value: &'a T) -> Option<&'a [u8]> {
        None
    }

    /// Appends the bytes of `value` to `out`. After an error the caller cuts `out` back.
    ///
    /// # Errors
    /// Of kind `Serialization`: the value cannot be written. The record is not enqueued.
    fn serialize(&self, target: Target<'_>, value: &T, out: &mut Vec<u8>) -> Result<()>;
}

/// Turns the bytes of a key or a value into a `T`.
pub trait Deserializer: Send + Sync {
    /// What comes out. It may borrow from the record.
    type Output<'a>;

    /// Whether [`deserialize`](Self::deserialize) can take `payload` now, without [`prepare`](Self::prepare).
    fn is_ready(&self, _target: Target<'_>, _payload: &[u8]) -> bool {
        true
    }

    /// Fetches what `payload` needs, for example its writer's schema by the id in front. Called for every payload that
    /// is not ready, before its batch is handed out. Default: nothing is needed.
    ///
    /// # Errors
    /// What was needed cannot be had: `poll` returns the error, keeps the batch, and asks again the next time. A
    /// payload that can never be read should pass here and fail in [`deserialize`](Self::deserialize), or it holds up
    /// its batch.
    ///
    /// # Cancel safety
    /// Dropping the future must lose nothing but the work done so far.
    fn prepare(&self, _target: Target<'_>, _payload: &[u8]) -> impl Future<Output = Result<()>> + Send {
        ready(Ok(()))
    }

    /// Reads `payload`. `None` is Kafka's null: a tombstone, or no key.
    ///
    /// # Errors
    /// Of kind `Serialization`: the bytes are not what this takes.
    fn deserialize<'a>(&self, target: Target<'_>, payload: Option<&'a [u8]>) -> Result<Self::Output<'a>>;
}
