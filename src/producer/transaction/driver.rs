//! What the sender's task does for transactions: it carries requests out, and tells callers what the machine says.
//!
//! Rules this file keeps:
//! - every decision is `machine::txn`'s; whoever waits for one of them is answered once;
//! - a batch of a transaction goes only after the machine admitted its partition;
//! - an end waits until no batch is left: acknowledged, or failed (T8);
//! - whoever stops waiting changes nothing: what was begun goes on here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    error::{Error, ErrorKind, Result},
    machine::txn::{Ask, Death, End, Fencer, Reply, Request, Step, Told, Txn, Version, Why},
    plant::{self, Plant},
    producer::sender::{self, Sender},
    types::{ConsumerGroupMetadata, OffsetAndMetadata, TopicPartition},
    wire::{ErrorCode, Str},
};

use super::{
    error::{Abortable, CommitError, Fatal, FencedBy, Outcome, TransactionError, UnknownOutcome},
    requests::Call,
};

type Answer<T, E = TransactionError> = oneshot::Sender<Result<T, E>>;

/// What the handles and the task share: why records are refused, once they are.
#[derive(Debug, Default)]
pub(in crate::producer) struct Link {
    failed: AtomicBool,
    why: Mutex<Option<TransactionError>>,
}

/// What callers want, and what came back from coordinators.
#[derive(Debug)]
pub(in crate::producer) enum Event {
    /// The next transaction is to begin; without `open`, it is only to be possible.
    Begin {
        open: bool,
        answer: Answer<()>,
    },
    /// Without an answer if nobody waits: the transaction was dropped.
    End {
        commit: bool,
        answer: Option<Answer<(), CommitError>>,
    },
    Offsets {
        group: ConsumerGroupMetadata,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
        answer: Answer<()>,
    },
    Outcome(Answer<Option<Outcome>>),
    /// Nothing is under way any more, or it is given up; with an error that nobody has heard of. Nobody has a transaction
    /// who asks for that: one that is still open is aborted.
    Idle(oneshot::Sender<Result<()>>),
    Replied {
        reply: Reply,
        error: Option<Error>,
    },
}

/// One transactional id, in its sender's task.
#[derive(Debug)]
pub(in crate::producer) struct Driver {
    id: Str,
    timeout: Duration,
    machine: Txn,
    link: Arc<Link>,
    begin: Option<(bool, Answer<()>)>,
    end: Option<Answer<(), CommitError>>,
    /// What the transaction that ends was wished to be: committed, or not.
    wish: bool,
    /// Why it was not committed after all, if nobody waited to hear.
    untold: Option<Error>,
    outcome: Vec<Answer<Option<Outcome>>>,
    idle: Vec<oneshot::Sender<Result<()>>>,
    /// Nobody waits for coordinators any more.
    given_up: bool,
    offsets: BTreeMap<u64, Offsets>,
    next: u64,
    /// How the last transaction ended; `Some(None)` if that is not known.
    last: Option<Option<Outcome>>,
    /// The last trouble with a coordinator.
    trouble: Option<Error>,
    /// The first batch that failed.
    batch: Option<Error>,
}

#[derive(Debug)]
struct Offsets {
    group: ConsumerGroupMetadata,
    offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    answer: Answer<()>,
}

