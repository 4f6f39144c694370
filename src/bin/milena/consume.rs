//! `milena consume`: values as lines on stdout, and nothing else there.
//!
//! Rules this file keeps:
//! - all partitions of the topic are read; order holds within each;
//! - lines are written in large pieces, and at once when the input pauses, so that a person sees what is there;
//! - SIGINT and SIGTERM end it as well as a reader that has seen enough.

use std::{
    io::{self, BufWriter, StdoutLock, Write},
    str::FromStr,
    time::Duration,
};

use clap::Args;
use milena::{
    Kafka, Offset, TopicPartition,
    admin::OffsetSpec,
    consumer::{Batch, Consumer, Ends, StartFrom},
    properties::Properties,
};

use crate::{
    failure::Failure,
    options::{Options, connect, partitions, separator, with_bootstrap},
    signal::Ending,
};

/// Consumes all partitions of a topic and writes each value as a line.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    /// The first brokers to ask, separated by commas.
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,

    /// The topic.
    #[arg(short, long)]
    topic: String,

    /// Where to start in every partition: beginning, end, or an offset.
    #[arg(short, long, default_value = "beginning", value_name = "beginning|end|OFFSET")]
    offset: From,

    /// Ends after so many records.
    #[arg(short, long)]
    count: Option<u64>,

    /// Ends where the partitions ended when it began.
    #[arg(short, long)]
    exit: bool,

    /// Writes the key and SEP in front of each value. \t is a tab.
    #[arg(short = 'K', long = "key-separator", value_name = "SEP", value_parser = separator)]
    key_separator: Option<String>,

    #[command(flatten)]
    options: Options,
}

/// Where `-o` says to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Beginning,
    End,
    At(Offset),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            _ => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(Self::At(offset)),
                _ => Err("it is beginning, end, or an offset from 0".to_owned()),
            },
        }
    }
}

impl Consume {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let properties = with_bootstrap(self.options.properties()?, self.bootstrap.as_deref())?;
        let mut ending = Ending::listen()?;
        let mut lines = Lines::new(self.key_separator.as_deref(), self.count);
        let read = async {
            let kafka = connect(&properties).await?;
            let mut consumer = kafka.consumer().assign(self.partitions(&kafka, &properties).await?).await?;
            let ends = if self.exit { Some(consumer.ends().await?) } else { None };
            copy(&mut consumer, ends.as_ref(), &mut lines).await
        };
        let done = tokio::select! {
            done = read => done,
            () = ending.asked() => Ok(()),
        };
        // What was read before an error is written all the same.
        let flushed = lines.flush();
        done.and(flushed)
    }

    async fn partitions(
        &self,
        kafka: &Kafka,
        properties: &Properties,
    ) -> Result<Vec<(TopicPartition, StartFrom)>, Failure> {
        let count = partitions(kafka, properties, &self.topic).await?;
        let starts = match self.offset {
            From::Beginning => vec![StartFrom::Beginning; count],
            From::End => vec![StartFrom::End; count],
            From::At(offset) => self.within_the_logs(kafka, offset).await?,
        };
        let partition = |(index, start)| (TopicPartition::new(self.topic.as_str(), index as i32), start);
        Ok(starts.into_iter().enumerate().map(partition).collect())
    }

    /// One offset for all partitions is often out of the range of some: there it means their nearest end.
    async fn within_the_logs(&self, kafka: &Kafka, offset: Offset) -> Result<Vec<StartFrom>, Failure> {
        let admin = kafka.admin();
        let begins = admin.offsets(&self.topic, OffsetSpec::Earliest).await?;
        let ends = admin.offsets(&self.topic, OffsetSpec::Latest).await?;
        let nearest = |(begin, end): (Option<Offset>, Option<Offset>)| {
            let offset = offset.max(begin.unwrap_or(0)).min(end.unwrap_or(Offset::MAX));
            StartFrom::Offset(offset)
        };
        Ok(begins.into_iter().zip(ends).map(nearest).collect())
    }
}

async fn copy(consumer: &mut Consumer, ends: Option<&Ends>, lines: &mut Lines<'_>) -> Result<(), Failure> {
    while !lines.is_complete() {
        let batch = tokio::select! {
            biased;
            batch = next(consumer, ends) => batch?,
            () = tokio::time::sleep(PAUSE), if lines.has_unwritten() => {
                lines.flush()?;
                continue;
            }
        };
        let Some(batch) = batch else { break };
        lines.write(&batch)?;
    }
    Ok(())
}

async fn next(consumer: &mut Consumer, ends: Option<&Ends>) -> milena::Result<Option<Batch>> {
    match ends {
        Some(ends) => consumer.poll_to(ends).await,
        None => consumer.poll().await,
    }
}

/// Records on their way to stdout.
struct Lines<'a> {
    out: BufWriter<StdoutLock<'static>>,
    separator: Option<&'a str>,
    /// How many may still be written; `None` is any number.
    left: Option<u64>,
}

impl<'a> Lines<'a> {
    fn new(separator: Option<&'a str>, left: Option<u64>) -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout().lock()), separator, left }
    }

    fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    fn has_unwritten(&self) -> bool {
        !self.out.buffer().is_empty()
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Failure> {
        for record in batch {
            if self.is_complete() {
                break;
            }
            if let Some(separator) = self.separator {
                self.out.write_all(record.key().unwrap_or_default())?;
                self.out.write_all(separator.as_bytes())?;
            }
            self.out.write_all(record.value().unwrap_or_default())?;
            self.out.write_all(b"\n")?;
            self.left = self.left.map(|left| left - 1);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// How long nothing may come before what was read is shown.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::From;

    #[test]
    fn the_start_is_a_word_or_an_offset() {
        let table = [
            ("beginning", Ok(From::Beginning)),
            ("end", Ok(From::End)),
            ("0", Ok(From::At(0))),
            ("17", Ok(From::At(17))),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<From>(), expected);
        }
        for wrong in ["", "-1", "middle", "1.5"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
    }
}
