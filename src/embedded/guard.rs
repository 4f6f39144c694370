//! Checks the shape of a request body before `kafka-protocol` decodes it.
//!
//! That crate reserves memory for as many elements as a count announces: a Metadata body of four bytes can end the
//! process, which no handler can catch. So every body is walked first, by a description of its lengths alone.
//!
//! Rules this file keeps:
//! - a count is never larger than the bytes that follow it, nor [`MAX_ELEMENTS`] in one request, nor
//!   [`MAX_TAGS`] for tagged fields;
//! - a body is used up exactly: bytes left over mean that the two sides disagree about the message;
//! - a message without a description here is not decoded at all.
//!
//! Not covered: what a decoded request costs beyond its bytes. At the bounds above that is about a hundred bytes for
//! each element, thus at most some 25 MB for a request, until it is answered.

use kafka_protocol::messages::ApiKey;

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It ends before the message does.
    Truncated,
    /// A count or a length is negative, or more than the rest can hold.
    BadLength,
    /// Bytes follow the end of the message.
    Leftover,
    /// No description of this message exists.
    Undescribed,
}

/// Whether `body` has the shape of version `version` of the request `api`.
pub(super) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), Malformed> {
    let (fields, flexible_from) = shape(api).ok_or(Malformed::Undescribed)?;
    let mut walk = Walk { rest: body, version, flexible: version >= flexible_from, elements: 0 };
    walk.structure(fields)?;
    if walk.rest.is_empty() { Ok(()) } else { Err(Malformed::Leftover) }
}

/// One field of a message: the versions that have it, and how long it is.
struct Field(i16, i16, Kind);

