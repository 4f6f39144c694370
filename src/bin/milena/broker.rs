//! `milena broker`: the embedded broker and registry as servers for other programs.

use std::io::{self, Write};

use clap::Args;
use milena::embedded::EmbeddedCluster;

use crate::{failure::Failure, options::Options, signal::Ending};

/// Runs the embedded broker and Schema Registry, with everything in memory, until SIGINT or SIGTERM.
///
/// There are no consumer groups yet: clients read partitions that they assign to themselves.
///
/// Prints one line on stdout once it serves: ready bootstrap=HOST:PORT registry=URL
#[derive(Debug, Args)]
pub(crate) struct Broker {
    /// Where the broker listens; port 0 picks a free one. Clients are told this address; for 0.0.0.0 or [::] they are
    /// told localhost, so that clients on other machines need the address that they can reach here.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,

    /// Where the Schema Registry listens; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    registry_listen: String,

    /// How many partitions a topic gets that is made by its first use.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    #[command(flatten)]
    options: Options,
}

impl Broker {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.options.properties()?;
        let mut ending = Ending::listen()?;
        let builder = EmbeddedCluster::builder().listen(self.listen).registry_listen(self.registry_listen);
        let cluster = builder.auto_create_topics(self.partitions).start().await?;
        {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "ready bootstrap={} registry={}", cluster.bootstrap(), cluster.registry_url())
                .and_then(|()| stdout.flush())
                .map_err(Failure::stdout)?;
        }
        ending.asked().await;
        cluster.shutdown().await;
        Ok(())
    }
}
