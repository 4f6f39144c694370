//! What a seed stands for: the cluster, who works on it and how, and what goes wrong when.

use std::time::Duration;

use fastrand::Rng;
use milena::{
    consumer::IsolationLevel,
    embedded::{Api, FaultAction, Way, When},
    record::Compression,
};

/// A run, before it is run. Everything in it is drawn from the seed.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub brokers: i32,
    pub partitions: i32,
    pub latency: (Duration, Duration),
    pub bandwidth: Option<u64>,
    pub request_timeout: Duration,
    /// Whether the trouble is worse than what the producers are told to sit out: records may fail then.
    pub is_harsh: bool,
    pub producers: Vec<ProducerPlan>,
    pub readers: Vec<ReaderPlan>,
    pub writers: Vec<WriterPlan>,
    pub copier: Option<CopierPlan>,
    /// The feature with which transactions begin.
    pub transaction_version: i16,
    /// Whether brokers look whether a batch's transaction is open, as they do from 3.6 on.
    pub verifies: bool,
    /// Of one group.
    pub members: Vec<MemberPlan>,
    /// What goes wrong, in order.
    pub troubles: Vec<(Duration, Trouble)>,
}

#[derive(Debug, Clone)]
pub struct ProducerPlan {
    pub records: u32,
    pub burst: u32,
    pub pause: Duration,
    pub length: usize,
    pub keys: u32,
    pub placing: Placing,
    pub linger: Duration,
    pub batch_size: usize,
    pub max_in_flight: usize,
    pub memory: usize,
    pub compression: Compression,
    pub delivery_timeout: Duration,
}

/// How a producer's records find their partition.
#[derive(Debug, Clone, Copy)]
pub enum Placing {
    Turns,
    Keys,
    Named,
}

#[derive(Debug, Clone)]
pub struct ReaderPlan {
    pub isolation: IsolationLevel,
    /// One of so many polls is followed by a seek, a pause or a resumption; 0 for none.
    pub restlessness: u32,
    pub partition_max_bytes: usize,
    pub starts_at: Duration,
}

/// A transactional writer.
#[derive(Debug, Clone)]
pub struct WriterPlan {
    pub transactions: u32,
    pub records: u32,
    pub pause: Duration,
    pub settings: TransactionPlan,
}

/// What a transactional producer is told.
#[derive(Debug, Clone)]
pub struct TransactionPlan {
    pub is_harsh: bool,
    pub timeout: Duration,
    pub max_block: Duration,
    pub delivery_timeout: Duration,
    pub linger: Duration,
    pub batch_size: usize,
}

/// Who copies the topic to another.
#[derive(Debug, Clone)]
pub struct CopierPlan {
    /// When each instance begins.
    pub instances: Vec<Duration>,
    /// So many batches in a transaction at most.
    pub batches: usize,
    pub pause: Duration,
    pub settings: TransactionPlan,
}

/// A member of the group.
#[derive(Debug, Clone)]
pub struct MemberPlan {
    pub joins_at: Duration,
    /// When it dies, counted from then; `None` for one that sees it through.
    pub lasts: Option<Duration>,
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    Fault {
        api: Api,
        action: FaultAction,
        broker: Option<i32>,
        skip: usize,
        times: usize,
    },
    MoveLeader {
        partition: i32,
        broker: i32,
    },
    MoveCoordinator {
        key: &'static str,
        broker: i32,
    },
    /// Somebody takes a transactional id away from its producer.
    Fence {
        id: &'static str,
    },
    /// Transactions of the second version are switched on.
    Upgrade,
    Grow {
        count: i32,
    },
    Kill {
        broker: i32,
        lasts: Duration,
    },
    Cut {
        broker: i32,
    },
    CutAfter {
        broker: i32,
        way: Way,
        bytes: usize,
    },
    Abandon {
        broker: i32,
    },
    Refuse {
        broker: i32,
        lasts: Duration,
    },
    Stall {
        broker: i32,
        way: Way,
        lasts: Duration,
    },
    Swallow {
        broker: i32,
        way: Way,
        lasts: Duration,
    },
}

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let rng = &mut rng;
        let (brokers, partitions) = (rng.i32(1..=5), rng.i32(1..=6));
        let is_harsh = rng.u8(..3) == 0;
        let least = millis(rng, 0..=5);
        let work = Duration::from_secs(rng.u64(10..=60));
        let (writers, members) = (rng.usize(0..=2), if rng.bool() { rng.usize(1..=3) } else { 0 });
        let mut troubles: Vec<_> = (0..rng.usize(3..=25))
            .map(|_| {
                // Some at the very start, where nobody knows anybody yet.
                let at = if rng.u8(..5) == 0 { Duration::ZERO } else { work.mul_f64(rng.f64()) };
                (at, trouble(rng, brokers, partitions, is_harsh))
            })
            .collect();
        troubles.sort_by_key(|(at, _)| *at);
        let mut plan = Self {
            seed,
            brokers,
            partitions,
            latency: (least, least + millis(rng, 0..=30)),
            bandwidth: rng.bool().then(|| rng.u64(200_000..=10_000_000)),
            request_timeout: Duration::from_secs(rng.u64(2..=10)),
            is_harsh,
            producers: (0..rng.usize(1..=3)).map(|_| ProducerPlan::draw(rng, work, is_harsh)).collect(),
            readers: (0..rng.usize(1..=2)).map(|_| ReaderPlan::draw(rng, work)).collect(),
            writers: (0..writers).map(|_| WriterPlan::draw(rng, work, is_harsh)).collect(),
            copier: rng.bool().then(|| CopierPlan::draw(rng, work, is_harsh)),
            transaction_version: *rng.choice(&[0, 1, 2, 2, 2]).expect("five"),
            verifies: rng.u8(..3) > 0,
            members: (0..members).map(|place| MemberPlan::draw(rng, work, place == 0)).collect(),
            troubles,
        };
        // Where every record is a transaction of its own, half a second for each would be more than the whole run has.
        let records: u32 = plan.producers.iter().map(|producer| producer.records).sum();
        let most = COPYING / records.max(1);
        plan.copier.iter_mut().for_each(|copier| copier.pause = copier.pause.min(most));
        plan
    }
}

