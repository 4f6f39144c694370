//! krafka under the flags of `milena perf`.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Client, Common, Payloads, Result};
use krafka::{
    Compression, Kafka, Record,
    producer::{Acks, Producer},
};

fn main() -> Result<()> {
    common::main::<Krafka>()
}

#[derive(Clone)]
struct Krafka {
    producer: Arc<Producer>,
    topic: Arc<str>,
}

impl Krafka {
    fn record(&self, key: Option<&'static [u8]>, value: &'static [u8]) -> Record {
        let record = Record::new(&*self.topic, Bytes::from_static(value));
        match key {
            Some(key) => record.key(Bytes::from_static(key)),
            None => record,
        }
    }
}

impl Client for Krafka {
    type Answer = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    async fn connect(common: &Common) -> Result<Self> {
        if let Some((name, _)) = common.settings.first() {
            return Err(format!("{name}: this client is not configured by names").into());
        }
        let kafka = Kafka::builder(&*common.brokers).connect().await?;
        let acks = match &*common.acks {
            "0" => Acks::None,
            "1" => Acks::Leader,
            _ => Acks::All,
        };
        let compression = match &*common.codec {
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        };
        let producer = kafka
            .producer()
            .acks(acks)
            .idempotent(acks == Acks::All)
            .compression(compression)
            .linger(Duration::from_millis(common.linger))
            .batch_size(common.batch)
            .build()
            .await?;
        Ok(Self { producer: Arc::new(producer), topic: common.topic.as_str().into() })
    }

    async fn produce(self, payloads: Payloads, count: u64) -> Result<()> {
        let mut window = VecDeque::with_capacity(WINDOW);
        for number in 0..count {
            let record = self.record(payloads.key(number), payloads.value(number));
            window.push_back(self.producer.enqueue(record).await?);
            if window.len() == WINDOW
                && let Some(oldest) = window.pop_front()
            {
                oldest.await?;
            }
        }
        self.producer.flush().await?;
        for delivery in window {
            delivery.await?;
        }
        self.close().await
    }

    async fn enqueue(&self, key: Option<&'static [u8]>, value: &'static [u8]) -> Result<Self::Answer> {
        let delivery = self.producer.enqueue(self.record(key, value)).await?;
        Ok(Box::pin(async move { Ok(delivery.await.map(drop)?) }))
    }

    async fn close(self) -> Result<()> {
        Ok(self.producer.close().await?)
    }
}

/// Answers that are kept before the oldest is looked at.
const WINDOW: usize = 200_000;
