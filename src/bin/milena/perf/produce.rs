//! `milena perf produce`: as many records as the producer takes.

use clap::Args;

use super::{Common, Done, Load};
use crate::failure::Failure;

/// Sends records as fast as the producer takes them, and waits for all of them at the end.
#[derive(Debug, Args)]
pub(super) struct Produce {
    /// How many records.
    #[arg(short = 'n', long, default_value_t = 1_000_000)]
    count: u64,

    #[command(flatten)]
    common: Common,
}

impl Produce {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.common.measure(move |load| produce(load, self.count))
    }
}

async fn produce(load: Load, count: u64) -> Result<Done, Failure> {
    for number in 0..count {
        // Who failed is seen by the flush at the end.
        load.producer.enqueue(load.record(number)).await?.detach();
    }
    load.finish(count).await?;
    Ok(Done { records: count, latencies: None })
}