impl Link {
    /// Why nothing more goes into the transaction. Costs one load as long as nothing is wrong.
    pub(super) fn check(&self) -> Result<(), TransactionError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.why().clone().map_or(Ok(()), Err)
    }

    fn set(&self, why: Option<TransactionError>) {
        let failed = why.is_some();
        *self.why() = why;
        self.failed.store(failed, Ordering::Release);
    }

    fn why(&self) -> MutexGuard<'_, Option<TransactionError>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver {
    pub(in crate::producer) fn new(id: Str, timeout: Duration, patience: Duration, link: Arc<Link>) -> Self {
        Self {
            id,
            timeout,
            machine: Txn::new(patience),
            link,
            begin: None,
            end: None,
            wish: false,
            untold: None,
            outcome: Vec::new(),
            idle: Vec::new(),
            given_up: false,
            offsets: BTreeMap::new(),
            next: 0,
            last: None,
            trouble: None,
            batch: None,
        }
    }

    /// The id that Produce carries, and the lowest and highest version that may carry it (T2).
    pub(in crate::producer) fn produce(&self) -> (Str, i16, i16) {
        let (least, most) = match self.machine.version() {
            Version::First => (3, 11),
            Version::Second => (12, i16::MAX),
        };
        (self.id.clone(), least, most)
    }

    pub(in crate::producer) fn timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout().map(Instant::from_std)
    }

    /// Whether something is under way that outlives the producer's handles.
    pub(in crate::producer) fn is_busy(&self) -> bool {
        !self.given_up && (self.machine.is_open() || self.machine.is_ending())
    }

    /// The time for closing is over: whoever waits is told what is left.
    fn give_up(&mut self) {
        let left = self.is_busy().then(|| self.left());
        self.given_up = true;
        self.untold = left.or(self.untold.take());
        self.say_idle();
    }

    /// What has not ended.
    fn left(&self) -> Error {
        let (id, timeout) = (&self.id, self.timeout);
        let last = self.trouble.as_ref().map_or_else(|| "no answer".to_owned(), Error::to_string);
        let (kind, text) = if self.machine.may_be_committed() {
            (ErrorKind::OutcomeUnknown, "its commit was asked for and is not answered, it may be committed or not")
        } else {
            (ErrorKind::Timeout, "it was not committed, and nothing of it will be visible")
        };
        let text = format!(
            "transaction {id} had not ended by the time at which the producer was to be closed: {text}; the next producer of the id ends it, or the coordinator after {timeout:?} (transaction.timeout.ms); last: {last}"
        );
        self.trouble.clone().into_iter().fold(Error::new(kind, text), Error::with_source)
    }

    /// Tells who waits that nothing is under way. What nobody has heard of is told once.
    fn say_idle(&mut self) {
        for waiting in self.idle.drain(..) {
            let untold = self.untold.take();
            if let Err(Err(error)) = waiting.send(untold.map_or(Ok(()), Err)) {
                self.untold = Some(error);
            }
        }
    }

    /// A batch was acknowledged, or failed for good.
    pub(in crate::producer) fn handle_settled(&mut self, failed: Option<&Error>) {
        match failed {
            None => self.machine.handle_written(),
            Some(error) => {
                // What fails because of the abort is not its cause.
                if !matches!(error.kind(), ErrorKind::Aborted | ErrorKind::Fenced) {
                    self.batch.get_or_insert_with(|| error.clone());
                }
                self.machine.handle_failed(Why::Batch);
            }
        }
    }

    /// Whether the transaction goes on in its epoch whatever becomes of this partition's log.
    pub(in crate::producer) fn is_outside(&self, number: usize) -> bool {
        self.machine.is_outside(number)
    }

    /// A batch broke its partition's chain of sequence numbers.
    pub(in crate::producer) fn handle_broken(&mut self, last: Option<&Error>) {
        if let Some(error) = last {
            self.batch.get_or_insert_with(|| error.clone());
        }
        self.machine.handle_broken(Why::Batch);
    }

    /// What a batch is told that fails because of the transaction.
    fn abort_error(&self, place: &str) -> Error {
        let why = self.link.why().clone();
        let why = why.map(|why| why.as_error().clone());
        let (kind, text) = match &why {
            Some(why) if why.kind() == ErrorKind::Fenced => (ErrorKind::Fenced, why.to_string()),
            Some(why) => (ErrorKind::Aborted, format!("its transaction is aborted: {why}")),
            None => (ErrorKind::Aborted, "its transaction is aborted".to_owned()),
        };
        let error = Error::new(kind, format!("{place}: {text}"));
        why.into_iter().fold(error, Error::with_source)
    }

    fn abortable(&self, why: Why) -> Abortable {
        let id = &self.id;
        let (text, cause) = match why {
            Why::Wish => (format!("transaction {id}: it was aborted"), None),
            Why::Batch => (format!("transaction {id}: a record was not written"), self.batch.clone()),
            Why::Refused(step, code) => {
                (format!("transaction {id}: {step:?} was refused: {code}"), self.trouble.clone())
            }
            Why::TimedOut(step) => {
                (format!("transaction {id}: {step:?} was not answered in time"), self.trouble.clone())
            }
        };
        let text = cause.as_ref().map_or_else(|| text.clone(), |cause| format!("{text} ({cause})"));
        Abortable(cause.into_iter().fold(Error::new(ErrorKind::Aborted, text), Error::with_source))
    }

    fn unknown(&self) -> UnknownOutcome {
        let id = &self.id;
        let last = self.trouble.as_ref().map_or_else(|| "no answer".to_owned(), Error::to_string);
        let text =
            format!("transaction {id}: EndTxn was not answered, it may be committed, aborted or open (last: {last})");
        UnknownOutcome(
            self.trouble.clone().into_iter().fold(Error::new(ErrorKind::OutcomeUnknown, text), Error::with_source),
        )
    }

    fn fatal(&self, why: Death, committed: Option<bool>) -> Fatal {
        let id = &self.id;
        let (error, fenced_by) = match why {
            Death::Fenced(by) => {
                let (by, words) = match by {
                    Fencer::Newer(owner) => (
                        FencedBy::NewerProducer { producer_id: owner.id, epoch: owner.epoch },
                        format!("a newer producer has taken over (producer id {}, epoch {})", owner.id, owner.epoch),
                    ),
                    Fencer::Timeout => (
                        FencedBy::TransactionTimeout,
                        format!("the coordinator aborted it after {:?} (transaction.timeout.ms)", self.timeout),
                    ),
                    Fencer::Unknown => (FencedBy::Unknown, "by whom is not known".to_owned()),
                };
                (Error::new(ErrorKind::Fenced, format!("transactional id {id} is fenced: {words}")), Some(by))
            }
            Death::Refused(step, code) => (Error::broker(code, format_args!("transactional id {id}, {step:?}")), None),
        };
        let outcome = committed.map(|committed| if committed { Outcome::Committed } else { Outcome::Aborted });
        Fatal { error, fenced_by, outcome }
    }

    fn handle_offsets(&mut self, offsets: Offsets) {
        if plant::is(Plant::ForgetOffsets) {
            let _ = offsets.answer.send(Ok(()));
            return;
        }
        let number = self.next;
        self.next += 1;
        let group = offsets.group.group_id.clone();
        self.offsets.insert(number, offsets);
        self.machine.handle_offsets(number, group);
    }

    /// The transaction is over, or given up on.
    fn handle_ended(&mut self, end: &End) {
        let (known, answer) = match end {
            End::Committed => (Some(Outcome::Committed), Ok(())),
            End::Aborted(why) => (Some(Outcome::Aborted), Err(CommitError::Aborted(self.abortable(*why)))),
            End::Unknown => (None, Err(CommitError::Unknown(self.unknown()))),
        };
        self.last = Some(known);
        let unheard = match self.end.take() {
            Some(waiting) => waiting.send(answer).err(),
            None => Some(answer),
        };
        // An abort that was wished for, or is all that is left of a dropped transaction, is no news.
        let is_news = self.wish && self.outcome.is_empty();
        self.untold = unheard.and_then(Result::err).filter(|_| is_news).map(Error::from);
        for waiting in self.outcome.drain(..) {
            let _ = waiting.send(match known {
                Some(outcome) => Ok(Some(outcome)),
                None => {
                    Err(TransactionError::Refused(Error::new(ErrorKind::OutcomeUnknown, "still no answer to EndTxn")))
                }
            });
        }
        // Whoever wants to begin waits on while the end is not known, and is told by its own time.
        if *end == End::Unknown
            && let Some((_, waiting)) = self.begin.take()
        {
            let _ = waiting.send(Err(TransactionError::Refused(self.unknown().0)));
        }
    }

    fn handle_dead(&mut self, fatal: &Fatal) {
        self.link.set(Some(TransactionError::Fatal(fatal.clone())));
        let dead = || TransactionError::Fatal(fatal.clone());
        self.last = Some(fatal.outcome);
        if let Some(waiting) = self.end.take() {
            let _ = waiting.send(Err(CommitError::Fatal(fatal.clone())));
        }
        if let Some((_, waiting)) = self.begin.take() {
            let _ = waiting.send(Err(dead()));
        }
        for waiting in self.outcome.drain(..) {
            let _ = waiting.send(Err(dead()));
        }
        for offsets in std::mem::take(&mut self.offsets).into_values() {
            let _ = offsets.answer.send(Err(dead()));
        }
    }

    /// What callers who ask about the last transaction are told, if that can be told now.
    fn answer_outcome(&mut self, answer: Answer<Option<Outcome>>) {
        if self.machine.is_dead() {
            let why = self.link.why().clone();
            let _ = answer.send(why.map_or(Ok(None), Err));
        } else if self.machine.is_unknown() || self.machine.is_ending() {
            self.machine.handle_resolve();
            self.outcome.push(answer);
        } else {
            self.untold = None;
            let _ = answer.send(Ok(self.last.flatten()));
        }
    }

    /// Answers who waits for the next transaction, if it can begin. Whether it has.
    fn begin(&mut self, version: impl FnOnce() -> Version) -> bool {
        let Some((open, waiting)) = self.begin.take().filter(|(_, waiting)| !waiting.is_closed()) else { return false };
        if self.machine.is_dead() {
            let why = self.link.why().clone();
            let _ = waiting.send(why.map_or_else(|| Err(super::error::closed()), Err));
            return false;
        }
        if !self.machine.is_ready() {
            self.begin = Some((open, waiting));
            return false;
        }
        if !open {
            let _ = waiting.send(Ok(()));
            return false;
        }
        self.machine.handle_begin(version());
        (self.trouble, self.batch, self.untold) = (None, None, None);
        self.wish = false;
        self.link.set(None);
        if waiting.send(Ok(())).is_err() {
            // Nobody holds it.
            self.machine.handle_end(false);
        }
        true
    }
}

