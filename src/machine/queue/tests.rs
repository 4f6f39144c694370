//! Stories of one partition. Each is named after the line of the must-not-have list that it forbids.

use super::*;
use crate::machine::test_clock;

const LEADER: BrokerId = BrokerId(1);
const OTHER: BrokerId = BrokerId(2);
const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(100);
const RULES: Rules =
    Rules { idempotent: true, max_in_flight: 5, delivery_timeout: Duration::from_secs(120), retries: u32::MAX };

/// A queue, the clock, and the identity that the story gives it.
struct Story {
    queue: Queue<&'static str>,
    now: Instant,
    producer: ProducerId,
}

impl Story {
    fn new(batches: &[&'static str]) -> Self {
        Self::with(RULES, batches)
    }

    fn with(rules: Rules, batches: &[&'static str]) -> Self {
        let mut story = Self { queue: Queue::new(rules), now: test_clock(), producer: ProducerId { id: 9, epoch: 0 } };
        for batch in batches {
            story.push(batch);
        }
        story
    }

    /// Every batch of these stories has ten records.
    fn push(&mut self, batch: &'static str) -> BatchId {
        self.queue.push(self.now, 10, batch, true)
    }

    fn send(&mut self) -> Option<(&'static str, i16, i32, BatchId)> {
        self.send_to(LEADER, Standing::Ready(self.producer))
    }

    fn send_to(&mut self, leader: BrokerId, standing: Standing) -> Option<(&'static str, i16, i32, BatchId)> {
        let send = self.queue.poll_send(self.now, leader, standing)?;
        let stamp = send.stamp.expect("idempotent batches are stamped");
        Some((*send.batch, stamp.producer.epoch, stamp.sequence, send.id))
    }

    /// Sends the next batch and has it acknowledged.
    fn prove(&mut self) {
        let (.., id) = self.send().expect("a batch to send");
        self.queue.handle_acked(id, 0, -1);
        assert!(matches!(self.done(), Some((_, Outcome::Acked { .. }))));
    }

    fn refuse(&mut self, id: BatchId, code: ErrorCode) -> Verdict {
        let verdict = self.queue.handle_refused(self.now, id, code, WAIT);
        self.now += WAIT;
        verdict
    }

    fn lose(&mut self, id: BatchId, certainty: Certainty) {
        self.queue.handle_lost(self.now, id, certainty, WAIT);
        self.now += WAIT;
    }

    fn done(&mut self) -> Option<(&'static str, Outcome)> {
        self.queue.poll_done().map(|done| (done.batch, done.outcome))
    }

    fn bump(&mut self) {
        assert_eq!(self.queue.poll_broken(), Some(self.producer), "the epoch must end");
        assert_eq!(self.queue.poll_broken(), None, "and is told of once");
        assert!(self.queue.is_drained());
        self.producer.epoch += 1;
    }
}

fn failed(why: Failure, maybe_written: bool) -> Outcome {
    Outcome::Failed { why, maybe_written }
}

#[test]
fn p1_a_second_request_waits_for_the_first_acknowledgement() {
    let mut story = Story::new(&["a", "b", "c"]);
    let (name, _, sequence, a) = story.send().expect("the first may go");
    assert_eq!((name, sequence), ("a", 0));
    assert_eq!(story.send(), None, "the broker does not know this id yet");
    story.queue.handle_acked(a, 0, -1);
    assert_eq!(story.send().map(|sent| sent.2), Some(10));
    assert_eq!(story.send().map(|sent| sent.2), Some(20), "now they are pipelined");
}

#[test]
fn p1_a_lost_connection_closes_the_gate_again() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.lose(b, Certainty::MaybeSent);
    assert_eq!(story.send().map(|sent| sent.0), Some("b"));
    assert_eq!(story.send(), None);
}

#[test]
fn no_more_than_five_are_in_flight() {
    let mut story = Story::new(&["a", "b", "c", "d", "e", "f", "g"]);
    story.prove();
    let sent: Vec<_> = std::iter::from_fn(|| story.send()).map(|sent| sent.0).collect();
    assert_eq!(sent, ["b", "c", "d", "e", "f"]);
}

#[test]
fn p2_only_the_oldest_batch_is_acted_on() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let ((.., b), (.., c)) = (story.send().expect("b"), story.send().expect("c"));
    story.refuse(b, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(story.send(), None, "c is still in flight behind b");
    assert_eq!(story.refuse(c, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), Verdict::Retry);
    assert!(story.queue.poll_broken().is_none(), "c was only refused because b is missing");
    assert_eq!(story.send().map(|sent| (sent.0, sent.2)), Some(("b", 10)), "with the number it had");
}

#[test]
fn p2_an_answer_out_of_turn_completes_nothing() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let ((.., b), (.., c)) = (story.send().expect("b"), story.send().expect("c"));
    story.refuse(b, ErrorCode::NOT_ENOUGH_REPLICAS);
    story.queue.handle_acked(c, 99, -1);
    assert_eq!(story.done(), None);
    let (name, _, sequence, b) = story.send().expect("b again");
    assert_eq!((name, sequence), ("b", 10));
    story.queue.handle_acked(b, 10, -1);
    let acked = |base_offset| Outcome::Acked { base_offset, log_append_time: -1 };
    assert_eq!(story.done(), Some(("b", acked(10))));
    let (name, _, sequence, c) = story.send().expect("c is asked after in its turn");
    assert_eq!((name, sequence), ("c", 20), "with the number it had");
    story.refuse(c, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert!(matches!(story.done(), Some(("c", Outcome::Acked { .. }))));
    assert_eq!((story.done(), story.send()), (None, None), "once");
}

#[test]
fn p3_nothing_goes_to_the_new_leader_while_the_old_one_is_open() {
    let mut story = Story::new(&["a", "b"]);
    story.prove();
    story.push("c");
    let (.., b) = story.send().expect("b");
    assert_eq!(story.send_to(OTHER, Standing::Ready(story.producer)), None);
    story.lose(b, Certainty::MaybeSent);
    assert_eq!(story.send_to(OTHER, Standing::Ready(story.producer)).map(|sent| sent.0), Some("b"));
}

#[test]
fn p4_a_batch_that_may_be_written_keeps_its_number() {
    for cause in [None, Some(ErrorCode::REQUEST_TIMED_OUT), Some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)] {
        let mut story = Story::new(&["a", "b"]);
        let (_, epoch, sequence, a) = story.send().expect("a");
        match cause {
            None => story.lose(a, Certainty::MaybeSent),
            Some(code) => assert_eq!(story.refuse(a, code), Verdict::Unsure),
        }
        assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("a", epoch, sequence)), "{cause:?}");
    }
}

