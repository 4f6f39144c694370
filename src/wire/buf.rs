//! Reading a frame and writing one.
//!
//! Rules this file keeps:
//! - every read checks what is left first; a length is believed only as far as there are bytes for it;
//! - strings, byte fields and records that are read share the frame, they are not copied out of it;
//! - records that are written are taken over as they are, between pieces of the small bytes around them.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    MAX_ARRAY, MAX_TAGS, Records, Size, Str, Uuid,
    fault::{DecodeError, DecodeFault},
    varint,
};

/// Walks through the bytes of one frame.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    /// What is left of the frame, or of the tagged field that is being read.
    rest: &'a [u8],
    /// Where the frame ends, or the tagged field.
    end: usize,
    /// The frame for records to share, once there are any.
    shared: Option<Arc<Bytes>>,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `frame`.
    pub fn new(frame: &'a Bytes) -> Self {
        Self { frame, rest: frame, end: frame.len(), shared: None }
    }

    /// How many bytes were read.
    #[inline]
    pub fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else { return Err(self.truncated(N)) };
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next `length` bytes, which live as long as the frame.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else { return Err(self.truncated(length)) };
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `length` bytes, shared with the frame.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let start = self.position();
        self.slice(length)?;
        Ok(self.frame.slice(start..start + length))
    }

    /// The next `length` bytes as records, shared with the frame.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub(super) fn records(&mut self, length: usize) -> Result<Records, DecodeError> {
        let start = self.position();
        self.slice(length)?;
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(self.position())) else {
            return Ok(self.frame.slice(start..start + length).into());
        };
        let frame = self.shared.get_or_insert_with(|| Arc::new(self.frame.clone()));
        Ok(Records::within(Arc::clone(frame), start, end))
    }

    /// The next `length` bytes as text, shared with the frame.
    ///
    /// # Errors
    /// Fewer are left, more than 32,767 are asked for, or they are not UTF-8.
    pub fn str(&mut self, length: usize) -> Result<Str, DecodeError> {
        if length > MAX_STRING {
            return Err(self.fault(DecodeFault::LongString(length)));
        }
        let start = self.position();
        let bytes = self.bytes(length)?;
        Str::from_utf8(bytes).map_err(|_| DecodeError { at: start, fault: DecodeFault::Utf8 })
    }

    /// The next `N` bytes, which stay where they are, if so many are left.
    #[inline]
    pub(super) fn ahead<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.rest.first_chunk()
    }

    /// An unsigned variable-length integer.
    ///
    /// # Errors
    /// It is cut off or takes more than 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        match self.rest {
            // Nearly all lengths and tag counts are this short.
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*byte))
            }
            _ => self.long_uvarint(),
        }
    }

    #[inline(never)]
    fn long_uvarint(&mut self) -> Result<u32, DecodeError> {
        match varint::read_u32(self.rest) {
            Some((value, taken)) => self.slice(taken).map(|_| value),
            None => Err(self.fault(DecodeFault::Varint)),
        }
    }

    /// The length before a string, byte field or array; `None` is null.
    ///
    /// # Errors
    /// It is below −1 or more than the bytes that are left. (No element takes less than a byte.)
    #[inline(always)]
    pub(super) fn length(&mut self, prefix: Prefix, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let length = match (flexible, prefix) {
            // A compact length is one more than it says; zero is null.
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, Prefix::Short) => i64::from(i16::from_be_bytes(self.array()?)),
            (false, Prefix::Long) => i64::from(i32::from_be_bytes(self.array()?)),
        };
        if length == -1 {
            return Ok(None);
        }
        if length as u64 > self.remaining() as u64 {
            return Err(self.no_length(length));
        }
        Ok(Some(length as usize))
    }

    #[cold]
    #[inline(never)]
    fn no_length(&self, length: i64) -> DecodeError {
        match usize::try_from(length) {
            Ok(length) => self.truncated(length),
            Err(_) => self.fault(DecodeFault::NegativeLength(length as i32)),
        }
    }

    /// Refuses arrays that no honest peer sends, before memory is reserved for them.
    #[inline]
    pub(super) fn check_count(&self, count: usize) -> Result<(), DecodeError> {
        if count > MAX_ARRAY { Err(self.fault(DecodeFault::TooMany(count))) } else { Ok(()) }
    }

    /// How many tagged fields follow at the end of a structure; mostly none.
    ///
    /// # Errors
    /// There are too many.
    #[inline]
    pub(super) fn tag_count(&mut self) -> Result<usize, DecodeError> {
        let count = self.uvarint()? as usize;
        if count > MAX_TAGS { Err(self.fault(DecodeFault::TooMany(count))) } else { Ok(count) }
    }

    /// The tagged fields at the end of a structure. `field` reads one it knows and says so; others are skipped.
    ///
    /// # Errors
    /// There are too many, one is longer than what is left, or one was not read to its end.
    pub fn tags(&mut self, field: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>) -> Result<(), DecodeError> {
        let count = self.tag_count()?;
        self.counted_tags(count, field)
    }

    /// So many tagged fields.
    pub(super) fn counted_tags(
        &mut self,
        count: usize,
        mut field: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..count {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            let Some((inside, after)) = self.rest.split_at_checked(length) else { return Err(self.truncated(length)) };
            let outer_end = self.end;
            self.end = self.position() + length;
            self.rest = inside;
            if field(self, tag)? {
                self.finish()?;
            }
            self.rest = after;
            self.end = outer_end;
        }
        Ok(())
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.fault(DecodeFault::Leftover(left))),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn fault(&self, fault: DecodeFault) -> DecodeError {
        DecodeError { at: self.position(), fault }
    }

    #[cold]
    #[inline(never)]
    fn truncated(&self, needed: usize) -> DecodeError {
        self.fault(DecodeFault::Truncated { needed, left: self.remaining() })
    }
}

