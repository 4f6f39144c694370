//! Stories in virtual time. The batches are numbers; the tests play both broker and user.

use std::{ops::Range, time::Duration};

use crate::wire::{ErrorCode, Uuid};

use super::*;

mod random;

const ONE: BrokerId = BrokerId(1);
const TWO: BrokerId = BrokerId(2);
const MIB: usize = 1 << 20;

struct World {
    now: Instant,
    fetcher: Fetcher<u32>,
}

impl World {
    fn new(config: FetchConfig) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the zero of virtual time; nothing depends on its value")]
        Self { now: Instant::now(), fetcher: Fetcher::new(config) }
    }

    /// Partitions `0..count` from offset 100 on, led by broker 1 at epoch 5.
    fn reading(count: i32, config: FetchConfig) -> Self {
        let mut world = Self::new(config);
        world.assign((0..count).map(|partition| (name(partition), StartFrom::Offset(100))));
        world.led_by(ONE, 5);
        world
    }

    fn assign(&mut self, wanted: impl IntoIterator<Item = (TopicPartition, StartFrom)>) {
        self.fetcher.assign(self.now, wanted.into_iter().collect());
    }

    fn led_by(&mut self, broker: BrokerId, epoch: i32) {
        self.topic_led_by(1, broker, epoch);
    }

    fn topic_led_by(&mut self, id: u128, broker: BrokerId, epoch: i32) {
        let leader = Leader { broker: Some(broker), epoch, topic_id: Uuid(id) };
        self.fetcher.handle_metadata(self.now, |_| Some(leader.clone()));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.fetcher.handle_timeout(self.now);
    }

    fn plan(&mut self) -> FetchPlan {
        self.fetcher.poll_fetch(self.now).expect("a fetch is due")
    }

    fn idle(&mut self) -> bool {
        self.fetcher.poll_fetch(self.now).is_none()
    }

    fn reply(&mut self, plan: &FetchPlan, replies: Vec<FetchReply<u32>>) {
        self.fetcher.handle_fetch_response(self.now, plan.ticket, replies);
    }

    fn fails_with(&mut self, plan: &FetchPlan, code: ErrorCode) {
        self.reply(plan, plan.parts.iter().map(|part| error(part.slot, code)).collect());
    }

    fn locate(&mut self, offset: Offset) -> LookupPlan {
        let plan = self.fetcher.poll_lookup(self.now).expect("a lookup is due");
        let replies = plan.parts.iter().map(|part| OffsetReply { slot: part.slot, error: ErrorCode::NONE, offset });
        self.fetcher.handle_offsets(self.now, &plan, replies.collect());
        plan
    }

    /// Takes and delivers the next batch; its partition and offsets.
    fn deliver(&mut self) -> Option<(i32, Range<Offset>)> {
        let ready = self.fetcher.poll_ready()?;
        assert!(self.fetcher.handle_delivered(ready.cursor, ready.piece.next_offset));
        Some((ready.name.partition, ready.piece.base_offset..ready.piece.next_offset))
    }

    fn position(&self, partition: i32) -> Option<Offset> {
        self.fetcher.position(&name(partition))
    }
}

fn config() -> FetchConfig {
    FetchConfig {
        max_bytes: 8 * MIB,
        partition_max_bytes: MIB,
        budget: 32 * MIB,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
        reset: OffsetReset::Latest,
        patience: Duration::from_secs(60),
        follower_age: Duration::from_secs(300),
    }
}

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn piece(offsets: Range<Offset>, bytes: usize) -> Piece<u32> {
    Piece { base_offset: offsets.start, next_offset: offsets.end, bytes, batch: 0 }
}

fn data(slot: usize, pieces: Vec<Piece<u32>>) -> FetchReply<u32> {
    let bytes = pieces.iter().map(|piece| piece.bytes).sum();
    let watermarks = Watermarks { high: 1000, stable: 1000, start: 0 };
    FetchReply { slot, error: ErrorCode::NONE, watermarks, leader: None, follower: None, pieces, bytes }
}

fn error(slot: usize, error: ErrorCode) -> FetchReply<u32> {
    FetchReply { error, ..data(slot, Vec::new()) }
}