impl Sender {
    pub(in crate::producer) fn handle_transaction(&mut self, event: Event) {
        let Some(driver) = &mut self.transaction else { return };
        match event {
            Event::Begin { open, answer } => {
                driver.begin = Some((open, answer));
                driver.machine.handle_resolve();
                // One that was forgotten, as by `mem::forget`, is as good as dropped.
                self.end(false);
            }
            Event::End { commit, answer } => return self.handle_end(commit, answer),
            Event::Offsets { group, offsets, answer } => driver.handle_offsets(Offsets { group, offsets, answer }),
            Event::Outcome(answer) => driver.answer_outcome(answer),
            Event::Idle(answer) => {
                driver.idle.push(answer);
                self.end(false);
            }
            Event::Replied { reply, error } => {
                driver.trouble = error.or(driver.trouble.take());
                let wait = self.core.cluster.config().retry_backoff;
                let wait = wait.delay(driver.machine.failures() + 1, fastrand::f64());
                driver.machine.handle_reply(Instant::now().into_std(), reply, wait);
            }
        }
        self.follow_transaction();
    }

    fn handle_end(&mut self, commit: bool, answer: Option<Answer<(), CommitError>>) {
        let Some(driver) = &mut self.transaction else { return };
        if driver.machine.is_dead() {
            if let (Some(answer), Some(TransactionError::Fatal(why))) = (answer, driver.link.why().clone()) {
                let _ = answer.send(Err(CommitError::Fatal(why)));
            }
            return;
        }
        if !driver.machine.is_open() && !driver.machine.is_ending() {
            return;
        }
        // If it was fenced meanwhile, who by is being asked: whoever ends it now hears of that.
        driver.end = answer.or(driver.end.take());
        driver.wish = commit;
        self.end(commit);
    }

