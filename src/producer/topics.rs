//! The topics that a producer knows, by name.
//!
//! Rules this file keeps:
//! - `enqueue` looks its topic up for every record: each thread remembers the last few it used, and neither takes a lock
//!   nor hashes a name for those;
//! - what a thread remembers ends when any of the producer's topics changes.

use std::{
    cell::Cell,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::topic::Topic;
use crate::types::HashMap;

/// A producer's topics.
#[derive(Debug)]
pub(super) struct Topics {
    known: RwLock<Known>,
    /// Of this map and no other, in this state of it and no other.
    edition: AtomicU64,
}

type Known = HashMap<Box<str>, Arc<Topic>>;

/// A topic that this thread has used, and the edition it was found in.
struct Recent {
    edition: u64,
    topic: Arc<Topic>,
}

thread_local! {
    static RECENT: [Cell<Option<Recent>>; 4] = const { [const { Cell::new(None) }; 4] };
}

impl Default for Topics {
    fn default() -> Self {
        Self { known: RwLock::default(), edition: AtomicU64::new(next_edition()) }
    }
}

impl Topics {
    /// Does something with a topic. `None` if it is not known, or if that comes to nothing.
    #[inline]
    pub(super) fn with<R>(&self, name: &str, act: impl FnOnce(&Topic) -> Option<R>) -> Option<R> {
        let mut act = Some(act);
        let done = RECENT.try_with(|places| self.with_recent(&places[place_of(name)], name, act.take()?));
        match (done, act) {
            // A thread that is ending remembers nothing.
            (Err(_), Some(act)) => act(&*self.known(name)?),
            (done, _) => done.ok().flatten(),
        }
    }

    #[inline]
    fn with_recent<R>(
        &self,
        place: &Cell<Option<Recent>>,
        name: &str,
        act: impl FnOnce(&Topic) -> Option<R>,
    ) -> Option<R> {
        let edition = self.edition.load(Ordering::Acquire);
        // What is in the place is taken out for the time being: partitioners are the user's code, and may use a producer
        // themselves.
        let recent = match place.take() {
            Some(recent) if recent.edition == edition && recent.topic.name.as_bytes() == name.as_bytes() => recent,
            _ => Recent { edition, topic: self.known(name)? },
        };
        let done = act(&recent.topic);
        place.set(Some(recent));
        done
    }

    /// A topic that is known.
    #[cold]
    pub(super) fn known(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().get(name).cloned()
    }

    /// All that are known.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().values().cloned().collect()
    }

    /// Puts a topic into the place of the one that was known by its name.
    pub(super) fn change(&self, name: &str, topic: impl FnOnce(Option<&Arc<Topic>>) -> Topic) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let topic = topic(known.get(name));
        known.insert(name.into(), Arc::new(topic));
        // Editions are never used twice, whichever producer's they are.
        self.edition.store(next_edition(), Ordering::Release);
    }

    /// Forgets a topic. Whoever has it in hand may still append to its partitions, which are what they were when it is
    /// looked up again.
    pub(super) fn forget(&self, name: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.remove(name).is_some() {
            self.edition.store(next_edition(), Ordering::Release);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of a thread's places a name has.
#[inline]
fn place_of(name: &str) -> usize {
    let byte = |index: usize| usize::from(name.as_bytes().get(index).copied().unwrap_or_default());
    (name.len() + byte(0) + byte(name.len() / 2) + byte(name.len().saturating_sub(1))) % 4
}

fn next_edition() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::partitioner::Spread;

    fn topic(partitions: usize) -> Topic {
        Topic::sample(partitions, &[], Spread::default(), None)
    }

    #[test]
    fn a_thread_remembers_no_topic_that_has_changed_and_none_of_another_producer() {
        let (ours, theirs) = (Topics::default(), Topics::default());
        let count = |topics: &Topics| topics.with("t", |topic| Some(topic.partitions.len()));
        assert_eq!(count(&ours), None);
        ours.change("t", |before| {
            assert!(before.is_none());
            topic(1)
        });
        assert_eq!((count(&ours), count(&ours), count(&theirs)), (Some(1), Some(1), None));
        theirs.change("t", |_| topic(7));
        assert_eq!((count(&theirs), count(&ours)), (Some(7), Some(1)));
        ours.change("t", |before| topic(before.map_or(0, |before| before.partitions.len() + 1)));
        assert_eq!((count(&ours), count(&theirs)), (Some(2), Some(7)));
        theirs.forget("t");
        assert_eq!((count(&ours), count(&theirs)), (Some(2), None));
        assert_eq!(std::thread::scope(|scope| scope.spawn(|| count(&ours)).join().ok()), Some(Some(2)));
    }

    #[test]
    fn topics_whose_names_share_a_place_do_not_mix_and_use_may_nest() {
        let topics = Topics::default();
        assert_eq!(place_of("abc"), place_of("cba"));
        for (name, partitions) in [("abc", 3), ("cba", 5)] {
            let mut named = topic(partitions);
            named.name = name.into();
            topics.change(name, |_| named);
        }
        let count = |name| topics.with(name, |topic| Some(topic.partitions.len()));
        assert_eq!((count("abc"), count("cba"), count("abc")), (Some(3), Some(5), Some(3)));
        assert_eq!(topics.with("cba", |_| Some((count("cba"), count("abc")))), Some((Some(5), Some(3))));
        assert_eq!(topics.all().len(), 2);
    }
}
