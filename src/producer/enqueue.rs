//! Other ways into the buffer than `enqueue`: without waiting, and many at once.
//!
//! Rules this file keeps:
//! - what was not enqueued is handed back, with the reason;
//! - an attempt that fails for want of knowledge has asked for it, so that a later one succeeds;
//! - an attempt that fails for want of memory sends what waits for its linger (P13), as a caller that waits does.

use std::{
    error, fmt, iter,
    pin::pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    error::{Error, ErrorKind, Result},
    serdes::{Part, Target},
};

use super::{
    BatchDelivery, Core, Delivery, Field, Producer, Record,
    accumulator::{Attempt, Bytes, Obstacle},
    scratch::Scratch,
    sender::Event,
};

/// A record that [`try_enqueue`](Producer::try_enqueue) did not take, and why.
///
/// It turns into an [`Error`] with `?`; the record is lost then.
#[derive(Clone)]
#[non_exhaustive]
pub struct TryEnqueueError<R> {
    /// The record, as it was given.
    pub record: R,
    /// Why it was not taken.
    pub reason: NotEnqueued,
}

/// Why a record was not enqueued.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NotEnqueued {
    /// No memory is free (`buffer.memory`). It will be when a broker has answered:
    /// [`enqueue`](Producer::enqueue) waits for that.
    Full,
    /// The topic, or the schema that a serializer needs, is not known yet. It was asked for:
    /// [`prepare`](Producer::prepare) waits for that.
    NotReady,
    /// Trying again does not help, or `max.block.ms` have passed without the topic being found.
    Refused(Error),
}

/// A record that [`enqueue_batch`](Producer::enqueue_batch) could not enqueue, with all that came before and after it.
///
/// It turns into an [`Error`] with `?`; then nobody can tell how many were enqueued.
#[non_exhaustive]
pub struct EnqueueBatchError<R, I> {
    /// The records before it: they are enqueued, and will be delivered.
    pub enqueued: BatchDelivery,
    /// The record that was refused.
    pub record: R,
    /// The records behind it: nothing was taken of them.
    pub rest: I,
    /// Why, as [`enqueue`](Producer::enqueue) says it.
    pub error: Error,
}