    /// The transaction ends, if one is open.
    fn end(&mut self, commit: bool) {
        let Some(driver) = self.transaction.as_mut().filter(|driver| driver.machine.is_open()) else { return };
        driver.machine.handle_end(commit);
        // First of all the reason, which the batches are told.
        self.follow_transaction();
        if self.is_aborting() {
            // Also what came after the failure that is the reason (T8).
            self.fail_transaction();
        } else {
            // All that was enqueued goes now, whatever its linger.
            self.flush();
        }
    }

    /// Asks coordinators for what is next. Costs nothing without transactions.
    pub(in crate::producer) fn tend_transaction(&mut self) {
        if self.transaction.is_none() {
            return;
        }
        if self.is_orphaned() {
            // A transaction borrows its producer: nobody holds this one.
            self.end(false);
        }
        self.follow_transaction();
        let cluster = &self.core.cluster;
        // T1: by the finalized feature, whatever versions the brokers have.
        let is_second = || cluster.features().transaction_version() >= 2;
        let version = || if is_second() { Version::Second } else { Version::First };
        if self.transaction.as_mut().is_some_and(|driver| driver.begin(version)) {
            self.slots.iter_mut().for_each(|slot| slot.queue.handle_aborting(false));
        }
        let drained = self.transaction.as_ref().is_some_and(|driver| driver.machine.is_ending()) && self.has_nothing();
        let now = Instant::now().into_std();
        // Nobody would hear of a commit that is asked for now; an abort does what was said.
        let asks = |driver: &&mut Box<Driver>| !driver.given_up || driver.machine.is_aborting();
        let request =
            self.transaction.as_mut().filter(asks).and_then(|driver| driver.machine.poll_request(now, drained));
        if let Some(request) = request {
            self.ask(request);
        }
        self.follow_transaction();
        let Some(driver) = &mut self.transaction else { return };
        if !driver.is_busy() {
            driver.say_idle();
        }
    }

    /// The time for closing is over.
    pub(in crate::producer) fn give_up_transaction(&mut self) {
        self.follow_transaction();
        self.transaction.iter_mut().for_each(|driver| driver.give_up());
    }