/// Four partitions, each led by a broker of its own, and a budget of so many bytes.
fn four_brokers(budget: usize) -> World {
    let mut world = World::new(FetchConfig { budget, ..config() });
    world.assign((0..4).map(|partition| (name(partition), StartFrom::Offset(100))));
    let leader =
        |name: &TopicPartition| Some(Leader { broker: Some(BrokerId(name.partition)), epoch: 5, topic_id: Uuid(1) });
    world.fetcher.handle_metadata(world.now, leader);
    world
}

/// Answers with nothing, as a long poll does; returns the brokers that were asked.
fn answer(world: &mut World, plans: &[FetchPlan]) -> Vec<i32> {
    for plan in plans {
        world.reply(plan, plan.parts.iter().map(|part| data(part.slot, Vec::new())).collect());
    }
    plans.iter().map(|plan| plan.broker.0).collect()
}

/// Found by the simulation (seed 4): the long polls of three brokers took the whole budget, each before the fourth
/// broker was looked at, and that one was never fetched from.
#[test]
fn every_broker_has_its_share_of_the_budget() {
    let mut world = four_brokers(24 * MIB);
    for _ in 0..3 {
        let plans: Vec<_> = std::iter::from_fn(|| world.fetcher.poll_fetch(world.now)).collect();
        assert!(plans.iter().map(|plan| plan.max_bytes).sum::<usize>() <= 24 * MIB);
        let mut asked = answer(&mut world, &plans);
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2, 3]);
    }
}

#[test]
fn where_there_is_room_for_one_fetch_brokers_take_turns() {
    let mut world = four_brokers(MIB / 2);
    let mut asked = Vec::new();
    for _ in 0..8 {
        let plan = world.plan();
        assert!(world.idle(), "there is room for one");
        asked.extend(answer(&mut world, &[plan]));
    }
    asked[..4].sort_unstable();
    asked[4..].sort_unstable();
    assert_eq!(asked, [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn one_fetch_per_broker_and_the_next_as_soon_as_the_reply_is_read() {
    let mut world = World::reading(2, config());
    let plan = world.plan();
    assert_eq!(
        plan.parts.iter().map(|part| (part.offset, part.leader_epoch)).collect::<Vec<_>>(),
        [(100, 5), (100, 5)]
    );
    assert!(world.idle(), "one is in flight");
    world.reply(&plan, vec![data(0, vec![piece(100..110, MIB)]), data(1, vec![piece(100..120, MIB)])]);
    let next = world.plan();
    assert_eq!(next.parts.iter().map(|part| part.offset).collect::<Vec<_>>(), [110, 120], "nothing was delivered yet");
    assert_eq!((world.position(0), world.position(1)), (Some(100), Some(100)));
    assert_eq!(world.deliver(), Some((0, 100..110)));
    assert_eq!((world.position(0), world.position(1)), (Some(110), Some(100)));
}

#[test]
fn no_fetch_without_room_and_again_when_there_is() {
    let mut world = World::reading(1, FetchConfig { max_bytes: 4 * MIB, budget: 8 * MIB, ..config() });
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 3 * MIB), piece(110..120, 3 * MIB)])]);
    assert!(world.idle(), "2 MiB of room are not a share of 4");
    assert!(!world.fetcher.has_room_again());
    let ready = world.fetcher.poll_ready().unwrap();
    world.fetcher.handle_decoded(ready.cursor, 9 * MIB);
    assert_eq!(world.fetcher.buffered, 12 * MIB, "decompressed bytes count");
    world.fetcher.handle_delivered(ready.cursor, 110);
    assert!(world.fetcher.has_room_again());
    assert!(!world.fetcher.has_room_again(), "told once");
    assert_eq!(world.plan().max_bytes, 4 * MIB, "5 are free");
}

#[test]
fn c1_reply_of_an_old_seek_is_dropped() {
    let mut world = World::reading(2, config());
    let plan = world.plan();
    world.fetcher.seek(world.now, &name(0), StartFrom::Offset(7)).unwrap();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9)]), data(1, vec![piece(100..110, 9)])]);
    assert_eq!(world.deliver(), Some((1, 100..110)));
    assert_eq!(world.deliver(), None);
    assert_eq!((world.position(0), world.position(1)), (Some(7), Some(110)));
    assert_eq!(world.plan().parts[0].offset, 7);
}

