//! `milena produce`: a record per line of stdin.
//!
//! Rules this file keeps:
//! - memory is bounded, however long the input or a line is: chunks, the producer's buffer and the deliveries that wait
//!   each have a limit, behind which reading waits;
//! - a record that failed does not stop the others; the last line on stderr counts both, and the exit code tells;
//! - SIGINT and SIGTERM end the input; what was taken from it is still delivered, a last line without its end too; the
//!   second signal gives up what is not settled by then, and the last line counts it as unknown.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use clap::Args;
use milena::{
    Record,
    producer::{Delivery, Producer},
    properties::Properties,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    failure::{Failure, chain, plural, say},
    lines::{self, Line, Lines},
    options::{CREATE, Options, connect, ready_topic, separator, topic_name, with_bootstrap},
    signal::Ending,
};

/// Produces a record per line of stdin.
///
/// A topic that does not exist is made, with the broker's defaults; with -X allow.auto.create.topics=false it is an error.
///
/// Ends with a line on stderr that says how many records were acknowledged (with acks=0: sent) and how many failed.
/// SIGINT or SIGTERM ends the input, and what was read is delivered; a second one gives up the rest, which the last line
/// then counts as unknown.
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
        let properties = self.options.properties_with(&[CREATE])?;
        let properties = with_bootstrap(properties, self.bootstrap.as_deref())?;
        let mut ending = Ending::listen()?;
        let settings = properties.producer()?;
        let tally = tokio::select! {
            tally = self.start(&properties) => tally?,
            () = ending.asked() => return Err(Failure::error("interrupted before the first record")),
        };
        let stop = Stop { ending, tally: tally.counts.clone(), asked: false, given_up: false, said: false };
        let mut input = Input { topic: self.topic, separator: self.key_separator, number: 0, tally, stop };
        let read = input.read(settings.max_request_size).await;
        let Input { tally, mut stop, .. } = input;
        let counts = tally.counts.clone();
        if stop.asked {
            stop.say();
        }
        let settled = stop.unless_given_up(tally.finish()).await.is_some();
        if let Err(error) = &read {
            say(&format!("cannot read stdin: {}", chain(error)));
        }
        counts.say(if settings.acks == 0 { "sent" } else { "acknowledged" }, settled);
        if read.is_err() || !settled || counts.failed() > 0 { Err(Failure::Reported) } else { Ok(()) }
    }

    async fn start(&self, properties: &Properties) -> Result<Tally, Failure> {
        let kafka = connect(properties).await?;
        ready_topic(&kafka, properties, &self.topic, None).await?;
        Ok(Tally::start(kafka.producer().build().await?))
    }
}

/// The signals: the first ends the input, the second the waiting.
struct Stop {
    ending: Ending,
    tally: Arc<Counts>,
    asked: bool,
    /// The second signal came: nothing is waited for any more, wherever it was noticed.
    given_up: bool,
    said: bool,
}

impl Stop {
    /// What `work` gives, or `None` if a second signal came before.
    async fn unless_given_up<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.given_up {
            return None;
        }
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                () = self.ending.asked() => {
                    if self.asked {
                        self.given_up = true;
                        return None;
                    }
                    self.asked = true;
                    self.say();
                }
            }
        }
    }

    /// Says once what is waited for, if there is anything.
    fn say(&mut self) {
        let open = self.tally.open();
        if open > 0 && !self.said {
            self.said = true;
            say(&format!("waiting for {}; again to give up", plural(open, "record")));
        }
    }
}

struct Input {
    topic: String,
    separator: Option<String>,
    /// Of the line that is being sent, from 1.
    number: u64,
    tally: Tally,
    stop: Stop,
}

