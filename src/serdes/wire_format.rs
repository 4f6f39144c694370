//! The Confluent wire frame: which schema a payload was written with, said in front of it.
//!
//! Rules this file keeps:
//! - a frame is magic byte 0, the schema's id as four big-endian bytes, and the body;
//! - a payload that is shorter, or starts with another byte, is an error that shows the bytes seen;
//! - an id is not refused by its sign: the registry knows which ids exist, not the frame.
//!
//! The other forms, message indexes for Protobuf, the GUID of magic byte 1 and ids in headers, belong here too.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The number under which a registry knows a schema. It is unique within one registry and one context of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub i32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Appends the five bytes that come before the body.
pub fn write_prefix(id: SchemaId, out: &mut Vec<u8>) {
    let [a, b, c, d] = id.0.to_be_bytes();
    out.extend_from_slice(&[MAGIC_ID, a, b, c, d]);
}

/// Splits a payload into the id of its schema and its body.
///
/// # Errors
/// `Serialization` if the payload is shorter than a frame or starts with another magic byte.
pub fn read_prefix(payload: &[u8]) -> Result<(SchemaId, &[u8])> {
    match payload {
        [MAGIC_ID, a, b, c, d, body @ ..] => Ok((SchemaId(i32::from_be_bytes([*a, *b, *c, *d])), body)),
        _ => Err(not_a_frame(payload)),
    }
}

#[cold]
fn not_a_frame(payload: &[u8]) -> Error {
    let why = match payload {
        [] => "it is empty".to_owned(),
        [MAGIC_ID, ..] => format!("it has {} bytes and a frame has at least {PREFIX_LEN}", payload.len()),
        [MAGIC_GUID, ..] => "its schema is named by a GUID (magic byte 1), which is not supported yet".to_owned(),
        [magic, ..] => format!("its magic byte is {magic} and must be 0"),
    };
    let seen = Seen(payload);
    Error::new(ErrorKind::Serialization, format!("the payload has no schema id in front: {why} (bytes: {seen})"))
}

/// The first bytes of a payload in hexadecimal.
struct Seen<'a>(&'a [u8]);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for byte in self.0.iter().take(SHOWN) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, "… of {}", self.0.len())?;
        }
        Ok(())
    }
}

/// How many bytes come before the body.
pub const PREFIX_LEN: usize = 5;

const MAGIC_ID: u8 = 0;
const MAGIC_GUID: u8 = 1;
const SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_zero_and_the_big_endian_id() {
        for (id, bytes) in [
            (1, [0, 0, 0, 0, 1]),
            (0x0102_0304, [0, 1, 2, 3, 4]),
            (-1, [0, 255, 255, 255, 255]),
            (i32::MIN, [0, 128, 0, 0, 0]),
        ] {
            let mut out = vec![9];
            write_prefix(SchemaId(id), &mut out);
            assert_eq!(out[1..], bytes, "{id}");
            out.extend_from_slice(b"body");
            assert_eq!(read_prefix(&out[1..]).unwrap(), (SchemaId(id), &b"body"[..]));
        }
    }

    #[test]
    fn what_is_no_frame_is_shown() {
        for (payload, needle) in [
            (&b""[..], "it is empty (bytes: none)"),
            (&[0, 0, 0, 1], "it has 4 bytes and a frame has at least 5 (bytes: 00000001)"),
            (&[1; 17], "GUID"),
            (b"{\"a\":1}", "its magic byte is 123 and must be 0 (bytes: 7b2261223a317d)"),
            (&[7; 40], "(bytes: 07070707070707070707070707070707… of 40)"),
        ] {
            let error = read_prefix(payload).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Serialization);
            assert!(error.to_string().contains(needle), "{error}");
        }
    }
}
