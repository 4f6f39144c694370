//! What stands in a topic of a live broker, read from its beginning to where it ends now.

use std::collections::BTreeMap;

use milena::{Kafka, Result, TopicPartition, consumer::StartFrom};

/// A record as it came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970; −1 where the format has none.
    pub timestamp: i64,
    /// How many there are.
    pub headers: usize,
}

impl Kept {
    /// The number that the value is, in decimal.
    pub fn number(&self) -> usize {
        std::str::from_utf8(self.value.as_deref().expect("a value")).expect("digits").parse().expect("a number")
    }
}

/// Every record of a topic by partition, in the order of the log.
///
/// # Errors
/// The topic could not be read.
pub async fn read_back(kafka: &Kafka, topic: &str) -> Result<BTreeMap<i32, Vec<Kept>>> {
    let partitions = kafka.admin().topic(topic).await?.leaders.len() as i32;
    let all = (0..partitions).map(|partition| (TopicPartition::new(topic, partition), StartFrom::Beginning));
    let mut consumer = kafka.consumer().assign(all).await?;
    let ends = consumer.ends().await?;
    let mut kept: BTreeMap<i32, Vec<Kept>> = BTreeMap::new();
    while let Some(batch) = consumer.poll_to(&ends).await? {
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        kept.entry(batch.partition()).or_default().extend(batch.iter().map(|record| Kept {
            offset: record.offset(),
            key: bytes(record.key()),
            value: bytes(record.value()),
            timestamp: record.timestamp(),
            headers: record.headers().count(),
        }));
    }
    consumer.close().await?;
    Ok(kept)
}

/// Holds what was read against what was acknowledged: every number from 0 once, and rising within each partition.
///
/// # Panics
/// Where it is not so.
pub fn check_numbers(kept: &BTreeMap<i32, Vec<Kept>>, count: usize) {
    let mut seen = vec![false; count];
    for (partition, records) in kept {
        let mut before = None;
        for record in records {
            let (offset, number) = (record.offset, record.number());
            assert!(before < Some(number), "partition {partition} offset {offset}: {number} after {before:?}");
            assert!(!std::mem::replace(&mut seen[number], true), "{number} stands there twice");
            before = Some(number);
        }
    }
    let lost = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(lost, 0, "acknowledged, but not in the log");
}