#[test]
fn p4_what_may_be_written_fails_only_with_the_epoch() {
    let mut story = Story::new(&["a", "b"]);
    let (.., a) = story.send().expect("a");
    story.lose(a, Certainty::MaybeSent);
    story.now += RULES.delivery_timeout;
    story.queue.handle_timeout(story.now);
    assert_eq!(story.done(), Some(("a", failed(Failure::TimedOut { last: None }, true))));
    assert!(story.queue.poll_broken().is_some());
}

#[test]
fn p5_only_the_oldest_runs_out_of_time() {
    let mut story = Story::new(&["a", "b"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.now += SECOND;
    story.push("c");
    story.now += RULES.delivery_timeout;
    story.queue.handle_timeout(story.now);
    assert_eq!(story.done(), None, "b is on the wire, so c behind it may not fail");
    story.lose(b, Certainty::MaybeSent);
    story.queue.handle_timeout(story.now);
    assert_eq!(story.done(), Some(("b", failed(Failure::TimedOut { last: None }, true))));
    assert_eq!(story.done(), Some(("c", failed(Failure::TimedOut { last: None }, false))));
}

#[test]
fn p6_a_new_epoch_resets_the_sequence() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    assert_eq!(story.refuse(b, ErrorCode::UNKNOWN_PRODUCER_ID), Verdict::Broken);
    story.bump();
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("b", 1, 0)));
    assert_eq!(story.send(), None, "the new epoch has to be proven again");
}

