//! Who fenced a producer, and what became of its transaction, as far as the coordinator's present state can tell.
//!
//! A producer in epoch *e* that was fenced asks who owns its transactional id now. What it can meet:
//!
//! - first version: its own end leaves the epoch at *e*, and the next producer gets *e* + 1. A timeout, or a newer producer
//!   that meets an open transaction, aborts in *e* + 1, which nobody gets; that newer producer then gets *e* + 2;
//! - second version: its own end raises the epoch to *e* + 1, and the next producer gets *e* + 2. A timeout, or a newer
//!   producer that meets an open transaction, aborts in *e* + 1, too, and that newer producer gets *e* + 2. Kafka 4.0.0
//!   raised the epoch twice there (KAFKA-19367): it aborts in *e* + 2, and the newer producer gets *e* + 3.
//!
//! So an abort in the first epoch that nobody was given is the coordinator's (or a newer producer's first half). In the first
//! version anything else in *e* + 1 is a newer producer's that found the transaction ended. Whatever else there is tells no
//! more than that there is a newer producer.

use crate::machine::identity::ProducerId;

use super::Version;

/// Who has taken a transactional id away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fencer {
    /// A newer producer with the same transactional id; this is its identity.
    Newer(ProducerId),
    /// The coordinator, when the transaction took longer than its timeout; or a newer producer that has just begun to
    /// take over.
    Timeout,
    Unknown,
}

/// In which phase a transactional id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    Ongoing,
    Committing,
    Aborting,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) by: Fencer,
    /// Whether the end that the producer asked for was done; `None` if that cannot be told.
    pub(super) was_ended: Option<bool>,
}

impl Phase {
    /// By Kafka's name of a transaction's state.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "Empty" => Self::Empty,
            "Ongoing" => Self::Ongoing,
            "PrepareCommit" | "CompleteCommit" => Self::Committing,
            "PrepareAbort" | "CompleteAbort" | "PrepareEpochFence" => Self::Aborting,
            _ => Self::Unknown,
        }
    }
}

pub(super) fn judge(version: Version, ours: ProducerId, owner: ProducerId, phase: Phase) -> Judged {
    let newer = Fencer::Newer(owner);
    if owner.id != ours.id {
        return Judged { by: newer, was_ended: None };
    }
    let ahead = i32::from(owner.epoch) - i32::from(ours.epoch);
    let (by, was_ended) = match (version, ahead, phase) {
        (_, ..=0, _) | (_, _, Phase::Unknown) => (Fencer::Unknown, None),
        // Nobody has the epoch in which an interrupted transaction is aborted. In the first version a newer producer
        // may have got it and aborted one of its own.
        (Version::First, 1, Phase::Aborting) => (Fencer::Timeout, None),
        (Version::First, 1, _) => (newer, Some(true)),
        (Version::Second, 1, Phase::Ongoing | Phase::Aborting) => (Fencer::Timeout, Some(false)),
        (Version::Second, 2, Phase::Aborting) => (Fencer::Timeout, Some(false)),
        _ => (newer, None),
    };
    Judged { by, was_ended }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_what_can_be_known_of_a_lost_end_after_fencing() {
        use Phase::{Aborting, Committing, Empty, Ongoing};
        use Version::{First, Second};
        let at = |id, epoch| ProducerId { id, epoch };
        let newer = |id, epoch| Fencer::Newer(at(id, epoch));
        let table = [
            // Version, owner, phase: by whom, was the lost end done.
            (First, at(7, 6), Empty, newer(7, 6), Some(true)),
            (First, at(7, 6), Ongoing, newer(7, 6), Some(true)),
            (First, at(7, 6), Committing, newer(7, 6), Some(true)),
            (First, at(7, 6), Aborting, Fencer::Timeout, None),
            (First, at(7, 7), Empty, newer(7, 7), None),
            (First, at(8, 0), Empty, newer(8, 0), None),
            (First, at(7, 5), Empty, Fencer::Unknown, None),
            (Second, at(7, 6), Aborting, Fencer::Timeout, Some(false)),
            (Second, at(7, 7), Aborting, Fencer::Timeout, Some(false)),
            (Second, at(7, 7), Empty, newer(7, 7), None),
            (Second, at(7, 7), Ongoing, newer(7, 7), None),
            (Second, at(7, 8), Empty, newer(7, 8), None),
            (Second, at(7, 8), Committing, newer(7, 8), None),
            (Second, at(7, 9), Phase::Unknown, Fencer::Unknown, None),
        ];
        for (version, owner, phase, by, was_ended) in table {
            let judged = judge(version, at(7, 5), owner, phase);
            assert_eq!(judged, Judged { by, was_ended }, "{version:?} {owner:?} {phase:?}");
        }
    }
}
