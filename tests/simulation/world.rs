//! Runs a plan: client and cluster in one thread, on a paused clock, with everything random drawn from one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use milena::{
    Kafka,
    embedded::{EmbeddedCluster, Fault, MemoryNetwork},
    record::{Batches, ControlType, DecodeScratch},
    wire::messages::{CreatePartitionsRequest, CreatePartitionsTopic, FetchPartition, FetchRequest, FetchTopic},
};
use tokio::{
    runtime,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    actors::{self, TOPIC},
    copier::{self, COPIES},
    history::{Event, History, Recorder, Stored, Transaction, Truth, read_value},
    member,
    plan::{Plan, Trouble},
    writer,
};

/// What is left of a run.
pub struct Run {
    pub history: History,
    pub truth: Truth,
    /// How much virtual time passed.
    pub took: Duration,
}

/// Runs a plan in this thread.
pub fn run(plan: &Plan) -> Run {
    fastrand::seed(plan.seed);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let begun = Instant::now();
        let recorder = Recorder::start();
        let truth = World::start(plan, recorder.clone()).await.play(plan).await;
        Run { history: recorder.history(), truth, took: begun.elapsed() }
    })
}

struct World {
    network: MemoryNetwork,
    cluster: EmbeddedCluster,
    recorder: Recorder,
}

/// Tasks under way, by name.
#[derive(Default)]
struct Actors {
    tasks: JoinSet<String>,
    names: BTreeSet<String>,
}

impl Actors {
    fn begin(&mut self, name: String, actor: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(name.clone());
        self.tasks.spawn(async move {
            actor.await;
            name
        });
    }
}

impl World {
    async fn start(plan: &Plan, recorder: Recorder) -> Self {
        let (least, most) = plan.latency;
        let network = MemoryNetwork::new().latency(least..=most).start_time_millis(MIDNIGHT);
        let network = plan.bandwidth.into_iter().fold(network, MemoryNetwork::bandwidth);
        let cluster = EmbeddedCluster::builder().memory(&network).brokers(plan.brokers);
        let cluster = cluster.topic(TOPIC, plan.partitions).topic(COPIES, plan.partitions);
        let cluster = cluster.feature("transaction.version", plan.transaction_version);
        let cluster = cluster.transaction_verification(plan.verifies);
        let cluster = cluster.start().await.expect("the cluster starts");
        Self { network, cluster, recorder }
    }

    async fn play(self, plan: &Plan) -> Truth {
        let mut producers = Actors::default();
        for (number, actor) in (0..).zip(&plan.producers) {
            let (kafka, recorder) = (self.client(plan).await, self.recorder.clone());
            producers.begin(
                format!("producer {number}"),
                actors::produce(kafka, number, actor.clone(), plan.partitions, recorder),
            );
        }
        for (number, actor) in (FIRST_WRITER..).zip(&plan.writers) {
            let (kafka, recorder) = (self.client(plan).await, self.recorder.clone());
            producers.begin(
                format!("writer {number}"),
                writer::write(kafka, number, actor.clone(), plan.partitions, recorder),
            );
        }
        let (tell_ends, ends) = watch::channel(None);
        let mut readers = Actors::default();
        for (number, actor) in (0..).zip(&plan.readers) {
            let (kafka, recorder, ends) = (self.client(plan).await, self.recorder.clone(), ends.clone());
            readers.begin(
                format!("reader {number}"),
                actors::read(kafka, number, actor.clone(), plan.partitions, ends, recorder),
            );
        }
        for (number, actor) in (0..).zip(&plan.members) {
            let (kafka, recorder, ends) = (self.client(plan).await, self.recorder.clone(), ends.clone());
            readers.begin(
                format!("member {number}"),
                member::belong(kafka, number, actor.clone(), plan.partitions, ends, recorder),
            );
        }
        for (plan_of, instance) in
            plan.copier.iter().flat_map(|plan| std::iter::repeat(plan).zip(0..plan.instances.len()))
        {
            let (kafka, recorder, ends) = (self.client(plan).await, self.recorder.clone(), ends.clone());
            readers.begin(
                format!("copier {instance}"),
                copier::copy(kafka, instance as u16, plan_of.clone(), plan.partitions, ends, recorder),
            );
        }
        self.trouble(plan).await;
        self.finish(&mut producers).await;
        let mut truth = Truth { partitions: self.read_logs(plan, TOPIC).await, ..Truth::default() };
        let last = |stored: &Vec<Stored>| stored.last().map_or(0, |last| last.offset + 1);
        tell_ends.send_replace(Some(truth.partitions.iter().map(|(partition, log)| (*partition, last(log))).collect()));
        self.finish(&mut readers).await;
        truth.copies = self.read_logs(plan, COPIES).await;
        drop((producers, readers));
        self.leave().await;
        truth
    }

