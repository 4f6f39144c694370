//! A short list of broker ids without an allocation.
//!
//! Rules this file keeps: what `PartialEq`, `Debug` and everybody else sees is the slice; where it lies is nobody's
//! business.

use std::{fmt, ops::Deref};

/// Broker ids, such as the replicas of a partition. Up to five take no memory of their own: a Metadata response of
/// 10,000 partitions has 30,000 such lists.
#[derive(Clone)]
pub struct BrokerIds(Ids);

#[derive(Clone)]
enum Ids {
    /// The first `length` of these; the others mean nothing.
    Few {
        length: u8,
        ids: [i32; FEW],
    },
    Many(Box<[i32]>),
}

impl BrokerIds {
    /// No ids.
    pub const EMPTY: Self = Self(Ids::Few { length: 0, ids: [0; FEW] });

    /// The ids that are these bytes of a frame. `ahead` begins where `bytes` does and is read at once, as far as it
    /// belongs to the list and beyond: a loop over three ids takes three times as long.
    #[inline]
    pub(super) fn set_big_endian(&mut self, bytes: &[u8], ahead: Option<&[u8; FEW * ID]>) {
        let count = bytes.len() / ID;
        match (&mut self.0, ahead) {
            (Ids::Few { length, ids }, Some(ahead)) if count <= FEW => {
                *length = count as u8;
                for (id, bytes) in ids.iter_mut().zip(ahead.as_chunks().0) {
                    *id = i32::from_be_bytes(*bytes);
                }
            }
            _ => self.set_one_by_one(bytes),
        }
    }

    #[inline(never)]
    fn set_one_by_one(&mut self, bytes: &[u8]) {
        *self = bytes.as_chunks().0.iter().map(|id| i32::from_be_bytes(*id)).collect();
    }

    /// The first `length` of `ids`.
    #[inline]
    fn few(length: usize, ids: [i32; FEW]) -> Self {
        Self(Ids::Few { length: length.min(FEW) as u8, ids })
    }

    /// The ids.
    #[inline]
    pub fn as_slice(&self) -> &[i32] {
        match &self.0 {
            Ids::Few { length, ids } => ids.get(..usize::from(*length)).unwrap_or(ids),
            Ids::Many(ids) => ids,
        }
    }
}

impl Default for BrokerIds {
    #[inline]
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<&[i32]> for BrokerIds {
    fn from(ids: &[i32]) -> Self {
        let mut few = [0; FEW];
        match few.get_mut(..ids.len()) {
            Some(first) => {
                first.copy_from_slice(ids);
                Self::few(ids.len(), few)
            }
            None => Self(Ids::Many(ids.into())),
        }
    }
}

impl From<Vec<i32>> for BrokerIds {
    fn from(ids: Vec<i32>) -> Self {
        if ids.len() > FEW { Self(Ids::Many(ids.into())) } else { ids.as_slice().into() }
    }
}

impl FromIterator<i32> for BrokerIds {
    fn from_iter<T: IntoIterator<Item = i32>>(ids: T) -> Self {
        ids.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for BrokerIds {
    type Target = [i32];
    #[inline]
    fn deref(&self) -> &[i32] {
        self.as_slice()
    }
}

impl PartialEq for BrokerIds {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for BrokerIds {}

impl fmt::Debug for BrokerIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// How many bytes an id has on the wire.
pub(super) const ID: usize = size_of::<i32>();
/// How many ids take no memory of their own: as many as fit into three words, which is what a `Vec` takes.
const FEW: usize = 5;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::{At, DecodeError, DecodeFault, Field, Reader};

    const PLAIN: At = At { version: 0, flexible: false, nullable: false };

    fn read(frame: Vec<u8>) -> Result<(BrokerIds, usize), DecodeError> {
        let frame = Bytes::from(frame);
        let mut input = Reader::new(&frame);
        let mut ids = BrokerIds::EMPTY;
        ids.read(&mut input, PLAIN)?;
        Ok((ids, input.remaining()))
    }

    #[test]
    fn lists_of_all_lengths_are_read_whatever_follows_them() {
        for count in 0..=7 {
            let expected: Vec<i32> = (0..count).map(|id| id * 1000 - 1).collect();
            let mut frame = count.to_be_bytes().to_vec();
            expected.iter().for_each(|id| frame.extend(id.to_be_bytes()));
            for after in 0..24 {
                let mut frame = frame.clone();
                frame.resize(frame.len() + after, 0xee);
                let (ids, left) = read(frame).expect("whole");
                assert_eq!((ids.as_slice(), left), (expected.as_slice(), after), "{count} ids, {after} bytes after");
                assert_eq!(ids, BrokerIds::from(expected.clone()), "what lies behind the list does not count");
                assert_eq!(format!("{ids:?}"), format!("{expected:?}"));
            }
        }
        assert_eq!(size_of::<BrokerIds>(), size_of::<Vec<i32>>());
    }

    #[test]
    fn lists_that_are_cut_off_or_too_long_are_refused() {
        let fault = |frame| read(frame).map_err(|error| error.fault).expect_err("refused");
        let cut = [3i32, 1, 2].into_iter().flat_map(i32::to_be_bytes).collect();
        assert_eq!(fault(cut), DecodeFault::Truncated { needed: 12, left: 8 });
        let mut long = 1_000_001u32.to_be_bytes().to_vec();
        long.resize(4_000_008, 0);
        assert_eq!(fault(long), DecodeFault::TooMany(1_000_001));
    }
}