#[test]
fn c1_what_was_buffered_or_decoded_before_a_seek_is_not_delivered() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9), piece(110..120, 9)])]);
    let ready = world.fetcher.poll_ready().unwrap();
    world.fetcher.seek(world.now, &name(0), StartFrom::Offset(50)).unwrap();
    assert!(!world.fetcher.handle_delivered(ready.cursor, 110));
    assert_eq!((world.deliver(), world.position(0)), (None, Some(50)));
    assert_eq!(world.fetcher.buffered, 0);
}

#[test]
fn c1_reply_of_an_old_assignment_is_dropped() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.assign([]);
    world.assign([(name(3), StartFrom::Offset(5))]);
    world.led_by(ONE, 5);
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9)])]);
    assert_eq!((world.deliver(), world.position(3)), (None, Some(5)));
}

#[test]
fn c1_revoking_one_partition_keeps_what_the_others_have_fetched() {
    let mut world = World::reading(2, config());
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9)]), data(1, vec![piece(100..120, 9)])]);
    world.assign([(name(1), StartFrom::Beginning)]);
    assert_eq!(world.deliver(), Some((1, 100..120)));
    assert_eq!((world.deliver(), world.position(1), world.fetcher.buffered), (None, Some(120), 0));
}

#[test]
fn c2_position_moves_only_by_delivery_and_passes_what_holds_nothing() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    // A data batch, then a control batch and a batch whose tail compaction has emptied, up to 130.
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9), piece(110..111, 9), piece(115..130, 9)])]);
    assert_eq!(world.position(0), Some(100));
    for expected in [110, 111, 130] {
        world.deliver();
        assert_eq!(world.position(0), Some(expected));
    }
    let plan = world.plan();
    assert_eq!(plan.parts[0].offset, 130);
    world.reply(&plan, vec![data(0, vec![])]);
    assert_eq!(world.position(0), Some(130), "an empty reply moves nothing");
    let plan = world.plan();
    world.fails_with(&plan, ErrorCode::UNKNOWN_SERVER_ERROR);
    assert_eq!(world.position(0), Some(130), "nor does an error");
}

/// Metadata without an epoch (−1) comes from brokers that keep none, and from those that stand in for Kafka.
#[test]
fn c3_no_epoch_is_not_an_old_one_and_the_leader_is_followed_without() {
    for known in [-1, 5] {
        let mut world = World::new(config());
        world.assign([(name(0), StartFrom::Offset(100))]);
        world.led_by(ONE, known);
        let told = |plan: FetchPlan| (plan.broker, plan.parts[0].offset, plan.parts[0].leader_epoch);
        assert_eq!(told(world.plan()), (ONE, 100, known));
        world.led_by(TWO, -1);
        assert_eq!(told(world.plan()), (TWO, 100, -1), "the epoch of another leader is not this one's");
        world.led_by(BrokerId(3), 6);
        assert_eq!(told(world.plan()), (BrokerId(3), 100, 6));
    }
}

#[test]
fn c4_out_of_range_of_a_follower_goes_back_to_the_leader() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.reply(&plan, vec![FetchReply { follower: Some(TWO), ..data(0, vec![]) }]);
    let plan = world.plan();
    assert_eq!((plan.broker, plan.parts[0].offset), (TWO, 100));
    world.fails_with(&plan, ErrorCode::OFFSET_OUT_OF_RANGE);
    let plan = world.plan();
    assert_eq!((plan.broker, plan.parts[0].offset), (ONE, 100), "no reset, and no pause either");
    assert!(world.fetcher.poll_lookup(world.now).is_none());
}

#[test]
fn c4_out_of_range_of_the_leader_asks_the_reset_policy() {
    for (reset, asks) in [(OffsetReset::Earliest, Some(-2)), (OffsetReset::Latest, Some(-1)), (OffsetReset::None, None)]
    {
        let mut world = World::reading(1, FetchConfig { reset, ..config() });
        let plan = world.plan();
        world.fails_with(&plan, ErrorCode::OFFSET_OUT_OF_RANGE);
        let Some(timestamp) = asks else {
            let error = world.fetcher.poll_error().expect("told");
            assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
            assert_eq!(world.position(0), Some(100), "a seek may still tell where it stood");
            assert!(world.idle());
            continue;
        };
        assert_eq!(world.locate(40).parts[0].timestamp, timestamp, "{reset:?}");
        assert_eq!((world.position(0), world.plan().parts[0].offset), (Some(40), 40));
    }
}

