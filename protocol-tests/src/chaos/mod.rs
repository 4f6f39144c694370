//! Breaks a cluster of three brokers under a producer and a consumer of milena, then judges by the log.
//!
//! Rules this folder keeps:
//! - the seed decides which faults come, in what order, to whom and for how long; what the cluster makes of it does not;
//! - one fault at a time, each after every replica is in sync again;
//! - the log that is judged is the one that Java's console consumer reads; what milena read meanwhile has to equal it.

pub mod brokers;
pub mod judge;
pub mod transactions;
pub mod workload;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use fastrand::Rng;
use milena::{
    Kafka, Result, TopicPartition,
    consumer::{IsolationLevel, StartFrom},
};
use tokio::time::sleep;

use crate::{
    Live,
    relay::{Bytes, Relay},
    unique,
};
use brokers::Brokers;
use judge::{Place, Verdict};
use workload::{Reading, Writing};

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to a broker that leads partitions; it comes back after some seconds.
    KillLeader,
    /// SIGKILL to the leader of the quorum of controllers.
    KillController,
    /// SIGKILL to the coordinator of a group.
    KillCoordinator,
    /// A clean stop and a start of each broker in turn.
    Roll,
    /// SIGSTOP to a leader for ten seconds: its sockets are open and silent.
    Pause,
    /// Every connection is reset, several times.
    Cut,
    /// All bytes to and from a leader disappear for five seconds.
    Swallow,
    /// A leader's answers disappear for four seconds: it writes what it never acknowledges.
    SwallowAnswers,
    /// The topic gets more partitions.
    Grow,
    /// SIGKILL to the coordinator of the transactional id.
    KillTransactionCoordinator,
    /// The producer is left alone with a transaction open, and tries to commit it once its successor is there.
    Abandon,
}

impl Fault {
    /// All that can happen to any producer.
    pub const ALL: [Self; 9] = [
        Self::KillLeader,
        Self::KillController,
        Self::KillCoordinator,
        Self::Roll,
        Self::Pause,
        Self::Cut,
        Self::Swallow,
        Self::SwallowAnswers,
        Self::Grow,
    ];

    /// What transactions meet in a short run; a longer one goes on with [`ALL`](Self::ALL).
    pub const OF_TRANSACTIONS: [Self; 5] =
        [Self::KillTransactionCoordinator, Self::Abandon, Self::SwallowAnswers, Self::Cut, Self::KillLeader];
}

/// How the records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Producing {
    /// By the defaults: acks=all, idempotent.
    Idempotent,
    /// acks=0 without idempotence: a producer that the judge has to convict.
    Reckless,
    /// In transactions that go on where the offset that they commit says.
    Transactional,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// Decides the schedule.
    pub seed: u64,
    /// Faults come for as long as this, and each at least once.
    pub length: Duration,
    /// Which ones.
    pub faults: Vec<Fault>,
    /// Under which producer.
    pub producing: Producing,
}

