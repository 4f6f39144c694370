//! Half an hour at a steady rate under rolling restarts: nothing is lost, and memory stays flat.
//!
//! ```text
//! compose/with-kafka --brokers 3 --no-registry env MILENA_SOAK_MINUTES=30 MILENA_BIN=$PWD/target/release/milena \
//!   cargo test --package protocol-tests --features full --test live_soak -- --nocapture
//! ```
//! With `MILENA_SOAK_TRANSACTIONS=1` the records go in transactions of a hundred, of which one in ten is aborted. The
//! producer is `milena verifiable-producer`, a process of its own, so that what is sampled is the client alone.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use milena::{
    Result, TopicPartition,
    consumer::{IsolationLevel, StartFrom},
};
use protocol_tests::{
    chaos::{
        brokers::Brokers,
        judge::{Place, Told, Verdict},
    },
    live, unique,
};
use tokio::time::sleep;

const PARTITIONS: i32 = 6;

/// What the producer's lines have told so far.
#[derive(Debug, Default)]
struct Heard {
    told: Told,
    last: Option<Instant>,
    /// Records that failed otherwise than by an abort on purpose.
    refused: usize,
}

/// A producer in a process of its own.
struct Client {
    process: Child,
    heard: Arc<Mutex<Heard>>,
    reader: JoinHandle<()>,
}

impl Client {
    fn start(binary: &str, bootstrap: &str, topic: &str, rate: u64) -> Self {
        let rate = rate.to_string();
        let flags =
            ["--bootstrap-server", bootstrap, "--topic", topic, "--throughput", &rate, "--repeating-keys", "50"];
        let transactions = ["--transactional-id", topic, "--transaction-size", "100", "--abort-every", "10"];
        let more = if transactional() { &transactions[..] } else { &[] };
        let command =
            Command::new(binary).arg("verifiable-producer").args(flags).args(more).stdout(Stdio::piped()).spawn();
        let mut process = command.unwrap_or_else(|error| panic!("{binary} (MILENA_BIN): {error}"));
        let (lines, heard) = (process.stdout.take().expect("piped"), Arc::new(Mutex::new(Heard::default())));
        let hears = heard.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(std::io::Result::ok) {
                hears.lock().expect("nobody panics").hear(&line);
            }
        });
        Self { process, heard, reader }
    }

    fn acked(&self) -> usize {
        self.heard.lock().expect("nobody panics").told.acked.len()
    }

    /// Resident memory in KiB and seconds of CPU so far.
    fn sample(&self) -> (u64, f64) {
        let of = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.process.id())).expect("it runs");
        let status = of("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        let stat = of("stat");
        // Fields are counted behind the name, which may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        (resident.trim().trim_end_matches(" kB").parse().expect("a number"), ticks / TICKS)
    }

    /// Asks it to end, and waits until it has settled everything.
    fn end(mut self) -> (Told, usize) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        assert!(self.process.wait().expect("it ends").success(), "the producer failed");
        self.reader.join().expect("its lines are read");
        let mut heard = self.heard.lock().expect("nobody panics");
        (std::mem::take(&mut heard.told), heard.refused)
    }
}

impl Heard {
    fn hear(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { panic!("not a line of JSON: {line}") };
        let value = || line["value"].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
        match line["name"].as_str() {
            Some("producer_send_success") => {
                let place = (line["partition"].as_i64().unwrap_or(-1) as i32, line["offset"].as_i64().unwrap_or(-1));
                self.told.acked.insert(value(), place);
                let now = Instant::now();
                let gap = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
                self.told.stall_max = self.told.stall_max.max(gap);
            }
            Some("producer_send_error") => {
                self.told.failed.insert(value());
                let on_purpose = line["message"].as_str().is_some_and(|message| message.contains("--abort-every"));
                self.refused += usize::from(!on_purpose);
            }
            Some("tool_data") => self.told.sent = line["sent"].as_u64().unwrap_or_default(),
            _ => {}
        }
    }
}

/// Stops and starts the brokers in turn, each after the cluster is in sync again.
async fn roll(brokers: &Brokers, topic: &str, until: Instant) -> usize {
    let mut rolled = 0;
    while Instant::now() + RESTING < until {
        for broker in 1..=3 {
            brokers.broker("stop", broker).await;
            sleep(Duration::from_secs(2)).await;
            brokers.broker("start", broker).await;
            brokers.healthy(topic).await;
        }
        rolled += 1;
        sleep(RESTING).await;
    }
    rolled
}

