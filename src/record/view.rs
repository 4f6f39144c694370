//! The walk over the records of a decoded batch: what the consumer pays per record.
//!
//! Rules this file keeps:
//! - a record's slice is cut once by its length and parsed inside it, so that no record can read into the next;
//! - nothing is allocated and nothing copied; headers stay a slice until somebody asks for them;
//! - the records are as many as the header says and fill the data exactly, or the walk ends with an error.

use std::borrow::Cow;

use super::{header::BatchHeader, varint};
use crate::error::Error;

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The record's offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970, by the producer or, with `LogAppendTime`, by the broker.
    pub timestamp: i64,
    /// The key's bytes; `None` if there is none.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The record's headers in their order, names repeated as they were written.
    pub fn headers(&self) -> Headers<'a> {
        let mut rest = self.headers;
        let remaining = varint::take_i32(&mut rest).unwrap_or(0);
        Headers { rest, remaining: usize::try_from(remaining).unwrap_or(0) }
    }
}

/// A header of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// The name's bytes; UTF-8 if the producer kept to the protocol.
    pub key: &'a [u8],
    /// The value's bytes; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl<'a> HeaderView<'a> {
    /// The name as text; what is not UTF-8 is replaced, as in Java.
    pub fn name(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// The headers of one record.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
    remaining: usize,
}

impl<'a> Headers<'a> {
    fn step(&mut self) -> Option<HeaderView<'a>> {
        let key = take_field(&mut self.rest)??;
        let value = take_field(&mut self.rest)?;
        Some(HeaderView { key, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        self.step()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining))
    }
}

/// The records of a batch, one after the other. After an error it ends.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    data: &'a [u8],
    rest: &'a [u8],
    remaining: i32,
}

impl<'a> RecordIter<'a> {
    #[inline]
    pub(super) fn new(header: &'a BatchHeader, data: &'a [u8]) -> Self {
        Self { header, data, rest: data, remaining: header.record_count }
    }

    /// A walk of one record; the number of those behind it is not known.
    #[inline]
    pub(super) fn starting_at(header: &'a BatchHeader, data: &'a [u8], position: usize) -> Option<Self> {
        Some(Self { header, data, rest: data.get(position..)?, remaining: 1 })
    }

    /// Where in the batch's data the next record begins.
    #[inline]
    pub fn byte_position(&self) -> usize {
        self.data.len() - self.rest.len()
    }

    #[inline(always)]
    fn step(&mut self) -> Option<RecordView<'a>> {
        let length = varint::take_i32(&mut self.rest)?;
        let (record, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        // The record's attributes: none are defined.
        let (_, mut record) = record.split_first()?;
        let timestamp_delta = varint::take_i64(&mut record)?;
        let offset_delta = varint::take_i32(&mut record)?;
        // In one comparison: not negative, not past the batch, so that a position never goes back.
        if offset_delta as u32 > self.header.last_offset_delta as u32 {
            return None;
        }
        let key = take_field(&mut record)?;
        let value = take_field(&mut record)?;
        if record != [0] {
            check_headers(record)?;
        }
        let timestamp = match self.header.is_log_append_time() {
            true => self.header.max_timestamp,
            false => self.header.base_timestamp.wrapping_add(timestamp_delta),
        };
        let offset = self.header.base_offset.saturating_add(i64::from(offset_delta));
        Some(RecordView { offset, timestamp, key, value, headers: record })
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self) -> Error {
        let (position, left) = (self.byte_position(), self.remaining);
        self.rest = &[];
        self.remaining = 0;
        self.header.corrupt(match left {
            0 => format!("bytes are left behind its last record, from {position} on"),
            _ => format!("the record before byte {position} is damaged"),
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return if self.rest.is_empty() { None } else { Some(Err(self.fail())) };
        }
        match self.step() {
            Some(record) => {
                self.remaining -= 1;
                Some(Ok(record))
            }
            None => Some(Err(self.fail())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // One more than the records: bytes behind the last are an item, too.
        (0, usize::try_from(self.remaining).ok().map(|remaining| remaining + 1))
    }
}

/// A length and that many bytes; a negative length is null. `None` if it is damaged.
#[inline(always)]
fn take_field<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take_i32(input)?;
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    let (field, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(Some(field))
}

#[cold]
#[inline(never)]
fn check_headers(mut input: &[u8]) -> Option<()> {
    let count = usize::try_from(varint::take_i32(&mut input)?).ok()?;
    // Each takes two bytes, so that a count cannot make this loop longer than the record.
    if count > input.len() / 2 {
        return None;
    }
    let mut headers = Headers { rest: input, remaining: count };
    for _ in 0..count {
        headers.step()?;
    }
    headers.rest.is_empty().then_some(())
}
