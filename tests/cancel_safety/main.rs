//! Every future of the public API, dropped at each of its polls in turn; then what it left behind is looked at.
//!
//! Each story is told in a world of its own, on paused time and a network in memory, with 0, 1, 2, … polls until so many
//! are enough, and each twice: once the future is dropped as soon as it is pending, once only when it was woken and is
//! about to be polled again. By then it may have been given what it waited for (memory, an answer, a connection), which
//! must not be lost with it.
//!
//! What must hold every time: what was accepted stands in the log once and in order, all memory comes back, the same call
//! can be made again, nobody hangs, and with the last handle every connection and every task is gone.

use std::{
    fmt, fs,
    future::Future,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use milena::{
    Kafka,
    embedded::{Api, Builder, EmbeddedCluster, Fault, FaultAction, MemoryNetwork},
};
use tokio::{
    runtime,
    time::{sleep, timeout},
};

mod client;
mod cluster;
mod consumer;
mod producer;
#[cfg(feature = "registry")]
mod registry;
mod transaction;

/// Every public future and the test that drops it: `file` and `fn` or, where a type is the future, the type.
const COVERED: &[(&str, &str, &str)] = &[
    ("client.rs", "connect", "a_dropped_connect_leaves_nothing_behind"),
    ("client.rs", "versions", "a_dropped_question_for_versions_can_be_asked_again"),
    ("cluster/call.rs", "Call", "a_dropped_call_to_each_destination_can_be_made_again"),
    ("admin/mod.rs", "create_topic", "a_dropped_create_topic_makes_it_once_or_not_at_all"),
    ("admin/mod.rs", "delete_topic", "a_dropped_delete_topic_deletes_it_once_or_not_at_all"),
    ("admin/mod.rs", "topic", "dropped_questions_of_the_admin_can_be_asked_again"),
    ("admin/mod.rs", "offsets", "dropped_questions_of_the_admin_can_be_asked_again"),
    ("producer/builder.rs", "build", "a_dropped_build_starts_nothing"),
    ("producer/mod.rs", "send", "p9_a_dropped_send_is_delivered_once_or_was_never_enqueued"),
    ("producer/mod.rs", "enqueue", "a_dropped_enqueue_enqueued_nothing"),
    ("producer/mod.rs", "flush", "a_dropped_flush_stops_no_sending"),
    ("producer/mod.rs", "close", "p12_a_dropped_close_closes_and_stops_no_sending"),
    ("producer/mod.rs", "close_with", "p12_a_dropped_close_with_a_deadline_keeps_the_deadline"),
    ("producer/enqueue.rs", "prepare", "a_dropped_prepare_can_be_asked_again"),
    ("producer/enqueue.rs", "enqueue_batch", "a_dropped_batch_enqueued_what_it_took_but_the_last"),
    ("producer/delivery.rs", "settled", "a_dropped_batch_enqueued_what_it_took_but_the_last"),
    ("producer/delivery.rs", "Delivery", "p9_a_dropped_delivery_takes_nothing_back"),
    ("producer/builder.rs", "transactional", "a_dropped_start_of_a_transactional_producer_can_be_made_again"),
    ("producer/transaction/mod.rs", "begin", "a_dropped_begin_leaves_no_transaction_open"),
    ("producer/transaction/mod.rs", "send", "p9_a_dropped_send_in_a_transaction_is_in_it_once_or_not_at_all"),
    ("producer/transaction/mod.rs", "enqueue", "p9_a_dropped_send_in_a_transaction_is_in_it_once_or_not_at_all"),
    ("producer/transaction/mod.rs", "send_offsets", "dropped_offsets_are_committed_with_their_transaction_or_never"),
    ("producer/transaction/mod.rs", "commit", "t4_a_dropped_commit_goes_on_and_its_outcome_is_told"),
    ("producer/transaction/mod.rs", "outcome", "t4_a_dropped_commit_goes_on_and_its_outcome_is_told"),
    ("producer/transaction/mod.rs", "abort", "a_dropped_abort_aborts"),
    ("producer/transaction/mod.rs", "ready", "a_dropped_begin_leaves_no_transaction_open"),
    ("producer/transaction/mod.rs", "prepare", "a_dropped_batch_of_a_transaction_is_in_it_as_far_as_it_was_taken"),
    (
        "producer/transaction/mod.rs",
        "enqueue_batch",
        "a_dropped_batch_of_a_transaction_is_in_it_as_far_as_it_was_taken",
    ),
    ("producer/transaction/mod.rs", "flush", "a_dropped_batch_of_a_transaction_is_in_it_as_far_as_it_was_taken"),
    (
        "producer/transaction/mod.rs",
        "close_with",
        "p12_a_dropped_close_with_of_a_transactional_producer_keeps_the_deadline",
    ),
    ("producer/transaction/mod.rs", "close", "a_dropped_close_of_a_transactional_producer_ends_what_is_under_way"),
    ("consumer/builder.rs", "assign", "a_dropped_start_of_a_consumer_starts_nothing"),
    ("consumer/mod.rs", "assign", "a_dropped_assign_leaves_the_assignment_as_it_was"),
    ("consumer/mod.rs", "close", "a_dropped_close_of_a_consumer_closes_it"),
    ("consumer/mod.rs", "poll", "a_dropped_poll_loses_and_doubles_nothing"),
    ("consumer/mod.rs", "poll_for", "a_dropped_poll_loses_and_doubles_nothing"),
    ("consumer/mod.rs", "poll_to", "a_dropped_poll_loses_and_doubles_nothing"),
    ("consumer/mod.rs", "ends", "a_dropped_question_for_the_ends_can_be_asked_again"),
    ("embedded/builder.rs", "start", "a_dropped_start_of_a_cluster_frees_its_addresses"),
    ("embedded/mod.rs", "kill", "a_dropped_kill_kills"),
    ("embedded/mod.rs", "restart", "a_dropped_restart_leaves_the_broker_up_or_down"),
    ("embedded/mod.rs", "disconnect", "a_dropped_disconnect_cuts"),
    ("embedded/mod.rs", "shutdown", "a_dropped_shutdown_shuts_down"),
    ("embedded/faults.rs", "exhausted", "a_dropped_wait_for_a_fault_changes_nothing"),
    ("registry/mod.rs", "register", "dropped_writes_to_the_registry_are_done_or_not"),
    ("registry/mod.rs", "set_compatibility", "dropped_writes_to_the_registry_are_done_or_not"),
    ("registry/mod.rs", "delete_subject", "dropped_writes_to_the_registry_are_done_or_not"),
    ("registry/mod.rs", "delete_version", "dropped_writes_to_the_registry_are_done_or_not"),
    ("registry/mod.rs", "lookup", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "schema_by_id", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "version", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "latest", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "versions", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "subjects", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "is_compatible", "dropped_questions_to_the_registry_can_be_asked_again"),
    ("registry/mod.rs", "compatibility", "dropped_questions_to_the_registry_can_be_asked_again"),
];

/// Futures whose modules nobody outside the library sees.
const PRIVATE: &[&str] = &["net/", "machine/", "cluster/mod.rs", "cluster/refresh.rs"];

/// When a future is dropped.
#[derive(Debug, Clone, Copy)]
struct Cut {
    polls: usize,
    /// Not before something woke it once more.
    woken: bool,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.woken { "and woken again" } else { "at once" };
        write!(f, "dropped after {} polls, {when}", self.polls)
    }
}

