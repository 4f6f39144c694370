//! Confluent's Rust client under the flags of `milena perf`.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use common::{Client, Common, Payloads, Result};
use confluent_kafka::{
    common::serialization::ByteArraySerializer,
    producer::{KafkaProducer, Producer, ProducerConfig, ProducerRecord, ProducerRecordOptionsBuilder},
};

fn main() -> Result<()> {
    common::main::<Confluent>()
}

#[derive(Clone)]
struct Confluent {
    producer: Arc<KafkaProducer<Vec<u8>, Vec<u8>>>,
    topic: Arc<str>,
}

impl Confluent {
    fn record(
        &self,
        key: Option<&'static [u8]>,
        value: &'static [u8],
    ) -> Result<ProducerRecord<&'static [u8], &'static [u8]>> {
        let topic = self.topic.to_string();
        if key.is_none() {
            return Ok(ProducerRecord::new(topic, Some(value)));
        }
        let options =
            ProducerRecordOptionsBuilder::new().set_topic(topic).set_key(key).set_value(Some(value)).build()?;
        Ok(ProducerRecord::with_options(options)?)
    }
}

impl Client for Confluent {
    type Answer = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    async fn connect(common: &Common) -> Result<Self> {
        let mut settings: HashMap<String, String> = [
            ("bootstrap.servers", common.brokers.clone()),
            ("acks", common.acks.clone()),
            ("enable.idempotence", (common.acks == "all").to_string()),
            ("linger.ms", common.linger.to_string()),
            ("batch.size", common.batch.to_string()),
            ("compression.type", common.codec.clone()),
            ("buffer.memory", (128 << 20).to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        settings.extend(common.settings.iter().cloned());
        let (key, value) = (ByteArraySerializer::default(), ByteArraySerializer::default());
        let producer = KafkaProducer::new(ProducerConfig::new(&settings)?, key, value)?;
        // The topic's metadata, so that the first record does not wait for it.
        producer.partitions_for(&common.topic).await?;
        Ok(Self { producer: Arc::new(producer), topic: common.topic.as_str().into() })
    }

    /// The call that borrows, without a callback; whether all arrived is asked of the broker by `run`.
    async fn produce(self, payloads: Payloads, count: u64) -> Result<()> {
        for number in 0..count {
            let record = self.record(payloads.key(number), payloads.value(number))?;
            drop(self.producer.send(record, None).await?);
        }
        self.producer.flush().await?;
        self.close().await
    }

    async fn enqueue(&self, key: Option<&'static [u8]>, value: &'static [u8]) -> Result<Self::Answer> {
        let answer = self.producer.send(self.record(key, value)?, None).await?;
        Ok(Box::pin(async move { Ok(answer.get().await.map(drop)?) }))
    }

    async fn close(self) -> Result<()> {
        Ok(self.producer.close().await?)
    }
}
