//! The machine alone: tables of answers, and short stories of what may follow what.

use super::*;
use crate::machine::test_clock;
use Version::{First, Second};

const WAIT: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(60);
const OURS: ProducerId = ProducerId { id: 7, epoch: 5 };
const NEXT: ProducerId = ProducerId { id: 7, epoch: 6 };

/// A machine, its clock, and all that it told.
struct Story {
    txn: Txn,
    now: Instant,
    told: Vec<Told>,
}

impl Story {
    fn new() -> Self {
        Self { txn: Txn::new(LIMIT), now: test_clock(), told: Vec::new() }
    }

    fn ready() -> Self {
        let mut story = Self::new();
        story.answer(Ask::Init { expected: None }, Reply::Done(Some(OURS)));
        story.told.clear();
        story
    }

    fn open(version: Version) -> Self {
        let mut story = Self::ready();
        assert!(story.txn.handle_begin(version));
        story
    }

    /// With a record written to partition 1.
    fn written(version: Version) -> Self {
        let mut story = Self::open(version);
        if !story.txn.admit(1) {
            story.answer(Ask::AddPartitions(vec![1]), Reply::Parts(vec![(1, ErrorCode::NONE)]));
        }
        assert!(story.txn.admit(1));
        story.txn.handle_written();
        story.told.clear();
        story
    }

    /// With EndTxn on its way.
    fn ending(version: Version, commit: bool) -> Self {
        let mut story = Self::written(version);
        story.txn.handle_end(commit);
        assert_eq!(story.poll(), Some(Ask::End { commit }));
        story.told.clear();
        story
    }

    fn poll(&mut self) -> Option<Ask> {
        let request = self.txn.poll_request(self.now, true);
        self.told.extend(std::iter::from_fn(|| self.txn.poll_told()));
        request.map(|request| request.ask)
    }

    fn reply(&mut self, reply: Reply) {
        self.txn.handle_reply(self.now, reply, WAIT);
        self.told.extend(std::iter::from_fn(|| self.txn.poll_told()));
    }

    fn answer(&mut self, expected: Ask, reply: Reply) {
        assert_eq!(self.poll(), Some(expected));
        self.reply(reply);
    }

    /// The next request, once its backoff is over.
    fn later(&mut self) -> Option<Ask> {
        assert_eq!(self.poll(), None, "it waits");
        self.now = self.txn.poll_timeout().expect("for a time");
        self.poll()
    }

    fn ends(&self) -> Vec<&End> {
        let told = self.told.iter();
        told.filter_map(|told| if let Told::Ended(end) = told { Some(end) } else { None }).collect()
    }
}

const LOST: Reply = Reply::Lost { maybe_sent: true };

#[test]
fn t5_an_identity_is_asked_for_until_the_transaction_before_is_over() {
    use ErrorCode as Code;
    let mut story = Story::new();
    let busy = [
        Code::CONCURRENT_TRANSACTIONS,
        Code::COORDINATOR_LOAD_IN_PROGRESS,
        Code::NOT_COORDINATOR,
        Code::COORDINATOR_NOT_AVAILABLE,
        Code::UNKNOWN_SERVER_ERROR,
        Code::REQUEST_TIMED_OUT,
    ];
    let ask = Some(Ask::Init { expected: None });
    assert_eq!(story.poll(), ask);
    for code in busy {
        let before = story.now;
        story.reply(Reply::Refused(code));
        assert_eq!(story.later(), ask, "{code}");
        let waited = story.now - before;
        assert_eq!(waited, if code == Code::CONCURRENT_TRANSACTIONS { SOON } else { WAIT }, "{code}");
    }
    story.reply(Reply::Done(Some(OURS)));
    assert!(story.txn.is_ready());
    assert_eq!(story.told, [Told::Identity(OURS)]);
}

#[test]
fn a_refusal_of_the_identity_for_good_is_terminal() {
    for code in [ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ErrorCode::INVALID_TRANSACTION_TIMEOUT] {
        let mut story = Story::new();
        story.answer(Ask::Init { expected: None }, Reply::Refused(code));
        assert_eq!(story.told, [Told::Dead { why: Death::Refused(Step::Init, code), committed: None }]);
        assert_eq!(story.poll(), None);
        assert!(!story.txn.handle_begin(First));
    }
}

#[test]
fn an_empty_transaction_ends_without_a_request() {
    for version in [First, Second] {
        for commit in [true, false] {
            let mut story = Story::open(version);
            story.txn.handle_end(commit);
            assert_eq!(story.poll(), None);
            let end = if commit { End::Committed } else { End::Aborted(Why::Wish) };
            assert_eq!(story.ends(), [&end]);
            assert!(story.txn.is_ready());
        }
    }
}

