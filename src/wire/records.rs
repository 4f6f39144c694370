//! The record batches inside Produce and Fetch, as the bytes they are.
//!
//! Rules this file keeps: nothing here looks into a batch, and nothing copies one, but for joining pieces when asked.

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};

/// Record batches: a list of refcounted pieces whose bytes follow each other.
#[derive(Clone)]
pub struct Records(Pieces);

#[derive(Clone)]
enum Pieces {
    /// What a partition of a Fetch response has. It is no `Bytes` yet: to make one takes longer than to read all other
    /// fields of the partition.
    Within { frame: Arc<Bytes>, start: u32, end: u32 },
    /// What a producer puts together.
    Joined(Vec<Bytes>),
}

impl Records {
    /// No batches.
    pub const EMPTY: Self = Self(Pieces::Joined(Vec::new()));

    /// Batches whose bytes are `pieces`, one after the other.
    pub fn from_pieces(pieces: Vec<Bytes>) -> Self {
        Self(Pieces::Joined(pieces))
    }

    /// Batches in a frame, which is shared.
    #[inline]
    pub(super) fn within(frame: Arc<Bytes>, start: u32, end: u32) -> Self {
        Self(Pieces::Within { frame, start, end })
    }

    /// How many bytes the batches have.
    pub fn len(&self) -> usize {
        match &self.0 {
            Pieces::Within { start, end, .. } => (end - start) as usize,
            Pieces::Joined(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, in order. None of the pieces is empty.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let (one, many) = match &self.0 {
            Pieces::Within { frame, start, end } => (Some(slice(frame, *start, *end)), [].as_slice()),
            Pieces::Joined(pieces) => (None, pieces.as_slice()),
        };
        one.into_iter().chain(many.iter().cloned()).filter(|piece| !piece.is_empty())
    }

    /// The bytes in one piece; copied together only where there were several.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Pieces::Within { frame, start, end } => slice(&frame, start, end),
            Pieces::Joined(mut pieces) if pieces.len() == 1 => pieces.pop().unwrap_or_default(),
            Pieces::Joined(pieces) => {
                let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
                pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.freeze()
            }
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<Bytes> for Records {
    fn from(piece: Bytes) -> Self {
        Self::from_pieces(vec![piece])
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.pieces().flatten().eq(other.pieces().flatten())
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes of records]", self.len())
    }
}

fn slice(frame: &Bytes, start: u32, end: u32) -> Bytes {
    frame.slice(start as usize..end as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_only_when_asked() {
        let whole = Bytes::from_static(b"abcdef");
        let records = Records::from(whole.clone());
        assert_eq!(records.clone().into_bytes().as_ptr(), whole.as_ptr(), "one piece is not copied");
        let split = Records::from_pieces(vec![whole.slice(..2), Bytes::new(), whole.slice(2..)]);
        assert_eq!((split.len(), split.pieces().count()), (6, 2));
        assert_eq!(split, records);
        assert_eq!(split.into_bytes(), whole);
        assert!(Records::from_pieces(Vec::new()).is_empty());
        assert_eq!(Records::from_pieces(Vec::new()), Records::default());
    }
}
