//! A value that several tasks watch, woken in the order in which they began to wait.
//!
//! tokio's own `watch` spreads its waiters over eight lists by lot, so that the order in which they wake is another one in
//! every run, and no simulation repeats itself.
//!
//! Rules this file keeps: a receiver that looks before it waits misses no change, nor the last one of a sender that goes;
//! one whose sender is gone hears that.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// Changes the value. Dropping it wakes everybody for the last time.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Sees the value, and waits for it to change. A clone has seen what the original has seen.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The sender is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<T>,
    /// Counts changes; raised while the value is locked.
    version: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let (version, closed) = (AtomicU64::new(0), AtomicBool::new(false));
    let shared = Arc::new(Shared { value: RwLock::new(value), version, closed, changed: Notify::new() });
    (Sender(shared.clone()), Receiver { shared, seen: 0 })
}

impl<T> Sender<T> {
    pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    /// A receiver that has seen the value as it is now.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.0.clone(), seen: self.0.version.load(Ordering::Acquire) }
    }

    /// Changes the value, and wakes those who wait if `change` says that it did.
    pub(crate) fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        if change(&mut value) {
            self.0.version.fetch_add(1, Ordering::AcqRel);
            drop(value);
            self.0.changed.notify_waiters();
        }
    }

    pub(crate) fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    pub(crate) fn send_replace(&self, value: T) {
        self.send_modify(|old| *old = value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.shared.read()
    }

    /// The value, which counts as seen.
    pub(crate) fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version.load(Ordering::Acquire);
        value
    }

    /// Whether the value is another one than was seen.
    pub(crate) fn has_changed(&self) -> Result<bool, Closed> {
        match self.shared.is_closed() {
            true => Err(Closed),
            false => Ok(self.shared.version.load(Ordering::Acquire) != self.seen),
        }
    }

    /// Waits until the value is another one than was seen, which then is seen.
    ///
    /// # Cancel safety
    /// Cancel safe: a change is seen by the next call.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let changed = self.shared.changed.notified();
            let is_closed = self.shared.is_closed();
            let version = self.shared.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if is_closed {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<RwLockReadGuard<'_, T>, Closed> {
        loop {
            let changed = self.shared.changed.notified();
            let is_closed = self.shared.is_closed();
            {
                let value = self.shared.read();
                if wanted(&value) {
                    self.seen = self.shared.version.load(Ordering::Acquire);
                    return Ok(value);
                }
            }
            if is_closed {
                return Err(Closed);
            }
            changed.await;
        }
    }
}

impl<T> Shared<T> {
    /// Ask before looking at the value: what a sender changed before it went is seen then.
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiters_wake_in_the_order_in_which_they_came() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..20 {
            let (mut receiver, order) = (receiver.clone(), order.clone());
            tokio::spawn(async move {
                receiver.wait_for(|value| *value == 1).await.map(drop).expect("it comes");
                order.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        sender.send_replace(1);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_once_and_the_end_is_heard() {
        let (sender, mut receiver) = channel("a");
        assert_eq!(receiver.has_changed(), Ok(false));
        sender.send_replace("b");
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!((*receiver.borrow(), receiver.has_changed()), ("b", Ok(false)));
        sender.send_if_modified(|_| false);
        let mut late = sender.subscribe();
        drop(sender);
        assert_eq!((receiver.changed().await, late.changed().await), (Err(Closed), Err(Closed)));
        assert!(late.wait_for(|value| *value == "b").await.is_ok(), "what is there already is no wait");
    }
}