impl<K, V> Producer<K, V> {
    /// Puts a record into its batch if that is possible at once, and hands it back if not. It never waits and needs no
    /// `await`; from a thread outside the runtime it can be called too, unless a serializer asks a registry.
    ///
    /// Where one task calls this in a loop, it should give way to the runtime now and then; after
    /// [`Full`](NotEnqueued::Full), `enqueue` does both.
    ///
    /// ```no_run
    /// # async fn run(producer: milena::Producer) -> milena::Result<()> {
    /// use milena::{Record, producer::NotEnqueued};
    ///
    /// match producer.try_enqueue(Record::to("clicks").value("x")) {
    ///     Ok(delivery) => delivery.detach(),
    ///     Err(back) if matches!(back.reason, NotEnqueued::Full) => println!("one click less"),
    ///     Err(back) => producer.enqueue(back.record).await?.detach(),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The record, with [`Full`](NotEnqueued::Full), [`NotReady`](NotEnqueued::NotReady), or
    /// [`Refused`](NotEnqueued::Refused) with what `enqueue` would say.
    pub fn try_enqueue<'r, RK, RV>(
        &self,
        record: Record<'r, RK, RV>,
    ) -> Result<Delivery, TryEnqueueError<Record<'r, RK, RV>>>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        self.try_append(&record).map_err(|reason| TryEnqueueError { record, reason })
    }

    fn try_append<RK: Field<K>, RV: Field<V>>(&self, record: &Record<'_, RK, RV>) -> Result<Delivery, NotEnqueued> {
        at_once(record.key.prepare(&self.key, Target { topic: record.topic, part: Part::Key }))?;
        at_once(record.value.prepare(&self.value, Target { topic: record.topic, part: Part::Value }))?;
        let mut scratch = Scratch::default();
        let bytes = scratch.write(record, &*self.key, &*self.value)?;
        let (core, mut attempt) = (&*self.handle.core, Attempt::default());
        let delivery = core.append(record.topic, record.partition, &bytes, &mut attempt);
        delivery.ok_or_else(|| match attempt.obstacle {
            Obstacle::Unknown => core.ask_for(record.topic),
            Obstacle::NoMemory(bytes) => core.full(record.topic, bytes),
            Obstacle::Full => NotEnqueued::Full,
            Obstacle::Refused(error) => NotEnqueued::Refused(error),
        })
    }

    /// What `enqueue` does for most records: nothing has to be waited for. `None` if something has to, or is wrong.
    #[inline]
    pub(super) fn enqueue_at_once<RK, RV>(
        &self,
        record: &Record<'_, RK, RV>,
        attempt: &mut Attempt<'_>,
    ) -> Option<Delivery>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        let core = &*self.handle.core;
        if core.accumulator.owes_turn() {
            return None;
        }
        let (key, value) = (record.key.as_bytes(&self.key), record.value.as_bytes(&self.value));
        let (Some(key), Some(value)) = (key.at_hand(), value.at_hand()) else {
            return self.serialize_at_once(record, attempt);
        };
        let bytes = Bytes { timestamp: record.timestamp, key, value, headers: &record.headers };
        core.append(record.topic, record.partition, &bytes, attempt)
    }

    #[inline(never)]
    fn serialize_at_once<RK, RV>(&self, record: &Record<'_, RK, RV>, attempt: &mut Attempt<'_>) -> Option<Delivery>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        at_once(record.key.prepare(&self.key, Target { topic: record.topic, part: Part::Key })).ok()?;
        at_once(record.value.prepare(&self.value, Target { topic: record.topic, part: Part::Value })).ok()?;
        let mut scratch = Scratch::default();
        let bytes = scratch.write(record, &*self.key, &*self.value).ok()?;
        self.handle.core.append(record.topic, record.partition, &bytes, attempt)
    }

    /// Fetches what records like this one need: the topic's partitions, and the schemas of their serializers. Nothing
    /// is enqueued. The first [`enqueue`](Self::enqueue) does this by itself; before
    /// [`try_enqueue`](Self::try_enqueue) it keeps the first records from coming back as `NotReady`.
    ///
    /// # Errors
    /// `UnknownTopic` after `max.block.ms`; `Broker` where access to the topic is denied; those of the registry, which
    /// `max.block.ms` does not bound; `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but the waiting.
    pub async fn prepare<RK, RV>(&self, record: &Record<'_, RK, RV>) -> Result<()>
    where
        RK: Field<K>,
        RV: Field<V>,
    {
        record.key.prepare(&self.key, Target { topic: record.topic, part: Part::Key }).await?;
        record.value.prepare(&self.value, Target { topic: record.topic, part: Part::Value }).await?;
        let core = &*self.handle.core;
        match core.topics.known(record.topic) {
            Some(_) => Ok(()),
            None => core.learn(record.topic, Instant::now() + core.settings.max_block).await,
        }
    }

    /// Enqueues many records, to one topic or to many, in their order, with one call. For each it waits as
    /// [`enqueue`](Self::enqueue) does, and no longer: one whole batch of memory after the other, in line with other
    /// callers, not for all of it at once.
    ///
    /// ```no_run
    /// # async fn run(producer: milena::Producer) -> milena::Result<()> {
    /// use milena::Record;
    ///
    /// let lines = ["a", "b", "c"];
    /// let delivery = producer.enqueue_batch(lines.map(|line| Record::to("lines").value(line))).await?;
    /// delivery.settled().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first record that `enqueue` would refuse ends the call: [`EnqueueBatchError`] has what was enqueued before
    /// it, the record, and the records that were not looked at.
    ///
    /// # Cancel safety
    /// If the future is dropped, what was enqueued so far is delivered, and the record that it waited with is not. To
    /// know how many that were, give `&mut` to an iterator and look at what is left: the record before that is the one
    /// that was dropped.
    pub async fn enqueue_batch<'r, RK, RV, I>(
        &self,
        records: I,
    ) -> Result<BatchDelivery, EnqueueBatchError<Record<'r, RK, RV>, I::IntoIter>>
    where
        RK: Field<K>,
        RV: Field<V>,
        I: IntoIterator<Item = Record<'r, RK, RV>>,
    {
        self.enqueue_batch_while(records, || Ok(())).await
    }

    /// `enqueue_batch`, asking before each record whether it may go.
    pub(super) async fn enqueue_batch_while<'r, RK, RV, I>(
        &self,
        records: I,
        may_go: impl Fn() -> Result<()>,
    ) -> Result<BatchDelivery, EnqueueBatchError<Record<'r, RK, RV>, I::IntoIter>>
    where
        RK: Field<K>,
        RV: Field<V>,
        I: IntoIterator<Item = Record<'r, RK, RV>>,
    {
        let mut records = records.into_iter();
        let mut enqueued = BatchDelivery::default();
        while let Some(record) = records.next() {
            let taken = match may_go() {
                Ok(()) => self.enqueue_one(&record, Attempt::default()).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(delivery) => enqueued.push(delivery),
                // Why it was not taken may have come about while it waited.
                Err(error) => {
                    let error = may_go().err().unwrap_or(error);
                    return Err(EnqueueBatchError { enqueued, record, rest: records, error });
                }
            }
        }
        Ok(enqueued)
    }

    /// `enqueue`, waiting for whatever has to be waited for.
    pub(super) async fn enqueue_one<RK: Field<K>, RV: Field<V>>(
        &self,
        record: &Record<'_, RK, RV>,
        mut attempt: Attempt<'_>,
    ) -> Result<Delivery> {
        record.key.prepare(&self.key, Target { topic: record.topic, part: Part::Key }).await?;
        record.value.prepare(&self.value, Target { topic: record.topic, part: Part::Value }).await?;
        let core = &*self.handle.core;
        if core.accumulator.owes_turn() {
            // A batch was sealed: the sender gets its turn before the next record. Here and not behind the append,
            // because a future that is dropped while it waits must not have enqueued anything.
            Box::pin(core.accumulator.pace()).await;
        }
        let mut scratch = Scratch::default();
        let bytes = scratch.write(record, &*self.key, &*self.value)?;
        match core.append(record.topic, record.partition, &bytes, &mut attempt) {
            Some(delivery) => Ok(delivery),
            None => Box::pin(core.enqueue(record.topic, record.partition, &bytes, attempt)).await,
        }
    }
}

