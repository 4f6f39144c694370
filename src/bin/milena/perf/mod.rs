//! `milena perf`: what sending records costs the client, and how long they take, against a broker of yours.
//!
//! Rules this folder keeps:
//! - what is sent comes from one seed and is made before the clock starts; the CPU of that is told apart;
//! - a record that was not acknowledged makes the command fail: no figure is printed for what was lost;
//! - the last line of stdout is one JSON object; `benches/peers` has programs with the same flags and the same line.

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand, ValueEnum};
use milena::{
    Kafka, Record,
    admin::OffsetSpec,
    producer::{Histogram, Producer, Recorder},
    properties::Properties,
};
use tokio::runtime::{Builder, Runtime};

mod awaited;
mod latency;
mod pace;
mod payload;
mod produce;
mod report;
mod usage;

use crate::{
    failure::{Failure, say},
    options::{Options, connect, ready_topic, topic_name, with_bootstrap},
};
use payload::Payloads;
use report::{Latencies, Outcome};
use usage::Meter;

/// Measures what sending costs: records per second, CPU per record, latency to the acknowledgement.
///
/// Prints a table and, as the last line, one JSON object. Any record that was not acknowledged is an error.
#[derive(Debug, Args)]
pub(crate) struct Perf {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    Produce(produce::Produce),
    Latency(latency::Latency),
    Await(awaited::Await),
}

impl Perf {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.measurement {
            Measurement::Produce(command) => command.run(),
            Measurement::Latency(command) => command.run(),
            Measurement::Await(command) => command.run(),
        }
    }
}

/// What every measurement has.
#[derive(Debug, Args)]
struct Common {
    /// The first brokers to ask, separated by commas.
    #[arg(short, long, alias = "bootstrap", value_name = "HOST:PORT")]
    brokers: Option<String>,

    /// The topic, made if it does not exist.
    #[arg(short, long, value_parser = topic_name)]
    topic: String,

    /// Bytes of a record's value.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=MAX_SIZE))]
    size: u32,

    /// Milliseconds that a batch waits for more records: linger.ms.
    #[arg(long, value_name = "MS")]
    linger: Option<u64>,

    /// none, gzip, snappy, lz4 or zstd: compression.type.
    #[arg(long)]
    codec: Option<String>,

    /// How many brokers must have a record, all, 1 or 0: acks. Less than all also gives up idempotence.
    #[arg(long)]
    acks: Option<String>,

    /// Bytes of a batch: batch.size.
    #[arg(long, value_name = "BYTES")]
    batch: Option<u64>,

    /// What the values are: texts of dictionary words from a fixed seed, or one byte over and over. Of the texts there are
    /// 65,536 different ones, or as many as 256 MiB hold, a power of two and never fewer than 64.
    #[arg(long, value_enum, default_value_t = Kind::RandomText)]
    payload: Kind,

    /// Bytes of each record's key; 65,536 different keys. Default: no keys.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1024))]
    key_size: Option<u32>,

    /// How many partitions the topic gets if it is made. Default: the broker's.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: Option<i32>,

    /// Threads of the runtime; 1 runs everything on one thread, but compression.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,

    /// Counts the topic's records when all is done, says the number on stderr, and deletes the topic.
    #[arg(long)]
    delete: bool,

    #[command(flatten)]
    options: Options,
}

/// What the values of the records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    RandomText,
    Constant,
}

/// What a measurement sends with.
#[derive(Debug, Clone)]
struct Load {
    producer: Producer,
    topic: Arc<str>,
    payloads: Arc<Payloads>,
}

impl Load {
    /// The next record, into its batch; its answer is in the delivery.
    fn record(&self, number: u64) -> Record<'_, milena::producer::Given<&[u8]>, milena::producer::Given<&[u8]>> {
        Record::to(&self.topic).key_or_null(self.payloads.key(number)).value(self.payloads.value(number))
    }

    /// Ends the producer. Every record has to have been acknowledged.
    async fn finish(self, sent: u64) -> Result<(), Failure> {
        self.producer.flush().await?;
        let metrics = self.producer.metrics();
        self.producer.close().await?;
        if metrics.records_acked == sent && metrics.records_failed == 0 {
            return Ok(());
        }
        let (acked, failed) = (metrics.records_acked, metrics.records_failed);
        Err(Failure::error(format!("{sent} records were sent, {acked} acknowledged, {failed} failed")))
    }
}

impl Common {
    /// Gets everything ready, runs `work` under the clock, and reports what it cost.
    fn measure<W>(self, work: impl FnOnce(Load) -> W) -> Result<(), Failure>
    where
        W: Future<Output = Result<Done, Failure>> + Send + 'static,
    {
        let properties = self.properties()?;
        let runtime = runtime(self.threads)?;
        let done = runtime.block_on(async {
            let begun = Instant::now();
            let kafka = connect(&properties).await?;
            let producer = kafka.producer().build().await?;
            let start = begun.elapsed();
            ready_topic(&kafka, &properties, &self.topic, self.partitions).await?;
            let load = self.load(producer);
            let meter = Meter::start();
            // On a worker, not beside them, where there are several.
            let done = tokio::spawn(work(load)).await.map_err(|error| Failure::error(error.to_string()))??;
            let usage = meter.stop();
            if self.delete {
                delete(&kafka, &self.topic).await?;
            }
            let bytes = done.records * u64::from(self.size + self.key_size.unwrap_or(0));
            Ok::<_, Failure>(Outcome {
                records: done.records,
                bytes,
                start: Some(start),
                usage,
                latencies: done.latencies,
            })
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        done?.write(&mut io::stdout().lock()).map_err(Failure::stdout)
    }

    /// What the flags say stands over what `-X` says; neither has defaults of its own.
    fn properties(&self) -> Result<Properties, Failure> {
        let mut properties = self.options.properties()?;
        let flags = [
            ("linger.ms", self.linger.map(|time| time.to_string())),
            ("batch.size", self.batch.map(|bytes| bytes.to_string())),
            ("compression.type", self.codec.clone()),
            ("acks", self.acks.clone()),
        ];
        for (name, value) in flags {
            properties.extend(value.map(|value| (name.to_owned(), value)));
        }
        // Java, too, takes acks below all as a choice against idempotence, unless that is asked for.
        properties.check()?;
        with_bootstrap(properties, self.brokers.as_deref())
    }

    fn load(&self, producer: Producer) -> Load {
        let key_size = self.key_size.map_or(0, |bytes| bytes as usize);
        let payloads = Arc::new(Payloads::new(self.payload, self.size as usize, key_size));
        Load { producer, topic: self.topic.as_str().into(), payloads }
    }
}

/// What a measurement did.
#[derive(Debug)]
struct Done {
    records: u64,
    latencies: Option<Latencies>,
}

fn runtime(threads: u16) -> io::Result<Runtime> {
    match threads {
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads.into()).enable_all().build(),
    }
}

/// What the broker says it has, so that whoever runs this can compare.
async fn delete(kafka: &Kafka, topic: &str) -> Result<(), Failure> {
    let ends = kafka.admin().offsets(topic, OffsetSpec::Latest).await?;
    let records: i64 = ends.into_iter().flatten().sum();
    kafka.admin().delete_topic(topic).await?;
    say(&format!("note: topic {topic} had {records} records; it is deleted"));
    Ok(())
}

/// The largest value, a MiB: 256 payloads of it are made.
const MAX_SIZE: i64 = 1 << 20;
