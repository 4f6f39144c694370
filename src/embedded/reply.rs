//! A reply frame, built so that record batches are never copied into it.
//!
//! Rules this file keeps:
//! - everything but record bytes is encoded by `kafka-protocol`; records go out as the pieces they are stored in;
//! - small pieces are copied together: a system call takes only so many.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;

/// Why a request gets no reply although it wants one, or something better than silence. The connection ends.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The broker filled a message in wrongly for this version.
    Unencodable,
    /// All that can be said is to hang up.
    HangUp,
}

/// The body of a reply under construction.
#[derive(Debug, Default)]
pub(super) struct Body {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Body {
    pub(super) fn of<M: Encodable>(message: &M, version: i16) -> Result<Self, Unanswered> {
        let mut body = Self::default();
        body.put(message, version)?;
        Ok(body)
    }

    pub(super) fn put<M: Encodable>(&mut self, message: &M, version: i16) -> Result<(), Unanswered> {
        message.encode(&mut self.open, version).map_err(|_| Unanswered::Unencodable)
    }

    /// Puts a message whose last field is an array left empty, and replaces the empty array by the head of one with
    /// `count` elements. The caller puts those, then calls [`Body::end`].
    pub(super) fn put_open<M: Encodable>(
        &mut self,
        message: &M,
        version: i16,
        flexible: bool,
        count: usize,
    ) -> Result<(), Unanswered> {
        self.put(message, version)?;
        // What the encoder wrote for the empty array, and in flexible versions for "no tagged fields".
        let tail: &[u8] = if flexible { &[1, 0] } else { &[0; 4] };
        if !self.open.ends_with(tail) {
            return Err(Unanswered::Unencodable);
        }
        self.open.truncate(self.open.len() - tail.len());
        if flexible {
            return self.varint(count + 1);
        }
        self.open.put_i32(i32::try_from(count).map_err(|_| Unanswered::Unencodable)?);
        Ok(())
    }

    /// Ends a structure begun with [`Body::put_open`].
    pub(super) fn end(&mut self, flexible: bool) {
        if flexible {
            self.open.put_u8(0);
        }
    }

    /// Ends a structure begun with [`Body::put_open`] of `plain`, with the tagged fields that `message` has beyond it.
    pub(super) fn end_like<M: Encodable>(
        &mut self,
        message: &M,
        plain: &M,
        version: i16,
        flexible: bool,
    ) -> Result<(), Unanswered> {
        if flexible {
            let (message, plain) = (Self::of(message, version)?.open, Self::of(plain, version)?.open);
            // They differ in the last byte of `plain`, which says that it has no tagged fields.
            let tags = plain.len().checked_sub(1).and_then(|from| message.get(from..));
            self.open.extend_from_slice(tags.ok_or(Unanswered::Unencodable)?);
        }
        Ok(())
    }

    /// Puts bytes that are in memory elsewhere, without copying them if they are many.
    pub(super) fn splice(&mut self, piece: Bytes) {
        if piece.len() < WORTH_A_PIECE {
            self.open.extend_from_slice(&piece);
        } else {
            if !self.open.is_empty() {
                self.done.push(self.open.split().freeze());
            }
            self.done.push(piece);
        }
    }

    fn varint(&mut self, value: usize) -> Result<(), Unanswered> {
        let mut left = u32::try_from(value).map_err(|_| Unanswered::Unencodable)?;
        while left >= 0x80 {
            self.open.put_u8(left as u8 | 0x80);
            left >>= 7;
        }
        self.open.put_u8(left as u8);
        Ok(())
    }

    /// The whole frame: length, header, body.
    pub(super) fn into_frame(mut self, correlation_id: i32, header_version: i16) -> Result<Vec<Bytes>, Unanswered> {
        self.done.push(self.open.freeze());
        let header = if header_version >= 1 { 5 } else { 4 };
        let length = header + self.done.iter().map(Bytes::len).sum::<usize>();
        let mut head = BytesMut::with_capacity(4 + header);
        head.put_i32(i32::try_from(length).map_err(|_| Unanswered::Unencodable)?);
        head.put_i32(correlation_id);
        if header_version >= 1 {
            head.put_u8(0);
        }
        let mut pieces = vec![head.freeze()];
        pieces.extend(self.done.into_iter().filter(|piece| !piece.is_empty()));
        Ok(pieces)
    }
}

/// Pieces below this are cheaper to copy than to hand to the system one by one.
const WORTH_A_PIECE: usize = 2048;
