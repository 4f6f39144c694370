//! Reads every partition of a topic and says what it was given.

use std::time::Duration;

use clap::Args;
use milena::{
    Consumer, Kafka, TopicPartition,
    consumer::{Batch, StartFrom},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Events;
use crate::{
    failure::{Failure, say},
    options::{Options, connect, partitions, topic_name, with_bootstrap},
    signal::Ending,
};

/// Reads all partitions of a topic and writes lines of JSON on stdout that say what was read.
///
/// Takes the flags and writes the lines of Kafka's VerifiableConsumer. milena has no consumer groups yet: every
/// instance reads all partitions, those that are added later too, and commits nothing; what only concerns groups
/// is accepted and noted on stderr.
#[derive(Debug, Args)]
pub(crate) struct VerifiableConsumer {
    /// The first brokers to ask, separated by commas.
    #[arg(long, alias = "broker-list", value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,

    /// The topic.
    #[arg(long, value_parser = topic_name)]
    topic: String,

    /// The group. Without effect yet.
    #[arg(long, value_name = "GROUP")]
    group_id: Option<String>,

    /// Ends after so many records; -1 is no limit.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    max_messages: i64,

    /// Writes a line for every record.
    #[arg(long)]
    verbose: bool,

    /// Where to begin: at the first or behind the last record of each partition; none ends with an error, as nothing
    /// is committed yet.
    #[arg(long, value_name = "POLICY", default_value = "earliest", value_parser = ["earliest", "latest", "none"])]
    reset_policy: String,

    /// classic or consumer. Without effect yet.
    #[arg(long, value_name = "PROTOCOL")]
    group_protocol: Option<String>,

    /// The name of a static member. Without effect yet.
    #[arg(long, value_name = "ID")]
    group_instance_id: Option<String>,

    /// The assignor of the broker. Without effect yet.
    #[arg(long, value_name = "NAME")]
    group_remote_assignor: Option<String>,

    /// The assignor of the client. Without effect yet.
    #[arg(long, value_name = "CLASS")]
    assignment_strategy: Option<String>,

    /// After how many milliseconds without a heartbeat a member is dead. Without effect yet.
    #[arg(long, value_name = "MS")]
    session_timeout: Option<u64>,

    /// Commits from time to time. Without effect yet.
    #[arg(long)]
    enable_autocommit: bool,

    #[command(flatten)]
    options: Options,
}

impl VerifiableConsumer {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.reset_policy == "none" {
            return Err(Failure::error("no offset is committed to begin at, and --reset-policy is none".to_owned()));
        }
        self.note_what_has_no_effect();
        let mut ending = Ending::listen()?;
        let properties = with_bootstrap(self.options.properties()?, self.bootstrap_server.as_deref())?;
        let look_again = properties.client()?.metadata_max_age;
        let events = Events::start();
        let work = async {
            let kafka = connect(&properties).await?;
            let count = partitions(&kafka, &properties, &self.topic).await?;
            let first = if self.reset_policy == "latest" { StartFrom::End } else { StartFrom::Beginning };
            let consumer = kafka.consumer().assign(self.assignment(count, first)).await?;
            events.emit("startup_complete", json!({})).await?;
            events.emit("partitions_assigned", self.named(0..count)).await?;
            self.read(&events, kafka, consumer, count, look_again).await
        };
        let done = tokio::select! {
            done = work => done,
            () = ending.asked() => Ok(()),
        };
        let told = match done {
            Ok(()) => events.emit("shutdown_complete", json!({})).await,
            Err(_) => Ok(()),
        };
        // What was read before an error is written all the same.
        done.and(told).and(events.finish().await)
    }

    async fn read(
        &self,
        events: &Events,
        kafka: Kafka,
        mut consumer: Consumer,
        mut count: usize,
        look_again: Duration,
    ) -> Result<(), Failure> {
        let mut left = u64::try_from(self.max_messages).unwrap_or(u64::MAX);
        let mut counts = counts(kafka, self.topic.clone(), look_again);
        while left > 0 {
            let batch = tokio::select! {
                batch = consumer.poll() => batch,
                Some(now) = counts.recv() => {
                    if now > count {
                        // Nobody can have read them before.
                        consumer.assign(self.assignment(now, StartFrom::Beginning)).await?;
                        events.emit("partitions_assigned", self.named(count..now)).await?;
                        count = now;
                    }
                    continue;
                }
            };
            match batch {
                Ok(Some(batch)) => left -= self.report(events, &batch, left).await?,
                Ok(None) => break,
                // What passes is tried again by the consumer itself; only what does not ends the command.
                Err(error) if error.is_retriable() => say(&format!("note: {error}")),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Says what a batch brought, up to `most` records; how many that were.
    async fn report(&self, events: &Events, batch: &Batch, most: u64) -> Result<u64, Failure> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (mut count, mut first, mut last) = (0u64, None, 0);
        for record in batch.iter().take(most) {
            (count, last) = (count + 1, record.offset());
            first.get_or_insert(last);
            if self.verbose {
                events.emit("record_data", self.record(&record)).await?;
            }
        }
        if let Some(first) = first {
            let (topic, partition) = (batch.topic(), batch.partition());
            let partition = json!(
                {"topic": topic, "partition": partition, "count": count, "minOffset": first, "maxOffset": last}
            );
            events.emit("records_consumed", json!({"count": count, "partitions": [partition]})).await?;
        }
        Ok(count)
    }

    fn record(&self, record: &milena::consumer::Record<'_>) -> Value {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        json!({
            "key": text(record.key()),
            "value": text(record.value()),
            "topic": record.topic(),
            "partition": record.partition(),
            "offset": record.offset(),
        })
    }

    fn assignment(&self, count: usize, from: StartFrom) -> impl Iterator<Item = (TopicPartition, StartFrom)> {
        (0..count).map(move |index| (TopicPartition::new(self.topic.as_str(), index as i32), from))
    }

    fn named(&self, partitions: std::ops::Range<usize>) -> Value {
        let partition = |index| json!({"topic": self.topic, "partition": index});
        json!({"partitions": partitions.map(partition).collect::<Vec<_>>()})
    }

    fn note_what_has_no_effect(&self) {
        let given = [
            ("--group-id", self.group_id.is_some()),
            ("--group-protocol", self.group_protocol.is_some()),
            ("--group-instance-id", self.group_instance_id.is_some()),
            ("--group-remote-assignor", self.group_remote_assignor.is_some()),
            ("--assignment-strategy", self.assignment_strategy.is_some()),
            ("--session-timeout", self.session_timeout.is_some()),
            ("--enable-autocommit", self.enable_autocommit),
        ];
        let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect();
        if !given.is_empty() {
            say(&format!("note: without effect, as there are no groups yet: {}", given.join(", ")));
        }
    }
}

/// How many partitions the topic has, asked for from time to time, beside the reading.
fn counts(kafka: Kafka, topic: String, pause: Duration) -> mpsc::Receiver<usize> {
    let (sender, counts) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            // A failure is that of one question; the next one comes.
            if let Ok(topic) = kafka.admin().topic(&topic).await
                && sender.send(topic.leaders.len()).await.is_err()
            {
                return;
            }
        }
    });
    counts
}