/// Collects the pieces of one frame: small bytes go to a buffer of their exact size, records stay what they are.
#[derive(Debug)]
pub struct Writer {
    small: Vec<u8>,
    /// Pieces of records, and how many of the small bytes stand before each.
    records: Vec<(usize, Bytes)>,
}

impl Writer {
    /// A writer for something of this size.
    pub fn with_size(size: Size) -> Self {
        Self { small: Vec::with_capacity(size.inline), records: Vec::new() }
    }

    /// Appends bytes by copying them.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    /// Appends an unsigned variable-length integer.
    #[inline]
    pub fn put_uvarint(&mut self, value: u32) {
        if value < 0x80 {
            self.small.push(value as u8);
        } else {
            self.put_long_uvarint(value);
        }
    }

    #[inline(never)]
    fn put_long_uvarint(&mut self, value: u32) {
        varint::put_u32(value, |byte| self.small.push(byte));
    }

    /// Appends an id.
    #[inline]
    pub fn put_uuid(&mut self, id: Uuid) {
        self.put(&id.0.to_be_bytes());
    }

    /// Appends record batches without copying them.
    pub fn put_records(&mut self, records: &Records) {
        let before = self.small.len();
        self.records.extend(records.pieces().map(|piece| (before, piece)));
    }

    /// What was written, in order.
    pub fn into_pieces(self) -> Vec<Bytes> {
        let small = Bytes::from(self.small);
        let mut pieces = Vec::with_capacity(2 * self.records.len() + 1);
        let mut written = 0;
        for (before, piece) in self.records {
            if before > written {
                pieces.push(small.slice(written..before));
                written = before;
            }
            pieces.push(piece);
        }
        if written < small.len() {
            pieces.push(small.slice(written..));
        }
        pieces
    }

    /// What was written in one piece; records in it are copied. For tests and tools.
    pub fn into_bytes(self) -> Bytes {
        if self.records.is_empty() {
            return self.small.into();
        }
        Records::from_pieces(self.into_pieces()).into_bytes()
    }
}

/// How wide the length before a field is in versions that are not flexible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// Two bytes, before strings.
    Short,
    /// Four bytes, before all else.
    Long,
}

/// The most bytes a string may have; the compact form could say more, and Kafka refuses it.
pub(super) const MAX_STRING: usize = i16::MAX as usize;