async fn log(brokers: &Brokers, topic: &str) -> Result<BTreeMap<Place, u64>> {
    let all = (0..PARTITIONS).map(|partition| (TopicPartition::new(topic, partition), StartFrom::Beginning));
    let mut consumer = brokers.kafka.consumer().isolation(IsolationLevel::ReadCommitted).assign(all).await?;
    let (ends, mut log) = (consumer.ends().await?, BTreeMap::new());
    while let Some(batch) = consumer.poll_to(&ends).await? {
        for record in &batch {
            let value = String::from_utf8_lossy(record.value().unwrap_or_default()).parse().expect("a number");
            log.insert((batch.partition(), record.offset()), value);
        }
    }
    Ok(log)
}

fn transactional() -> bool {
    number("MILENA_SOAK_TRANSACTIONS", 0) != 0
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn memory_stays_flat_at_a_steady_rate_under_rolling_restarts() {
    let minutes = number("MILENA_SOAK_MINUTES", 0);
    if minutes == 0 {
        return eprintln!("SKIPPED: a soak takes as long as MILENA_SOAK_MINUTES says");
    }
    let live = live("memory_stays_flat").expect("compose/with-kafka --brokers 3 runs it");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, soak(live, Duration::from_secs(minutes * 60))).expect("no error");
}

async fn soak(live: protocol_tests::Live, length: Duration) -> Result<()> {
    let binary = env::var("MILENA_BIN").unwrap_or_else(|_| "../target/debug/milena".to_owned());
    let rate = number("MILENA_SOAK_RATE", 1_000);
    let (bootstrap, topic) = (live.bootstrap.clone(), unique("soak"));
    let brokers = Brokers::connect(live).await?;
    brokers.create(&topic, PARTITIONS).await;
    let client = Client::start(&binary, &bootstrap, &topic, rate);
    let begun = Instant::now();
    let until = begun + length;
    let rolling = tokio::task::spawn_local({
        let (brokers, topic) = (brokers.clone(), topic.clone());
        async move { roll(&brokers, &topic, until).await }
    });
    let mut samples = Vec::new();
    println!("| minute | acknowledged | resident MiB | CPU s |\n|---|---|---|---|");
    while Instant::now() < until || !rolling.is_finished() {
        sleep(SAMPLING).await;
        let (resident, cpu) = client.sample();
        samples.push(resident);
        let (minute, mib) = (begun.elapsed().as_secs_f64() / 60.0, resident as f64 / 1024.0);
        println!("| {minute:.1} | {} | {mib:.1} | {cpu:.1} |", client.acked());
    }
    let rolled = rolling.await.expect("the brokers come back");
    let (_, cpu) = client.sample();
    let took = begun.elapsed().as_secs_f64();
    let (told, refused) = client.end();
    let log = log(&brokers, &topic).await?;
    let verdict = Verdict::of(&told, &log);
    // Of transactions that were aborted nothing may be seen; what failed without one may stand in the log.
    let visible = log.values().filter(|value| transactional() && told.failed.contains(value)).count();
    // What is fetched and warmed at the start is no growth.
    let (early, late) = samples.split_at(samples.len() / 3);
    let most = |of: &[u64]| of.iter().copied().max().unwrap_or_default();
    let (early, late) = (most(early), most(late));
    println!(
        "SOAK minutes={:.1} rate={rate} rolls={rolled} cpu_s={cpu:.1} rss_kib_first_third={early} rss_kib_rest={late} \
         refused={refused} visible={visible} {verdict}",
        took / 60.0
    );
    assert!(verdict.is_pass() && refused == 0 && visible == 0, "refused={refused} visible={visible} {verdict}");
    assert!(late <= early + early / 10 + 1024, "memory grew from {early} to {late} KiB");
    Ok(())
}

/// Between two samples.
const SAMPLING: Duration = Duration::from_secs(30);
/// Between two rolls.
const RESTING: Duration = Duration::from_secs(20);
/// Of the clock in which Linux counts CPU.
const TICKS: f64 = 100.0;
