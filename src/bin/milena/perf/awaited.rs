//! `milena perf await`: tasks that each wait for the answer before they send again.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use clap::Args;
use tokio::{task::JoinSet, time::Instant};

use super::{Common, Done, Load, report::Times};
use crate::failure::Failure;

/// Sends from many tasks, each of which waits for the acknowledgement of its record before it sends the next.
#[derive(Debug, Args)]
pub(super) struct Await {
    /// How many tasks.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tasks: u32,

    /// How many records, all tasks together.
    #[arg(short = 'n', long, default_value_t = 100_000)]
    count: u64,

    #[command(flatten)]
    common: Common,
}

impl Await {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.common.measure(move |load| send_all(load, self.tasks, self.count))
    }
}

async fn send_all(load: Load, tasks: u32, count: u64) -> Result<Done, Failure> {
    let (shared, mut sending) = (Arc::new(Shared::default()), JoinSet::new());
    for _ in 0..tasks {
        sending.spawn(send(load.clone(), shared.clone(), count));
    }
    while let Some(done) = sending.join_next().await {
        done.map_err(|error| Failure::error(error.to_string()))??;
    }
    load.finish(count).await?;
    Ok(Done { records: count, latencies: Some(shared.times.snapshot()) })
}

/// What the tasks share: a histogram each would be 20 MB for a thousand.
#[derive(Debug, Default)]
struct Shared {
    taken: AtomicU64,
    times: Times,
}

/// One task. One reading of the clock ends a record and begins the next.
async fn send(load: Load, shared: Arc<Shared>, count: u64) -> milena::Result<()> {
    let mut begun = Instant::now();
    loop {
        let number = shared.taken.fetch_add(1, Relaxed);
        if number >= count {
            return Ok(());
        }
        load.producer.send(load.record(number)).await?;
        let now = Instant::now();
        shared.times.count(now - begun);
        begun = now;
    }
}