impl Core {
    /// There is no memory for a record.
    #[cold]
    fn full(&self, topic: &str, bytes: usize) -> NotEnqueued {
        match self.check_buffer(topic, bytes) {
            Err(error) => NotEnqueued::Refused(error),
            Ok(()) => {
                self.metrics.count_full();
                self.accumulator.hurry();
                NotEnqueued::Full
            }
        }
    }

    /// A topic is not known: it is asked for in the background, once for however many attempts.
    #[cold]
    fn ask_for(&self, topic: &str) -> NotEnqueued {
        if self.accumulator.is_closed() {
            return NotEnqueued::Refused(self.accumulator.refusal());
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.get_mut(topic) {
            None => {
                asked.insert(topic.into(), None);
                let _ = self.events.send(Event::Learn(topic.into()));
                NotEnqueued::NotReady
            }
            Some(None) => NotEnqueued::NotReady,
            // Told once; the next attempt asks anew.
            Some(told) => {
                let error = told.take();
                asked.remove(topic);
                error.map_or(NotEnqueued::NotReady, NotEnqueued::Refused)
            }
        }
    }

    /// Looks for a topic that `ask_for` is waiting for.
    pub(super) async fn look_for(self: Arc<Self>, topic: Box<str>) {
        let found = self.learn(&topic, Instant::now() + self.settings.max_block).await;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(()) => asked.remove(&topic).map(drop),
            Err(error) => {
                if asked.len() >= MOST_TOLD {
                    // Most of their callers will not come back. One that does is told to wait, and asks anew.
                    asked.retain(|_, told| told.is_none());
                }
                asked.insert(topic, Some(error)).map(drop)
            }
        };
    }

