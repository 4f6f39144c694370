//! Topics that nobody writes to any more (KIP-526).
//!
//! Rules this file keeps:
//! - a topic is forgotten when metadata comes in, never by a timer of its own: an idle producer sleeps;
//! - only what callers look up is forgotten; a partition's queue stays, because its numbers go on if the topic comes back;
//! - who appends meanwhile loses nothing: the partition is the same one, and its leader is asked for like any other's.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{sender::Sender, slot::Slot};

impl Sender {
    /// Forgets the topics that have been idle for `metadata.max.idle.ms`.
    pub(super) fn forget_idle_topics(&mut self) {
        let now = Instant::now();
        if now < self.forgets_at {
            return;
        }
        let max_idle = self.core.cluster.config().metadata_max_idle;
        let mut used: BTreeMap<&str, Instant> = BTreeMap::new();
        for slot in &self.slots {
            let last = if slot.holds_something() { now } else { slot.last_used };
            used.entry(&slot.partition.topic).and_modify(|used| *used = last.max(*used)).or_insert(last);
        }
        let mut next = now + max_idle;
        for topic in self.core.topics.all() {
            let used = used.get(&*topic.name).map_or(topic.since, |used| topic.since.max(*used));
            if used + max_idle <= now {
                tracing::debug!(topic = %topic.name, "nobody uses the topic any more");
                self.core.topics.forget(&topic.name);
                self.core.cluster.release_topic(&topic.name, used);
            } else {
                next = next.min(used + max_idle);
            }
        }
        // Use makes it later, never earlier.
        self.forgets_at = next;
    }

    /// The producer has ended. What it used may be used by the next one.
    pub(super) fn release_topics(&self) {
        let now = Instant::now();
        for topic in self.core.topics.all() {
            self.core.cluster.release_topic(&topic.name, now);
        }
    }
}

impl Slot {
    fn holds_something(&self) -> bool {
        self.due || !self.queue.is_empty() || !self.partition.is_empty()
    }
}
