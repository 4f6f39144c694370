//! What can be wrong with bytes that are read and with values that are written.
//!
//! Rules this file keeps:
//! - a fault names the place: the byte when reading, the field when writing;
//! - a fault never carries the peer's bytes, which may be secrets.

use std::{error, fmt};

use crate::error::{Error, ErrorKind};

/// Bytes of a peer that are not what the protocol allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// How many bytes into the frame the reader was.
    pub at: usize,
    /// What was wrong there.
    pub fault: DecodeFault,
}

/// What was wrong with bytes of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeFault {
    /// More bytes were announced or needed than are left.
    Truncated {
        /// How many were needed.
        needed: usize,
        /// How many were left.
        left: usize,
    },
    /// A length below −1.
    NegativeLength(i32),
    /// Null where the version has no null.
    Null,
    /// More elements or tagged fields than [`MAX_ARRAY`](super::MAX_ARRAY) and [`MAX_TAGS`](super::MAX_TAGS) allow.
    TooMany(usize),
    /// A string longer than 32,767 bytes.
    LongString(usize),
    /// A variable-length integer that does not fit its type.
    Varint,
    /// A string that is not UTF-8.
    Utf8,
    /// Bytes that belong to no field.
    Leftover(usize),
    /// A version that the table of the message does not have.
    Version(i16),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.at)?;
        match self.fault {
            DecodeFault::Truncated { needed, left } => write!(f, "{needed} bytes are needed, {left} are left"),
            DecodeFault::NegativeLength(length) => write!(f, "a length of {length}"),
            DecodeFault::Null => f.write_str("null where this version has no null"),
            DecodeFault::TooMany(count) => write!(f, "{count} elements, more than a peer may send"),
            DecodeFault::LongString(length) => write!(f, "a string of {length} bytes, more than 32767"),
            DecodeFault::Varint => f.write_str("a variable-length integer out of its range"),
            DecodeFault::Utf8 => f.write_str("a string that is not UTF-8"),
            DecodeFault::Leftover(count) => write!(f, "{count} bytes belong to no field"),
            DecodeFault::Version(version) => write!(f, "version {version} is not in the table"),
        }
    }
}

impl error::Error for DecodeError {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Error::new(ErrorKind::Protocol, format!("the peer sent bytes that are not Kafka's: {error}"))
    }
}

/// A value that cannot be said in the version asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeError {
    /// The structure that holds the field; empty where the message as a whole is at fault.
    pub structure: &'static str,
    /// The field.
    pub field: &'static str,
    /// What was wrong with it.
    pub fault: EncodeFault,
}

/// What was wrong with a value to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeFault {
    /// The field carries a value and this version does not have the field.
    Unsupported(i16),
    /// The value is null and the version has no null for it.
    Null,
    /// The value is longer than its length field can say.
    TooLong(usize),
    /// A version that the table of the message does not have.
    Version(i16),
}

impl EncodeError {
    pub(super) const fn new(fault: EncodeFault) -> Self {
        Self { structure: "", field: "", fault }
    }

    /// Names the field, unless a field further inside was named already.
    pub(super) fn within(self, structure: &'static str, field: &'static str) -> Self {
        if self.structure.is_empty() { Self { structure, field, ..self } } else { self }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.structure, self.field) {
            ("", _) => f.write_str("the message")?,
            (structure, "") => f.write_str(structure)?,
            (structure, field) => write!(f, "{structure}.{field}")?,
        }
        match self.fault {
            EncodeFault::Unsupported(version) => write!(f, " is set, and version {version} does not have it"),
            EncodeFault::Null => f.write_str(" is null, and this version has no null for it"),
            EncodeFault::TooLong(length) => write!(f, " is too long with {length} bytes or elements"),
            EncodeFault::Version(version) => write!(f, " has no version {version}"),
        }
    }
}

impl error::Error for EncodeError {}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        let kind = match error.fault {
            EncodeFault::Unsupported(_) | EncodeFault::Null | EncodeFault::Version(_) => ErrorKind::UnsupportedVersion,
            EncodeFault::TooLong(_) => ErrorKind::Protocol,
        };
        Error::new(kind, error.to_string())
    }
}