#[test]
fn p6_an_untouched_partition_starts_the_new_epoch_at_zero_too() {
    let mut story = Story::new(&["a"]);
    story.prove();
    story.producer.epoch = 1;
    story.push("b");
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("b", 1, 0)));
}

#[test]
fn p6_an_unsettled_batch_is_finished_under_its_own_epoch_before_the_new_one_begins() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.lose(b, Certainty::MaybeSent);
    // Another partition has ended the epoch.
    story.producer.epoch = 1;
    let (name, epoch, sequence, b) = story.send().expect("b again");
    assert_eq!((name, epoch, sequence), ("b", 0, 10), "its fate is asked with its own stamp");
    assert_eq!(story.send(), None, "c belongs to the new epoch");
    story.queue.handle_acked(b, 10, -1);
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("c", 1, 0)));
}

#[test]
fn p6_nothing_of_the_new_epoch_joins_what_is_in_flight_of_the_old_one() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    story.prove();
    let ((.., b), (.., c)) = (story.send().expect("b"), story.send().expect("c"));
    story.producer.epoch = 1;
    let standing = Standing::Ready(story.producer);
    assert!(story.send().is_none() && !story.queue.could_send(story.now, LEADER, standing));
    story.queue.handle_acked(b, 10, -1);
    story.queue.handle_acked(c, 20, -1);
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("d", 1, 0)));
}

#[test]
fn p6_an_epoch_that_is_over_stamps_nothing_new() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.refuse(b, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(story.send(), None, "whoever forgot to ask for another identity");
    assert_eq!(story.send_to(LEADER, Standing::Wait), None);
    story.bump();
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("b", 1, 0)));
}

/// The coordinator is asked for a new id, and meanwhile the fate of a batch is found out.
#[test]
fn p6_a_batch_that_may_be_written_waits_for_no_identity() {
    let mut story = Story::new(&["a", "b"]);
    let (.., a) = story.send().expect("a");
    story.lose(a, Certainty::MaybeSent);
    let again = story.send_to(LEADER, Standing::Wait);
    assert_eq!(again.map(|sent| (sent.0, sent.1, sent.2)), Some(("a", 0, 0)));
    assert_eq!(story.send_to(LEADER, Standing::Wait), None);
}

#[test]
fn p6_an_unwritten_batch_before_one_that_may_be_written_is_asked_after_too() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    story.prove();
    let [b, c, d] = [story.send(), story.send(), story.send()].map(|sent| sent.expect("in flight").3);
    story.refuse(c, ErrorCode::NOT_ENOUGH_REPLICAS);
    story.lose(d, Certainty::MaybeSent);
    story.queue.handle_acked(b, 10, -1);
    story.producer.epoch = 1;
    let (name, epoch, sequence, _) = story.send().expect("c, or nobody would ever learn of d");
    assert_eq!((name, epoch, sequence), ("c", 0, 20));
}

#[test]
fn kip_516_a_topic_made_again_begins_with_a_new_epoch() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.queue.handle_recreated(false);
    assert_eq!(story.queue.poll_broken(), Some(story.producer));
    story.producer.epoch = 1;
    assert_eq!(story.send(), None, "the request to the old topic is waited for");
    story.refuse(b, ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("b", 1, 0)));
    assert_eq!(story.send(), None, "and the new log has acknowledged nothing yet");
}

/// In the first version of transactions an open one keeps its epoch.
#[test]
fn kip_516_a_topic_made_again_outside_the_open_transaction_goes_on_with_its_numbers() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.prove();
    story.queue.handle_recreated(true);
    assert_eq!(story.queue.poll_broken(), None);
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("b", 0, 10)));
    assert_eq!(story.send(), None, "and the new log has acknowledged nothing yet");
}