#[test]
fn c4_a_reset_backwards_delivers_first_what_was_fetched_before() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9)])]);
    let plan = world.plan();
    world.fails_with(&plan, ErrorCode::OFFSET_OUT_OF_RANGE);
    world.locate(20);
    assert_eq!(world.position(0), Some(100));
    assert_eq!((world.deliver(), world.position(0)), (Some((0, 100..110)), Some(20)));
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(20..30, 9)])]);
    assert_eq!(world.fetcher.poll_ready().map(|ready| ready.from), Some(20), "the filter of C13 follows the reset");
}

#[test]
fn c5_a_follower_grown_old_changes_the_broker_and_not_the_offset() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.reply(&plan, vec![FetchReply { follower: Some(TWO), ..data(0, vec![]) }]);
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..140, 9)])]);
    world.pass(Duration::from_secs(300));
    let plan = world.plan();
    assert_eq!((plan.broker, plan.parts[0].offset), (ONE, 140));
}

#[test]
fn c6_a_leader_move_keeps_the_position_and_voids_the_old_reply() {
    let mut world = World::reading(1, config());
    let old = world.plan();
    world.led_by(TWO, 6);
    let new = world.plan();
    assert_eq!((new.broker, new.parts[0].offset, new.parts[0].leader_epoch), (TWO, 100, 6));
    world.reply(&old, vec![data(0, vec![piece(100..110, 9)])]);
    assert_eq!((world.deliver(), world.position(0)), (None, Some(100)));
    world.reply(&new, vec![data(0, vec![piece(100..110, 9)])]);
    assert_eq!(world.deliver(), Some((0, 100..110)));
}

#[test]
fn c6_an_older_leader_epoch_is_not_believed() {
    let mut world = World::reading(1, config());
    world.led_by(TWO, 4);
    let plan = world.plan();
    assert_eq!((plan.broker, plan.parts[0].leader_epoch), (ONE, 5));
}

#[test]
fn c6_errors_of_leadership_ask_for_metadata_pause_and_keep_the_position() {
    use ErrorCode as Code;
    let codes = [
        Code::NOT_LEADER_OR_FOLLOWER,
        Code::FENCED_LEADER_EPOCH,
        Code::UNKNOWN_LEADER_EPOCH,
        Code::UNKNOWN_TOPIC_OR_PARTITION,
        Code::UNKNOWN_TOPIC_ID,
    ];
    for code in codes {
        let mut world = World::reading(1, config());
        let plan = world.plan();
        world.fails_with(&plan, code);
        assert_eq!(world.fetcher.poll_refresh(world.now).as_deref(), Some("orders"), "{code:?}");
        assert_eq!(world.fetcher.poll_refresh(world.now), None, "{code:?}: once");
        assert!(world.idle(), "{code:?}");
        assert_eq!((world.fetcher.poll_error().is_none(), world.position(0)), (true, Some(100)), "{code:?}");
        assert_eq!(world.fetcher.poll_timeout(), Some(world.now + Duration::from_millis(100)), "{code:?}");
        world.pass(Duration::from_millis(100));
        assert_eq!(world.plan().parts[0].offset, 100, "{code:?}");
    }
}

#[test]
fn kip_951_a_leader_named_in_the_reply_is_asked_at_once() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    let leader = Some(Leader { broker: Some(TWO), epoch: 6, topic_id: Uuid::default() });
    world.reply(&plan, vec![FetchReply { leader, ..error(0, ErrorCode::NOT_LEADER_OR_FOLLOWER) }]);
    let plan = world.plan();
    assert_eq!((plan.broker, plan.parts[0].offset, plan.parts[0].leader_epoch), (TWO, 100, 6));
    assert_eq!(plan.parts[0].topic_id, Uuid(1), "the id stays known");
}

