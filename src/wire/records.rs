//! The record batches inside Produce and Fetch, as the bytes they are.
//!
//! Rules this file keeps: nothing here looks into a batch, and nothing copies one, but for joining pieces when asked.

use std::{fmt, slice};

use bytes::{Bytes, BytesMut};

/// Record batches: a list of refcounted pieces whose bytes follow each other.
#[derive(Clone)]
pub struct Records(Pieces);

/// A Fetch response has one piece to a partition; a `Vec` for each would be an allocation for each.
#[derive(Clone)]
enum Pieces {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Records {
    /// No batches.
    pub const EMPTY: Self = Self(Pieces::One(Bytes::new()));

    /// Batches whose bytes are `pieces`, one after the other.
    pub fn from_pieces(pieces: Vec<Bytes>) -> Self {
        Self(Pieces::Many(pieces))
    }

    /// How many bytes the batches have.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, in order.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Pieces::One(piece) => slice::from_ref(piece),
            Pieces::Many(pieces) => pieces,
        }
    }

    /// The bytes in one piece; copied together only where there were several.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Pieces::One(piece) => piece,
            Pieces::Many(mut pieces) if pieces.len() == 1 => pieces.pop().unwrap_or_default(),
            Pieces::Many(pieces) => {
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
        Self(Pieces::One(piece))
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |records: &Self| records.pieces().iter().flatten().copied().collect::<Vec<u8>>();
        match (self.pieces(), other.pieces()) {
            ([one], [other]) => one == other,
            _ => self.len() == other.len() && bytes(self) == bytes(other),
        }
    }
}

impl Eq for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes of records]", self.len())
    }
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
        assert_eq!((split.len(), split.pieces().len()), (6, 3));
        assert_eq!(split, records);
        assert_eq!(split.into_bytes(), whole);
        assert!(Records::from_pieces(Vec::new()).is_empty());
        assert_eq!(Records::from_pieces(Vec::new()), Records::default());
    }
}