impl Chaos {
    /// Every fault once; `MILENA_CHAOS_SEED` and `MILENA_CHAOS_SECONDS` choose another seed and a longer run.
    pub fn from_environment() -> Self {
        let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
        Self {
            seed: number("MILENA_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(1..100_000)),
            length: Duration::from_secs(number("MILENA_CHAOS_SECONDS").unwrap_or(0)),
            faults: Fault::ALL.to_vec(),
            producing: Producing::Idempotent,
        }
    }

    /// The same for transactions: the faults that concern them once, and all if it is to be longer.
    pub fn of_transactions_from_environment() -> Self {
        let chaos = Self { producing: Producing::Transactional, ..Self::from_environment() };
        let faults = match chaos.length.is_zero() {
            true => Fault::OF_TRANSACTIONS.to_vec(),
            false => [&Fault::ALL[..], &Fault::OF_TRANSACTIONS[..2]].concat(),
        };
        Self { faults, ..chaos }
    }

    /// Does it, and prints the schedule and the verdict on stderr.
    ///
    /// # Errors
    /// When the cluster cannot be reached at the start or the end; what happens to records between is the verdict's.
    ///
    /// # Panics
    /// When milena's consumer did not read what Java's did.
    pub async fn run(self, live: Live, routes: &str) -> Result<Verdict> {
        let relay = Relay::start(routes).await.expect("the advertised ports are free");
        let brokers = Brokers::connect(live).await?;
        let topic = unique("chaos");
        brokers.create(&topic, PARTITIONS).await;
        let through: Vec<&str> = routes.split(',').filter_map(|route| route.split('=').next()).collect();
        let client = Kafka::connect(&through.join(",")).await?;
        let writing = Writing::start(&client, &topic, self.producing).await?;
        let reading = Reading::start(&client, &topic, PARTITIONS).await?;
        let mut run = Run {
            dice: Rng::with_seed(self.seed),
            brokers,
            relay,
            topic,
            partitions: PARTITIONS,
            begun: Instant::now(),
            reading: &reading,
            writing: &writing,
        };
        run.schedule(&self.faults, self.length).await;
        let (brokers, topic, partitions) = (run.brokers, run.topic, run.partitions);
        let told = writing.finish().await?;
        let log = match self.producing {
            Producing::Transactional => what_is_committed(&brokers, &topic, partitions).await?,
            _ => in_the_log(&brokers, &topic, partitions).await?,
        };
        let read = reading.finish(&log).await?;
        let verdict = Verdict::of(&told, &log);
        say(&format!("CHAOS seed={} {verdict}", self.seed));
        assert!(
            read == log,
            "milena read {} records and Java {}; the first difference: {:?}",
            read.len(),
            log.len(),
            read.iter().zip(&log).find(|(ours, theirs)| ours != theirs)
        );
        Ok(verdict)
    }
}

struct Run<'a> {
    dice: Rng,
    brokers: Brokers,
    relay: Relay,
    topic: String,
    partitions: i32,
    begun: Instant,
    reading: &'a Reading,
    writing: &'a Writing,
}

impl Run<'_> {
    async fn schedule(&mut self, faults: &[Fault], length: Duration) {
        let mut rest = faults.to_vec();
        self.dice.shuffle(&mut rest);
        sleep(QUIET).await;
        while let Some(fault) = rest.pop() {
            self.brokers.healthy(&self.topic).await;
            self.fault(fault).await;
            sleep(self.between(500, 2_000)).await;
            if rest.is_empty() && self.begun.elapsed() < length {
                rest = faults.to_vec();
                self.dice.shuffle(&mut rest);
            }
        }
        self.brokers.healthy(&self.topic).await;
        sleep(QUIET).await;
    }

    async fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::KillLeader => {
                let broker = self.leader().await;
                self.kill(fault, broker).await;
            }
            Fault::KillController => self.kill(fault, self.brokers.controller().await).await,
            Fault::KillCoordinator => {
                let group = format!("group-{}", self.dice.u8(..));
                self.kill(fault, self.brokers.coordinator(&group).await).await;
            }
            Fault::Roll => self.roll().await,
            Fault::Pause => {
                let broker = self.leader().await;
                self.tell(fault, broker);
                self.brokers.broker("pause", broker).await;
                sleep(Duration::from_secs(10)).await;
                self.brokers.broker("resume", broker).await;
            }
            Fault::Cut => {
                self.tell(fault, 0);
                for _ in 0..self.dice.u32(3..8) {
                    (1..=BROKERS).for_each(|broker| self.relay.cut(broker));
                    sleep(self.between(50, 1_000)).await;
                }
            }
            Fault::Swallow => self.swallow(fault, Bytes::Swallow, Duration::from_secs(5)).await,
            Fault::SwallowAnswers => self.swallow(fault, Bytes::SwallowAnswers, Duration::from_secs(4)).await,
            Fault::Grow => {
                self.partitions += self.dice.i32(1..4);
                self.tell(fault, self.partitions as usize);
                self.brokers.grow(&self.topic, self.partitions).await;
                self.reading.grown(self.partitions);
            }
            Fault::KillTransactionCoordinator => {
                let broker = self.brokers.transaction_coordinator(&transactions::id_of(&self.topic)).await;
                self.kill(fault, broker).await;
            }
            Fault::Abandon => {
                self.tell(fault, 0);
                self.writing.abandon();
                sleep(Duration::from_secs(2)).await;
            }
        }
    }

    async fn kill(&mut self, fault: Fault, broker: usize) {
        self.tell(fault, broker);
        self.brokers.broker("kill", broker).await;
        sleep(self.between(2_000, 6_000)).await;
        self.brokers.broker("start", broker).await;
    }

    async fn roll(&mut self) {
        let mut order = [1, 2, 3];
        self.dice.shuffle(&mut order);
        for broker in order {
            self.tell(Fault::Roll, broker);
            self.brokers.broker("stop", broker).await;
            self.brokers.broker("start", broker).await;
            self.brokers.healthy(&self.topic).await;
        }
    }

    async fn swallow(&mut self, fault: Fault, bytes: Bytes, length: Duration) {
        let broker = self.leader().await;
        self.tell(fault, broker);
        self.relay.set(broker, bytes);
        sleep(length).await;
        self.relay.set(broker, Bytes::Pass);
    }

    async fn leader(&mut self) -> usize {
        let leaders = self.brokers.leaders(&self.topic).await;
        leaders[self.dice.usize(..leaders.len())]
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.dice.u64(least..most))
    }

    fn tell(&self, fault: Fault, whom: usize) {
        say(&format!("{:6.1} s  {fault:?} {whom}", self.begun.elapsed().as_secs_f64()));
    }
}

