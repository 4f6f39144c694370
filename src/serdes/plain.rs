//! Bytes as they are, text, and null.

use crate::error::{Error, ErrorKind, Result};

use super::{Deserializer, Serializer, Target};

/// Keys and values are bytes; nothing is added or checked. The default of producers and consumers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes;

impl<T: AsRef<[u8]> + ?Sized> Serializer<T> for Bytes {
    fn as_bytes<'a>(&self, value: &'a T) -> Option<&'a [u8]> {
        Some(value.as_ref())
    }

    fn serialize(&self, _target: Target<'_>, value: &T, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value.as_ref());
        Ok(())
    }
}

impl Deserializer for Bytes {
    type Output<'a> = Option<&'a [u8]>;

    fn deserialize<'a>(&self, _target: Target<'_>, payload: Option<&'a [u8]>) -> Result<Option<&'a [u8]>> {
        Ok(payload)
    }
}

/// Keys or values are UTF-8 text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8;

impl<T: AsRef<str> + ?Sized> Serializer<T> for Utf8 {
    fn as_bytes<'a>(&self, value: &'a T) -> Option<&'a [u8]> {
        Some(value.as_ref().as_bytes())
    }

    fn serialize(&self, _target: Target<'_>, value: &T, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value.as_ref().as_bytes());
        Ok(())
    }
}

impl Deserializer for Utf8 {
    type Output<'a> = Option<&'a str>;

    fn deserialize<'a>(&self, target: Target<'_>, payload: Option<&'a [u8]>) -> Result<Option<&'a str>> {
        let Some(bytes) = payload else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|error| {
            Error::new(
                ErrorKind::Serialization,
                format!("the {:?} of a record of {} is not UTF-8", target.part, target.topic),
            )
            .with_source(error)
        })
    }
}

/// What another deserializer reads, with `None` for Kafka's null: for topics with tombstones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nullable<D>(pub D);

impl<D: Deserializer> Deserializer for Nullable<D> {
    type Output<'a> = Option<D::Output<'a>>;

    fn is_ready(&self, target: Target<'_>, payload: &[u8]) -> bool {
        self.0.is_ready(target, payload)
    }

    fn prepare(&self, target: Target<'_>, payload: &[u8]) -> impl Future<Output = Result<()>> + Send {
        self.0.prepare(target, payload)
    }

    fn deserialize<'a>(&self, target: Target<'_>, payload: Option<&'a [u8]>) -> Result<Option<D::Output<'a>>> {
        payload.map(|payload| self.0.deserialize(target, Some(payload))).transpose()
    }
}