/// What a broker says when it knows nothing of the producer, and where its log begins.
#[test]
fn kip_360_a_forgotten_producer_is_told_from_lost_records() {
    let unknown = ErrorCode::UNKNOWN_PRODUCER_ID;
    let failed = Some(("b", failed(Failure::Refused(unknown), true)));
    // The acknowledged batch is at 100 to 109.
    let table = [
        ("aged out, never written", Certainty::NotSent, 110, None, ("b", 1, 0)),
        ("aged out, perhaps with it", Certainty::MaybeSent, 110, None, ("b", 1, 0)),
        ("not aged out, never written", Certainty::NotSent, 109, None, ("b", 1, 0)),
        ("not aged out, perhaps written", Certainty::MaybeSent, 109, failed, ("c", 1, 0)),
        ("never written, nobody says", Certainty::NotSent, -1, None, ("b", 1, 0)),
        ("perhaps written, nobody says", Certainty::MaybeSent, -1, None, ("b", 0, 10)),
    ];
    for (name, certainty, log_start_offset, expected, next) in table {
        let mut story = Story::new(&["a", "b", "c"]);
        let (.., a) = story.send().expect("a");
        story.queue.handle_acked(a, 100, -1);
        story.done();
        let (.., b) = story.send().expect("b");
        story.lose(b, certainty);
        let (.., b) = story.send().expect("b again");
        story.queue.handle_refused(story.now, b, Refusal { code: unknown, log_start_offset }, WAIT);
        story.now += WAIT;
        assert_eq!(story.done(), expected, "{name}");
        story.producer.epoch += i16::from(story.queue.poll_broken().is_some());
        assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(next), "{name}");
    }
}

#[test]
fn p7_the_last_number_is_taken_back_when_its_batch_is_refused() {
    let mut story = Story::new(&["a"]);
    story.prove();
    story.push("huge");
    let (.., huge) = story.send().expect("huge");
    assert_eq!(story.refuse(huge, ErrorCode::INVALID_RECORD), Verdict::Fail);
    assert_eq!(story.done(), Some(("huge", failed(Failure::Refused(ErrorCode::INVALID_RECORD), false))));
    assert!(story.queue.poll_broken().is_none());
    story.push("c");
    assert_eq!(story.send().map(|sent| sent.2), Some(10), "no gap");
}

#[test]
fn p7_a_refused_batch_with_younger_ones_on_the_wire_ends_the_epoch() {
    let mut story = Story::new(&["a", "huge", "c"]);
    story.prove();
    let ((.., huge), (.., c)) = (story.send().expect("huge"), story.send().expect("c"));
    story.refuse(huge, ErrorCode::INVALID_RECORD);
    assert!(matches!(story.done(), Some(("huge", _))));
    story.refuse(c, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    story.bump();
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("c", 1, 0)));
}

/// Splits the batch that waits for it into two of six and four records.
fn split(story: &mut Story, id: BatchId) {
    story.queue.handle_split(id, |_| vec![(6, "first"), (4, "second")]);
}

#[test]
fn kip_126_halves_take_the_place_and_the_numbers_of_a_batch_that_is_too_large() {
    let mut story = Story::new(&["a", "huge", "c"]);
    story.prove();
    let ((.., huge), (.., c)) = (story.send().expect("huge"), story.send().expect("c"));
    assert_eq!(story.refuse(huge, ErrorCode::MESSAGE_TOO_LARGE), Verdict::TooLarge);
    assert_eq!(story.send(), None, "what is behind it waits");
    split(&mut story, huge);
    assert_eq!(story.send(), None, "what was in flight behind it is waited for");
    assert_eq!(story.refuse(c, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), Verdict::Retry);
    let sent: Vec<_> = std::iter::from_fn(|| story.send()).map(|sent| (sent.0, sent.1, sent.2)).collect();
    assert_eq!(sent, [("first", 0, 10), ("second", 0, 16), ("c", 0, 20)]);
    assert!(story.queue.poll_broken().is_none(), "the chain of numbers never broke");
}