#[test]
fn t3_a_partition_counts_as_added_when_the_coordinator_says_so() {
    let mut story = Story::open(First);
    assert!(!story.txn.admit(1));
    story.answer(Ask::AddPartitions(vec![1]), Reply::Parts(vec![(1, ErrorCode::NONE)]));
    assert_eq!(story.told, [Told::Added(vec![1])]);
    assert!(!story.txn.admit(2) && !story.txn.admit(3) && story.txn.admit(1));
    let half = vec![(2, ErrorCode::NONE), (3, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)];
    story.answer(Ask::AddPartitions(vec![2, 3]), Reply::Parts(half));
    assert!(story.txn.admit(1) && story.txn.admit(2) && !story.txn.admit(3));
    assert_eq!(story.later(), Some(Ask::AddPartitions(vec![3])), "only what is missing");
    story.reply(Reply::Parts(vec![(3, ErrorCode::TOPIC_AUTHORIZATION_FAILED)]));
    let why = Why::Refused(Step::AddPartitions, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(story.told.last(), Some(&Told::Aborting(why)));
    story.txn.handle_end(true);
    // The partitions before are in the transaction: it has to be ended.
    story.answer(Ask::End { commit: false }, Reply::Done(None));
    assert_eq!(story.ends(), [&End::Aborted(why)]);
}

#[test]
fn t3_partitions_that_may_have_been_added_are_ended_too() {
    let mut story = Story::open(First);
    assert!(!story.txn.admit(1));
    story.answer(Ask::AddPartitions(vec![1]), LOST);
    story.txn.handle_failed(Why::Batch);
    story.txn.handle_end(true);
    assert_eq!(story.poll(), Some(Ask::End { commit: false }));
    // They had not been.
    story.reply(Reply::Refused(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(story.ends(), [&End::Aborted(Why::Batch)]);
    // The lost request may come late: it must not meet the next transaction.
    story.answer(Ask::Init { expected: Some(OURS) }, Reply::Done(Some(NEXT)));
    assert!(story.txn.is_ready());
}

#[test]
fn what_was_only_not_tried_is_not_to_blame() {
    let mut story = Story::open(First);
    assert!(!story.txn.admit(1) && !story.txn.admit(2));
    let parts = vec![(1, ErrorCode::OPERATION_NOT_ATTEMPTED), (2, ErrorCode::TOPIC_AUTHORIZATION_FAILED)];
    story.answer(Ask::AddPartitions(vec![1, 2]), Reply::Parts(parts));
    let why = Why::Refused(Step::AddPartitions, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(story.told, [Told::Aborting(why)]);
}

#[test]
fn the_second_version_adds_nothing_and_has_a_new_epoch_after_each_end() {
    let mut story = Story::open(Second);
    assert!(story.txn.admit(1));
    story.txn.handle_offsets(0, "billing".into());
    story.answer(Ask::CommitOffsets(0), Reply::Parts(vec![(0, ErrorCode::NONE)]));
    story.txn.handle_end(true);
    story.answer(Ask::End { commit: true }, Reply::Done(Some(NEXT)));
    let told = [Told::Offsets(0, Ok(())), Told::Identity(NEXT), Told::Ended(End::Committed)];
    assert_eq!(story.told, told);
    assert!(story.txn.is_ready());
}

#[test]
fn the_first_version_adds_a_group_once() {
    let mut story = Story::open(First);
    for number in [0, 1] {
        story.txn.handle_offsets(number, "billing".into());
    }
    story.answer(Ask::AddOffsets("billing".into()), Reply::Done(None));
    story.answer(Ask::CommitOffsets(0), Reply::Parts(vec![(0, ErrorCode::NONE)]));
    story.answer(Ask::CommitOffsets(1), Reply::Parts(vec![(0, ErrorCode::NONE)]));
    story.txn.handle_end(true);
    story.answer(Ask::End { commit: true }, Reply::Done(None));
    assert!(story.txn.is_ready(), "nothing was lost: the epoch stays");
}

#[test]
fn t6_offsets_of_a_generation_that_is_over_abort() {
    use ErrorCode as Code;
    let stale = [
        Code::ILLEGAL_GENERATION,
        Code::UNKNOWN_MEMBER_ID,
        Code::FENCED_INSTANCE_ID,
        Code::STALE_MEMBER_EPOCH,
        Code::GROUP_ID_NOT_FOUND,
        Code::GROUP_AUTHORIZATION_FAILED,
        Code::TRANSACTION_ABORTABLE,
        Code::INVALID_PRODUCER_EPOCH,
    ];
    for version in [First, Second] {
        for code in stale {
            let mut story = Story::written(version);
            story.txn.handle_offsets(4, "billing".into());
            if version == First {
                story.answer(Ask::AddOffsets("billing".into()), Reply::Done(None));
            }
            story.answer(Ask::CommitOffsets(4), Reply::Parts(vec![(0, Code::NONE), (0, code)]));
            let why = Why::Refused(Step::CommitOffsets, code);
            assert_eq!(story.told, [Told::Aborting(why), Told::Offsets(4, Err(why))], "{code}");
            story.txn.handle_end(true);
            assert_eq!(story.poll(), Some(Ask::End { commit: false }), "{code}");
        }
    }
}

#[test]
fn t4_an_end_without_an_answer_is_repeated_in_the_same_words_and_then_unknown() {
    for version in [First, Second] {
        for commit in [true, false] {
            let mut story = Story::ending(version, commit);
            let began = story.now;
            for reply in [LOST, Reply::Refused(ErrorCode::UNKNOWN_SERVER_ERROR), LOST].iter().cycle() {
                story.reply(reply.clone());
                if story.txn.is_unknown() {
                    break;
                }
                assert_eq!(story.later(), Some(Ask::End { commit }));
            }
            assert!(story.now - began <= LIMIT && story.now - began + WAIT >= LIMIT);
            assert_eq!(story.ends(), [&End::Unknown]);
            assert_eq!(story.poll(), None, "nothing goes on by itself");
            assert!(!story.txn.handle_begin(version), "and nothing begins");
            story.txn.handle_resolve();
            assert_eq!(story.poll(), Some(Ask::End { commit }), "the same words");
            story.reply(Reply::Done(Some(NEXT).filter(|_| version == Second)));
            let end = if commit { End::Committed } else { End::Aborted(Why::Wish) };
            assert_eq!(story.ends(), [&End::Unknown, &end]);
            // KIP-890: a lost EndTxn of the first version could end the next transaction.
            assert_eq!(story.txn.is_ready(), version == Second);
        }
    }
}

#[test]
fn t4_what_a_lost_end_became_is_told_only_as_far_as_it_is_known() {
    let newer = ProducerId { id: 7, epoch: 7 };
    let late = ProducerId { id: 7, epoch: 9 };
    let table = [
        // Lost before it was fenced, who owns the id, in which phase: was it committed.
        (false, newer, Phase::Empty, Some(false)),
        (false, late, Phase::Ongoing, Some(false)),
        (true, newer, Phase::Empty, None),
        (true, newer, Phase::Aborting, Some(false)),
        (true, late, Phase::Empty, None),
    ];
    for (lost, owner, phase, committed) in table {
        let mut story = Story::ending(Second, true);
        if lost {
            story.reply(LOST);
            assert_eq!(story.later(), Some(Ask::End { commit: true }));
        }
        story.reply(Reply::Refused(ErrorCode::PRODUCER_FENCED));
        story.answer(Ask::Describe, Reply::Described(owner, phase));
        let Some(Told::Dead { why: Death::Fenced(by), committed: told }) = story.told.last() else {
            panic!("{:?}", story.told)
        };
        assert_eq!(*told, committed, "lost: {lost}, {owner:?} {phase:?}");
        assert_ne!(*by, Fencer::Unknown);
        assert!(story.ends().is_empty(), "neither committed nor aborted is claimed");
    }
}

#[test]
fn who_fenced_may_stay_unknown_but_fenced_is_terminal() {
    for reply in [Reply::Unsupported, Reply::Refused(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND)] {
        let mut story = Story::ending(First, true);
        story.reply(Reply::Refused(ErrorCode::INVALID_PRODUCER_EPOCH));
        story.answer(Ask::Describe, reply);
        let dead = Told::Dead { why: Death::Fenced(Fencer::Unknown), committed: Some(false) };
        assert_eq!(story.told.last(), Some(&dead));
        assert_eq!(story.poll(), None);
    }
}

#[test]
fn what_was_asked_before_the_fencing_changes_nothing_of_it() {
    let refused = Reply::Refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    for late in [Reply::Done(None), refused, LOST, Reply::Parts(vec![(2, ErrorCode::CLUSTER_AUTHORIZATION_FAILED)])] {
        let mut story = Story::written(First);
        assert!(!story.txn.admit(2));
        assert_eq!(story.poll(), Some(Ask::AddPartitions(vec![2])));
        story.txn.handle_dead(Step::Produce, ErrorCode::PRODUCER_FENCED);
        story.reply(late.clone());
        story.answer(Ask::Describe, Reply::Described(NEXT, Phase::Empty));
        let dead = Told::Dead { why: Death::Fenced(Fencer::Newer(NEXT)), committed: Some(false) };
        assert_eq!(story.told.last(), Some(&dead), "{late:?}");
    }
    // Nor does an identity that comes too late bring it back.
    let mut story = Story::new();
    assert_eq!(story.poll(), Some(Ask::Init { expected: None }));
    story.txn.handle_dead(Step::Produce, ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    story.reply(Reply::Done(Some(OURS)));
    assert!(story.txn.is_dead());
}

#[test]
fn an_abortable_refusal_of_a_commit_aborts() {
    for version in [First, Second] {
        let mut story = Story::ending(version, true);
        story.reply(Reply::Refused(ErrorCode::TRANSACTION_ABORTABLE));
        story.answer(Ask::End { commit: false }, Reply::Done(Some(NEXT).filter(|_| version == Second)));
        let why = Why::Refused(Step::End, ErrorCode::TRANSACTION_ABORTABLE);
        assert_eq!(story.ends(), [&End::Aborted(why)]);
        assert!(story.txn.is_ready());
    }
}

#[test]
fn kafka_18019_a_producer_whose_id_was_forgotten_does_not_come_back() {
    let code = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
    let other = ProducerId { id: 8, epoch: 0 };
    let table = [
        (Reply::Refused(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND), Death::Refused(Step::End, code)),
        (Reply::Described(OURS, Phase::Empty), Death::Refused(Step::End, code)),
        (Reply::Described(other, Phase::Empty), Death::Fenced(Fencer::Newer(other))),
    ];
    for (reply, why) in table {
        let mut story = Story::ending(First, true);
        story.reply(Reply::Refused(code));
        story.answer(Ask::Describe, reply);
        assert_eq!(story.told.last(), Some(&Told::Dead { why, committed: Some(false) }));
    }
}

#[test]
fn kip_588_a_commit_that_came_too_late_costs_a_transaction_of_the_second_version() {
    let mut story = Story::ending(Second, true);
    story.reply(Reply::Refused(ErrorCode::INVALID_TXN_STATE));
    story.answer(Ask::End { commit: false }, Reply::Done(Some(NEXT)));
    let why = Why::Refused(Step::End, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(story.ends(), [&End::Aborted(why)]);
    assert!(story.txn.is_ready());
}

#[test]
fn kip_588_a_broken_partition_is_mended_by_a_new_epoch_after_the_abort() {
    for version in [First, Second] {
        let mut story = Story::written(version);
        story.txn.handle_broken(Why::Refused(Step::Produce, ErrorCode::INVALID_PRODUCER_EPOCH));
        assert!(!story.txn.admit(1), "nothing goes any more");
        story.txn.handle_end(false);
        story.answer(Ask::End { commit: false }, Reply::Done(Some(NEXT).filter(|_| version == Second)));
        if version == First {
            story.answer(Ask::Init { expected: Some(OURS) }, Reply::Done(Some(NEXT)));
        }
        assert!(story.txn.is_ready());
        assert!(story.told.contains(&Told::Identity(NEXT)));
    }
}

#[test]
fn t4_a_partition_that_breaks_while_a_commit_is_asked_for_does_not_take_it_back() {
    for version in [First, Second] {
        for lost_before in [false, true] {
            let mut story = Story::ending(version, true);
            if lost_before {
                story.reply(LOST);
                story.txn.handle_broken(Why::Batch);
                assert_eq!(story.later(), Some(Ask::End { commit: true }));
            } else {
                story.txn.handle_broken(Why::Batch);
                story.reply(LOST);
                assert_eq!(story.later(), Some(Ask::End { commit: true }));
            }
            story.reply(Reply::Done(Some(NEXT).filter(|_| version == Second)));
            assert_eq!(story.ends(), [&End::Committed]);
            if version == First {
                story.answer(Ask::Init { expected: Some(OURS) }, Reply::Done(Some(NEXT)));
            }
            assert!(story.txn.is_ready() && story.told.contains(&Told::Identity(NEXT)));
        }
    }
}

#[test]
fn a_partition_that_breaks_between_two_transactions_costs_an_epoch() {
    let mut story = Story::ready();
    story.txn.handle_broken(Why::Batch);
    assert!(!story.txn.handle_begin(First));
    story.answer(Ask::Init { expected: Some(OURS) }, Reply::Done(Some(NEXT)));
    assert_eq!(story.told, [Told::Identity(NEXT)]);
    assert!(story.txn.handle_begin(First));
}

#[test]
fn kip_516_only_partitions_of_the_open_transaction_are_its_affair() {
    for (version, outside) in [(Version::First, true), (Version::Second, false)] {
        let mut story = Story::ready();
        assert!(!story.txn.is_outside(7), "no transaction is under way: a new epoch costs nothing but a request");
        assert!(story.txn.handle_begin(version));
        let _ = story.txn.admit(7);
        assert_eq!((story.txn.is_outside(7), story.txn.is_outside(8)), (false, outside), "{version:?}");
        story.txn.handle_end(true);
        assert_eq!((story.txn.is_outside(7), story.txn.is_outside(8)), (false, outside), "{version:?}");
    }
}

#[test]
fn an_epoch_that_was_not_raised_is_asked_for_again_where_it_must_be_new() {
    let mut story = Story::ready();
    story.txn.handle_broken(Why::Batch);
    story.answer(Ask::Init { expected: Some(OURS) }, Reply::Done(Some(OURS)));
    assert!(!story.txn.is_ready(), "the chain is still broken");
    assert_eq!(story.later(), Some(Ask::Init { expected: Some(OURS) }));
    story.reply(Reply::Done(Some(NEXT)));
    assert!(story.txn.is_ready());
}

#[test]
fn a_broker_that_cannot_raise_an_epoch_is_a_reason_to_die_only_where_it_must() {
    for (broken, ready) in [(false, true), (true, false)] {
        let mut story = Story::open(First);
        assert!(!story.txn.admit(1));
        story.answer(Ask::AddPartitions(vec![1]), LOST);
        assert_eq!(story.later(), Some(Ask::AddPartitions(vec![1])));
        story.reply(Reply::Parts(vec![(1, ErrorCode::NONE)]));
        if broken {
            story.txn.handle_broken(Why::Batch);
        }
        story.txn.handle_end(!broken);
        story.answer(Ask::End { commit: !broken }, Reply::Done(None));
        story.answer(Ask::Init { expected: Some(OURS) }, Reply::Unsupported);
        assert_eq!(story.txn.is_ready(), ready);
    }
}

#[test]
fn t8_an_end_waits_for_the_batches_and_a_failure_turns_it_into_an_abort() {
    for version in [First, Second] {
        let mut story = Story::written(version);
        story.txn.handle_end(true);
        assert!(story.txn.poll_request(story.now, false).is_none(), "a batch is on its way");
        story.txn.handle_failed(Why::Batch);
        assert_eq!(story.poll(), Some(Ask::End { commit: false }));
        assert!(story.told.contains(&Told::Aborting(Why::Batch)));
    }
}

#[test]
fn t8_a_transaction_whose_every_batch_failed_is_aborted() {
    let mut story = Story::open(Second);
    assert!(story.txn.admit(1));
    story.txn.handle_failed(Why::Batch);
    story.txn.handle_end(true);
    // Whether the broker took the partition in nobody knows; it can be told to abort all the same.
    story.answer(Ask::End { commit: false }, Reply::Refused(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(story.ends(), [&End::Aborted(Why::Batch)]);
    assert_eq!(story.poll(), Some(Ask::Init { expected: Some(OURS) }));
}

#[test]
fn offsets_that_no_coordinator_takes_in_time_abort() {
    let mut story = Story::written(Second);
    story.txn.handle_offsets(0, "billing".into());
    assert_eq!(story.poll(), Some(Ask::CommitOffsets(0)));
    loop {
        story.reply(Reply::Parts(vec![(0, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)]));
        match story.told.last() {
            Some(Told::Offsets(0, Err(Why::TimedOut(Step::CommitOffsets)))) => break,
            _ => assert_eq!(story.later(), Some(Ask::CommitOffsets(0))),
        }
    }
    story.txn.handle_end(true);
    assert_eq!(story.poll(), Some(Ask::End { commit: false }));
}

#[test]
fn a_step_that_fails_while_another_is_asked_waits_for_its_answer() {
    let mut story = Story::open(First);
    assert!(!story.txn.admit(1));
    assert_eq!(story.poll(), Some(Ask::AddPartitions(vec![1])));
    story.txn.handle_failed(Why::Batch);
    story.txn.handle_end(false);
    assert_eq!(story.poll(), None, "one request at a time");
    story.reply(Reply::Parts(vec![(1, ErrorCode::NONE)]));
    assert_eq!(story.poll(), Some(Ask::End { commit: false }));
}