impl MemberPlan {
    fn draw(rng: &mut Rng, work: Duration, sees_it_through: bool) -> Self {
        let joins_at = work.mul_f64(rng.f64() / 2.0);
        let lasts = (!sees_it_through && rng.bool()).then(|| work.mul_f64(rng.f64()));
        Self { joins_at, lasts }
    }
}

impl ProducerPlan {
    fn draw(rng: &mut Rng, work: Duration, is_harsh: bool) -> Self {
        let (records, burst) = (rng.u32(20..=250), rng.u32(1..=20));
        let codecs = [Compression::None, Compression::None, Compression::None, Compression::Lz4, Compression::Zstd];
        Self {
            records,
            burst,
            pause: work / (records / burst + 1),
            length: rng.usize(1..=400),
            keys: rng.u32(1..=20),
            placing: *rng.choice(&[Placing::Turns, Placing::Keys, Placing::Named]).expect("three"),
            linger: millis(rng, 0..=100),
            batch_size: rng.usize(200..=8_000),
            max_in_flight: rng.usize(1..=5),
            memory: rng.usize(2..=40) * 40_000,
            compression: *rng.choice(&codecs).expect("five"),
            delivery_timeout: if is_harsh { millis(rng, 1_000..=8_000) } else { Duration::from_secs(1800) },
        }
    }
}

