//! Checks the shape of a request body before `kafka-protocol` decodes it.
//!
//! That crate reserves memory for as many elements as a count announces: a Metadata body of four bytes can end the
//! process, which no handler can catch. So every body is walked first, by its lengths alone.
//!
//! The walk goes by milena's tables of the messages, the one thing that this module shares with the client's codec.
//! They say only where lengths stand; what a request says is read by `kafka-protocol`, and where the two disagree the
//! request is refused.
//!
//! Rules this file keeps:
//! - a count is never larger than the bytes that follow it, nor [`MAX_ELEMENTS`] in one request, nor
//!   [`MAX_TAGS`] for tagged fields;
//! - both readers use up the same bytes: whatever one of them leaves over means that they disagree about the message;
//! - bytes behind the end of a message are ignored, as Kafka does: librdkafka (2.16) asks for all topics with a null list
//!   of four bytes where one belongs;
//! - a message without a table is not decoded at all.
//!
//! Not covered: what a decoded request costs beyond its bytes. At the bounds above that is about a hundred bytes for
//! each element, thus at most some 25 MB for a request, until it is answered.

use kafka_protocol::messages::ApiKey;

use crate::wire::{self, At, FieldSpec, Kind, Place};

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It ends before the message does.
    Truncated,
    /// A count or a length is negative, or more than the rest can hold.
    BadLength,
    /// Bytes follow the end of a tagged field.
    Leftover,
    /// No table of this message and version exists.
    Undescribed,
}

/// How many bytes of `body` are version `version` of the request `api`, if it has that shape.
pub(super) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<usize, Malformed> {
    let table = wire::Api::of_key(wire::ApiKey(api as i16)).map(|api| &api.request);
    let table = table.filter(|table| table.versions.contains(&version)).ok_or(Malformed::Undescribed)?;
    let at = At { version, flexible: version >= table.flexible_from, nullable: false };
    let mut walk = Walk { rest: body, elements: 0 };
    walk.structure(table.fields, at)?;
    Ok(body.len() - walk.rest.len())
}

struct Walk<'a> {
    rest: &'a [u8],
    elements: usize,
}

impl<'a> Walk<'a> {
    fn structure(&mut self, fields: &'static [FieldSpec], at: At) -> Result<(), Malformed> {
        for field in fields.iter().filter(|field| field.rule.place(at) == Place::Plain) {
            self.value(&field.kind, field.rule.at(at))?;
        }
        if at.flexible { self.tags(fields, at) } else { Ok(()) }
    }

    fn value(&mut self, kind: &'static Kind, at: At) -> Result<(), Malformed> {
        match kind {
            Kind::Struct { fields, .. } => {
                let missing = at.nullable && self.take(1)?.first().is_none_or(|byte| (*byte as i8) < 0);
                if missing { Ok(()) } else { self.structure(fields, at) }
            }
            Kind::Array { of } => {
                let at = At { nullable: false, ..at };
                match fixed_size(of) {
                    Some(size) => {
                        let length = self.count(at.flexible)?.saturating_mul(size);
                        self.take(length).map(drop)
                    }
                    None => (0..self.count(at.flexible)?).try_for_each(|_| self.value(of, at)),
                }
            }
            Kind::String => {
                let length = if at.flexible { self.compact()? } else { self.int16()? };
                self.take(length).map(drop)
            }
            Kind::Bytes | Kind::Records => {
                let length = if at.flexible { self.compact()? } else { self.int32()? };
                self.take(length).map(drop)
            }
            fixed => self.take(fixed_size(fixed).ok_or(Malformed::Undescribed)?).map(drop),
        }
    }

    /// The number of elements that follow, null counting as none.
    fn count(&mut self, flexible: bool) -> Result<usize, Malformed> {
        let count = if flexible { self.compact()? } else { self.int32()? };
        self.elements = self.elements.saturating_add(count);
        // An element has at least one byte in every message that is served.
        if count > self.rest.len() || self.elements > MAX_ELEMENTS { Err(Malformed::BadLength) } else { Ok(count) }
    }

