//! `milena broker`: the embedded broker and registry as servers for other programs.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use milena::{
    Error, ErrorKind,
    embedded::{Builder, EmbeddedCluster, KafkaVersion},
};

use crate::{failure::Failure, options::Options, signal::Ending};

/// Runs the embedded broker and Schema Registry, with everything in memory, until SIGINT or SIGTERM.
///
/// Any client can use it: groups of both protocols, transactions, settings of topics. It is made for tests: replicas are
/// bookkeeping, and there are no quotas and no access control lists.
///
/// Prints one line on stdout once it serves: ready bootstrap=HOST:PORT[,HOST:PORT...] registry=URL
#[derive(Debug, Args)]
pub(crate) struct Broker {
    /// Where the first broker listens, further ones take the next ports; port 0 picks free ones. Clients are told this
    /// address; for 0.0.0.0 or [::] they are told localhost, so that clients on other machines need the address that
    /// they can reach here.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,

    /// How many brokers the cluster has. Each leads its share of the partitions, which have one replica each unless a
    /// client asks for more.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=100))]
    brokers: i32,

    /// Makes this topic at the start; may be repeated. Others are made by their first use.
    #[arg(long = "topic", value_name = "NAME:PARTITIONS", value_parser = name_and_partitions)]
    topics: Vec<(String, i32)>,

    /// Where the Schema Registry listens; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    registry_listen: String,

    /// How many partitions a topic gets that is made by its first use.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// The memory in bytes that all logs together may take; beyond it the oldest records are dropped.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1..))]
    retention_bytes: u64,

    /// The release of Kafka to pretend to be: 2.1, 2.8, 3.9, 4.0 or 4.3.
    #[arg(long = "kafka", value_name = "VERSION", default_value = "4.3")]
    version: KafkaVersion,

    /// Lets nobody in but users with a password, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; may be repeated. Whoever can
    /// list this machine's processes sees the password.
    #[arg(long = "sasl-user", value_name = "NAME:PASSWORD", value_parser = name_and_password)]
    sasl_users: Vec<(String, String)>,

    /// Speaks TLS, with the private key in this PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// The certificate chain for TLS, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// Lets only clients in that have a certificate of the authority in this PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_client_ca: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

impl Broker {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.options.properties()?;
        let mut ending = Ending::listen()?;
        let cluster = self.builder()?.start().await?;
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

    fn builder(self) -> Result<Builder, Failure> {
        let mut builder = EmbeddedCluster::builder()
            .listen(self.listen)
            .registry_listen(self.registry_listen)
            .brokers(self.brokers)
            .auto_create_topics(self.partitions)
            .retention_bytes(usize::try_from(self.retention_bytes).unwrap_or(usize::MAX))
            .version(self.version);
        for (name, password) in self.sasl_users {
            builder = builder.sasl_user(name, password);
        }
        if let (Some(key), Some(chain)) = (self.tls_key, self.tls_certificate) {
            builder = builder.tls_pem(read(&key)?, read(&chain)?);
        }
        if let Some(ca) = self.tls_client_ca {
            builder = builder.tls_client_ca_pem(read(&ca)?);
        }
        Ok(self.topics.into_iter().fold(builder, |builder, (name, partitions)| builder.topic(name, partitions)))
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Config, format!("cannot read {}: {error}", path.display())).with_source(error).into()
    })
}

fn name_and_password(text: &str) -> Result<(String, String), String> {
    // Not repeated in the error: half of it is a password.
    let parsed = text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()));
    parsed.ok_or_else(|| "a user is NAME:PASSWORD".to_owned())
}

fn name_and_partitions(text: &str) -> Result<(String, i32), String> {
    let parsed = text.rsplit_once(':').and_then(|(name, count)| Some((name.to_owned(), count.parse::<i32>().ok()?)));
    parsed.ok_or_else(|| "a topic is NAME:PARTITIONS".to_owned())
}
