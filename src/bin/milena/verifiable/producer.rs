//! Sends numbered records and says what became of each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;
use milena::{
    Record,
    producer::{Delivery, Producer},
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::Events;
use crate::{
    failure::{Failure, chain},
    options::{Options, connect, topic_name, with_bootstrap},
    signal::Ending,
};

/// Sends numbered records and writes a line of JSON on stdout for each that was acknowledged or failed.
///
/// Takes the flags and writes the lines of Kafka's VerifiableProducer. Unlike there, records are sent again after errors
/// that pass, and idempotently with acks=-1: what fails is what could not be delivered in delivery.timeout.ms.
#[derive(Debug, Args)]
pub(crate) struct VerifiableProducer {
    /// The first brokers to ask, separated by commas.
    #[arg(long, alias = "broker-list", value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,

    /// The topic.
    #[arg(long, value_parser = topic_name)]
    topic: String,

    /// How many records are sent; -1 is no limit.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    max_messages: i64,

    /// How many records are sent in a second; -1 is as many as there can be.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    throughput: i64,

    /// Which replicas have to have a record: 0 none, 1 the leader, -1 all in sync, which is the default.
    #[arg(long, value_name = "0|1|-1", allow_negative_numbers = true)]
    acks: Option<i16>,

    /// The timestamp of the first record in milliseconds since 1970; later ones have later times.
    #[arg(long, value_name = "MS", default_value_t = -1, allow_negative_numbers = true)]
    message_create_time: i64,

    /// Values are PREFIX.0, PREFIX.1 and so on, instead of plain numbers.
    #[arg(long, value_name = "PREFIX")]
    value_prefix: Option<u32>,

    /// Keys are 0 to KEYS-1, over and over. Without it there are none.
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(1..))]
    repeating_keys: Option<u64>,

    #[command(flatten)]
    options: Options,
}

impl VerifiableProducer {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut ending = Ending::listen()?;
        let mut properties = with_bootstrap(self.options.properties()?, self.bootstrap_server.as_deref())?;
        if let Some(acks) = self.acks {
            properties = properties.set("acks", acks.to_string());
        }
        let producer = tokio::select! {
            producer = async { Ok::<_, Failure>(connect(&properties).await?.producer().build().await?) } => producer?,
            () = ending.asked() => return Ok(()),
        };
        let events = Arc::new(Events::start());
        let done = self.send_and_tell(producer, &events, &mut ending).await;
        // What was told before an error is written all the same.
        let written = match Arc::into_inner(events) {
            Some(events) => events.finish().await,
            None => Err(Failure::error("a record is still on its way")),
        };
        done.and(written)
    }

    async fn send_and_tell(self, producer: Producer, events: &Arc<Events>, ending: &mut Ending) -> Result<(), Failure> {
        events.emit("startup_complete", json!({})).await?;
        let mut sending = Sending::new(self, producer, events.clone());
        tokio::select! {
            done = sending.send_all() => done?,
            () = ending.asked() => {}
        }
        let totals = tokio::select! {
            totals = sending.settle() => totals,
            () = ending.asked() => {
                sending.give_up().await;
                return Err(Failure::error("ended before every record was settled"));
            }
        };
        drop(sending);
        events.emit("shutdown_complete", json!({})).await?;
        events.emit("tool_data", totals).await
    }
}

struct Sending {
    options: VerifiableProducer,
    producer: Producer,
    events: Arc<Events>,
    begun: Instant,
    sent: u64,
    acked: Arc<AtomicU64>,
    /// A task to a record that is on its way, so that each is told when its own fate is known.
    waiting: JoinSet<()>,
    room: Arc<Semaphore>,
}

impl Sending {
    fn new(options: VerifiableProducer, producer: Producer, events: Arc<Events>) -> Self {
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let (acked, waiting) = Default::default();
        Self { options, producer, events, begun: Instant::now(), sent: 0, acked, waiting, room }
    }

    async fn send_all(&mut self) -> Result<(), Failure> {
        while u64::try_from(self.options.max_messages).map_or(true, |most| self.sent < most) {
            if self.events.has_no_reader() {
                return Err(Failure::StdoutClosed);
            }
            if let Ok(rate) = u64::try_from(self.options.throughput) {
                if rate == 0 {
                    std::future::pending::<()>().await;
                }
                sleep_until(self.begun + Duration::from_secs_f64(self.sent as f64 / rate as f64)).await;
            }
            self.send_one().await?;
            while self.waiting.try_join_next().is_some() {}
        }
        Ok(())
    }

    /// The number counts as sent once its record is enqueued or refused; dropping the future before does neither.
    async fn send_one(&mut self) -> Result<(), Failure> {
        let value = match self.options.value_prefix {
            Some(prefix) => format!("{prefix}.{}", self.sent),
            None => self.sent.to_string(),
        };
        let key = self.options.repeating_keys.map(|keys| (self.sent % keys).to_string());
        let mut record = Record::to(&self.options.topic).key_or_null(key.as_deref()).value(value.as_str());
        if let Ok(first) = u64::try_from(self.options.message_create_time) {
            record = record.timestamp(UNIX_EPOCH + Duration::from_millis(first) + self.begun.elapsed());
        }
        let room = self.room.clone().acquire_owned().await.map_err(|_| Failure::Reported)?;
        let delivery = self.producer.enqueue(record).await;
        self.sent += 1;
        let (events, acked, topic) = (self.events.clone(), self.acked.clone(), self.options.topic.clone());
        self.waiting.spawn(async move {
            tell(&events, &acked, delivery, key, value, topic).await;
            drop(room);
        });
        Ok(())
    }

    /// Ends the tasks of records that are still on their way.
    async fn give_up(&mut self) {
        self.waiting.shutdown().await;
    }

    /// Waits until every record is delivered or failed, and sums up.
    async fn settle(&mut self) -> Value {
        // Its error is that of a record, which is told there.
        let _ = self.producer.flush().await;
        while self.waiting.join_next().await.is_some() {}
        let acked = self.acked.load(Ordering::Relaxed);
        let seconds = self.begun.elapsed().as_secs_f64();
        json!({
            "sent": self.sent,
            "acked": acked,
            "target_throughput": self.options.throughput,
            "avg_throughput": acked as f64 / seconds,
        })
    }
}

async fn tell(
    events: &Events,
    acked: &AtomicU64,
    delivery: milena::Result<Delivery>,
    key: Option<String>,
    value: String,
    topic: String,
) {
    let outcome = match delivery {
        Ok(delivery) => delivery.await,
        Err(error) => Err(error),
    };
    // A closed stdout ends the command before the next record is sent.
    let _ = match outcome {
        Ok(ack) => {
            acked.fetch_add(1, Ordering::Relaxed);
            let (offset, partition) = (ack.offset.unwrap_or(-1), ack.partition);
            let more = json!({"key": key, "value": value, "offset": offset, "topic": topic, "partition": partition});
            events.emit("producer_send_success", more).await
        }
        Err(error) => {
            let (exception, message) = (format!("class milena::{:?}", error.kind()), chain(&error));
            let more = json!({"key": key, "value": value, "topic": topic, "exception": exception, "message": message});
            events.emit("producer_send_error", more).await
        }
    };
}

/// Records that may be on their way: a small task each, while their bytes are bounded by `buffer.memory`.
const MAX_WAITING: usize = 64 * 1024;
