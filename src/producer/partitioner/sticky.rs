//! Whose turn it is among a topic's partitions (KIP-480, KIP-794, KIP-1123).
//!
//! Rules this file keeps:
//! - a turn lasts for a batch's worth of bytes, however they are cut into batches (KIP-794);
//! - partitions without a leader get no turn while others have one; those in the client's rack come before those
//!   elsewhere, if that was asked for (KIP-1123);
//! - loads are looked at when a turn ends, and at no more than `LOOKS` of them: per record it costs two loads and a store.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    producer::{partition::Partition, topic::Topic},
    wire::Str,
};

/// How turns are given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Partitions with fewer batches waiting get more turns. Java: `partitioner.adaptive.partitioning.enable`.
    pub(in crate::producer) adaptive: bool,
    /// A broker that takes nothing for so long gets no turns; zero is never. Java:
    /// `partitioner.availability.timeout.ms`.
    pub(in crate::producer) availability_timeout: Duration,
    /// Partitions led from this rack come first. Java: `client.rack`, with `partitioner.rack.aware`.
    pub(in crate::producer) rack: Option<Str>,
}

impl Default for Spread {
    fn default() -> Self {
        Self { adaptive: true, availability_timeout: Duration::ZERO, rack: None }
    }
}

/// Whose turn it is, and how many bytes went there this turn.
#[derive(Debug, Default)]
pub(in crate::producer) struct Sticky {
    partition: AtomicU64,
    bytes: AtomicU64,
}

impl Sticky {
    /// Carries on with the turn of before, if its partition may still have it; otherwise begins one.
    pub(in crate::producer) fn start(&self, topic: &Topic, before: Option<&Sticky>) {
        let place = before.map(|before| before.partition.load(Ordering::Relaxed));
        let candidates = if topic.near.is_empty() { &topic.available } else { &topic.near };
        match place.filter(|place| candidates.binary_search(&(*place as usize)).is_ok()) {
            Some(place) => {
                let bytes = before.map_or(0, |before| before.bytes.load(Ordering::Relaxed));
                self.partition.store(place, Ordering::Relaxed);
                self.bytes.store(bytes, Ordering::Relaxed);
            }
            None => self.partition.store(draw(topic, None) as u64, Ordering::Relaxed),
        }
    }

    pub(in crate::producer) fn current<'t>(
        &self,
        topic: &'t Topic,
        batch_size: usize,
    ) -> &'t std::sync::Arc<Partition> {
        if self.bytes.load(Ordering::Relaxed) >= batch_size as u64 {
            self.move_on(topic);
        }
        let index = self.partition.load(Ordering::Relaxed) as usize;
        // The index is always drawn below the number of partitions, of which there is at least one.
        &topic.partitions[index.min(topic.partitions.len() - 1)]
    }

    pub(in crate::producer) fn count(&self, bytes: usize) {
        // Two callers may lose a count to each other: the turn then lasts a record longer.
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::producer) fn move_on(&self, topic: &Topic) {
        let before = self.partition.load(Ordering::Relaxed) as usize;
        self.partition.store(draw(topic, Some(before)) as u64, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// The partition that has the next turn: another one than `but`, if there is another.
fn draw(topic: &Topic, but: Option<usize>) -> usize {
    let spread = &topic.spread;
    if spread.adaptive {
        let now = (!spread.availability_timeout.is_zero()).then(Instant::now);
        // KIP-1123: when no broker of the rack takes anything, the others are better than waiting.
        let weighed = [&topic.near, &topic.available].into_iter().find_map(|places| weigh(topic, places, but, now));
        if let Some(index) = weighed {
            return index;
        }
    }
    match (&topic.near, &topic.available) {
        (near, _) if !near.is_empty() => any(near, but),
        (_, available) if !available.is_empty() => any(available, but),
        _ => fastrand::usize(..topic.partitions.len().max(1)),
    }
}

/// Each with the same chance.
fn any(places: &[usize], but: Option<usize>) -> usize {
    let place = but.and_then(|but| places.binary_search(&but).ok());
    let drawn = match place {
        Some(place) if places.len() > 1 => (place + fastrand::usize(1..places.len())) % places.len(),
        Some(place) => place,
        None => fastrand::usize(..places.len()),
    };
    places[drawn]
}

/// Each with a chance of its own: with the longest queue among them the least, and one more for each batch that its own
/// is shorter (KIP-794). `None` when none of them takes anything.
fn weigh(topic: &Topic, places: &[usize], but: Option<usize>, now: Option<Instant>) -> Option<usize> {
    let looks = places.len().min(LOOKS);
    let start = if looks < places.len() { fastrand::usize(..places.len()) } else { 0 };
    let place = |look: usize| places[(start + look) % places.len()];
    let mut queues = [OUT; LOOKS];
    for (look, queue) in queues[..looks].iter_mut().enumerate() {
        let index = place(look);
        let out = Some(index) == but && places.len() > 1 || now.is_some_and(|now| topic.is_stalled(index, now));
        if !out {
            *queue = topic.partitions[index].queued().min(OUT - 1);
        }
    }
    let queues = || queues[..looks].iter().enumerate().filter(|(_, queue)| **queue != OUT);
    let longest = queues().map(|(_, queue)| *queue).max();
    let Some(longest) = longest else {
        // All others are out: whoever has the turn keeps it, if its broker takes something.
        let but = but.filter(|but| places.binary_search(but).is_ok())?;
        return (!now.is_some_and(|now| topic.is_stalled(but, now))).then_some(but);
    };
    let weight = |queue: u32| u64::from(longest - queue) + 1;
    let mut drawn = fastrand::u64(..queues().map(|(_, queue)| weight(*queue)).sum::<u64>());
    for (look, queue) in queues() {
        match drawn.checked_sub(weight(*queue)) {
            Some(rest) => drawn = rest,
            None => return Some(place(look)),
        }
    }
    None
}

/// So many partitions are looked at, from a random one on, when a turn ends: a topic of thousands must not make the end
/// of a turn cost more than the batch that filled it.
const LOOKS: usize = 64;
/// A queue that gets no turn.
const OUT: u32 = u32::MAX;