impl Cut {
    /// What the future is ready with; `None` if it was dropped before.
    fn of<F: Future>(self, future: F) -> Within<F> {
        Within { future: Box::pin(future), left: self.polls, woken: self.woken }
    }
}

struct Within<F> {
    future: Pin<Box<F>>,
    left: usize,
    woken: bool,
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 && !self.woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A cluster whose answers to Produce take a while, and a client of it.
struct World {
    network: MemoryNetwork,
    cluster: EmbeddedCluster,
    kafka: Kafka,
}

impl World {
    async fn new(adjust: impl FnOnce(Builder) -> Builder) -> Self {
        let network = MemoryNetwork::new().latency(Duration::from_millis(1)..=Duration::from_millis(1));
        let builder = EmbeddedCluster::builder().memory(&network).brokers(2).topic(TOPIC, 1).topic(OTHER, 3);
        let cluster = adjust(builder).start().await.expect("the cluster starts");
        cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(Duration::from_millis(2))).times(1_000));
        let kafka = client_of(&network, &cluster).await;
        Self { network, cluster, kafka }
    }

    /// Lets go of everything. Nothing is left.
    async fn leave(self, cut: Cut) {
        let Self { network, cluster, kafka } = self;
        drop(kafka);
        sleep(SETTLING).await;
        assert_eq!(network.open_connections(), 0, "connections are left: {cut}");
        cluster.shutdown().await;
        no_task_is_left(cut).await;
    }
}

async fn client_of(network: &MemoryNetwork, cluster: &EmbeddedCluster) -> Kafka {
    let builder = Kafka::builder().memory_network(network).bootstrap(&cluster.bootstrap());
    builder.connect().await.expect("it is reachable")
}

async fn no_task_is_left(cut: Cut) {
    sleep(SETTLING).await;
    assert_eq!(runtime::Handle::current().metrics().num_alive_tasks(), 0, "tasks are left: {cut}");
}

