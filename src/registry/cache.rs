//! What was asked once is not asked again, and what many ask at once is asked by one.
//!
//! Rules this file keeps:
//! - for a key at most one request is under way, however many tasks wait for it;
//! - the request runs in a task of its own, so that a caller who gives up takes nothing from the others;
//! - a failure is told to those who waited; only "there is no such thing" is kept, and only for a while;
//! - the number of entries is bounded, the oldest leave first.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::error::{Error, ErrorKind, Result};

/// A bounded map that fills itself, one request per key at a time.
pub(super) struct Cache<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    limits: Limits,
    entries: Mutex<Entries<K, V>>,
}

/// How much is kept and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    /// How long a value is kept; `None` for ever, because it cannot change.
    pub(super) values: Option<Duration>,
    /// How long "there is no such thing" is kept.
    pub(super) misses: Duration,
}

struct Entries<K, V> {
    map: HashMap<K, Entry<V>>,
    /// The keys in the order in which their values came.
    order: VecDeque<K>,
}

enum Entry<V> {
    /// A task is asking; it will send the outcome.
    Asking(watch::Receiver<Option<Result<V>>>),
    Known {
        outcome: Result<V>,
        until: Option<Instant>,
    },
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(limits: Limits) -> Self {
        let entries = Mutex::new(Entries { map: HashMap::new(), order: VecDeque::new() });
        Self { shared: Arc::new(Shared { limits, entries }) }
    }

    /// The value of `key`, from `ask` if it is not at hand.
    pub(super) async fn get<F>(&self, key: &K, ask: impl FnOnce() -> F) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut answer = match self.find_or_ask(key, ask) {
            Ok(known) => return known,
            Err(answer) => answer,
        };
        let outcome = answer.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // The asking task can only vanish without an answer together with its runtime.
        outcome.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Closed, "the runtime stopped during a call to the Schema Registry"))
        })
    }

    /// Forgets what was kept under `key`.
    pub(super) fn forget(&self, key: &K) {
        self.shared.entries().map.remove(key);
    }

    /// Forgets every key that `is_stale` names.
    pub(super) fn forget_where(&self, is_stale: impl Fn(&K) -> bool) {
        self.shared.entries().map.retain(|key, _| !is_stale(key));
    }

    fn find_or_ask<F>(&self, key: &K, ask: impl FnOnce() -> F) -> Result<Result<V>, watch::Receiver<Option<Result<V>>>>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut entries = self.shared.entries();
        match entries.map.get(key) {
            Some(Entry::Known { outcome, until }) if until.is_none_or(|until| Instant::now() < until) => {
                return Ok(outcome.clone());
            }
            // A closed channel without an answer is left by a runtime that has stopped.
            Some(Entry::Asking(answer)) if answer.has_changed().is_ok() || answer.borrow().is_some() => {
                return Err(answer.clone());
            }
            _ => {}
        }
        let (tell, answer) = watch::channel(None);
        entries.map.insert(key.clone(), Entry::Asking(answer.clone()));
        drop(entries);
        let (shared, key, asked) = (Arc::clone(&self.shared), key.clone(), ask());
        tokio::spawn(async move {
            let outcome = asked.await;
            shared.keep(key, outcome.clone());
            tell.send_replace(Some(outcome));
        });
        Err(answer)
    }
}

impl<K: Clone + Eq + Hash, V> Shared<K, V> {
    fn keep(&self, key: K, outcome: Result<V>) {
        let lifetime = match &outcome {
            Ok(_) => self.limits.values,
            Err(error) if is_lasting(error) => Some(self.limits.misses),
            Err(_) => {
                self.entries().map.remove(&key);
                return;
            }
        };
        let until = lifetime.map(|lifetime| Instant::now() + lifetime);
        let mut entries = self.entries();
        if !matches!(entries.map.insert(key.clone(), Entry::Known { outcome, until }), Some(Entry::Known { .. })) {
            entries.order.push_back(key);
        }
        while entries.order.len() > self.limits.entries {
            let Some(oldest) = entries.order.pop_front() else { break };
            // What is being asked again stays, it will be put at the end.
            if let Some(Entry::Known { .. }) = entries.map.get(&oldest) {
                entries.map.remove(&oldest);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the registry said that there is no such thing, in contrast to not being able to say.
fn is_lasting(error: &Error) -> bool {
    error.kind() == ErrorKind::Registry(404)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LIMITS: Limits = Limits { entries: 3, values: None, misses: Duration::from_secs(5) };

    fn counted(
        asked: &Arc<AtomicUsize>,
        outcome: Result<u32>,
    ) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Result<u32>> + Send>> {
        let asked = Arc::clone(asked);
        move || {
            Box::pin(async move {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
                outcome
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_tasks_make_one_request() {
        let cache = Arc::new(Cache::new(LIMITS));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let (cache, asked) = (Arc::clone(&cache), Arc::clone(&asked));
            tasks.spawn(async move { cache.get(&7, counted(&asked, Ok(42))).await.unwrap() });
        }
        assert!(tasks.join_all().await.iter().all(|value| *value == 42));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing_from_the_others() {
        let cache = Cache::new(LIMITS);
        let asked = Arc::new(AtomicUsize::new(0));
        let mut first = Box::pin(cache.get(&7, counted(&asked, Ok(42))));
        assert!(futures_poll_once(&mut first).await.is_none());
        drop(first);
        assert_eq!(cache.get(&7, counted(&asked, Ok(1))).await.unwrap(), 42);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_miss_is_kept_for_a_while_and_a_failure_is_not() {
        let cache = Cache::new(LIMITS);
        let asked = Arc::new(AtomicUsize::new(0));
        let missing = || Err(Error::new(ErrorKind::Registry(404), "no such schema"));
        for _ in 0..3 {
            cache.get(&7, counted(&asked, missing())).await.unwrap_err();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(cache.get(&7, counted(&asked, Ok(1))).await.unwrap(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        for _ in 0..2 {
            let down = Err(Error::new(ErrorKind::Connect, "down"));
            cache.get(&8, counted(&asked, down)).await.unwrap_err();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_leave_first() {
        let cache = Cache::new(LIMITS);
        let asked = Arc::new(AtomicUsize::new(0));
        for key in [1, 2, 3, 1, 4] {
            cache.get(&key, counted(&asked, Ok(key))).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        cache.get(&2, counted(&asked, Ok(2))).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        cache.get(&1, counted(&asked, Ok(1))).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 5);
        cache.forget(&1);
        cache.get(&1, counted(&asked, Ok(1))).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 6);
    }

    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
