//! `milena produce`: a record per line of stdin.
//!
//! Rules this file keeps:
//! - memory is bounded, however long the input or a line is: chunks, the producer's buffer and the deliveries that wait
//!   each have a limit, behind which reading waits;
//! - a record that failed does not stop the others; the last line on stderr counts both, and the exit code tells;
//! - SIGINT and SIGTERM end the input; what was read is still delivered.

use std::ops::ControlFlow;

use bytes::Bytes;
use clap::Args;
use milena::{
    ErrorCode, Kafka, Record,
    admin::NewTopic,
    producer::{Delivery, Producer},
    properties::Properties,
};
use tokio::{
    sync::mpsc::{self, OwnedPermit},
    task::JoinHandle,
};

use crate::{
    failure::{Failure, chain, say},
    lines::{self, Line, Lines},
    options::{Options, connect, partitions, separator, topic_name, with_bootstrap},
    signal::Ending,
};

/// Produces a record per line of stdin.
///
/// Ends with a line on stderr that says how many records were acknowledged and how many failed.
#[derive(Debug, Args)]
pub(crate) struct Produce {
    /// The first brokers to ask, separated by commas.
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,

    /// The topic.
    #[arg(short, long, value_parser = topic_name)]
    topic: String,

    /// Splits each line into key and value at the first SEP; a line without it has no key. \t is a tab.
    #[arg(short = 'K', long = "key-separator", value_name = "SEP", value_parser = separator)]
    key_separator: Option<String>,

    #[command(flatten)]
    options: Options,
}

impl Produce {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let properties = with_bootstrap(self.options.properties()?, self.bootstrap.as_deref())?;
        let mut ending = Ending::listen()?;
        let limit = properties.producer()?.max_request_size;
        let tally = tokio::select! {
            tally = self.start(&properties) => tally?,
            () = ending.asked() => return Err(Failure::error("interrupted before the first record")),
        };
        let mut input = Input { topic: self.topic, separator: self.key_separator, number: 0, tally };
        let read = input.read(limit, &mut ending).await;
        let counts = tokio::select! {
            counts = input.tally.finish() => counts,
            () = ending.asked() => return Err(Failure::error("interrupted while records were still on their way")),
        };
        if let Err(error) = &read {
            say(&format!("cannot read stdin: {}", chain(error)));
        }
        say_counts(counts);
        if read.is_err() || counts.failed > 0 { Err(Failure::Reported) } else { Ok(()) }
    }

    async fn start(&self, properties: &Properties) -> Result<Tally, Failure> {
        let kafka = connect(properties).await?;
        self.make_topic(&kafka, properties).await?;
        Ok(Tally::start(kafka.producer().build().await?))
    }

    /// As other producers' tools, this one makes a topic that is not there, with the broker's defaults; and says so.
    async fn make_topic(&self, kafka: &Kafka, properties: &Properties) -> Result<(), Failure> {
        match kafka.admin().create_topic(NewTopic::new(self.topic.as_str(), -1, -1)).await {
            Ok(()) => say(&format!("note: topic {} was not there; it has been made", self.topic)),
            Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            // Whoever may not make topics can still write to one. An unknown topic is one error now, not one per line.
            Err(error)
                if error.code() == Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED)
                    || error.code() == Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED) =>
            {
                partitions(kafka, properties, &self.topic).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Without "milena:" in front: scripts read this line.
fn say_counts(counts: Counts) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{} acknowledged, {} failed", counts.acknowledged, counts.failed);
}

struct Input {
    topic: String,
    separator: Option<String>,
    /// Of the line that is being sent, from 1.
    number: u64,
    tally: Tally,
}