/// Tells a story until it answers that so many polls were enough, each time in a new world.
fn at_every_poll(story: impl AsyncFn(&World, Cut) -> bool) {
    at_every_poll_of(|builder| builder, story);
}

fn at_every_poll_of(adjust: impl Fn(Builder) -> Builder, story: impl AsyncFn(&World, Cut) -> bool) {
    at_every_cut(&paused, async |cut| {
        let world = World::new(&adjust).await;
        let is_enough = story(&world, cut).await;
        world.leave(cut).await;
        is_enough
    });
}

fn at_every_cut(runtime: &dyn Fn() -> runtime::Runtime, story: impl AsyncFn(Cut) -> bool) {
    for woken in [false, true] {
        let is_enough = |polls: &usize| {
            let cut = Cut { polls: *polls, woken };
            let told = runtime().block_on(async { timeout(PATIENCE, Box::pin(story(cut))).await });
            told.unwrap_or_else(|_| panic!("somebody hangs: {cut}"))
        };
        let polls = (0..MOST).find(is_enough).unwrap_or_else(|| panic!("{MOST} polls were not enough"));
        assert!(polls > 0, "nothing is ready before it is polled");
    }
}

fn paused() -> runtime::Runtime {
    fastrand::seed(1);
    runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// What a source file offers that has to be awaited.
fn futures(source: &str) -> Vec<String> {
    // Inline tests end a file; a line that names their file does not.
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let name =
        |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some(rest) = line.strip_prefix("pub async fn ") {
            found.push(name(rest));
        } else if let Some(rest) = line.strip_prefix("pub fn ").filter(|line| line.contains("impl Future")) {
            found.push(name(rest));
        } else if let Some((_, of)) = line.split_once("Future for ").filter(|_| line.starts_with("impl")) {
            found.push(name(of));
        }
    }
    found
}

fn sources(folder: &Path, tell: &mut dyn FnMut(String, String)) {
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = path.to_string_lossy().replace('\\', "/");
        if path.is_dir() && !name.ends_with("/bin") && !name.ends_with("/tests") {
            sources(&path, tell);
        } else if name.ends_with(".rs") {
            tell(name, fs::read_to_string(&path).expect("text"));
        }
    }
}

/// A public future that no test here drops fails this one: add it to `COVERED`, with its test.
#[test]
fn every_public_future_is_dropped_somewhere() {
    let mut missing = Vec::new();
    let mut known: Vec<_> = COVERED.to_vec();
    sources(Path::new("src"), &mut |path, source| {
        let file = path.trim_start_matches("src/");
        for name in futures(&source).into_iter().filter(|_| !PRIVATE.iter().any(|prefix| file.starts_with(prefix))) {
            let before = known.len();
            known.retain(|(of, listed, _)| (*of, *listed) != (file, &*name));
            let is_listed =
                known.len() < before || COVERED.iter().any(|(of, listed, _)| (*of, *listed) == (file, &*name));
            if !is_listed {
                missing.push(format!("{file}: {name}"));
            }
        }
    });
    assert!(missing.is_empty(), "nobody drops these at every poll:\n{}", missing.join("\n"));
    assert!(known.is_empty(), "these are listed and are not there: {known:?}");
    let mut tests = String::new();
    sources(Path::new("tests/cancel_safety"), &mut |_, source| tests += &source);
    let unwritten: Vec<_> = COVERED.iter().filter(|(.., test)| !tests.contains(&format!("fn {test}()"))).collect();
    assert!(unwritten.is_empty(), "tests that are not there: {unwritten:?}");
}

#[test]
fn the_search_for_public_futures_finds_them() {
    let table = [
        ("    pub async fn send(&self) {}", vec!["send"]),
        ("    pub async fn send<T>(&self) {}", vec!["send"]),
        ("    pub fn send(&self) -> impl Future<Output = ()> {}", vec!["send"]),
        ("impl<R> IntoFuture for Call<R>", vec!["Call"]),
        ("impl Future for Delivery {", vec!["Delivery"]),
        ("    pub(crate) async fn send(&self) {}", vec![]),
        ("    pub fn send(&self) {}", vec![]),
        ("/// pub async fn send() {}", vec![]),
    ];
    for (source, expected) in table {
        assert_eq!(futures(source), expected, "{source}");
    }
}

const TOPIC: &str = "t";
const OTHER: &str = "other";
/// No story takes so long on its clock; whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(3600);
/// What is dropped may take so long to go.
const SETTLING: Duration = Duration::from_secs(60);
/// No future here is pending so often.
const MOST: usize = 200;