enum Kind {
    /// A number, flag or id of so many bytes.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// Bytes, nullable or not.
    Blob,
    /// An array of structures.
    Array(&'static [Field]),
    /// An array of numbers of so many bytes.
    Numbers(usize),
    /// An array of strings.
    Texts,
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl<'a> Walk<'a> {
    fn structure(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        for Field(first, last, kind) in fields {
            if (*first..=*last).contains(&self.version) {
                self.field(kind)?;
            }
        }
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn field(&mut self, kind: &'static Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(size) => self.take(*size).map(drop),
            Kind::Text => {
                let length = if self.flexible { self.compact()? } else { self.int16()? };
                self.take(length).map(drop)
            }
            Kind::Blob => {
                let length = if self.flexible { self.compact()? } else { self.int32()? };
                self.take(length).map(drop)
            }
            Kind::Array(fields) => (0..self.count()?).try_for_each(|_| self.structure(fields)),
            Kind::Texts => (0..self.count()?).try_for_each(|_| self.field(&Kind::Text)),
            Kind::Numbers(size) => {
                let length = self.count()?.saturating_mul(*size);
                self.take(length).map(drop)
            }
        }
    }

    /// The number of elements that follow, null counting as none.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = if self.flexible { self.compact()? } else { self.int32()? };
        self.elements = self.elements.saturating_add(count);
        // An element has at least one byte in every message described here.
        if count > self.rest.len() || self.elements > MAX_ELEMENTS { Err(Malformed::BadLength) } else { Ok(count) }
    }

    /// The tagged fields at the end of a structure (KIP-482).
    fn tags(&mut self) -> Result<(), Malformed> {
        let count = self.varint()?;
        if count > MAX_TAGS {
            return Err(Malformed::BadLength);
        }
        for _ in 0..count {
            self.varint()?;
            let size = self.varint()?;
            self.take(size)?;
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

/// The fields of a request that the broker serves, and its first flexible version.
fn shape(api: ApiKey) -> Option<(&'static [Field], i16)> {
    Some(match api {
        ApiKey::Produce => (PRODUCE, 9),
        ApiKey::Fetch => (FETCH, 12),
        ApiKey::ListOffsets => (LIST_OFFSETS, 6),
        ApiKey::Metadata => (METADATA, 9),
        ApiKey::ApiVersions => (API_VERSIONS, 3),
        ApiKey::CreateTopics => (CREATE_TOPICS, 5),
        ApiKey::DeleteTopics => (DELETE_TOPICS, 4),
        ApiKey::FindCoordinator => (FIND_COORDINATOR, 3),
        ApiKey::InitProducerId => (INIT_PRODUCER_ID, 2),
        ApiKey::DescribeCluster => (DESCRIBE_CLUSTER, 0),
        _ => return None,
    })
}

/// More elements than this in one request are refused. A request of a real client names each partition once.
const MAX_ELEMENTS: usize = 250_000;

/// More tagged fields than this in one structure are refused, as Kafka 4.4 does.
const MAX_TAGS: usize = 10_000;

const LAST: i16 = i16::MAX;

const PRODUCE: &[Field] = &[
    Field(3, LAST, Kind::Text),
    Field(0, LAST, Kind::Fixed(2 + 4)),
    Field(
        0,
        LAST,
        Kind::Array(&[
            Field(0, 12, Kind::Text),
            Field(13, LAST, Kind::Fixed(16)),
            Field(0, LAST, Kind::Array(&[Field(0, LAST, Kind::Fixed(4)), Field(0, LAST, Kind::Blob)])),
        ]),
    ),
];

const FETCH: &[Field] = &[
    Field(0, 14, Kind::Fixed(4)),
    Field(0, LAST, Kind::Fixed(4 + 4 + 4 + 1)),
    Field(7, LAST, Kind::Fixed(4 + 4)),
    Field(
        0,
        LAST,
        Kind::Array(&[
            Field(0, 12, Kind::Text),
            Field(13, LAST, Kind::Fixed(16)),
            Field(
                0,
                LAST,
                Kind::Array(&[
                    Field(0, LAST, Kind::Fixed(4)),
                    Field(9, LAST, Kind::Fixed(4)),
                    Field(0, LAST, Kind::Fixed(8)),
                    Field(12, LAST, Kind::Fixed(4)),
                    Field(5, LAST, Kind::Fixed(8)),
                    Field(0, LAST, Kind::Fixed(4)),
                ]),
            ),
        ]),
    ),
    Field(
        7,
        LAST,
        Kind::Array(&[Field(7, 12, Kind::Text), Field(13, LAST, Kind::Fixed(16)), Field(7, LAST, Kind::Numbers(4))]),
    ),
    Field(11, LAST, Kind::Text),
];

const LIST_OFFSETS: &[Field] = &[
    Field(0, LAST, Kind::Fixed(4)),
    Field(2, LAST, Kind::Fixed(1)),
    Field(
        0,
        LAST,
        Kind::Array(&[
            Field(0, LAST, Kind::Text),
            Field(
                0,
                LAST,
                Kind::Array(&[
                    Field(0, LAST, Kind::Fixed(4)),
                    Field(4, LAST, Kind::Fixed(4)),
                    Field(0, LAST, Kind::Fixed(8)),
                ]),
            ),
        ]),
    ),
    Field(10, LAST, Kind::Fixed(4)),
];

const METADATA: &[Field] = &[
    Field(0, LAST, Kind::Array(&[Field(10, LAST, Kind::Fixed(16)), Field(0, LAST, Kind::Text)])),
    Field(4, LAST, Kind::Fixed(1)),
    Field(8, 10, Kind::Fixed(1)),
    Field(8, LAST, Kind::Fixed(1)),
];

const API_VERSIONS: &[Field] = &[Field(3, LAST, Kind::Text), Field(3, LAST, Kind::Text)];

const CREATE_TOPICS: &[Field] = &[
    Field(
        0,
        LAST,
        Kind::Array(&[
            Field(0, LAST, Kind::Text),
            Field(0, LAST, Kind::Fixed(4 + 2)),
            Field(0, LAST, Kind::Array(&[Field(0, LAST, Kind::Fixed(4)), Field(0, LAST, Kind::Numbers(4))])),
            Field(0, LAST, Kind::Array(&[Field(0, LAST, Kind::Text), Field(0, LAST, Kind::Text)])),
        ]),
    ),
    Field(0, LAST, Kind::Fixed(4 + 1)),
];

const DELETE_TOPICS: &[Field] = &[
    Field(6, LAST, Kind::Array(&[Field(6, LAST, Kind::Text), Field(6, LAST, Kind::Fixed(16))])),
    Field(0, 5, Kind::Texts),
    Field(0, LAST, Kind::Fixed(4)),
];

const FIND_COORDINATOR: &[Field] =
    &[Field(0, 3, Kind::Text), Field(1, LAST, Kind::Fixed(1)), Field(4, LAST, Kind::Texts)];

const INIT_PRODUCER_ID: &[Field] =
    &[Field(0, LAST, Kind::Text), Field(0, LAST, Kind::Fixed(4)), Field(3, LAST, Kind::Fixed(8 + 2))];

const DESCRIBE_CLUSTER: &[Field] =
    &[Field(0, LAST, Kind::Fixed(1)), Field(1, LAST, Kind::Fixed(1)), Field(2, LAST, Kind::Fixed(1))];

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
            (ApiKey::Metadata, 0, &[0, 0, 0, 0, 9], Malformed::Leftover),
            (ApiKey::ApiVersions, 3, &[1, 1, 0xff, 0xff, 0x7f], Malformed::BadLength),
            (ApiKey::JoinGroup, 0, &[], Malformed::Undescribed),
        ];
        for (api, version, body, expected) in cases {
            assert_eq!(check(*api, *version, body), Err(*expected), "{api:?} v{version} {body:?}");
        }
    }
}