    fn has_nothing(&self) -> bool {
        self.slots.iter().all(|slot| slot.queue.is_empty() && slot.partition.is_empty())
    }

    fn ask(&self, request: Request) {
        let Some(driver) = &self.transaction else { return };
        let numbers: &[usize] = if let Ask::AddPartitions(numbers) = &request.ask { numbers } else { &[] };
        let place = |number: &usize| {
            let partition = &self.slots.get(*number)?.partition;
            Some((*number, partition.topic.clone(), partition.index))
        };
        let partitions = numbers.iter().filter_map(place).collect();
        let offsets = match &request.ask {
            Ask::CommitOffsets(number) => driver.offsets.get(number),
            _ => None,
        };
        let offsets = offsets.map(|wanted| (wanted.group.clone(), wanted.offsets.clone()));
        tracing::debug!(id = %driver.id, ask = ?request.ask, producer = ?request.producer, "asking a coordinator");
        let (id, timeout, cluster) = (driver.id.clone(), driver.timeout, self.core.cluster.clone());
        let call = Call { cluster, id, timeout, request, partitions, offsets };
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            let (reply, error) = call.run().await;
            let _ = outbox.send(sender::Event::Transaction(Event::Replied { reply, error }));
        });
    }

    /// Carries out what the machine says, and tells who waits for it.
    pub(in crate::producer) fn follow_transaction(&mut self) {
        while let Some(driver) = &mut self.transaction
            && let Some(told) = driver.machine.poll_told()
        {
            tracing::debug!(id = %driver.id, ?told, "transaction");
            match told {
                Told::Identity(producer) => self.identity.handle_assigned(producer),
                Told::Added(numbers) => numbers.into_iter().for_each(|number| self.list(number)),
                Told::Offsets(number, outcome) => {
                    let outcome = outcome.map_err(|why| TransactionError::Abortable(driver.abortable(why)));
                    if let Some(offsets) = driver.offsets.remove(&number) {
                        let _ = offsets.answer.send(outcome);
                    }
                }
                Told::Aborting(why) => {
                    let why = TransactionError::Abortable(driver.abortable(why));
                    driver.link.set(Some(why));
                    self.fail_transaction();
                }
                Told::Ended(end) => driver.handle_ended(&end),
                Told::Dead { why, committed } => {
                    let fatal = driver.fatal(why, committed);
                    driver.handle_dead(&fatal);
                    self.identity.handle_fatal();
                    let code = match why {
                        Death::Fenced(_) => ErrorCode::PRODUCER_FENCED,
                        Death::Refused(_, code) => code,
                    };
                    self.die(code, fatal.as_error().clone());
                }
            }
        }
    }

    /// KIP-654: an abort does not write first what it then takes back.
    fn fail_transaction(&mut self) {
        self.learn_slots(usize::MAX);
        (0..self.slots.len()).for_each(|number| self.fail_partition(number));
    }

    /// Nothing that is not on the wire goes there from this partition.
    pub(in crate::producer) fn fail_partition(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let (mut sealed, _) = slot.partition.fetch();
        sealed.extend(slot.partition.seal());
        slot.queue.handle_aborting(true);
        slot.due = false;
        self.push(number, sealed);
        self.settle(number);
    }

    pub(in crate::producer) fn is_aborting(&self) -> bool {
        self.transaction.as_ref().is_some_and(|driver| driver.machine.is_aborting())
    }

    /// Whether a batch for this partition may go now. Whoever has to wait is listed again when it may.
    pub(in crate::producer) fn admits(&mut self, number: usize) -> bool {
        let Some(driver) = &mut self.transaction else { return true };
        let slot = &self.slots[number];
        let has_something = slot.due || slot.queue.has_waiting();
        has_something && driver.machine.admit(number)
    }

    /// A broker refused this producer for good.
    pub(in crate::producer) fn handle_refused_for_good(&mut self, code: ErrorCode, place: &str) {
        match &mut self.transaction {
            Some(driver) => {
                driver.machine.handle_dead(Step::Produce, code);
                self.follow_transaction();
            }
            None => {
                self.identity.handle_fatal();
                self.die(code, super::super::settle::refused(code, place));
            }
        }
    }

    /// What a batch is told that fails together with its transaction.
    pub(in crate::producer) fn abort_error(&self, place: &str) -> Error {
        let without = || Error::new(ErrorKind::Aborted, format!("{place}: its transaction is aborted"));
        self.transaction.as_ref().map_or_else(without, |driver| driver.abort_error(place))
    }
}
