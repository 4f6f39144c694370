use super::*;
use crate::embedded::groups::Budget;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A transactional id whose producer 100 is in epoch 0, with the ids 200, 201, … to give out.
struct Subject {
    transaction: Transaction,
    next_id: i64,
    now: Now,
}

impl Subject {
    fn new() -> Self {
        let now = Now { instant: Instant::now(), millis: 5000 };
        let mut subject = Self { transaction: Transaction::new(100, TIMEOUT, now), next_id: 200, now };
        assert_eq!(subject.init(None), Ok(Arrival::Ready(producer(100, 0))));
        subject
    }

    /// The same in an epoch that would take long to reach.
    fn in_epoch(epoch: i16) -> Self {
        let mut subject = Self::new();
        subject.transaction.producer.epoch = epoch;
        subject
    }

    fn init(&mut self, expected: Option<Identity>) -> Result<Arrival, ResponseError> {
        self.init_by(expected, true)
    }

    fn init_by(&mut self, expected: Option<Identity>, second: bool) -> Result<Arrival, ResponseError> {
        let next_id = &mut self.next_id;
        let new_id = || {
            *next_id += 1;
            *next_id - 1
        };
        self.transaction.init(TIMEOUT, expected, second, new_id, self.now)
    }

    fn add(&mut self, producer: Identity, partition: i32) -> Result<(), ResponseError> {
        let budget = Budget::new(1 << 20);
        self.transaction.add(producer, vec![("t".to_owned(), partition)], None, |bytes| budget.take(bytes), self.now)
    }

    fn verify(&self, producer: Identity, partition: i32) -> Result<(), ResponseError> {
        self.transaction.verify(producer, &[("t".to_owned(), partition)], None)
    }

    fn end(&mut self, version: i16, producer: Identity, commit: bool) -> Result<Ending, ResponseError> {
        let next_id = &mut self.next_id;
        if version < 2 {
            return self.transaction.end(producer, commit, self.now);
        }
        let new_id = || {
            *next_id += 1;
            *next_id - 1
        };
        self.transaction.end_and_bump(producer, commit, new_id, self.now)
    }

    fn complete(&mut self) {
        self.transaction.complete(self.now);
    }
}

fn producer(producer_id: i64, epoch: i16) -> Identity {
    Identity { producer_id, epoch }
}

const P0: Identity = Identity { producer_id: 100, epoch: 0 };
const P1: Identity = Identity { producer_id: 100, epoch: 1 };

