//! Every way to choose a partition as a table; turns by chance, with the seed printed; racks; brokers that stall.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::advance;

use super::*;
use crate::wire::Str;

const KEYED: [Partitioning; 9] = [
    Partitioning::Default,
    Partitioning::Consistent,
    Partitioning::ConsistentRandom,
    Partitioning::Murmur2,
    Partitioning::Murmur2Random,
    Partitioning::Fnv1a,
    Partitioning::Fnv1aRandom,
    Partitioning::SaramaHash,
    Partitioning::SaramaReferenceHash,
];

fn topic(partitions: usize, leaderless: &[usize]) -> Topic {
    Topic::sample(partitions, leaderless, Spread::default(), None)
}

fn choose(partitioning: &Partitioning, topic: &Topic, key: Option<&[u8]>) -> Option<i32> {
    match partitioning.choose(topic, key, Some(b"value")).expect("a choice") {
        Choice::Any => None,
        Choice::Partition(partition) => Some(partition),
    }
}

/// Chance with a seed that the test's output names.
fn seeded() {
    let seed = fastrand::u64(..);
    println!("seed {seed:#x}");
    fastrand::seed(seed);
}

/// So many turns of 1,000 bytes in records of 100: how many turns each partition got.
fn turns(topic: &Topic, turns: usize) -> Vec<usize> {
    let mut counts = vec![0; topic.partitions.len()];
    for number in 0..turns * 10 {
        let index = topic.sticky.current(topic, 1_000).index as usize;
        counts[index] += usize::from(number % 10 == 0);
        topic.sticky.count(100);
    }
    counts
}

