//! Copies partitions of a topic in transactions that commit the offsets with the copies.
//!
//! Rules this file keeps:
//! - where it goes on is what the group has committed, asked for after every older copier of the id is fenced: nothing
//!   that this process remembers counts after an abort;
//! - a commit whose outcome is not known is asked for until it is, before anything else is read or written;
//! - the first signal ends the work behind the open transaction, the second at once.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use milena::{
    Consumer, ConsumerGroupMetadata, Error, ErrorCode, ErrorKind, Kafka, Record, TopicPartition,
    consumer::{Ends, IsolationLevel, OffsetReset, StartFrom},
    producer::{Outcome, Transaction, TransactionError, TransactionalProducer},
    wire::messages::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Events,
    transactions::{End, abort, begin, commit, find_out, settled, unsettled},
};
use crate::{
    failure::{Failure, chain, say},
    options::{Options, connect, partitions, ready_topic, topic_name, with_bootstrap},
    signal::Ending,
};

/// Copies one partition of a topic, exactly once, and writes a line of JSON on stdout for each step.
///
/// Takes the flags and writes the lines of Kafka's TransactionalMessageCopier; --partition-step is milena's own. Each
/// transaction has the copies of some records and the offset behind them, which it commits for the group. A record keeps
/// its key and value, and goes to the partition of its own number, modulo those that there are. The copier ends where
/// the input ended when it began. It needs Kafka 3.0 or newer. As there are no consumer groups yet, it refuses
/// --group-mode.
#[derive(Debug, Args)]
pub(crate) struct TransactionalCopier {
    /// The first brokers to ask, separated by commas.
    #[arg(long, alias = "bootstrap-server", value_name = "HOST:PORT")]
    broker_list: Option<String>,

    /// The topic that is read; only what is committed of it.
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    input_topic: String,

    /// The partition that is read.
    #[arg(long, value_name = "N", default_value_t = 0)]
    input_partition: u16,

    /// Also reads every Nth partition behind it: K copiers with the first K partitions and the step K read them all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    partition_step: Option<u16>,

    /// The topic that is written.
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    output_topic: String,

    /// Ends after so many records; -1 is no limit.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    max_messages: i64,

    /// The group that the offsets are committed for.
    #[arg(long, value_name = "GROUP")]
    consumer_group: String,

    /// How many records a transaction has at most.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=MAX_SIZE))]
    transaction_size: u32,

    /// After how many milliseconds the coordinator aborts a transaction that is still open.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    transaction_timeout: u32,

    /// The transactional id; an older copier that has it is fenced.
    #[arg(long, value_name = "ID")]
    transactional_id: String,

    /// Aborts one in three transactions, by chance.
    #[arg(long)]
    enable_random_aborts: bool,

    /// Shares the partitions among a group. Refused: there are no groups yet.
    #[arg(long)]
    group_mode: bool,

    /// Commits by the group's metadata. That is always done.
    #[arg(long)]
    use_group_metadata: bool,

    #[command(flatten)]
    options: Options,
}

impl TransactionalCopier {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.group_mode {
            return Err(Failure::Usage("--group-mode: there are no groups yet; give --input-partition".to_owned()));
        }
        let mut ending = Ending::listen()?;
        let mut copying = tokio::select! {
            copying = Copying::start(self) => copying?,
            () = ending.asked() => return Ok(()),
        };
        let done = copying.copy_all(&mut ending).await;
        let told = copying.tell("shutdown_complete", None).await;
        let Copying { producer, events, .. } = copying;
        if done.is_ok() {
            // What it could fail with is the end of a transaction, which was told.
            let _ = producer.close().await;
        }
        done.and(told).and(events.finish().await)
    }
}

struct Copying {
    options: TransactionalCopier,
    kafka: Kafka,
    producer: TransactionalProducer,
    consumer: Consumer,
    /// Where the input ended at the start.
    ends: Ends,
    /// How many partitions the output has.
    width: i32,
    /// Read, and in no transaction yet.
    read: VecDeque<Read>,
    /// Still allowed by `--max-messages`.
    left: u64,
    copied: u64,
    /// Transactions that failed since the last one that did not.
    failures: u32,
    events: Events,
}

