//! What the Rust drivers share: the flags, the payloads, the clock and the report of `milena perf`.
//!
//! The payloads, the histogram, the accounting and the last line are milena's own files, so that nothing but the client
//! differs between two programs. Topics have to exist: `run` makes them.

use std::{
    error::Error,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use histogram::{Histogram, Recorder};
use pace::Pace;
use report::{Latencies, Times};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::{runtime::Builder, task::JoinSet};

#[allow(dead_code)]
#[path = "../../../../src/producer/metrics/histogram.rs"]
mod histogram;
#[path = "../../../../src/bin/milena/perf/pace.rs"]
mod pace;
#[path = "../../../../src/bin/milena/perf/payload.rs"]
mod payload;
#[path = "../../../../src/bin/milena/perf/report.rs"]
mod report;
#[path = "../../../../src/bin/milena/perf/usage.rs"]
mod usage;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The flags of `milena perf`.
#[derive(Debug, Parser)]
pub struct Job {
    #[command(subcommand)]
    pub work: Work,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Work {
    Produce {
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
        #[command(flatten)]
        common: Common,
    },
    Latency {
        #[arg(long, default_value_t = 1000)]
        rate: u64,
        #[arg(long, default_value_t = 10)]
        secs: u64,
        #[command(flatten)]
        common: Common,
    },
    Await {
        #[arg(long, default_value_t = 100)]
        tasks: u32,
        #[arg(long, default_value_t = 100_000)]
        count: u64,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Clone, Args)]
pub struct Common {
    #[arg(long)]
    pub brokers: String,
    #[arg(long)]
    pub topic: String,
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    #[arg(long, default_value_t = 5)]
    pub linger: u64,
    #[arg(long, default_value = "none")]
    pub codec: String,
    #[arg(long, default_value = "all")]
    pub acks: String,
    #[arg(long, default_value_t = 1_000_000)]
    pub batch: usize,
    #[arg(long, value_enum, default_value_t = Kind::RandomText)]
    pub payload: Kind,
    #[arg(long)]
    pub key_size: Option<usize>,
    /// Taken and ignored: the topic is there.
    #[arg(long)]
    pub partitions: Option<i32>,
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// A setting by the client's own name.
    #[arg(short = 'X', value_parser = setting)]
    pub settings: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    RandomText,
    Constant,
}

fn setting(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a setting is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Work {
    pub fn common(&self) -> &Common {
        match self {
            Self::Produce { common, .. } | Self::Latency { common, .. } | Self::Await { common, .. } => common,
        }
    }
}

/// What is sent. It lives as long as the process, so that clients that want that can borrow it.
#[derive(Debug, Clone, Copy)]
pub struct Payloads(&'static payload::Payloads);

impl Payloads {
    fn new(common: &Common) -> Self {
        Self(Box::leak(Box::new(payload::Payloads::new(common.payload, common.size, common.key_size.unwrap_or(0)))))
    }

    pub fn value(self, number: u64) -> &'static [u8] {
        self.0.value(number)
    }

    pub fn key(self, number: u64) -> Option<&'static [u8]> {
        self.0.key(number)
    }
}

/// A client under test.
pub trait Client: Clone + Send + Sync + 'static {
    type Answer: Future<Output = Result<()>> + Send + 'static;

    /// Connects. What it costs is set-up.
    fn connect(common: &Common) -> impl Future<Output = Result<Self>> + Send;

    /// Sends that many records as cheaply as the client can, and waits for all of them.
    fn produce(self, payloads: Payloads, count: u64) -> impl Future<Output = Result<()>> + Send;

    /// Hands a record over; the answer is the broker's.
    fn enqueue(
        &self,
        key: Option<&'static [u8]>,
        value: &'static [u8],
    ) -> impl Future<Output = Result<Self::Answer>> + Send;

    /// Ends the client.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// Runs the program.
pub fn main<C: Client>() -> Result<()> {
    let work = Job::parse().work;
    let common = work.common().clone();
    let runtime = match common.threads {
        1 => Builder::new_current_thread().enable_all().build()?,
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    let outcome = runtime.block_on(async move {
        let payloads = Payloads::new(&common);
        let begun = Instant::now();
        let client = C::connect(&common).await?;
        let start = Some(begun.elapsed());
        let meter = usage::Meter::start();
        let (records, latencies) = tokio::spawn(measure(client, work, payloads)).await??;
        let usage = meter.stop();
        let bytes = records * (common.size + common.key_size.unwrap_or(0)) as u64;
        Result::Ok(report::Outcome { records, bytes, start, usage, latencies })
    });
    runtime.shutdown_background();
    Ok(outcome?.write(&mut std::io::stdout().lock())?)
}

/// Runs a program that is no client: `prepare` makes what is then run under the clock.
pub fn blocking<W>(prepare: impl FnOnce(&'static Common, Payloads, u64) -> Result<W>) -> Result<()>
where
    W: FnOnce() -> Result<()>,
{
    let Work::Produce { count, common } = Job::parse().work else { return Err("produce is all there is".into()) };
    let common: &'static Common = Box::leak(Box::new(common));
    let work = prepare(common, Payloads::new(common), count)?;
    let meter = usage::Meter::start();
    work()?;
    let usage = meter.stop();
    let bytes = count * (common.size + common.key_size.unwrap_or(0)) as u64;
    Ok(report::Outcome { records: count, bytes, start: None, usage, latencies: None }.write(&mut std::io::stdout().lock())?)
}

async fn measure<C: Client>(client: C, work: Work, payloads: Payloads) -> Result<(u64, Option<Latencies>)> {
    match work {
        Work::Produce { count, .. } => {
            client.produce(payloads, count).await?;
            Ok((count, None))
        }
        Work::Latency { rate, secs, .. } => {
            let times = latency(&client, payloads, rate, rate * secs).await?;
            client.close().await?;
            Ok((rate * secs, Some(times)))
        }
        Work::Await { tasks, count, .. } => {
            let times = send_all(&client, payloads, tasks, count).await?;
            client.close().await?;
            Ok((count, Some(times)))
        }
    }
}

/// As `milena perf latency`.
async fn latency<C: Client>(client: &C, payloads: Payloads, rate: u64, count: u64) -> Result<Latencies> {
    let (times, mut answers) = (Times::default(), JoinSet::new());
    client.enqueue(payloads.key(count), payloads.value(count)).await?.await?;
    let (pace, mut sent) = (Pace::start(rate, count), 0);
    while sent < count {
        let due = pace.beyond(sent).await;
        while sent < due {
            let called = Instant::now();
            let answer = client.enqueue(payloads.key(sent), payloads.value(sent)).await?;
            answers.spawn(async move { answer.await.map(|()| called.elapsed()) });
            sent += 1;
        }
        while let Some(answer) = answers.try_join_next() {
            times.count(answer??);
        }
    }
    while let Some(answer) = answers.join_next().await {
        times.count(answer??);
    }
    Ok(times.snapshot())
}

/// As `milena perf await`.
async fn send_all<C: Client>(client: &C, payloads: Payloads, tasks: u32, count: u64) -> Result<Latencies> {
    let (taken, times) = (Arc::new(AtomicU64::new(0)), Arc::new(Times::default()));
    let mut sending = JoinSet::new();
    for _ in 0..tasks {
        let (client, taken, times) = (client.clone(), taken.clone(), times.clone());
        sending.spawn(async move {
            let mut begun = Instant::now();
            loop {
                let number = taken.fetch_add(1, Relaxed);
                if number >= count {
                    return Result::Ok(());
                }
                client.enqueue(payloads.key(number), payloads.value(number)).await?.await?;
                let now = Instant::now();
                times.count(now - begun);
                begun = now;
            }
        });
    }
    while let Some(done) = sending.join_next().await {
        done??;
    }
    Ok(times.snapshot())
}