/// Pearson's sum for `counts` being even. Above 40 for at most 20 places happens once in 200 with true chance; turns
/// never repeat a place, which makes them even more even.
fn unevenness(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

#[test]
fn no_key_the_empty_key_and_a_key_as_each_client_takes_them() {
    // Of 12: murmur2("") is 0x106e08d9, fnv1a("") 0x7ee3623b when negated and 0x011c9dc5 when masked, CRC-32("") 0.
    let (murmur2, fnv1a, masked) = (Some(0x106e_08d9 % 12), Some(0x7ee3_623b % 12), Some(0x011c_9dc5 % 12));
    let of_23456 = (Some(0x058d_780f % 12), Some(0x27e6_f469 % 12), Some((0xb1b4_51d7_u32 % 12) as i32));
    let table = [
        (Partitioning::Default, None, murmur2, of_23456.0),
        (Partitioning::Sticky, None, None, None),
        (Partitioning::Consistent, Some(0), Some(0), of_23456.2),
        (Partitioning::ConsistentRandom, None, None, of_23456.2),
        (Partitioning::Murmur2, murmur2, murmur2, of_23456.0),
        (Partitioning::Murmur2Random, None, murmur2, of_23456.0),
        (Partitioning::Fnv1a, fnv1a, fnv1a, of_23456.1),
        (Partitioning::Fnv1aRandom, None, fnv1a, of_23456.1),
        (Partitioning::SaramaHash, None, fnv1a, of_23456.1),
        (
            Partitioning::SaramaReferenceHash,
            None,
            masked,
            Some((crate::record::partitioner::fnv1a(b"23456") & POSITIVE) as i32 % 12),
        ),
    ];
    let topic = topic(12, &[]);
    for (partitioning, without, empty, key) in table {
        let found = [None, Some(&b""[..]), Some(b"23456")].map(|key| choose(&partitioning, &topic, key));
        assert_eq!(found, [without, empty, key], "{partitioning}");
    }
    assert!(Partitioning::Manual.choose(&topic, Some(b"key"), None).is_err(), "a partition has to be named");
}

#[test]
fn names_are_read_back() {
    for (name, partitioning) in NAMED {
        assert_eq!(partitioning.to_string(), *name);
        assert!(name.parse::<Partitioning>().is_ok_and(|read| read.is(partitioning)), "{name}");
    }
    let error = "murmur".parse::<Partitioning>().expect_err("there is none");
    assert!(error.to_string().contains("murmur2_random"), "{error}");
}

#[test]
fn a_key_stays_whoever_leads_and_whatever_its_value() {
    seeded();
    for partitioning in KEYED {
        for _ in 0..100 {
            let key: Vec<u8> = (0..fastrand::usize(1..40)).map(|_| fastrand::u8(..)).collect();
            let expected = choose(&partitioning, &topic(12, &[]), Some(&key));
            assert!(expected.is_some(), "{partitioning}");
            for leaderless in [&[0, 5][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]] {
                assert_eq!(
                    choose(&partitioning, &topic(12, leaderless), Some(&key)),
                    expected,
                    "{partitioning} {key:?}"
                );
            }
            // A tombstone follows the record that it deletes.
            let tombstone = partitioning.choose(&topic(12, &[]), Some(&key), None).expect("a choice");
            assert_eq!(Some(tombstone), expected.map(Choice::Partition), "{partitioning} {key:?}");
        }
    }
}

#[test]
fn a_topic_that_grows_takes_the_hash_modulo_its_new_size() {
    let small = topic(6, &[]);
    let grown = Topic::sample(7, &[], Spread::default(), Some(&small));
    for (key, six, seven) in [("21", 0x45f2_f8ec % 6, 0x45f2_f8ec % 7), ("foobar", 0x50e4_7bbe % 6, 0x50e4_7bbe % 7)] {
        assert_eq!(choose(&Partitioning::Default, &small, Some(key.as_bytes())), Some(six), "{key}");
        assert_eq!(choose(&Partitioning::Default, &grown, Some(key.as_bytes())), Some(seven), "{key}");
    }
    assert!(turns(&grown, 1_000)[6] > 0, "the new partition gets its turns");
}

#[test]
fn round_robin_goes_around_those_that_have_a_leader_and_loses_no_turn() {
    let way = Partitioning::RoundRobin;
    let before = topic(4, &[2]);
    let go = |topic: &Topic| choose(&way, topic, Some(b"a key does not count")).expect("one");
    assert_eq!([(); 5].map(|()| go(&before)), [0, 1, 3, 0, 1]);
    assert_eq!(go(&before), 3);
    way.take_back(&before);
    assert_eq!(go(&before), 3, "the record that had no memory comes again");
    let after = Topic::sample(4, &[], Spread::default(), Some(&before));
    assert_eq!([(); 3].map(|()| go(&after)), [2, 3, 0], "the seventh of four, and on");
    assert_eq!([(); 3].map(|()| go(&topic(2, &[0, 1]))), [0; 3], "each of them is new");
}

#[test]
fn random_reaches_every_partition_that_has_a_leader() {
    seeded();
    let topic = topic(5, &[3]);
    let found: BTreeSet<_> = (0..1_000).filter_map(|_| choose(&Partitioning::Random, &topic, None)).collect();
    assert_eq!(found, BTreeSet::from([0, 1, 2, 4]));
}

/// The longest queue wins; everything that a partitioner may ask is asked.
struct Looks;

impl Partitioner for Looks {
    fn partition(&self, partitions: Partitions<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> Choice {
        assert_eq!((partitions.topic(), partitions.len(), key, value), ("t", 4, None, Some(&b"value"[..])));
        assert_eq!(partitions.available().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!((partitions.leader(1), partitions.rack(1)), (Some(BrokerId(1)), Some("r1")));
        for absent in [2, 4, -1, i32::MAX] {
            assert_eq!((partitions.leader(absent), partitions.rack(absent)), (None, None));
            assert_eq!(partitions.queued_batches(absent), 0);
        }
        let longest = partitions.available().max_by_key(|index| partitions.queued_batches(*index));
        longest.map_or(Choice::Any, Choice::Partition)
    }
}

#[test]
fn a_programs_own_partitioner_sees_leaders_racks_and_queues() {
    let topic = topic(4, &[2]);
    topic.partitions[1].count_queued();
    assert_eq!(choose(&Partitioning::from(Looks), &topic, None), Some(1));
}

#[test]
fn a_part_of_the_key_decides() {
    let by_customer = Partitioning::keyed_by(|key, _value| key?.split(|byte| *byte == b'/').next());
    let topic = topic(100, &[]);
    let alone = choose(&Partitioning::Default, &topic, Some(b"customer-7"));
    for key in ["customer-7", "customer-7/1", "customer-7/2/3"] {
        assert_eq!(choose(&by_customer, &topic, Some(key.as_bytes())), alone, "{key}");
    }
    assert_eq!(choose(&by_customer, &topic, None), None);
}

#[test]
fn kip_794_turns_are_uniform_over_partitions_with_a_leader() {
    seeded();
    for adaptive in [true, false] {
        for (partitions, leaderless) in [(6, &[4][..]), (12, &[]), (2, &[])] {
            let spread = Spread { adaptive, ..Spread::default() };
            let mut counts = turns(&Topic::sample(partitions, leaderless, spread, None), 10_000);
            leaderless.iter().for_each(|index| assert_eq!(counts.remove(*index), 0, "nobody leads it"));
            assert!(unevenness(&counts) < 40.0, "{counts:?}");
        }
    }
}

#[test]
fn kip_794_turns_of_large_topics_are_uniform_too() {
    seeded();
    let counts = turns(&topic(500, &[]), 50_000);
    // 499 degrees of freedom: 99.9 % of sums are below 603.
    assert!(unevenness(&counts) < 650.0, "{counts:?}");
}

#[test]
fn kip_794_a_turn_lasts_for_a_batch_of_bytes() {
    let topic = topic(3, &[]);
    let next = |_| {
        let index = topic.sticky.current(&topic, 1_000).index;
        topic.sticky.count(100);
        index
    };
    let places: Vec<i32> = (0..40).map(next).collect();
    for turn in places.chunks(10) {
        assert!(turn.iter().all(|place| *place == turn[0]), "{places:?}");
    }
    assert!(places.chunks(10).map(|turn| turn[0]).collect::<Vec<_>>().windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_turn_survives_news_about_leaders_unless_its_own_is_gone() {
    let before = topic(3, &[]);
    let current = |topic: &Topic| topic.sticky.current(topic, 1_000).index as usize;
    let turn = current(&before);
    before.sticky.count(900);
    let other = Topic::sample(3, &[(turn + 1) % 3], Spread::default(), Some(&before));
    assert_eq!(current(&other), turn, "another partition lost its leader");
    other.sticky.count(100);
    assert_ne!(current(&other), turn, "the bytes of before count");
    let gone = Topic::sample(3, &[turn], Spread::default(), Some(&before));
    assert_ne!(current(&gone), turn);
}

#[test]
fn without_any_leader_records_still_have_a_place() {
    assert_eq!(turns(&topic(2, &[0, 1]), 100).iter().sum::<usize>(), 100);
    assert_eq!(turns(&topic(1, &[]), 10), [10]);
}

#[test]
fn kip_794_longer_queues_get_fewer_turns() {
    seeded();
    // Two partitions take turns with a third; of those that may be drawn, 4 − 3 against 4 − 0 tickets.
    let topic = topic(3, &[]);
    (0..3).for_each(|_| topic.partitions[1].count_queued());
    let counts = turns(&topic, 10_000);
    // After 0 comes 2 with 4 of 5 chances, after 1 each with the same: 1 has a sixth of all turns.
    assert!((1_450..1_900).contains(&counts[1]), "{counts:?}");
    let uniform = Topic::sample(3, &[], Spread { adaptive: false, ..Spread::default() }, Some(&topic));
    let counts = turns(&uniform, 10_000);
    assert!(unevenness(&counts) < 40.0, "adaptivity was switched off: {counts:?}");
    (0..3).for_each(|_| topic.partitions[1].count_settled());
    assert!(unevenness(&turns(&topic, 10_000)) < 40.0, "the queue is gone");
}

#[test]
fn kip_1123_near_leaders_come_first_while_there_are_any() {
    let near = |leaderless: &[usize], adaptive| {
        let spread = Spread { rack: Some(Str::from("r1")), adaptive, ..Spread::default() };
        let counts = turns(&Topic::sample(6, leaderless, spread, None), 1_000);
        counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, _)| index).collect::<Vec<_>>()
    };
    for adaptive in [true, false] {
        assert_eq!(near(&[], adaptive), [1, 4]);
        assert_eq!(near(&[4], adaptive), [1], "the only one keeps the turn");
        assert_eq!(near(&[1, 4], adaptive), [0, 2, 3, 5]);
    }
    let keyed = Topic::sample(6, &[], Spread { rack: Some(Str::from("r1")), ..Spread::default() }, None);
    assert_eq!(choose(&Partitioning::Default, &keyed, Some(b"foobar")), Some(0x50e4_7bbe % 6), "keys do not care");
}

#[tokio::test(start_paused = true)]
async fn kip_794_a_broker_that_takes_nothing_gets_no_turns() {
    let wait = Duration::from_secs(1);
    let got = |topic: &Topic| {
        let counts = turns(topic, 1_000);
        counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, _)| index).collect::<Vec<_>>()
    };
    let stall = |topic: &Topic, index: usize| topic.leaders[index].as_ref().map(|leader| leader.stall.clone());
    let topic = Topic::sample(4, &[], Spread { availability_timeout: wait, ..Spread::default() }, None);
    // Broker 0 leads partitions 0 and 3.
    let stall = [0, 1, 2].map(|index| stall(&topic, index).expect("it has a leader"));
    stall[0].begin();
    advance(wait).await;
    assert_eq!(got(&topic), [0, 1, 2, 3], "not longer than it may");
    advance(Duration::from_millis(1)).await;
    stall[0].begin();
    assert_eq!(got(&topic), [1, 2], "a second look does not begin it anew");
    stall[2].begin();
    advance(wait * 2).await;
    assert_eq!(got(&topic), [1], "the only one keeps the turn");
    stall[1].begin();
    advance(wait * 2).await;
    assert_eq!(got(&topic), [0, 1, 2, 3], "better a stalled one than none");
    stall[0].end();
    assert_eq!(got(&topic), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn kip_1123_a_stalled_rack_is_left() {
    let wait = Duration::from_secs(1);
    let spread = Spread { rack: Some(Str::from("r1")), availability_timeout: wait, ..Spread::default() };
    let topic = Topic::sample(6, &[], spread, None);
    topic.leaders[1].as_ref().expect("it has a leader").stall.begin();
    advance(wait * 2).await;
    let counts = turns(&topic, 1_000);
    // The turn that had begun ends first.
    assert!(counts[1] + counts[4] <= 1 && counts[0] > 100 && counts[5] > 100, "{counts:?}");
}