    async fn client(&self, plan: &Plan) -> Kafka {
        let kafka = Kafka::builder().memory_network(&self.network).bootstrap(&self.cluster.bootstrap());
        let timeout = plan.request_timeout.as_millis().to_string();
        kafka.property("request.timeout.ms", &timeout).connect().await.expect("nothing is wrong yet")
    }

    /// Lets everything go wrong that the plan says, then nothing any more.
    async fn trouble(&self, plan: &Plan) {
        let begun = Instant::now();
        let mut ends: BTreeMap<(Duration, usize), &Trouble> = BTreeMap::new();
        let due = plan.troubles.iter().enumerate().map(|(number, (at, trouble))| ((*at, number), trouble, true));
        let over =
            plan.troubles.iter().enumerate().filter_map(|(number, (at, trouble))| {
                trouble.lasts().map(|lasts| ((*at + lasts, number), trouble, false))
            });
        let mut all: Vec<_> = due.chain(over).collect();
        all.sort_by_key(|(at, ..)| *at);
        for ((at, number), trouble, begins) in all {
            sleep_until(begun + at).await;
            if begins {
                self.begin(plan, trouble).await;
                ends.insert((at, number), trouble);
            } else {
                self.end(trouble).await;
            }
        }
        self.cluster.clear_faults();
        self.network.heal();
        for broker in 0..plan.brokers {
            self.cluster.restart(broker).await.expect("it comes back");
        }
        self.recorder.note(Event::Calm);
    }

    async fn begin(&self, plan: &Plan, trouble: &Trouble) {
        self.recorder.note(Event::Fault(format!("{trouble:?}")));
        let address = |broker: &i32| format!("broker-{broker}:9092");
        match trouble {
            Trouble::Fault { api, action, broker, skip, times } => {
                let fault = Fault::on(*api, action.clone()).skip(*skip).times(*times);
                self.cluster.inject(broker.iter().fold(fault, |fault, broker| fault.broker(*broker)));
            }
            Trouble::MoveLeader { partition, broker } => {
                self.cluster.move_leader(TOPIC, *partition, *broker).expect("both exist");
            }
            Trouble::MoveCoordinator { key, broker } => {
                self.cluster.move_coordinator(key, *broker).expect("it exists");
            }
            // Nobody may have used it so far.
            Trouble::Fence { id } => drop(self.cluster.fence_producer(id)),
            Trouble::Upgrade => self.cluster.set_feature("transaction.version", 2),
            // While the way to the brokers is as it is, it may fail.
            Trouble::Grow { count } => drop(timeout(Duration::from_secs(2), self.grow(plan, *count)).await),
            Trouble::Kill { broker, .. } => self.cluster.kill(*broker).await,
            Trouble::Cut { broker } => self.network.cut(&address(broker)),
            Trouble::CutAfter { broker, way, bytes } => self.network.cut_after(&address(broker), *way, *bytes),
            Trouble::Abandon { broker } => self.network.abandon(&address(broker)),
            Trouble::Refuse { broker, .. } => self.network.refuse(&address(broker)),
            Trouble::Stall { broker, way, .. } => self.network.stall(&address(broker), *way),
            Trouble::Swallow { broker, way, .. } => self.network.swallow(&address(broker), *way),
        }
    }

    async fn grow(&self, plan: &Plan, count: i32) {
        let kafka = Kafka::builder().memory_network(&self.network).bootstrap(&self.cluster.bootstrap());
        let timeout = plan.request_timeout.as_millis().to_string();
        let Ok(kafka) = kafka.property("request.timeout.ms", &timeout).connect().await else { return };
        let topics = vec![CreatePartitionsTopic { name: TOPIC.into(), count, assignments: None }];
        let request = CreatePartitionsRequest { topics, timeout_ms: 1_000, validate_only: false };
        let _ = kafka.request(request).controller().await;
    }

    async fn end(&self, trouble: &Trouble) {
        self.recorder.note(Event::Fault(format!("over: {trouble:?}")));
        match trouble {
            Trouble::Kill { broker, .. } => self.cluster.restart(*broker).await.expect("it comes back"),
            _ => self.network.heal(),
        }
    }