/// What Java's console consumer finds in the topic.
async fn in_the_log(brokers: &Brokers, topic: &str, partitions: i32) -> Result<BTreeMap<Place, u64>> {
    let ends = brokers.kafka.admin().offsets(topic, milena::admin::OffsetSpec::Latest).await?;
    assert_eq!(ends.len(), partitions as usize, "partitions of {topic}");
    // Without transactions there are no holes, so the offsets count the records.
    let count = ends.iter().flatten().sum::<i64>() as usize;
    let log = as_java_reads(brokers, topic, "read_uncommitted", count, 30).await;
    assert_eq!(log.len(), count, "Java's consumer read less than there is");
    Ok(log)
}

/// What Java's console consumer finds that is committed. Offsets count more than that: how much there is milena's own
/// consumer says, and Java's is asked for one more, which is not to come.
async fn what_is_committed(brokers: &Brokers, topic: &str, partitions: i32) -> Result<BTreeMap<Place, u64>> {
    let all = (0..partitions).map(|partition| (TopicPartition::new(topic, partition), StartFrom::Beginning));
    let mut consumer = brokers.kafka.consumer().isolation(IsolationLevel::ReadCommitted).assign(all).await?;
    let (ends, mut count) = (consumer.ends().await?, 0);
    while let Some(batch) = consumer.poll_to(&ends).await? {
        count += batch.len();
    }
    let log = as_java_reads(brokers, topic, "read_committed", count + 1, 10).await;
    assert_eq!(log.len(), count, "Java's consumer read as much as milena's");
    Ok(log)
}

/// Up to so many records, as long as they come in so many seconds.
async fn as_java_reads(
    brokers: &Brokers,
    topic: &str,
    isolation: &str,
    most: usize,
    seconds: u32,
) -> BTreeMap<Place, u64> {
    let bootstrap = env::var("MILENA_BOOTSTRAP").unwrap_or_default();
    let (most, patience) = (most.to_string(), (seconds * 1_000).to_string());
    let read = ["tool", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", &bootstrap];
    let what = ["--topic", topic, "--from-beginning", "--max-messages", &most, "--timeout-ms", &patience];
    let how = ["--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true"];
    let told = brokers.control(&[&read[..], &what, &how, &["--isolation-level", isolation]].concat()).await;
    told.lines().filter_map(printed).collect()
}

/// `Partition:3<TAB>Offset:17<TAB>VALUE`.
fn printed(line: &str) -> Option<(Place, u64)> {
    let mut fields = line.split('\t');
    let partition = fields.next()?.strip_prefix("Partition:")?.parse().ok()?;
    let offset = fields.next()?.strip_prefix("Offset:")?.parse().ok()?;
    Some(((partition, offset), fields.next()?.parse().ok()?))
}

/// To the terminal even when the harness captures what passing tests print.
fn say(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

const BROKERS: usize = 3;
const PARTITIONS: i32 = 6;
/// Before the first fault, and after the last.
const QUIET: Duration = Duration::from_secs(2);
