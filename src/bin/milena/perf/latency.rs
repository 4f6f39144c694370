//! `milena perf latency`: how long a record takes to its acknowledgement at a steady rate.
//!
//! Rules this file keeps:
//! - the schedule is open: a slow answer never delays the next record;
//! - a record's time runs from the call of `enqueue`, so that what `enqueue` itself waits for counts. A sender that falls
//!   behind its schedule (the machine is busy) sends late, and that lateness is not counted; the rate that is reported
//!   shows it.

use std::time::Duration;

use clap::Args;
use milena::Result;
use tokio::{task::JoinSet, time::Instant};

use super::{Common, Done, Load, pace::Pace, report::Times};
use crate::failure::Failure;

/// Sends records at a steady rate and tells how long each took, from the call to the acknowledgement.
///
/// Each is sent when it is due; only those that are due before the clock's thread wakes up again leave together.
#[derive(Debug, Args)]
pub(super) struct Latency {
    /// Records per second.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: u64,

    /// For how many seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    secs: u64,

    #[command(flatten)]
    common: Common,
}

impl Latency {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.common.measure(move |load| latency(load, self.rate, self.rate * self.secs))
    }
}

async fn latency(load: Load, rate: u64, count: u64) -> Result<Done, Failure> {
    let (times, mut answers) = (Times::default(), JoinSet::new());
    // The first record waits for metadata, a connection and an identity: start-up, measured elsewhere.
    load.producer.send(load.record(count)).await?;
    let (pace, mut sent) = (Pace::start(rate, count), 0);
    while sent < count {
        let due = pace.beyond(sent).await;
        while sent < due {
            let called = Instant::now();
            let delivery = load.producer.enqueue(load.record(sent)).await?;
            answers.spawn(async move { delivery.await.map(|_| called.elapsed()) });
            sent += 1;
        }
        while let Some(answer) = answers.try_join_next() {
            times.count(settled(answer)?);
        }
    }
    while let Some(answer) = answers.join_next().await {
        times.count(settled(answer)?);
    }
    load.finish(count + 1).await?;
    Ok(Done { records: count, latencies: Some(times.snapshot()) })
}

fn settled(answer: std::result::Result<Result<Duration>, tokio::task::JoinError>) -> Result<Duration, Failure> {
    Ok(answer.map_err(|error| Failure::error(error.to_string()))??)
}