    /// Waits for all of them, within the bound.
    async fn finish(&self, actors: &mut Actors) {
        let all = async {
            while let Some(done) = actors.tasks.join_next().await {
                actors.names.remove(&done.expect("no actor panics"));
            }
        };
        if timeout(BOUND, all).await.is_err() {
            let who = actors.names.iter().cloned().collect::<Vec<_>>().join(", ");
            self.recorder.note(Event::Stuck { who });
            actors.tasks.shutdown().await;
        }
    }

    /// Drops what is left, and looks at what that leaves.
    async fn leave(self) {
        sleep(SETTLING).await;
        let connections = self.network.open_connections();
        self.cluster.shutdown().await;
        sleep(SETTLING).await;
        let tasks = runtime::Handle::current().metrics().num_alive_tasks();
        self.recorder.note(Event::Left { connections, tasks });
    }

    /// What the logs hold, asked for request by request and not by a consumer.
    async fn read_logs(&self, plan: &Plan, topic: &'static str) -> BTreeMap<i32, Vec<Stored>> {
        let kafka = self.client(plan).await;
        let mut logs = BTreeMap::new();
        let described = kafka.admin().topic(topic).await.expect("nothing is wrong any more");
        for partition in 0..described.leaders.len() as i32 {
            let mut log = Vec::new();
            loop {
                let from = log.last().map_or(0, |last: &Stored| last.offset + 1);
                let part = FetchPartition {
                    partition,
                    fetch_offset: from,
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                };
                let wanted = FetchTopic { topic: topic.into(), partitions: vec![part], ..Default::default() };
                let request = FetchRequest { max_bytes: 1 << 20, topics: vec![wanted], ..Default::default() };
                let answer = kafka
                    .request(request)
                    .at_most(LAST_BY_NAME)
                    .leader_of(topic, partition)
                    .await
                    .expect("nothing is wrong any more");
                let data =
                    answer.responses.into_iter().flat_map(|topic| topic.partitions).next().expect("it was asked");
                let bytes = data.records.map(|records| records.into_bytes()).unwrap_or_default();
                if bytes.is_empty() {
                    break;
                }
                read_batches(bytes, &mut log);
            }
            logs.insert(partition, log);
        }
        logs
    }
}

/// Adds what the batches hold. A marker settles the transaction of its producer, and stands there as nobody's record.
fn read_batches(bytes: bytes::Bytes, log: &mut Vec<Stored>) {
    for batch in Batches::new(bytes) {
        let batch = batch.expect("the log is sound");
        batch.check_crc().expect("the log is sound");
        let decoded = batch.decode(&mut DecodeScratch::default(), 1 << 20).expect("the log is sound");
        let writer = batch.producer_id as u64;
        if let Some(marker) = decoded.control().expect("a marker") {
            let fate = if marker.kind == ControlType::COMMIT { Transaction::Committed } else { Transaction::Aborted };
            let open =
                log.iter_mut().filter(|stored| stored.transaction == Transaction::Open && stored.writer == writer);
            open.for_each(|stored| stored.transaction = fate);
            let value = Err(MARKER.to_owned());
            log.push(Stored { offset: batch.last_offset(), value, transaction: Transaction::Aborted, writer });
            continue;
        }
        let transaction = if batch.is_transactional() { Transaction::Open } else { Transaction::None };
        for record in decoded.records() {
            let record = record.expect("the log is sound");
            log.push(Stored { offset: record.offset, value: read_value(record.value), transaction, writer });
        }
    }
}

impl Trouble {
    /// How long it lasts, if it is over by itself.
    fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Kill { lasts, .. }
            | Self::Refuse { lasts, .. }
            | Self::Stall { lasts, .. }
            | Self::Swallow { lasts, .. } => Some(*lasts),
            _ => None,
        }
    }
}

/// What stands for the value of a transaction's marker.
pub const MARKER: &str = "a marker";
/// Writers have the numbers from here on, producers those from 0.
const FIRST_WRITER: u16 = 100;
/// The last version of Fetch that names topics.
const LAST_BY_NAME: i16 = 12;
/// Some day, so that records are as old in every run.
const MIDNIGHT: i64 = 1_760_000_000_000;
/// Everybody has to be done so long after the last fault.
pub const BOUND: Duration = Duration::from_secs(120);
/// What is dropped may take so long to go.
const SETTLING: Duration = Duration::from_secs(60);