#[test]
fn kip_126_halves_of_what_may_be_written_whole_are_never_written_twice() {
    let mut story = Story::new(&["a", "huge"]);
    story.prove();
    let (.., huge) = story.send().expect("huge");
    story.lose(huge, Certainty::MaybeSent);
    let (.., huge) = story.send().expect("huge again");
    assert_eq!(story.refuse(huge, ErrorCode::MESSAGE_TOO_LARGE), Verdict::TooLarge);
    split(&mut story, huge);
    let (.., first) = story.send().expect("first");
    // The leader has its numbers already, in the whole batch.
    story.refuse(first, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let out_of_order = Failure::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(story.done(), Some(("first", failed(out_of_order, true))));
    // The epoch ends, but not before the fate of the other half is known.
    assert!(story.queue.poll_broken().is_some() && !story.queue.is_drained());
    story.producer.epoch = 1;
    let (name, epoch, sequence, second) = story.send().expect("second");
    assert_eq!((name, epoch, sequence), ("second", 0, 16));
    story.refuse(second, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(story.done(), Some(("second", failed(out_of_order, true))));
    assert!(story.queue.is_drained() && story.queue.is_empty());
}

#[test]
fn kip_126_an_epoch_that_ends_during_a_split_renumbers_the_halves() {
    let mut story = Story::new(&["a", "huge", "c"]);
    story.prove();
    let (.., huge) = story.send().expect("huge");
    story.refuse(huge, ErrorCode::MESSAGE_TOO_LARGE);
    assert!(story.queue.is_drained(), "another partition's trouble need not wait for the split");
    story.producer.epoch += 1;
    split(&mut story, huge);
    let (name, epoch, sequence, first) = story.send().expect("first");
    assert_eq!((name, epoch, sequence), ("first", 1, 0));
    story.queue.handle_acked(first, 10, -1);
    let sent: Vec<_> = std::iter::from_fn(|| story.send()).map(|sent| (sent.0, sent.1, sent.2)).collect();
    assert_eq!(sent, [("second", 1, 6), ("c", 1, 10)]);
}

#[test]
fn kip_126_halves_go_to_the_new_leader_if_the_old_one_has_gone() {
    let mut story = Story::new(&["a", "huge"]);
    story.prove();
    let (.., huge) = story.send().expect("huge");
    story.refuse(huge, ErrorCode::MESSAGE_TOO_LARGE);
    split(&mut story, huge);
    let standing = Standing::Ready(story.producer);
    assert_eq!(story.send_to(OTHER, standing).map(|sent| (sent.0, sent.2)), Some(("first", 10)));
    assert_eq!(story.send_to(OTHER, standing), None, "the new leader has to acknowledge one first (P1)");
}

#[test]
fn kip_126_a_batch_of_one_record_fails() {
    let mut story = Story::new(&["a"]);
    story.prove();
    story.queue.push(story.now, 1, "one", true);
    let (.., one) = story.send().expect("one");
    assert_eq!(story.refuse(one, ErrorCode::MESSAGE_TOO_LARGE), Verdict::Fail);
    assert!(matches!(story.done(), Some(("one", Outcome::Failed { maybe_written: false, .. }))));
}

#[test]
fn kip_126_time_runs_out_while_a_batch_is_split() {
    let mut story = Story::new(&["a", "huge", "c"]);
    story.prove();
    let (.., huge) = story.send().expect("huge");
    story.refuse(huge, ErrorCode::MESSAGE_TOO_LARGE);
    story.now += RULES.delivery_timeout;
    story.queue.handle_timeout(story.now);
    assert!(matches!(story.done(), Some(("huge", Outcome::Failed { maybe_written: false, .. }))));
    assert!(matches!(story.done(), Some(("c", Outcome::Failed { maybe_written: false, .. }))));
    split(&mut story, huge);
    story.queue.handle_unsplit(huge, ErrorCode::MESSAGE_TOO_LARGE);
    assert!(story.queue.is_empty() && story.done().is_none(), "its halves come too late");
}

#[test]
fn p8_a_batch_across_the_end_of_the_numbers_is_followed_by_its_rest() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    story.prove();
    story.queue.next_sequence = i32::MAX - 3;
    let sent: Vec<_> = std::iter::from_fn(|| story.send()).collect();
    assert_eq!(sent.iter().map(|sent| sent.2).collect::<Vec<_>>(), [i32::MAX - 3, 6, 16]);
    // A refusal for good takes the numbers back, across the end too.
    let ids: Vec<_> = sent.iter().map(|sent| sent.3).collect();
    story.queue.handle_acked(ids[0], 10, -1);
    story.queue.handle_acked(ids[1], 20, -1);
    assert_eq!(story.refuse(ids[2], ErrorCode::INVALID_RECORD), Verdict::Fail);
    story.push("e");
    assert_eq!(story.send().map(|sent| sent.2), Some(16));
}

#[test]
fn p8_sequence_numbers_wrap_to_zero() {
    for (sequence, records, next) in [
        (0, 10, 10),
        (i32::MAX - 9, 10, 0),
        (i32::MAX, 1, 0),
        (i32::MAX - 4, 10, 5),
        (i32::MAX, i32::MAX, i32::MAX - 1),
    ] {
        assert_eq!(advance(sequence, records), next, "{sequence} + {records}");
    }
}

#[test]
fn a_duplicate_is_an_acknowledgement_without_an_offset() {
    let mut story = Story::new(&["a"]);
    let (.., a) = story.send().expect("a");
    story.lose(a, Certainty::MaybeSent);
    let (.., a) = story.send().expect("a again");
    assert_eq!(story.refuse(a, ErrorCode::DUPLICATE_SEQUENCE_NUMBER), Verdict::AlreadyWritten);
    assert_eq!(story.done(), Some(("a", Outcome::Acked { base_offset: -1, log_append_time: -1 })));
}

#[test]
fn a_broken_chain_after_an_uncertain_attempt_is_not_written_twice() {
    let mut story = Story::new(&["a", "b"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.lose(b, Certainty::MaybeSent);
    let (.., b) = story.send().expect("b again");
    story.refuse(b, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let refused = Failure::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(story.done(), Some(("b", failed(refused, true))), "whether it stands there nobody can tell");
    assert!(story.queue.poll_broken().is_some());
}

#[test]
fn what_follows_an_unwritten_batch_is_unwritten_too() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    story.prove();
    let ids = [story.send(), story.send(), story.send()].map(|sent| sent.expect("in flight").3);
    story.refuse(ids[0], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    story.lose(ids[1], Certainty::MaybeSent);
    story.lose(ids[2], Certainty::MaybeSent);
    story.bump();
    assert_eq!(story.send().map(|sent| (sent.0, sent.1, sent.2)), Some(("b", 1, 0)));
}

#[test]
fn a_retry_waits_out_its_backoff_and_the_timer_says_so() {
    let mut story = Story::new(&["a"]);
    let (.., a) = story.send().expect("a");
    story.queue.handle_lost(story.now, a, Certainty::NotSent, WAIT);
    assert_eq!(story.send(), None);
    assert_eq!(story.queue.poll_timeout(), Some(story.now + WAIT));
    story.now += WAIT;
    story.queue.handle_timeout(story.now);
    assert_eq!(story.queue.poll_timeout(), Some(story.now - WAIT + RULES.delivery_timeout), "a timer fires once");
    assert_eq!(story.send().map(|sent| sent.0), Some("a"));
}

#[test]
fn tries_are_counted() {
    let mut story = Story::with(Rules { retries: 1, ..RULES }, &["a"]);
    for _ in 0..2 {
        let (.., a) = story.send().expect("a");
        story.refuse(a, ErrorCode::NOT_ENOUGH_REPLICAS);
    }
    let last = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(story.done(), Some(("a", failed(Failure::TriedTooOften { last }, false))));
}

#[test]
fn a_batch_being_compressed_holds_back_those_behind_it() {
    let mut story = Story::new(&[]);
    let slow = story.queue.push(story.now, 10, "slow", false);
    story.push("quick");
    assert_eq!(story.send(), None);
    *story.queue.handle_sealed(slow).expect("it is still here") = "compressed";
    assert_eq!(story.send().map(|sent| (sent.0, sent.2)), Some(("compressed", 0)));
}

#[test]
fn without_idempotence_nothing_is_stamped_and_the_gate_is_open() {
    let mut queue = Queue::new(Rules { idempotent: false, max_in_flight: 2, ..RULES });
    let now = test_clock();
    for batch in ["a", "b", "c"] {
        queue.push(now, 1, batch, true);
    }
    let first = queue.poll_send(now, LEADER, Standing::Wait).map(|send| (*send.batch, send.stamp));
    assert_eq!(first, Some(("a", None)));
    assert!(queue.poll_send(now, LEADER, Standing::Wait).is_some());
    assert!(queue.poll_send(now, LEADER, Standing::Wait).is_none(), "two are in flight");
}

#[test]
fn a_dead_producer_fails_all_in_order() {
    let mut story = Story::new(&["a", "b"]);
    story.send().expect("a");
    story.queue.handle_dead(Failure::Refused(ErrorCode::PRODUCER_FENCED));
    let refused = Failure::Refused(ErrorCode::PRODUCER_FENCED);
    assert_eq!(story.done(), Some(("a", failed(refused, true))), "it was on the wire");
    assert_eq!(story.done(), Some(("b", failed(refused, false))));
}

/// Sent again, an acknowledged batch would stand in the log twice.
#[test]
fn without_idempotence_an_acknowledgement_out_of_turn_counts() {
    let mut queue = Queue::new(Rules { idempotent: false, ..RULES });
    let now = test_clock();
    for batch in ["a", "b"] {
        queue.push(now, 1, batch, true);
    }
    let mut send = || queue.poll_send(now, LEADER, Standing::Wait).map(|send| send.id).expect("the gate is open");
    let (a, b) = (send(), send());
    queue.handle_refused(now, a, ErrorCode::NOT_ENOUGH_REPLICAS, Duration::ZERO);
    queue.handle_acked(b, 7, -1);
    let done = queue.poll_done().map(|done| (done.batch, done.outcome));
    assert_eq!(done, Some(("b", Outcome::Acked { base_offset: 7, log_append_time: -1 })));
    let again = queue.poll_send(now, LEADER, Standing::Wait).map(|send| (*send.batch, send.id)).expect("a again");
    assert_eq!(again, ("a", a));
    assert_eq!(queue.poll_send(now, LEADER, Standing::Wait), None);
}

/// The old machine's late answers are not the new one's: what is still in flight there comes first.
#[test]
fn n11_what_the_machine_before_acknowledges_proves_nothing_of_the_next() {
    for idempotent in [true, false] {
        let mut queue = Queue::new(Rules { idempotent, ..RULES });
        let now = test_clock();
        for batch in ["a", "b", "c", "d"] {
            queue.push(now, 1, batch, true);
        }
        let standing = if idempotent { Standing::Ready(ProducerId { id: 1, epoch: 0 }) } else { Standing::Wait };
        let send = |queue: &mut Queue<_>| queue.poll_send(now, LEADER, standing).map(|send| (*send.batch, send.id));
        let (_, a) = send(&mut queue).expect("a");
        queue.handle_acked(a, 0, -1);
        let ((_, b), (_, c)) = (send(&mut queue).expect("b"), send(&mut queue).expect("c"));
        queue.handle_moved();
        queue.handle_acked(b, 1, -1);
        assert_eq!(send(&mut queue), None, "c is with the old machine");
        queue.handle_acked(c, 2, -1);
        assert_eq!(send(&mut queue).map(|(batch, _)| batch), Some("d"));
    }
}

#[test]
fn p1_another_log_behind_the_same_leader_has_to_be_proven_again() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    story.prove();
    let (.., b) = story.send().expect("b");
    story.queue.handle_moved();
    assert_eq!(story.send(), None, "the new log has not acknowledged anything yet");
    story.refuse(b, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let (name, _, sequence, b) = story.send().expect("b again");
    assert_eq!((name, sequence), ("b", 10), "a log that does not know the producer accepts any first number");
    assert_eq!(story.send(), None);
    story.queue.handle_acked(b, 0, -1);
    assert_eq!([story.send(), story.send()].map(|sent| sent.map(|sent| sent.0)), [Some("c"), Some("d")]);
}
