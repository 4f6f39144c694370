//! Sends numbered records and says what became of each.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;
use milena::{
    Record,
    producer::{Delivery, Given, Producer, ProducerBuilder, RecordAck},
    properties::Properties,
};
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Events,
    transactions::{Flags, Transactions},
};
use crate::{
    failure::{Failure, chain},
    options::{CREATE, Options, connect, ready_topic, topic_name, with_bootstrap},
    signal::Ending,
};

/// Sends numbered records and writes a line of JSON on stdout for each that was acknowledged or failed.
///
/// Takes the flags and writes the lines of Kafka's VerifiableProducer; --transactional-id and what goes with it are milena's
/// own. Unlike there, records are sent again after errors
/// that pass, and idempotently with acks=-1: what fails is what could not be delivered in delivery.timeout.ms.
#[derive(Debug, Args)]
pub(crate) struct VerifiableProducer {
    /// The first brokers to ask, separated by commas.
    #[arg(long, alias = "broker-list", value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,

    /// The topic.
    #[arg(long, value_parser = topic_name)]
    pub(super) topic: String,

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
    pub(super) transactions: Flags,

    #[command(flatten)]
    options: Options,
}

impl VerifiableProducer {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut ending = Ending::listen()?;
        let mut properties =
            with_bootstrap(self.options.properties_with(&[CREATE])?, self.bootstrap_server.as_deref())?;
        if let Some(acks) = self.acks {
            properties = properties.set("acks", acks.to_string());
        }
        let builder = tokio::select! {
            builder = self.start(&properties) => builder?,
            () = ending.asked() => return Ok(()),
        };
        let events = Arc::new(Events::start());
        let done = match self.transactions.transactional_id.clone() {
            None => self.send_and_tell(builder.build().await?, &events, &mut ending).await,
            Some(id) => {
                let producer = tokio::select! {
                    producer = builder.transactional(id) => producer?,
                    () = ending.asked() => return Ok(()),
                };
                Transactions::new(Numbers::of(self), events.clone()).run(producer, &mut ending).await
            }
        };
        // What was told before an error is written all the same.
        let written = match Arc::into_inner(events) {
            Some(events) => events.finish().await,
            None => Err(Failure::error("a record is still on its way")),
        };
        done.and(written)
    }

    async fn start(&self, properties: &Properties) -> Result<ProducerBuilder, Failure> {
        let kafka = connect(properties).await?;
        ready_topic(&kafka, properties, &self.topic, None).await?;
        Ok(kafka.producer())
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

/// The numbers that are sent, and when each is due.
pub(super) struct Numbers {
    pub(super) options: VerifiableProducer,
    begun: Instant,
    sent: u64,
}

impl Numbers {
    fn of(options: VerifiableProducer) -> Self {
        Self { options, begun: Instant::now(), sent: 0 }
    }

    pub(super) fn are_left(&self) -> bool {
        u64::try_from(self.options.max_messages).map_or(true, |most| self.sent < most)
    }

    /// Waits until the next one may be sent.
    pub(super) async fn turn(&self) {
        if let Ok(rate) = u64::try_from(self.options.throughput) {
            if rate == 0 {
                std::future::pending::<()>().await;
            }
            sleep_until(self.begun + Duration::from_secs_f64(self.sent as f64 / rate as f64)).await;
        }
    }

    /// Key and value of the next one, which stays the next until it is [`taken`](Self::taken).
    pub(super) fn next(&self) -> (Option<String>, String) {
        let value = match self.options.value_prefix {
            Some(prefix) => format!("{prefix}.{}", self.sent),
            None => self.sent.to_string(),
        };
        (self.options.repeating_keys.map(|keys| (self.sent % keys).to_string()), value)
    }

    pub(super) fn record<'r>(
        &'r self,
        key: Option<&'r str>,
        value: &'r str,
    ) -> Record<'r, Given<&'r str>, Given<&'r str>> {
        let record = Record::to(&self.options.topic).key_or_null(key).value(value);
        match u64::try_from(self.options.message_create_time) {
            Ok(first) => record.timestamp(UNIX_EPOCH + Duration::from_millis(first) + self.begun.elapsed()),
            Err(_) => record,
        }
    }

    pub(super) fn taken(&mut self) {
        self.sent += 1;
    }

    pub(super) fn totals(&self, acked: u64) -> Value {
        json!({
            "sent": self.sent,
            "acked": acked,
            "target_throughput": self.options.throughput,
            "avg_throughput": acked as f64 / self.begun.elapsed().as_secs_f64(),
        })
    }
}