struct Read {
    from: TopicPartition,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Copying {
    async fn start(options: TransactionalCopier) -> Result<Self, Failure> {
        let properties = with_bootstrap(options.options.properties()?, options.broker_list.as_deref())?;
        let kafka = connect(&properties).await?;
        let count = partitions(&kafka, &properties, &options.input_topic).await?;
        ready_topic(&kafka, &properties, &options.output_topic, None).await?;
        let width = partitions(&kafka, &properties, &options.output_topic).await?;
        let timeout = Duration::from_millis(options.transaction_timeout.into());
        let mut builder = kafka.producer().transaction_timeout(timeout);
        if properties.value(BATCH_SIZE).is_none() {
            // As Kafka's own: a transaction has several batches to a partition, some of them in flight at once.
            builder = builder.batch_size(SMALL_BATCH);
        }
        // First of all: from here on no older copier commits anything.
        let producer = builder.transactional(options.transactional_id.as_str()).await?;
        let from = options.from(&kafka, count).await?;
        let consumer = kafka.consumer().isolation(IsolationLevel::ReadCommitted).offset_reset(OffsetReset::Earliest);
        let consumer = consumer.assign(from).await?;
        let (ends, width) = (consumer.ends().await?, i32::try_from(width).unwrap_or(i32::MAX).max(1));
        let left = u64::try_from(options.max_messages).unwrap_or(u64::MAX);
        let (read, events) = (VecDeque::new(), Events::start());
        Ok(Self { options, kafka, producer, consumer, ends, width, read, left, copied: 0, failures: 0, events })
    }

    async fn copy_all(&mut self, ending: &mut Ending) -> Result<(), Failure> {
        let mut stopping = false;
        while !stopping {
            self.tell("progress", Some("ProcessLoop")).await?;
            tokio::select! {
                gathered = self.gather() => gathered?,
                () = ending.asked() => break,
            }
            if self.read.is_empty() {
                break;
            }
            let mut transaction = pin!(self.transaction());
            loop {
                tokio::select! {
                    biased;
                    end = &mut transaction => break end?,
                    () = ending.asked() => match stopping {
                        true => return Err(unsettled()),
                        false => stopping = true,
                    },
                }
            }
        }
        Ok(())
    }

    /// Reads what a transaction may have, or what there is up to the end. Dropping the future loses nothing.
    async fn gather(&mut self) -> Result<(), Failure> {
        let most = u64::from(self.options.transaction_size).min(self.left);
        while (self.read.len() as u64) < most {
            let batch = match self.consumer.poll_to(&self.ends).await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                // It is tried again by the consumer itself.
                Err(error) if error.is_retriable() => {
                    say(&format!("note: {}", chain(&error)));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let from = TopicPartition::new(batch.topic(), batch.partition());
            self.read.extend(batch.iter().map(|record| Read {
                from: from.clone(),
                offset: record.offset(),
                key: record.key().map(<[u8]>::to_vec),
                value: record.value().map(<[u8]>::to_vec),
            }));
        }
        Ok(())
    }

    /// Copies what was read in one transaction, or goes back to where the group is.
    async fn transaction(&mut self) -> Result<(), Failure> {
        let most = u64::from(self.options.transaction_size).min(self.left);
        let count = self.read.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let records: Vec<Read> = self.read.drain(..count).collect();
        let end = match self.attempt(&records).await? {
            Ok(end) => end,
            Err(why) => find_out(&mut self.producer, why).await,
        };
        match end {
            End::Committed => {
                self.copied += count as u64;
                self.left -= count as u64;
                self.failures = 0;
                Ok(())
            }
            End::Aborted(why) => self.go_back(why).await,
            End::Fatal(Some(Outcome::Committed), error) => {
                self.copied += count as u64;
                Err(error.into())
            }
            End::Fatal(_, error) => Err(error.into()),
        }
    }

    /// One transaction. `Ok(Err)`: it is not known how it ended.
    async fn attempt(&mut self, records: &[Read]) -> Result<Result<End, Error>, Failure> {
        let offsets = self.behind();
        let group = ConsumerGroupMetadata::new(self.options.consumer_group.as_str());
        let transaction = begin(&mut self.producer).await?;
        let filled = match fill(&transaction, &self.options.output_topic, self.width, records).await {
            Ok(()) => transaction.send_offsets(&group, offsets).await,
            Err(why) => Err(why),
        };
        Ok(match filled {
            Err(why) => Ok(abort(transaction, why).await),
            Ok(()) if self.options.enable_random_aborts && fastrand::u8(..3) == 0 => {
                let why = Error::new(ErrorKind::Aborted, "aborted by chance, as --enable-random-aborts asks");
                Ok(abort(transaction, TransactionError::Refused(why)).await)
            }
            Ok(()) => commit(transaction).await,
        })
    }

    /// The offset behind everything that is copied, the open transaction included, of each partition.
    fn behind(&self) -> Vec<(TopicPartition, i64)> {
        let mut next: BTreeMap<&TopicPartition, i64> = BTreeMap::new();
        for read in &self.read {
            next.entry(&read.from).or_insert(read.offset);
        }
        let all = self.consumer.assignment().into_iter();
        all.filter_map(|partition| {
            let behind = next.get(&partition).copied().or_else(|| self.consumer.position(&partition))?;
            Some((partition, behind))
        })
        .collect()
    }

    /// After an abort: reads again from what the group has committed.
    async fn go_back(&mut self, why: Error) -> Result<(), Failure> {
        if why.kind() != ErrorKind::Aborted {
            say(&format!("note: a transaction was aborted: {}", chain(&why)));
            self.failures += 1;
            if self.failures > MAX_FAILURES {
                return Err(why.into());
            }
            sleep(PAUSE).await;
        }
        // An abort without an answer is asked for again: until it is done, the group's offsets are not to be had.
        settled(&mut self.producer).await?;
        self.read.clear();
        let all: Vec<TopicPartition> = self.consumer.assignment();
        let numbers = all.iter().map(|one| one.partition).collect();
        let committed = self.options.committed(&self.kafka, numbers).await?;
        for (partition, from) in all.iter().zip(committed) {
            self.consumer.seek(partition, from)?;
        }
        Ok(())
    }

    /// A line as Kafka's own copier writes it: the transactional id stands behind what the line says.
    async fn tell(&self, what: &str, stage: Option<&str>) -> Result<(), Failure> {
        let behind = self.behind();
        let remaining = self.ends.iter().map(|(partition, end)| {
            let at = behind.iter().find(|(name, _)| name == partition).map_or(0, |(_, at)| *at);
            u64::try_from(end - at).unwrap_or(0)
        });
        let remaining = remaining.sum::<u64>().min(self.left);
        let mut line = json!({
            what: self.options.transactional_id, "totalProcessed": self.copied, "consumed": self.copied,
            "remaining": remaining, "time": time_of_day(),
        });
        if let Some(stage) = stage {
            line["stage"] = Value::from(stage);
        }
        self.events.line(line).await
    }
}

async fn fill(
    transaction: &Transaction<'_>,
    topic: &str,
    width: i32,
    records: &[Read],
) -> Result<(), TransactionError> {
    for read in records {
        let record = Record::to(topic).partition(read.from.partition % width);
        let record = record.key_or_null(read.key.as_deref()).value_or_null(read.value.as_deref());
        transaction.enqueue(record).await?.detach();
    }
    Ok(())
}

impl TransactionalCopier {
    /// Its partitions, and where each goes on.
    async fn from(&self, kafka: &Kafka, count: usize) -> Result<Vec<(TopicPartition, StartFrom)>, Failure> {
        let (first, count) = (i32::from(self.input_partition), i32::try_from(count).unwrap_or(i32::MAX));
        if first >= count {
            let topic = &self.input_topic;
            return Err(Failure::error(format!("topic {topic} has {count} partitions, and none is {first}")));
        }
        let step = self.partition_step.map_or(count, i32::from);
        let numbers: Vec<i32> = (first..count).step_by(usize::try_from(step).unwrap_or(1)).collect();
        let committed = self.committed(kafka, numbers.clone()).await?;
        let partitions = numbers.into_iter().map(|number| TopicPartition::new(self.input_topic.as_str(), number));
        Ok(partitions.zip(committed).collect())
    }

    /// Where the group is in these partitions, once no transaction over them is open (KIP-447).
    async fn committed(&self, kafka: &Kafka, numbers: Vec<i32>) -> Result<Vec<StartFrom>, Failure> {
        let group = self.consumer_group.as_str();
        let name = self.input_topic.as_str().into();
        let topic = OffsetFetchRequestTopics { name, partition_indexes: numbers.clone(), ..Default::default() };
        let of = OffsetFetchRequestGroup { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![of], require_stable: true, ..Default::default() };
        let mut asked = 0u32;
        loop {
            asked += 1;
            // Version 8 is the first with several groups, 10 has ids in place of names.
            let call = kafka.request(request.clone()).at_most(9).coordinator_of_group(group).elsewhere(refusal);
            match call.await {
                Ok(answer) if refusal(&answer) == ErrorCode::NONE => return Ok(offsets(&answer, &numbers)),
                Ok(answer) if !refusal(&answer).is_retriable() => {
                    let text = format!("the offsets of group {group} are not told");
                    return Err(Error::new(ErrorKind::Broker(refusal(&answer)), text).into());
                }
                // For a moment that is usual: the end of a transaction comes to the group by itself.
                Ok(answer) if asked.is_multiple_of(PATIENCE) => {
                    say(&format!("waiting for the offsets of group {group}: {}", refusal(&answer)));
                }
                Ok(_) => {}
                Err(error) if error.is_retriable() => say(&format!("note: {}", chain(&error))),
                Err(error) => return Err(error.into()),
            }
            sleep(PAUSE).await;
        }
    }
}

/// The first error code of an answer.
fn refusal(answer: &OffsetFetchResponse) -> ErrorCode {
    let partitions = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
    let codes = answer.groups.iter().map(|group| group.error_code).chain(partitions.map(|one| one.error_code));
    codes.into_iter().find(|code| *code != ErrorCode::NONE).unwrap_or(ErrorCode::NONE)
}

/// Where each partition goes on; at its beginning where nothing is committed.
fn offsets(answer: &OffsetFetchResponse, numbers: &[i32]) -> Vec<StartFrom> {
    let partitions = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
    let told: BTreeMap<i32, i64> = partitions.map(|one| (one.partition_index, one.committed_offset)).collect();
    let from = |number| {
        told.get(number)
            .filter(|offset| **offset >= 0)
            .map_or(StartFrom::Beginning, |offset| StartFrom::Offset(*offset))
    };
    numbers.iter().map(from).collect()
}

/// Date and time of day, UTC, as Kafka's copier writes them.
fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (now.as_secs(), now.subsec_millis());
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}:{millis:03}")
}

/// Year, month and day of a day since 1970.
fn date(mut day: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}

/// Of the producer, unless a property says otherwise.
const BATCH_SIZE: &str = "batch.size";
const SMALL_BATCH: usize = 512;

/// What is kept of a transaction's records is bounded by this, and by what a fetch brings.
const MAX_SIZE: i64 = 1_000_000;

/// In a row, before it is clear that the next one fails too.
const MAX_FAILURES: u32 = 50;

/// After so many questions without an answer one is told of.
const PATIENCE: u32 = 20;

/// Before the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_become_dates() {
        let table =
            [(0, (1970, 1, 1)), (58, (1970, 2, 28)), (59, (1970, 3, 1)), (789, (1972, 2, 29)), (11_016, (2000, 2, 29))];
        for (day, expected) in table.into_iter().chain([(20_779, (2026, 11, 22)), (364, (1970, 12, 31))]) {
            assert_eq!(date(day), expected, "day {day}");
        }
    }
}
