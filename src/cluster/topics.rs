//! The topics that metadata requests name, and for how long.
//!
//! Rules this file keeps:
//! - KIP-526: what nobody holds and nobody has asked for within `metadata.max.idle.ms` is not named any more;
//! - a topic that is held is named, and nothing else decides that.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::wire::Str;

/// The names, each with who wants it.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<BTreeMap<Str, Named>>);

#[derive(Debug)]
struct Named {
    /// Those who hold it, as often as each does.
    holders: usize,
    /// When it was asked for last, or let go.
    used: Instant,
}

impl Topics {
    /// Somebody asks for a topic. Answers whether it was not named so far.
    pub(super) fn name(&self, topic: &str) -> bool {
        self.with(topic, Instant::now(), |_| ())
    }

    /// Somebody holds a topic from now on.
    pub(super) fn hold(&self, topic: &str) {
        self.with(topic, Instant::now(), |named| named.holders = named.holders.saturating_add(1));
    }

    /// Somebody has used a topic until then, and holds it no more.
    pub(super) fn release(&self, topic: &str, used: Instant) {
        if let Some(named) = self.lock().get_mut(topic) {
            named.holders = named.holders.saturating_sub(1);
            named.used = named.used.max(used);
        }
    }

    /// It is not there, as far as whoever asks no more has heard; others who wait for it name it again.
    pub(super) fn give_up(&self, topic: &str) {
        let mut topics = self.lock();
        if topics.get(topic).is_some_and(|named| named.holders == 0) {
            topics.remove(topic);
        }
    }

    /// The names for the next request, in order.
    pub(super) fn all(&self, max_idle: Duration) -> Vec<Str> {
        let now = Instant::now();
        let mut topics = self.lock();
        topics.retain(|_, named| named.holders > 0 || now.duration_since(named.used) < max_idle);
        topics.keys().cloned().collect()
    }

    fn with(&self, topic: &str, used: Instant, change: impl FnOnce(&mut Named)) -> bool {
        let mut topics = self.lock();
        let is_new = !topics.contains_key(topic);
        let named = topics.entry(topic.into()).or_insert(Named { holders: 0, used });
        named.used = named.used.max(used);
        change(named);
        is_new
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Str, Named>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn kip_526_what_nobody_holds_or_asks_for_is_not_named_any_more() {
        let topics = Topics::default();
        assert!(topics.name("asked") && !topics.name("asked"));
        (0..2).for_each(|_| topics.hold("held"));
        let begun = Instant::now();
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        topics.release("held", begun);
        assert_eq!(topics.all(IDLE), ["asked", "held"].map(Str::from));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(topics.all(IDLE), ["held"].map(Str::from), "somebody holds it still");
        topics.give_up("held");
        topics.release("held", begun);
        assert!(topics.all(IDLE).is_empty() && topics.name("held"));
        topics.give_up("held");
        assert!(topics.all(IDLE).is_empty());
    }
}