struct Sending {
    numbers: Numbers,
    producer: Producer,
    events: Arc<Events>,
    acked: Arc<AtomicU64>,
    /// A task to a partition, so that its records are told in their order and no partition waits for another.
    tellers: HashMap<i32, mpsc::UnboundedSender<Waiting>>,
    telling: JoinSet<()>,
    room: Arc<Semaphore>,
}

/// A record that is on its way.
struct Waiting {
    key: Option<String>,
    value: String,
    delivery: Delivery,
    _room: OwnedSemaphorePermit,
}

impl Sending {
    fn new(options: VerifiableProducer, producer: Producer, events: Arc<Events>) -> Self {
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let (acked, tellers, telling) = Default::default();
        Self { numbers: Numbers::of(options), producer, events, acked, tellers, telling, room }
    }

    async fn send_all(&mut self) -> Result<(), Failure> {
        while self.numbers.are_left() {
            if self.events.has_no_reader() {
                return Err(Failure::StdoutClosed);
            }
            self.numbers.turn().await;
            self.send_one().await?;
        }
        Ok(())
    }

    /// The number counts as sent once its record is enqueued or refused; dropping the future before does neither.
    async fn send_one(&mut self) -> Result<(), Failure> {
        let (key, value) = self.numbers.next();
        let _room = self.room.clone().acquire_owned().await.map_err(|_| Failure::Reported)?;
        let delivery = self.producer.enqueue(self.numbers.record(key.as_deref(), &value)).await;
        self.numbers.taken();
        match delivery {
            Ok(delivery) => self.wait_for(Waiting { key, value, delivery, _room }),
            Err(error) => {
                let more = failed(key, value, &self.numbers.options.topic, &error);
                self.events.emit("producer_send_error", more).await?
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, record: Waiting) {
        let teller = self.tellers.entry(record.delivery.partition()).or_insert_with(|| {
            let (teller, mut records) = mpsc::unbounded_channel();
            let (events, acked, topic) = (self.events.clone(), self.acked.clone(), self.numbers.options.topic.clone());
            self.telling.spawn(async move {
                while let Some(record) = records.recv().await {
                    tell(&events, &acked, record, &topic).await;
                }
            });
            teller
        });
        // The task ends when its sender is gone, not before.
        let _ = teller.send(record);
    }

    /// Ends the tasks of records that are still on their way.
    async fn give_up(&mut self) {
        self.telling.shutdown().await;
    }

    /// Waits until every record is delivered or failed, and sums up.
    async fn settle(&mut self) -> Value {
        // Its error is that of a record, which is told there.
        let _ = self.producer.flush().await;
        self.tellers.clear();
        while self.telling.join_next().await.is_some() {}
        self.numbers.totals(self.acked.load(Ordering::Relaxed))
    }
}

async fn tell(events: &Events, acked: &AtomicU64, record: Waiting, topic: &str) {
    let Waiting { key, value, delivery, _room } = record;
    let (name, more) = match delivery.await {
        Ok(ack) => {
            acked.fetch_add(1, Ordering::Relaxed);
            ("producer_send_success", acknowledged(key, value, topic, &ack))
        }
        Err(error) => ("producer_send_error", failed(key, value, topic, &error)),
    };
    // A closed stdout ends the command before the next record is sent.
    let _ = events.emit(name, more).await;
}

pub(super) fn acknowledged(key: Option<String>, value: String, topic: &str, ack: &RecordAck) -> Value {
    let (offset, partition) = (ack.offset.unwrap_or(-1), ack.partition);
    json!({"key": key, "value": value, "offset": offset, "topic": topic, "partition": partition})
}

pub(super) fn failed(key: Option<String>, value: String, topic: &str, error: &milena::Error) -> Value {
    let (exception, message) = (format!("class milena::{:?}", error.kind()), chain(error));
    json!({"key": key, "value": value, "topic": topic, "exception": exception, "message": message})
}

/// Records that may be on their way: some words each, while their bytes are bounded by `buffer.memory`.
const MAX_WAITING: usize = 64 * 1024;