    /// A record that is larger than the whole buffer never has room.
    pub(super) fn check_buffer(&self, topic: &str, bytes: usize) -> Result<()> {
        let limit = self.settings.buffer_memory;
        if bytes <= limit {
            return Ok(());
        }
        let message =
            format!("a record for {topic} takes {bytes} bytes, more than the whole buffer of {limit} (buffer.memory)");
        Err(Error::new(ErrorKind::RecordTooLarge, message))
    }
}

/// So many names are kept of topics that were not found, until somebody tries them again.
const MOST_TOLD: usize = 1000;

/// What a future comes to without waiting. What it asks for may come all the same: registries are asked by tasks of
/// their own.
fn at_once(future: impl Future<Output = Result<()>>) -> Result<(), NotEnqueued> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome.map_err(NotEnqueued::Refused),
        Poll::Pending => Err(NotEnqueued::NotReady),
    }
}

impl From<Error> for NotEnqueued {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for NotEnqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no memory is free for the record (buffer.memory)"),
            Self::NotReady => f.write_str("the record's topic or schema is not known yet"),
            Self::Refused(error) => fmt::Display::fmt(error, f),
        }
    }
}

// The record stays out of what is printed: it may be large, and it may be nobody's business.
impl<R> fmt::Debug for TryEnqueueError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryEnqueueError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<R> fmt::Display for TryEnqueueError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reason, f)
    }
}

impl<R> error::Error for TryEnqueueError<R> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.reason {
            NotEnqueued::Refused(error) => error::Error::source(error),
            _ => None,
        }
    }
}

impl<R> From<TryEnqueueError<R>> for Error {
    fn from(back: TryEnqueueError<R>) -> Self {
        match back.reason {
            NotEnqueued::Refused(error) => error,
            NotEnqueued::Full => Self::new(ErrorKind::BufferFull, NotEnqueued::Full.to_string()),
            NotEnqueued::NotReady => Self::new(ErrorKind::UnknownTopic, NotEnqueued::NotReady.to_string()),
        }
    }
}

impl<R, I: Iterator<Item = R>> EnqueueBatchError<R, I> {
    /// All records that were not enqueued, the refused one first.
    pub fn into_records(self) -> impl Iterator<Item = R> {
        iter::once(self.record).chain(self.rest)
    }
}

impl<R, I> fmt::Debug for EnqueueBatchError<R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("EnqueueBatchError");
        it.field("enqueued", &self.enqueued.len()).field("error", &self.error).finish_non_exhaustive()
    }
}

impl<R, I> fmt::Display for EnqueueBatchError<R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} records: {}", self.enqueued.len(), self.error)
    }
}

impl<R, I> error::Error for EnqueueBatchError<R, I> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        error::Error::source(&self.error)
    }
}

impl<R, I> From<EnqueueBatchError<R, I>> for Error {
    fn from(back: EnqueueBatchError<R, I>) -> Self {
        back.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kafka, embedded::EmbeddedCluster};

    /// Names of topics that do not exist may be as many as the records that name them.
    #[tokio::test]
    async fn topics_that_were_not_found_do_not_pile_up() {
        let cluster = EmbeddedCluster::builder().start().await.expect("it starts");
        let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
        let builder = kafka.producer().max_block(std::time::Duration::from_millis(50));
        let producer = builder.build().await.expect("it builds");
        let core = &producer.handle.core;
        let asked = || core.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |number| (format!("told-{number}").into(), Some(Error::new(ErrorKind::UnknownTopic, "not there")));
        asked().extend((1..MOST_TOLD).map(told));
        asked().insert("waiting".into(), None);
        core.clone().look_for("missing".into()).await;
        let left: std::collections::BTreeSet<Box<str>> = asked().keys().cloned().collect();
        assert_eq!(left, ["missing", "waiting"].map(Into::into).into());
        let back = producer.try_enqueue(Record::to("missing").value("x")).expect_err("it is not there");
        assert!(matches!(back.reason, NotEnqueued::Refused(_)), "{back:?}");
    }
}
