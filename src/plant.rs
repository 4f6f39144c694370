//! Known bugs of Kafka clients, to be switched on one at a time by the test that shows that the simulation finds them.
//!
//! Rules this file keeps:
//! - without the feature `plants` every question is answered `false` at compile time, and nothing of it is built;
//! - with it, a plant is sown for one thread, so that other tests stay sound.

#[cfg(feature = "plants")]
use std::cell::Cell;

/// A bug. Each names what it does wrong and, where it has one, its number in the must-not-have list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Plant {
    /// P1: a second batch goes out before the leader acknowledged a first one.
    SecondBeforeFirst,
    /// P2: a batch that is to be sent again joins its queue at the end.
    RetryBehind,
    /// P4: the numbers of a batch that may have been written are given to the next one.
    ReuseNumbers,
    /// P6: a new epoch begins while batches of the old one are in flight.
    BumpWhileInFlight,
    /// A batch that is sent again gets a new sequence number.
    NewSequenceOnRetry,
    /// A request that was written and not answered passes for never sent.
    MaybeSentIsNotSent,
    /// P12: the batches of a lost connection are forgotten.
    ForgetOnDisconnect,
    /// The delivery timeout of a batch is not kept.
    NeverTimeOut,
    /// The batches of a lost connection pass for written.
    AckOnDisconnect,
    /// Errors that pass by themselves are told to the caller.
    FailEarly,
    /// Memory of failed batches is not given back.
    LeakMemory,
    /// Connections outlive all who used them.
    LeakConnections,
    /// A leader that moved is not looked for.
    StaleMetadata,
    /// An offset out of range moves the position to the end, whatever the policy.
    SkipOutOfRange,
    /// C1: what was asked before a seek is delivered after it.
    StaleFetch,
    /// C13: records before the position are delivered, because their batch holds it.
    BeforeOffset,
    /// C14: checksums are not looked at.
    IgnoreCrc,
    /// P10: a batch that is sent again goes to another partition.
    WrongPartition,
    /// T4: the end of a transaction passes for what was asked, although nobody said so.
    UnknownIsCommitted,
    /// T3: partitions count as added to a transaction, and nobody asked for that.
    NeverAdd,
    /// Offsets count as taken by a transaction, and nobody told it of them.
    ForgetOffsets,
    /// C10: the leader of a group gives a partition to every member.
    TwoOwners,
    /// Offsets are committed that were not handed out.
    CommitAhead,
    /// T10: records of aborted transactions are delivered.
    DeliverAborted,
}

#[cfg(feature = "plants")]
thread_local! {
    static SOWN: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Switches a bug on for this thread, or all of them off.
#[cfg(feature = "plants")]
pub fn sow(plant: Option<Plant>) {
    SOWN.set(plant);
}

/// Whether this bug is switched on.
#[cfg(feature = "plants")]
pub fn is(plant: Plant) -> bool {
    SOWN.get() == Some(plant)
}

/// Whether this bug is switched on: never.
#[cfg(not(feature = "plants"))]
pub(crate) const fn is(_: Plant) -> bool {
    false
}
