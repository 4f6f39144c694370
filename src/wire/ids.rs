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

    /// Takes `count` ids from `bytes`; `ahead` is longer than those by what follows them in the frame.
    #[inline]
    pub(super) fn set_big_endian(&mut self, count: usize, bytes: &[u8], ahead: Option<&[u8; 4 * FEW]>) {
        match (&mut self.0, ahead) {
            // All at once, whether they belong to the list or not.
            (Ids::Few { length, ids }, Some(ahead)) if count <= FEW => {
                *length = count as u8;
                for (id, bytes) in ids.iter_mut().zip(ahead.as_chunks().0) {
                    *id = i32::from_be_bytes(*bytes);
                }
            }
            _ => self.set(bytes),
        }
    }

    #[inline(never)]
    fn set(&mut self, bytes: &[u8]) {
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

/// How many ids take no memory of their own: as many as fit where a `Box` would lie.
const FEW: usize = 5;