impl Input {
    /// Until the input ends, or a signal ends it and what was taken from it is enqueued.
    async fn read(&mut self, limit: usize) -> std::io::Result<()> {
        let mut chunks = lines::stdin();
        let mut lines = Lines::new(limit);
        let mut more = true;
        while more {
            let chunk = if self.stop.asked {
                // What is in the channel still comes.
                chunks.close();
                match self.stop.unless_given_up(chunks.recv()).await {
                    Some(chunk) => chunk,
                    None => return Ok(()),
                }
            } else {
                tokio::select! {
                    chunk = chunks.recv() => chunk,
                    () = self.stop.ending.asked() => {
                        self.stop.asked = true;
                        self.stop.say();
                        continue;
                    }
                }
            };
            more = chunk.is_some();
            let mut found = match chunk {
                Some(chunk) => lines.split(chunk?),
                None => lines.rest().into_iter().collect(),
            }
            .into_iter();
            while let Some(line) = found.next() {
                if self.send(line, limit).await.is_none() {
                    let left = 1 + found.len() as u64;
                    self.tally.counts.fail(left, &format!("given up: {} not sent", plural(left, "line")));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// `None`: given up, and the line is not sent.
    async fn send(&mut self, line: Line, limit: usize) -> Option<()> {
        self.number += 1;
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong(length) => {
                let reason = format!("{length} bytes are more than the {limit} of max.request.size");
                self.tally.counts.fail(1, &format!("line {}: {reason}", self.number));
                return Some(());
            }
        };
        let (key, value) = split(line, self.separator.as_deref());
        let record = Record::to(&self.topic).key_or_null(key).value(value);
        // Room for one more delivery to wait is taken before the record is enqueued, so that nothing can come between
        // enqueueing it and counting it.
        let Tally { producer, deliveries, counts, .. } = &self.tally;
        let room = self.stop.unless_given_up(deliveries.clone().reserve_owned()).await?.ok()?;
        match self.stop.unless_given_up(producer.enqueue(record)).await? {
            Ok(delivery) => {
                counts.enqueued.fetch_add(1, Ordering::Relaxed);
                drop(room.send(delivery));
            }
            Err(error) => counts.fail(1, &format!("line {}: {}", self.number, chain(&error))),
        }
        Some(())
    }
}

fn split(line: Bytes, separator: Option<&str>) -> (Option<Bytes>, Bytes) {
    let Some(separator) = separator else { return (None, line) };
    match line.windows(separator.len()).position(|window| window == separator.as_bytes()) {
        Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
        None => (None, line),
    }
}

/// What became of the lines, counted where it becomes known.
#[derive(Debug, Default)]
struct Counts {
    enqueued: AtomicU64,
    acknowledged: AtomicU64,
    /// Of the enqueued records.
    undelivered: AtomicU64,
    /// Lines that never became a delivery.
    refused: AtomicU64,
    /// Failures that a line on stderr describes.
    described: AtomicU64,
}

impl Counts {
    fn failed(&self) -> u64 {
        self.undelivered.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }

    /// Records on their way.
    fn open(&self) -> u64 {
        let settled = self.acknowledged.load(Ordering::Relaxed) + self.undelivered.load(Ordering::Relaxed);
        self.enqueued.load(Ordering::Relaxed).saturating_sub(settled)
    }

    /// Lines that are not sent.
    fn fail(&self, lines: u64, reason: &str) {
        self.describe(lines, reason);
        self.refused.fetch_add(lines, Ordering::Relaxed);
    }

    fn undelivered(&self, reason: &str) {
        self.describe(1, reason);
        self.undelivered.fetch_add(1, Ordering::Relaxed);
    }

    fn describe(&self, failures: u64, reason: &str) {
        if self.failed() < MAX_SAID {
            self.described.fetch_add(failures, Ordering::Relaxed);
            say(reason);
        }
    }

    /// The last line, without "milena:" in front: scripts read it.
    fn say(&self, delivered: &str, settled: bool) {
        use std::io::Write;
        let (acknowledged, failed) = (self.acknowledged.load(Ordering::Relaxed), self.failed());
        let more = failed.saturating_sub(self.described.load(Ordering::Relaxed));
        if more > 0 {
            say(&format!("{} more failed", plural(more, "record")));
        }
        let unknown = if settled { String::new() } else { format!(", {} unknown", self.open()) };
        let _ = writeln!(std::io::stderr(), "{acknowledged} {delivered}, {failed} failed{unknown}");
    }
}

/// The producer, and a task that waits for its deliveries in their order.
struct Tally {
    producer: Producer,
    deliveries: mpsc::Sender<Delivery>,
    counting: JoinHandle<()>,
    counts: Arc<Counts>,
}

impl Tally {
    fn start(producer: Producer) -> Self {
        let (deliveries, waiting) = mpsc::channel(MAX_WAITING);
        let counts = Arc::new(Counts::default());
        Self { producer, deliveries, counting: tokio::spawn(count(waiting, counts.clone())), counts }
    }

    /// Waits until everything is settled.
    async fn finish(self) {
        let Self { producer, deliveries, counting, .. } = self;
        drop(deliveries);
        // Its error is that of a delivery, and counted there.
        let _ = producer.close().await;
        let _ = counting.await;
    }
}

async fn count(mut waiting: mpsc::Receiver<Delivery>, counts: Arc<Counts>) {
    while let Some(delivery) = waiting.recv().await {
        match delivery.await {
            Ok(_) => drop(counts.acknowledged.fetch_add(1, Ordering::Relaxed)),
            Err(error) => counts.undelivered(&chain(&error)),
        }
    }
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