    /// The tagged fields at the end of a structure (KIP-482).
    fn tags(&mut self, fields: &'static [FieldSpec], at: At) -> Result<(), Malformed> {
        let count = self.varint()?;
        if count > MAX_TAGS {
            return Err(Malformed::BadLength);
        }
        for _ in 0..count {
            let tag = self.varint()?;
            let size = self.varint()?;
            let bytes = self.take(size)?;
            let known =
                fields.iter().find(|field| matches!(field.rule.place(at), Place::Tagged(n) if n as usize == tag));
            if let Some(field) = known {
                let mut inner = Walk { rest: bytes, elements: self.elements };
                inner.value(&field.kind, field.rule.at(at))?;
                self.elements = inner.elements;
                if !inner.rest.is_empty() {
                    return Err(Malformed::Leftover);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A length of the old encoding, where −1 is null.
    fn int16(&mut self) -> Result<usize, Malformed> {
        let bytes = self.take(2)?.try_into().map_err(|_| Malformed::Truncated)?;
        length(i32::from(i16::from_be_bytes(bytes)))
    }

    fn int32(&mut self) -> Result<usize, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed::Truncated)?;
        length(i32::from_be_bytes(bytes))
    }

    /// A length of the compact encoding, where 0 is null and everything else one too large.
    fn compact(&mut self) -> Result<usize, Malformed> {
        Ok(self.varint()?.saturating_sub(1))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?.first().copied().ok_or(Malformed::Truncated)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(value).map_err(|_| Malformed::BadLength);
            }
        }
        Err(Malformed::BadLength)
    }
}

fn length(value: i32) -> Result<usize, Malformed> {
    if value == -1 { Ok(0) } else { usize::try_from(value).map_err(|_| Malformed::BadLength) }
}

/// Bytes of a type that is always as long.
fn fixed_size(kind: &Kind) -> Option<usize> {
    Some(match kind {
        Kind::Bool | Kind::Int8 => 1,
        Kind::Int16 | Kind::Uint16 => 2,
        Kind::Int32 | Kind::Uint32 => 4,
        Kind::Int64 | Kind::Float64 => 8,
        Kind::Uuid => 16,
        Kind::String | Kind::Bytes | Kind::Records | Kind::Array { .. } | Kind::Struct { .. } => return None,
    })
}

/// More elements than this in one request are refused. A request of a real client names each partition once.
const MAX_ELEMENTS: usize = 250_000;

/// More tagged fields than this in one structure are refused, as Kafka 4.4 does.
const MAX_TAGS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_lengths_that_lie_are_refused() {
        let cases: &[(ApiKey, i16, &[u8], Malformed)] = &[
            // The four bytes that end a process which decodes them with kafka-protocol alone.
            (ApiKey::Metadata, 0, &[0x7f, 0xff, 0xff, 0xff], Malformed::BadLength),
            (ApiKey::Metadata, 0, &[0xff, 0xff, 0xff, 0xfe], Malformed::BadLength),
            (ApiKey::Metadata, 12, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0], Malformed::BadLength),
            (ApiKey::Metadata, 12, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Malformed::BadLength),
            (ApiKey::Metadata, 0, &[0, 0, 0], Malformed::Truncated),
            (ApiKey::ApiVersions, 3, &[1, 1, 0xff, 0xff, 0x7f], Malformed::BadLength),
            (ApiKey::Metadata, 99, &[], Malformed::Undescribed),
        ];
        for (api, version, body, expected) in cases {
            assert_eq!(check(*api, *version, body), Err(*expected), "{api:?} v{version} {body:?}");
        }
    }

    #[test]
    fn what_follows_a_message_is_no_part_of_it() {
        // As librdkafka 2.16 asks for all topics: meant are four bytes for a null list, true, false, no tagged fields.
        assert_eq!(check(ApiKey::Metadata, 13, &[0, 0, 0, 0, 1, 0, 0]), Ok(4));
        assert_eq!(check(ApiKey::Metadata, 0, &[0, 0, 0, 0]), Ok(4));
    }
}