impl Input {
    /// Until the input ends or a signal asks to end.
    async fn read(&mut self, limit: usize, ending: &mut Ending) -> std::io::Result<()> {
        let mut chunks = lines::stdin();
        let mut lines = Lines::new(limit);
        let mut more = true;
        while more {
            let chunk = tokio::select! {
                chunk = chunks.recv() => chunk,
                () = ending.asked() => return Ok(()),
            };
            more = chunk.is_some();
            let found = match chunk {
                Some(chunk) => lines.split(chunk?),
                None => lines.rest().into_iter().collect(),
            };
            for line in found {
                let Some(room) = self.room(ending).await else { return Ok(()) };
                if self.send(line, limit, room, ending).await.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Room for one more delivery to wait, or `None` when a signal asks to end. Taken before the record is enqueued, so
    /// that nothing can come between enqueueing it and counting it.
    async fn room(&self, ending: &mut Ending) -> Option<OwnedPermit<Delivery>> {
        tokio::select! {
            room = self.tally.deliveries.clone().reserve_owned() => room.ok(),
            () = ending.asked() => None,
        }
    }

    async fn send(
        &mut self,
        line: Line,
        limit: usize,
        room: OwnedPermit<Delivery>,
        ending: &mut Ending,
    ) -> ControlFlow<()> {
        self.number += 1;
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong(length) => {
                let reason = format!("{length} bytes are more than the {limit} of max.request.size");
                self.tally.failed(&format!("line {}: {reason}", self.number));
                return ControlFlow::Continue(());
            }
        };
        let (key, value) = split(line, self.separator.as_deref());
        let record = Record::to(&self.topic).key_or_null(key).value(value);
        let enqueued = tokio::select! {
            enqueued = self.tally.producer.enqueue(record) => enqueued,
            () = ending.asked() => return ControlFlow::Break(()),
        };
        match enqueued {
            Ok(delivery) => drop(room.send(delivery)),
            Err(error) => self.tally.failed(&format!("line {}: {}", self.number, chain(&error))),
        }
        ControlFlow::Continue(())
    }
}

fn split(line: Bytes, separator: Option<&str>) -> (Option<Bytes>, Bytes) {
    let Some(separator) = separator else { return (None, line) };
    match line.windows(separator.len()).position(|window| window == separator.as_bytes()) {
        Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
        None => (None, line),
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    acknowledged: u64,
    failed: u64,
}

/// The producer, and a task that waits for its deliveries in their order.
struct Tally {
    producer: Producer,
    deliveries: mpsc::Sender<Delivery>,
    counting: JoinHandle<Counts>,
    /// Records that never became a delivery.
    refused: u64,
    said: u64,
}

impl Tally {
    fn start(producer: Producer) -> Self {
        let (deliveries, waiting) = mpsc::channel(MAX_WAITING);
        Self { producer, deliveries, counting: tokio::spawn(count(waiting)), refused: 0, said: 0 }
    }

    fn failed(&mut self, reason: &str) {
        self.refused += 1;
        self.said += 1;
        if self.said <= MAX_SAID {
            say(reason);
        }
    }

    /// Waits until everything is settled.
    async fn finish(self) -> Counts {
        let Self { producer, deliveries, counting, refused, .. } = self;
        drop(deliveries);
        // Its error is that of a delivery, and counted there.
        let _ = producer.close().await;
        let counts = counting.await.unwrap_or_default();
        Counts { failed: counts.failed + refused, ..counts }
    }
}

async fn count(mut waiting: mpsc::Receiver<Delivery>) -> Counts {
    let mut counts = Counts::default();
    while let Some(delivery) = waiting.recv().await {
        match delivery.await {
            Ok(_) => counts.acknowledged += 1,
            Err(error) => {
                counts.failed += 1;
                if counts.failed <= MAX_SAID {
                    say(&chain(&error));
                }
            }
        }
    }
    counts
}

/// Deliveries that may wait to be counted: a handle each, while the records' bytes are bounded by `buffer.memory`.
const MAX_WAITING: usize = 64 * 1024;

/// How many failures are described; the rest is only counted.
const MAX_SAID: u64 = 5;

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_first_separator_splits_key_and_value() {
        let table: &[(&str, Option<&str>, Option<&str>, &str)] = &[
            ("a:b:c", None, None, "a:b:c"),
            ("a:b:c", Some(":"), Some("a"), "b:c"),
            (":b", Some(":"), Some(""), "b"),
            ("a:", Some(":"), Some("a"), ""),
            ("ab", Some(":"), None, "ab"),
            ("a::b", Some("::"), Some("a"), "b"),
            ("", Some("::"), None, ""),
        ];
        for (line, separator, key, value) in table {
            let (found_key, found_value) = split((*line).to_owned().into(), *separator);
            assert_eq!(found_key.as_deref(), key.map(str::as_bytes), "{line}");
            assert_eq!(found_value, value.as_bytes(), "{line}");
        }
    }
}