#[test]
fn the_first_version_keeps_the_epoch_from_transaction_to_transaction() {
    let mut subject = Subject::new();
    for commit in [true, false] {
        assert_eq!(subject.add(P0, 1), Ok(()));
        assert_eq!(subject.end(1, P0, commit), Ok(Ending::Decided(P0)));
        assert_eq!(subject.end(1, P0, commit), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(subject.end(1, P0, !commit), Err(ResponseError::InvalidTxnState));
        assert_eq!(subject.add(P0, 1), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(subject.verify(P0, 1), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(subject.init(None), Err(ResponseError::ConcurrentTransactions));
        subject.complete();
        assert_eq!(subject.end(1, P0, commit), Ok(Ending::Repeated(P0)));
        assert_eq!(subject.end(1, P0, !commit), Err(ResponseError::InvalidTxnState));
        assert_eq!(subject.verify(P0, 1), Err(ResponseError::TransactionAbortable), "it is over");
    }
}

#[test]
fn the_second_version_raises_the_epoch_at_every_end() {
    let mut subject = Subject::new();
    assert_eq!(subject.add(P0, 1), Ok(()));
    assert_eq!(subject.end(2, P0, true), Ok(Ending::Decided(P1)));
    assert_eq!(subject.end(2, P0, true), Err(ResponseError::ConcurrentTransactions), "asked again");
    assert_eq!(subject.end(2, P1, true), Err(ResponseError::ProducerFenced), "not before it is complete");
    subject.complete();
    assert_eq!(subject.end(2, P0, true), Ok(Ending::Repeated(P1)));
    assert_eq!(subject.end(2, P0, false), Err(ResponseError::InvalidTxnState));
    assert_eq!(subject.end(2, P1, true), Err(ResponseError::InvalidTxnState), "nothing was begun");
    assert_eq!(subject.add(P0, 1), Err(ResponseError::ProducerFenced));
    // A producer that does not know whether anything of its transaction has arrived may abort.
    assert_eq!(subject.end(2, P1, false), Ok(Ending::Decided(producer(100, 2))));
    subject.complete();
    assert_eq!(subject.transaction.name(), "CompleteAbort");
    assert_eq!(subject.end(2, producer(100, 2), false), Ok(Ending::Decided(producer(100, 3))));
}

#[test]
fn an_end_without_a_beginning() {
    for (version, commit, expected) in [
        (1, true, Err(ResponseError::InvalidTxnState)),
        (1, false, Err(ResponseError::InvalidTxnState)),
        (2, true, Err(ResponseError::InvalidTxnState)),
        (2, false, Ok(Ending::Decided(P1))),
    ] {
        assert_eq!(Subject::new().end(version, P0, commit), expected, "version {version}, commit {commit}");
    }
}

#[test]
fn who_is_not_the_producer_is_told_so() {
    let mapping = ResponseError::InvalidProducerIdMapping;
    let fenced = ResponseError::ProducerFenced;
    for (who, error) in [(producer(7, 0), mapping), (producer(100, 5), fenced), (producer(100, -1), fenced)] {
        let mut subject = Subject::new();
        assert_eq!(subject.add(who, 1), Err(error));
        assert_eq!(subject.verify(who, 1), Err(error));
        assert_eq!(subject.end(1, who, true), Err(error));
        assert_eq!(subject.end(2, who, true), Err(error));
    }
}

#[test]
fn only_what_was_added_is_in_the_transaction() {
    let mut subject = Subject::new();
    assert_eq!(subject.verify(P0, 1), Err(ResponseError::TransactionAbortable));
    assert_eq!(subject.add(P0, 1), Ok(()));
    assert_eq!(subject.verify(P0, 1), Ok(()));
    assert_eq!(subject.verify(P0, 2), Err(ResponseError::TransactionAbortable));
    let none = |_| Err(ResponseError::PolicyViolation);
    let again = subject.transaction.add(P0, vec![("t".to_owned(), 1)], None, none, subject.now);
    assert_eq!(again, Ok(()), "what is in it already costs nothing");
    let group = subject.transaction.add(P0, Vec::new(), Some("g".to_owned()), none, subject.now);
    assert_eq!(group, Err(ResponseError::PolicyViolation));
}

#[test]
fn a_newcomer_interrupts_and_comes_again() {
    for second in [false, true] {
        let (epoch, told) = (1, ResponseError::InvalidTxnState);
        let mut subject = Subject::new();
        assert_eq!(subject.add(P0, 1), Ok(()));
        assert_eq!(subject.init_by(None, second), Ok(Arrival::Interrupted));
        assert_eq!(subject.transaction.name(), "PrepareAbort");
        assert_eq!(subject.transaction.producer.epoch, epoch, "that nobody is told of");
        assert_eq!(subject.end(1, P0, true), Err(ResponseError::ProducerFenced));
        // The second version cannot tell a newer producer from itself, asking again.
        assert_eq!(subject.end(2, P0, true), Err(told));
        assert_eq!(subject.init_by(None, second), Err(ResponseError::ConcurrentTransactions));
        subject.complete();
        let next = producer(100, epoch + 1);
        assert_eq!(subject.init_by(None, second), Ok(Arrival::Ready(next)));
    }
}

#[test]
fn a_producer_goes_on_after_an_error_and_may_ask_twice() {
    let mut subject = Subject::new();
    assert_eq!(subject.init(Some(P0)), Ok(Arrival::Ready(P1)));
    assert_eq!(subject.init(Some(P0)), Ok(Arrival::Ready(P1)), "it had not heard the answer");
    assert_eq!(subject.init(None), Ok(Arrival::Ready(producer(100, 2))), "somebody else");
    assert_eq!(subject.init(Some(P1)), Err(ResponseError::ProducerFenced));
    assert_eq!(subject.init(Some(producer(7, 2))), Err(ResponseError::ProducerFenced));
}

#[test]
fn the_last_epochs_rotate_the_producer_id() {
    let last = i16::MAX - 1;
    // By a newcomer, and by the same producer, which may ask twice.
    let mut subject = Subject::in_epoch(last);
    assert_eq!(subject.init(None), Ok(Arrival::Ready(producer(200, 0))));
    let mut subject = Subject::in_epoch(last);
    let before = producer(100, last);
    assert_eq!(subject.init(Some(before)), Ok(Arrival::Ready(producer(200, 0))));
    assert_eq!(subject.init(Some(before)), Ok(Arrival::Ready(producer(200, 0))));
    // By the end of a transaction: the marker has the very last epoch, the producer another id.
    let mut subject = Subject::in_epoch(last);
    assert_eq!(subject.add(before, 1), Ok(()));
    assert_eq!(subject.end(2, before, true), Ok(Ending::Decided(producer(200, 0))));
    assert_eq!(subject.transaction.producer, producer(100, i16::MAX));
    subject.complete();
    assert_eq!(subject.transaction.producer, producer(200, 0));
    assert_eq!(subject.end(2, before, true), Ok(Ending::Repeated(producer(200, 0))));
    assert_eq!(subject.add(producer(200, 0), 1), Ok(()));
    // By an interruption: nothing overflows.
    let mut subject = Subject::in_epoch(last);
    assert_eq!(subject.add(before, 1), Ok(()));
    assert_eq!(subject.init(None), Ok(Arrival::Interrupted));
    subject.complete();
    assert!(matches!(subject.init(None), Ok(Arrival::Ready(next)) if next.producer_id != 100));
}

#[test]
fn only_a_transaction_under_way_can_take_too_long() {
    let mut subject = Subject::new();
    assert_eq!(subject.transaction.deadline(), None);
    assert_eq!(subject.transaction.started_millis(), -1);
    assert_eq!(subject.add(P0, 1), Ok(()));
    assert_eq!(subject.transaction.deadline(), Some(subject.now.instant + TIMEOUT));
    assert_eq!(subject.end(2, P0, true), Ok(Ending::Decided(P1)));
    assert_eq!(subject.transaction.deadline(), None, "what is decided is decided");
    subject.complete();
    assert_eq!((subject.transaction.deadline(), subject.transaction.started_millis()), (None, 5000));
}
