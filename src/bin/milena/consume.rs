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
    properties::{OffsetReset, Properties},
};

use crate::{
    failure::{Failure, say},
    options::{Options, connect, partitions, separator, topic_name, with_bootstrap},
    signal::Ending,
};

/// Consumes all partitions of a topic and writes each value as a line.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    /// The first brokers to ask, separated by commas.
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,

    /// The topic.
    #[arg(short, long, value_parser = topic_name)]
    topic: String,

    /// Where to start in every partition: beginning, end, or an offset.
    ///
    /// Where a partition does not have the OFFSET, auto.offset.reset (-X) decides: none is an error, earliest and latest
    /// are that end of the partition. If it is not set, an OFFSET that the partition has no more means its beginning,
    /// and one that it has not yet is waited for. Every such partition is noted on stderr.
    #[arg(
        short,
        long,
        default_value = "beginning",
        value_name = "beginning|end|OFFSET",
        allow_negative_numbers = true
    )]
    offset: From,

    /// Ends after so many records.
    #[arg(short, long, value_name = "N", value_parser = record_count, allow_negative_numbers = true)]
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

fn record_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it is a number of records from 0".to_owned())
}

/// What `auto.offset.reset` says about an offset that a partition does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutOfRange {
    /// Not set: the partition's beginning, or waiting for the offset.
    Unset,
    Fail,
    Beginning,
    End,
}

impl OutOfRange {
    fn of(properties: &Properties) -> Result<Self, Failure> {
        if properties.value("auto.offset.reset").is_none() {
            return Ok(Self::Unset);
        }
        Ok(match properties.consumer()?.auto_offset_reset {
            OffsetReset::None => Self::Fail,
            OffsetReset::Earliest => Self::Beginning,
            OffsetReset::Latest => Self::End,
        })
    }

    /// Where to start in a partition that has `begin` up to before `end`, and what a person should know about it.
    fn start(self, asked: Offset, begin: Offset, end: Offset) -> Result<(StartFrom, Option<&'static str>), ()> {
        // The end is the offset of the next record: a place to wait at.
        if (begin..=end).contains(&asked) {
            return Ok((StartFrom::Offset(asked), None));
        }
        match self {
            Self::Fail => Err(()),
            Self::Beginning => Ok((StartFrom::Beginning, Some("auto.offset.reset starts at its beginning"))),
            Self::End => Ok((StartFrom::End, Some("auto.offset.reset starts at its end"))),
            Self::Unset if asked < begin => Ok((StartFrom::Offset(begin), Some("starting at its beginning"))),
            // The broker would refuse a fetch beyond the end; what lies before `asked` is not written.
            Self::Unset => Ok((StartFrom::Offset(end), Some("waiting for that offset"))),
        }
    }
}

impl Consume {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let properties = with_bootstrap(self.options.properties()?, self.bootstrap.as_deref())?;
        let mut ending = Ending::listen()?;
        let out_of_range = OutOfRange::of(&properties)?;
        let mut lines = Lines::new(self.key_separator.as_deref(), self.count, self.floor(out_of_range));
        let read = async {
            let kafka = connect(&properties).await?;
            let partitions = self.partitions(&kafka, &properties, out_of_range).await?;
            let mut consumer = kafka.consumer().assign(partitions).await?;
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
        out_of_range: OutOfRange,
    ) -> Result<Vec<(TopicPartition, StartFrom)>, Failure> {
        let count = partitions(kafka, properties, &self.topic).await?;
        let starts = match self.offset {
            From::Beginning => vec![StartFrom::Beginning; count],
            From::End => vec![StartFrom::End; count],
            From::At(offset) => self.offsets(kafka, offset, out_of_range).await?,
        };
        let partition = |(index, start)| (TopicPartition::new(self.topic.as_str(), index as i32), start);
        Ok(starts.into_iter().enumerate().map(partition).collect())
    }

    /// What lies before this offset is not written: none of the partitions whose offset is waited for has it.
    fn floor(&self, out_of_range: OutOfRange) -> Offset {
        match self.offset {
            From::At(offset) if out_of_range == OutOfRange::Unset => offset,
            _ => 0,
        }
    }

    async fn offsets(&self, kafka: &Kafka, asked: Offset, out_of_range: OutOfRange) -> Result<Vec<StartFrom>, Failure> {
        let admin = kafka.admin();
        let begins = admin.offsets(&self.topic, OffsetSpec::Earliest).await?;
        let ends = admin.offsets(&self.topic, OffsetSpec::Latest).await?;
        let mut starts = Vec::with_capacity(ends.len());
        for (index, (begin, end)) in begins.into_iter().zip(ends).enumerate() {
            let (begin, end) = (begin.unwrap_or(0), end.unwrap_or(Offset::MAX));
            let text = format!("partition {}-{index} has offsets {begin} to before {end}, not {asked}", self.topic);
            let Ok((start, note)) = out_of_range.start(asked, begin, end) else {
                return Err(Failure::error(format!("{text}, and auto.offset.reset is none")));
            };
            if let Some(note) = note {
                say(&format!("note: {text}: {note}"));
            }
            starts.push(start);
        }
        Ok(starts)
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
    /// Records before this offset are passed over.
    floor: Offset,
}

impl<'a> Lines<'a> {
    fn new(separator: Option<&'a str>, left: Option<u64>, floor: Offset) -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout().lock()), separator, left, floor }
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
            if record.offset() >= self.floor {
                self.line(record.key(), record.value()).map_err(Failure::stdout)?;
                self.left = self.left.map(|left| left - 1);
            }
        }
        Ok(())
    }

    fn line(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> io::Result<()> {
        if let Some(separator) = self.separator {
            self.out.write_all(key.unwrap_or_default())?;
            self.out.write_all(separator.as_bytes())?;
        }
        self.out.write_all(value.unwrap_or_default())?;
        self.out.write_all(b"\n")
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::stdout)
    }
}

/// How long nothing may come before what was read is shown.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::{From, OutOfRange, StartFrom};

    #[test]
    fn an_offset_out_of_range_starts_where_the_property_says() {
        use OutOfRange::{Beginning, End, Fail, Unset};
        // The partition has offsets 10 to 19.
        let at = |offset| Ok(StartFrom::Offset(offset));
        let table = [
            (Unset, 9, at(10)),
            (Unset, 10, at(10)),
            (Unset, 20, at(20)),
            (Unset, 21, at(20)),
            (Fail, 9, Err(())),
            (Fail, 20, at(20)),
            (Fail, 21, Err(())),
            (Beginning, 21, Ok(StartFrom::Beginning)),
            (End, 9, Ok(StartFrom::End)),
            (End, 15, at(15)),
        ];
        for (out_of_range, asked, expected) in table {
            let found = out_of_range.start(asked, 10, 20);
            assert_eq!(found.map(|(_, note)| note.is_some()), expected.map(|_| !(10..=20).contains(&asked)));
            assert_eq!(found.map(|(start, _)| start), expected, "{out_of_range:?} {asked}");
        }
    }

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