impl ReaderPlan {
    fn draw(rng: &mut Rng, work: Duration) -> Self {
        let isolation = if rng.bool() { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
        Self {
            isolation,
            restlessness: if rng.bool() { rng.u32(3..=20) } else { 0 },
            partition_max_bytes: rng.usize(1_000..=100_000),
            starts_at: work.mul_f64(rng.f64() / 2.0),
        }
    }
}

impl WriterPlan {
    fn draw(rng: &mut Rng, work: Duration, is_harsh: bool) -> Self {
        let transactions = rng.u32(2..=12);
        let settings = TransactionPlan::draw(rng, is_harsh);
        Self { transactions, records: rng.u32(1..=6), pause: work / transactions, settings }
    }
}

impl TransactionPlan {
    fn draw(rng: &mut Rng, is_harsh: bool) -> Self {
        let long = Duration::from_secs(1800);
        Self {
            is_harsh,
            timeout: if is_harsh { Duration::from_secs(8) } else { Duration::from_secs(900) },
            max_block: if is_harsh { millis(rng, 2_000..=20_000) } else { long },
            delivery_timeout: if is_harsh { millis(rng, 1_000..=8_000) } else { long },
            linger: millis(rng, 0..=50),
            batch_size: rng.usize(200..=8_000),
        }
    }
}

/// The pauses of a copier take no longer in all.
const COPYING: Duration = Duration::from_secs(20);

impl CopierPlan {
    fn draw(rng: &mut Rng, work: Duration, is_harsh: bool) -> Self {
        let mut instances: Vec<_> = (0..rng.usize(1..=3)).map(|_| work.mul_f64(rng.f64())).collect();
        instances.sort();
        let settings = TransactionPlan::draw(rng, is_harsh);
        Self { instances, batches: rng.usize(1..=3), pause: millis(rng, 0..=500), settings }
    }
}

fn trouble(rng: &mut Rng, brokers: i32, partitions: i32, is_harsh: bool) -> Trouble {
    let broker = rng.i32(0..brokers);
    let lasts = millis(rng, 200..=15_000);
    match rng.u8(..25) {
        20..=21 => Trouble::MoveCoordinator { key: rng.choice(KEYS).expect("some"), broker },
        22 if is_harsh => Trouble::Fence { id: rng.choice(&KEYS[..3]).expect("some") },
        22 => Trouble::Upgrade,
        23 => Trouble::Grow { count: partitions + rng.i32(1..=3) },
        24 => fault(rng, brokers, is_harsh),
        0..=8 => fault(rng, brokers, is_harsh),
        9..=11 => Trouble::MoveLeader { partition: rng.i32(0..partitions), broker },
        12..=13 => Trouble::Kill { broker, lasts },
        14 => Trouble::Cut { broker },
        15 => Trouble::CutAfter { broker, way: way(rng), bytes: rng.usize(1..=3_000) },
        16 => Trouble::Abandon { broker },
        17 => Trouble::Refuse { broker, lasts },
        18 => Trouble::Stall { broker, way: way(rng), lasts },
        _ => Trouble::Swallow { broker, way: way(rng), lasts },
    }
}

fn fault(rng: &mut Rng, brokers: i32, is_harsh: bool) -> Trouble {
    const COMMON: &[Api] = &[Api::Produce, Api::Produce, Api::Produce, Api::Fetch, Api::Fetch, Api::Metadata];
    const OTHERS: &[Api] = &[
        Api::InitProducerId,
        Api::ListOffsets,
        Api::FindCoordinator,
        Api::JoinGroup,
        Api::SyncGroup,
        Api::Heartbeat,
        Api::OffsetCommit,
        Api::OffsetFetch,
    ];
    const TRANSACTIONS: &[Api] = &[
        Api::InitProducerId,
        Api::AddPartitionsToTxn,
        Api::AddOffsetsToTxn,
        Api::TxnOffsetCommit,
        Api::EndTxn,
        Api::EndTxn,
    ];
    let apis = match rng.u8(..6) {
        0..=2 => COMMON,
        3 => OTHERS,
        _ => TRANSACTIONS,
    };
    let api = *rng.choice(apis).expect("some");
    let when = if rng.u8(..3) == 0 { When::BeforeApplying } else { When::AfterApplying };
    let action = match rng.u8(..12) {
        8..=11 if api == Api::Fetch && rng.bool() => FaultAction::CorruptBatch,
        0..=3 => FaultAction::Error(error(rng, api, is_harsh)),
        4 => FaultAction::Delay(millis(rng, 1..=4_000)),
        5 => FaultAction::Throttle(millis(rng, 1..=3_000)),
        6..=7 => FaultAction::Disconnect(when),
        8 => FaultAction::Silence(when),
        9 => FaultAction::WrongCorrelationId,
        10 => FaultAction::CutReply(rng.usize(0..=40)),
        _ => FaultAction::Silence(When::AfterApplying),
    };
    let broker = rng.bool().then(|| rng.i32(0..brokers));
    Trouble::Fault { api, action, broker, skip: rng.usize(0..=5), times: rng.usize(1..=3) }
}

/// An error that a broker may answer this request with, and that passes.
fn error(rng: &mut Rng, api: Api, is_harsh: bool) -> i16 {
    const PRODUCE: &[i16] = &[6, 19, 19, 20, 7, 3, 5, 2, 56, -1];
    const HARSH: &[i16] = &[10, 45, 59, 87, 19, 20];
    const FETCH: &[i16] = &[6, 3, 74, 75, 78, 56, 1, 1, -1, 9];
    let codes = match api {
        Api::Produce if is_harsh && rng.bool() => HARSH,
        Api::Produce => PRODUCE,
        Api::Fetch => FETCH,
        Api::AddPartitionsToTxn | Api::EndTxn if is_harsh && rng.u8(..3) == 0 => &[53],
        Api::AddOffsetsToTxn | Api::TxnOffsetCommit if is_harsh && rng.u8(..3) == 0 => &[53, 30, 120],
        Api::InitProducerId | Api::AddPartitionsToTxn | Api::EndTxn | Api::AddOffsetsToTxn => &[14, 15, 16, 51],
        Api::TxnOffsetCommit => &[14, 15, 16, 3, 7],
        Api::FindCoordinator => &[15],
        Api::JoinGroup | Api::SyncGroup | Api::Heartbeat | Api::OffsetCommit | Api::OffsetFetch => &[14, 15, 16],
        Api::ListOffsets => &[6, 3, 78, 5],
        _ => &[5, 3],
    };
    *rng.choice(codes).expect("some")
}

/// Whose coordinators move.
const KEYS: &[&str] = &["writer-100", "writer-101", "copier", "copiers", "readers"];

fn way(rng: &mut Rng) -> Way {
    *rng.choice(&[Way::ToBroker, Way::FromBroker, Way::Both]).expect("three")
}

fn millis(rng: &mut Rng, range: std::ops::RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