#[test]
fn c12_a_batch_larger_than_every_limit_is_accepted_whole() {
    for budget in [1000, 2 * MIB] {
        let mut world = World::reading(1, FetchConfig { max_bytes: MIB, budget, ..config() });
        let plan = world.plan();
        world.reply(&plan, vec![data(0, vec![piece(100..101, 50 * MIB)])]);
        assert!(world.idle(), "it fills the budget");
        assert_eq!(world.deliver(), Some((0, 100..101)));
        assert_eq!(world.plan().parts[0].offset, 101);
    }
}

#[test]
fn a_new_leader_is_asked_at_once_whatever_the_old_one_refused() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.reply(&plan, vec![FetchReply { follower: Some(BrokerId(3)), ..data(0, vec![]) }]);
    let plan = world.plan();
    let lost = Error::new(ErrorKind::Disconnected, "gone");
    world.fetcher.handle_fetch_failure(world.now, plan.ticket, &lost);
    assert!(world.idle(), "it pauses");
    world.led_by(TWO, 6);
    assert_eq!(world.plan().broker, TWO);
}

#[test]
fn c12_a_cut_off_first_batch_widens_the_limit_instead_of_spinning() {
    let mut world = World::reading(1, config());
    for expected in [MIB, 2 * MIB, 4 * MIB] {
        let plan = world.plan();
        assert_eq!(plan.parts[0].max_bytes, expected);
        world.reply(&plan, vec![FetchReply { bytes: expected, ..data(0, vec![]) }]);
    }
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..101, 7 * MIB)])]);
    assert_eq!(world.plan().parts[0].max_bytes, MIB);
}

#[test]
fn c13_a_batch_that_begins_before_the_position_says_where_the_user_begins() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(80..90, 9), piece(90..110, 9), piece(110..120, 9)])]);
    let ready = world.fetcher.poll_ready().unwrap();
    assert_eq!((ready.piece.base_offset, ready.from), (90, 100), "what lies wholly before is dropped");
    assert_eq!(world.fetcher.buffered, 18);
}

#[test]
fn c14_a_damaged_batch_is_fetched_once_more_and_then_halts_its_partition_only() {
    let mut world = World::reading(2, config());
    let damage = || Error::new(ErrorKind::CorruptBatch, "orders-0: the batch at offset 100 is damaged");
    for round in 0..2 {
        let plan = world.plan();
        let part = plan.parts.iter().find(|part| part.slot == 0).expect("partition 0 is fetched");
        assert_eq!(part.offset, 100);
        world.reply(&plan, vec![data(0, vec![piece(100..110, 9), piece(110..120, 9)]), data(1, vec![])]);
        let ready = world.fetcher.poll_ready().unwrap();
        world.fetcher.handle_corrupt(world.now, ready.cursor, 100, damage());
        assert_eq!((world.deliver(), world.fetcher.buffered), (None, 0), "nothing behind the damage is delivered");
        assert_eq!(world.fetcher.poll_error().is_some(), round == 1, "told the second time, once");
        world.pass(Duration::from_millis(100));
    }
    assert!(world.fetcher.poll_error().is_none(), "partition 1 goes on");
    assert_eq!(world.plan().parts.len(), 1);
    assert_eq!(world.position(0), Some(100));
    world.fetcher.seek(world.now, &name(0), StartFrom::Offset(110)).unwrap();
    assert_eq!(world.position(0), Some(110), "a seek heals");
}

#[test]
fn c14_the_error_of_a_halted_partition_is_told_again_if_nothing_else_is_left() {
    let mut world = World::reading(1, config());
    let plan = world.plan();
    world.fails_with(&plan, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    for _ in 0..3 {
        assert!(world.fetcher.poll_error().is_some_and(|error| error.to_string().contains("orders-0")));
    }
    assert!(world.idle());
}

#[test]
fn c18_a_pause_keeps_the_buffer_and_survives_a_new_assignment() {
    let mut world = World::reading(2, config());
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9)]), data(1, vec![piece(100..110, 9)])]);
    world.fetcher.set_paused(world.now, &name(0), true).unwrap();
    assert_eq!((world.deliver(), world.deliver()), (Some((1, 100..110)), None));
    world.assign([(name(0), StartFrom::End), (name(1), StartFrom::End)]);
    assert_eq!(world.deliver(), None);
    let plan = world.plan();
    assert_eq!(plan.parts.iter().map(|part| part.slot).collect::<Vec<_>>(), [1], "a paused partition is not fetched");
    world.fetcher.set_paused(world.now, &name(0), false).unwrap();
    assert_eq!(world.deliver(), Some((0, 100..110)));
}

