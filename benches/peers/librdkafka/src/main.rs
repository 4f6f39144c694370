//! librdkafka, by its Rust wrapper, under the flags of `milena perf`.
//!
//! Records are handed over by the wrapper's cheapest producer, whose thread counts the failures. What awaits an answer
//! does it as users of the wrapper do, by its `FutureProducer`.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use common::{Client, Common, Payloads, Result};
use rdkafka::{
    ClientConfig, ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer},
};

fn main() -> Result<()> {
    common::main::<Librdkafka>()
}

#[derive(Clone)]
struct Librdkafka {
    /// One of the two: each has threads of its own.
    awaited: Option<FutureProducer>,
    counted: Option<Arc<ThreadedProducer<Failures>>>,
    topic: Arc<str>,
}

#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            eprintln!("{}: {error}", record.topic());
            self.0.fetch_add(1, Relaxed);
        }
    }
}

impl Client for Librdkafka {
    type Answer = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    async fn connect(common: &Common) -> Result<Self> {
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", &common.brokers)
            .set("acks", &common.acks)
            .set("enable.idempotence", (common.acks == "all").to_string())
            .set("linger.ms", common.linger.to_string())
            .set("batch.size", common.batch.to_string())
            .set("batch.num.messages", "1000000")
            .set("compression.type", &common.codec)
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144");
        for (name, value) in &common.settings {
            settings.set(name, value);
        }
        let (awaited, counted) = match std::env::args().nth(1).as_deref() {
            Some("produce") => (None, Some(Arc::new(settings.create_with_context(Failures::default())?))),
            _ => (Some(settings.create()?), None),
        };
        Ok(Self { awaited, counted, topic: common.topic.as_str().into() })
    }

    async fn produce(self, payloads: Payloads, count: u64) -> Result<()> {
        let producer = self.counted.ok_or("made for something else")?;
        for number in 0..count {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(payloads.value(number));
            if let Some(key) = payloads.key(number) {
                record = record.key(key);
            }
            while let Err((error, back)) = producer.send(record) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                // Its own threads go on meanwhile.
                std::thread::sleep(Duration::from_micros(500));
                record = back;
            }
        }
        producer.flush(Duration::from_secs(120))?;
        match producer.context().0.load(Relaxed) {
            0 => Ok(()),
            failed => Err(format!("{failed} records failed").into()),
        }
    }

    async fn enqueue(&self, key: Option<&'static [u8]>, value: &'static [u8]) -> Result<Self::Answer> {
        let producer = self.awaited.as_ref().ok_or("made for something else")?;
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        let answer = producer.send_result(record).map_err(|(error, _)| error)?;
        Ok(Box::pin(async move {
            answer.await.map_err(|_| "the producer is gone")?.map_err(|(error, _)| error)?;
            Ok(())
        }))
    }

    async fn close(self) -> Result<()> {
        if let Some(producer) = self.awaited {
            producer.flush(Duration::from_secs(120))?;
        }
        Ok(())
    }
}
