//! What is sent: a record that borrows from its caller.

use std::{borrow::Cow, future::Future, time::SystemTime};

use crate::{
    error::Result,
    record::Header,
    serdes::{Serializer, Target},
};

/// A record on its way to a topic. Nothing is copied until it stands in its batch.
///
/// ```
/// use milena::Record;
///
/// let record = Record::to("orders").key("42").value("created").header("source", b"shop");
/// ```
#[derive(Debug, Clone)]
pub struct Record<'a, K = Absent, V = Absent> {
    pub(super) topic: &'a str,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<i64>,
    pub(super) headers: Cow<'a, [Header<'a>]>,
    pub(super) key: K,
    pub(super) value: V,
}

impl<'a> Record<'a> {
    /// A record for `topic`, with neither key nor value.
    pub fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, headers: Cow::Borrowed(&[]), key: Absent, value: Absent }
    }
}

impl<'a, K, V> Record<'a, K, V> {
    /// The key: records with the same key go to the same partition. Without one, partitions take turns.
    #[must_use]
    pub fn key<T>(self, key: T) -> Record<'a, Given<T>, V> {
        self.key_or_null(Some(key))
    }

    /// The key, or none.
    #[must_use]
    pub fn key_or_null<T>(self, key: Option<T>) -> Record<'a, Given<T>, V> {
        let Self { topic, partition, timestamp, headers, value, .. } = self;
        Record { topic, partition, timestamp, headers, key: Given(key), value }
    }

    /// The value. Without one the record is a tombstone: compaction deletes its key.
    #[must_use]
    pub fn value<T>(self, value: T) -> Record<'a, K, Given<T>> {
        self.value_or_null(Some(value))
    }

    /// The value, or null.
    #[must_use]
    pub fn value_or_null<T>(self, value: Option<T>) -> Record<'a, K, Given<T>> {
        let Self { topic, partition, timestamp, headers, key, .. } = self;
        Record { topic, partition, timestamp, headers, key, value: Given(value) }
    }

    /// The partition, counted from 0, instead of the one that the key or the turn would choose.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// When the event happened, kept in milliseconds. Default: the time at which the record is enqueued, to the few
    /// milliseconds of the system's coarse clock. A topic with log-append time replaces it.
    #[must_use]
    pub fn timestamp(mut self, timestamp: SystemTime) -> Self {
        let since = timestamp.duration_since(SystemTime::UNIX_EPOCH);
        let millis =
            since.map_or_else(|before| -(before.duration().as_millis() as i64), |after| after.as_millis() as i64);
        self.timestamp = Some(millis);
        self
    }

    /// These headers instead of those there already, borrowed: unlike [`header`](Self::header) it allocates nothing.
    #[must_use]
    pub fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = Cow::Borrowed(headers);
        self
    }

    /// A header behind those there already; names may repeat.
    #[must_use]
    pub fn header<T: AsRef<[u8]> + ?Sized>(mut self, key: &'a str, value: &'a T) -> Self {
        self.headers.to_mut().push(Header { key, value: Some(value.as_ref()) });
        self
    }

    /// A header whose value is null.
    #[must_use]
    pub fn null_header(mut self, key: &'a str) -> Self {
        self.headers.to_mut().push(Header { key, value: None });
        self
    }
}

/// No key, or no value: null on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Absent;

/// A key or value that the caller gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given<T>(pub(super) Option<T>);

/// A key or value that the serializer `S` can write. Implemented for what a [`Record`] can hold; not for others.
pub trait Field<S>: sealed::Sealed {
    /// Fetches what the serializer needs, if it has to write anything.
    fn prepare(&self, serializer: &S, target: Target<'_>) -> impl Future<Output = Result<()>> + Send;

    /// The bytes, if they need no serializing.
    fn as_bytes<'f>(&'f self, serializer: &'f S) -> AsBytes<'f>;

    /// Appends the bytes to `out`.
    fn write(&self, serializer: &S, target: Target<'_>, out: &mut Vec<u8>) -> Result<()>;
}

/// What is known of a field before it is serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsBytes<'f> {
    /// It is null.
    Null,
    /// These are its bytes.
    Plain(&'f [u8]),
    /// It has to be written.
    Written,
}

impl<'f> AsBytes<'f> {
    /// What stands in the record, unless that has to be written first.
    #[inline]
    pub(super) fn at_hand(self) -> Option<Option<&'f [u8]>> {
        match self {
            Self::Null => Some(None),
            Self::Plain(bytes) => Some(Some(bytes)),
            Self::Written => None,
        }
    }
}

impl<S: Sync> Field<S> for Absent {
    async fn prepare(&self, _serializer: &S, _target: Target<'_>) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn as_bytes<'f>(&'f self, _serializer: &'f S) -> AsBytes<'f> {
        AsBytes::Null
    }

    fn write(&self, _serializer: &S, _target: Target<'_>, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl<S: Serializer<T>, T: Sync> Field<S> for Given<T> {
    async fn prepare(&self, serializer: &S, target: Target<'_>) -> Result<()> {
        match self.as_bytes(serializer) {
            AsBytes::Written => serializer.prepare(target).await,
            AsBytes::Null | AsBytes::Plain(_) => Ok(()),
        }
    }

    #[inline]
    fn as_bytes<'f>(&'f self, serializer: &'f S) -> AsBytes<'f> {
        match &self.0 {
            None => AsBytes::Null,
            Some(value) => serializer.as_bytes(value).map_or(AsBytes::Written, AsBytes::Plain),
        }
    }

    fn write(&self, serializer: &S, target: Target<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |value| serializer.serialize(target, value, out))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Absent {}
    impl<T> Sealed for super::Given<T> {}
}