#[test]
fn a_start_is_looked_up_at_the_leader() {
    for (start, timestamp) in [(StartFrom::Beginning, -2), (StartFrom::End, -1), (StartFrom::Timestamp(77), 77)] {
        let mut world = World::new(config());
        world.assign([(name(0), start)]);
        assert_eq!(world.fetcher.poll_refresh(world.now).as_deref(), Some("orders"), "no leader is known");
        assert!(world.fetcher.poll_lookup(world.now).is_none());
        world.led_by(ONE, 5);
        assert!(world.idle());
        let plan = world.locate(12);
        assert_eq!((plan.broker, plan.parts[0].timestamp), (ONE, timestamp));
        assert_eq!((world.position(0), world.plan().parts[0].offset), (Some(12), 12));
    }
}

#[test]
fn a_timestamp_younger_than_every_record_means_the_end() {
    let mut world = World::new(config());
    world.assign([(name(0), StartFrom::Timestamp(77))]);
    world.led_by(ONE, 5);
    world.locate(-1);
    assert_eq!(world.locate(500).parts[0].timestamp, -1);
    assert_eq!(world.position(0), Some(500));
}

#[test]
fn c1_offsets_looked_up_before_a_seek_are_dropped() {
    let mut world = World::new(config());
    world.assign([(name(0), StartFrom::Beginning)]);
    world.led_by(ONE, 5);
    let plan = world.fetcher.poll_lookup(world.now).unwrap();
    world.fetcher.seek(world.now, &name(0), StartFrom::End).unwrap();
    let stale = vec![OffsetReply { slot: 0, error: ErrorCode::NONE, offset: 3 }];
    world.fetcher.handle_offsets(world.now, &plan, stale);
    assert_eq!(world.position(0), None);
    world.locate(90);
    assert_eq!(world.position(0), Some(90));
}

#[test]
fn a_lost_connection_pauses_the_broker_longer_each_time() {
    let mut world = World::reading(1, config());
    for pause in [100, 200, 400, 800, 1000, 1000] {
        let plan = world.plan();
        let lost = Error::new(ErrorKind::Disconnected, "gone");
        world.fetcher.handle_fetch_failure(world.now, plan.ticket, &lost);
        world.pass(Duration::from_millis(pause - 1));
        assert!(world.idle(), "{pause}");
        world.pass(Duration::from_millis(1));
    }
    assert_eq!(world.plan().parts[0].offset, 100);
}

#[test]
fn a_partition_missing_in_the_reply_or_named_twice_does_no_harm() {
    let mut world = World::reading(2, config());
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![piece(100..110, 9)]), data(0, vec![piece(100..110, 9)]), data(9, vec![])]);
    assert_eq!((world.deliver(), world.deliver()), (Some((0, 100..110)), None));
    assert_eq!(world.plan().parts.len(), 1, "the missing one waits");
}

#[test]
fn kip_516_a_topic_made_again_is_read_from_its_beginning() {
    let mut world = World::reading(1, config());
    let old = world.plan();
    world.topic_led_by(2, ONE, 0);
    world.reply(&old, vec![data(0, vec![piece(100..110, 9)])]);
    assert_eq!((world.deliver(), world.locate(0).parts[0].timestamp), (None, -2));
    let plan = world.plan();
    assert_eq!((plan.parts[0].topic_id, plan.parts[0].offset, plan.parts[0].leader_epoch), (Uuid(2), 0, 0));
}

#[test]
fn long_trouble_is_told_and_trying_goes_on() {
    let mut world = World::new(config());
    world.assign([(name(0), StartFrom::Offset(1))]);
    for _ in 0..2 {
        assert!(world.fetcher.poll_error().is_none());
        world.pass(Duration::from_secs(60));
        assert_eq!(world.fetcher.poll_error().map(|error| error.kind()), Some(ErrorKind::UnknownTopic));
    }
    world.led_by(ONE, 5);
    let plan = world.plan();
    world.reply(&plan, vec![data(0, vec![])]);
    world.pass(Duration::from_secs(600));
    assert!(world.fetcher.poll_error().is_none());
}
