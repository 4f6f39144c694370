//! `milena demo`: a million Avro records into a broker and back, and a check of each.
//!
//! Rules this folder keeps:
//! - producing and consuming run at the same time, over the public API alone;
//! - nothing is kept of what was sent: a record that comes back is compared with one made anew from the seed;
//! - the embedded servers have threads of their own, so that their processor time is not taken for the client's;
//! - nothing is deleted but the topic with the demo's own random name, and the subject registered for it;
//! - the last line of stdout is one JSON object, and the exit code is 0 only if every check held.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use clap::Args;
use milena::{
    ErrorKind, Kafka,
    admin::NewTopic,
    properties::Properties,
    registry::{Avro, Registry},
    serdes::{Part, Serializer, Target},
};
use tokio::runtime::Builder;

mod check;
mod cpu;
mod journey;
mod progress;
mod report;
mod result;
mod servers;

use crate::{
    failure::{Failure, chain, say},
    options::{Options, connect, registry, topic_name, with_bootstrap},
    signal::Ending,
};
use cpu::Cpu;
use journey::Journey;
use report::Outcome;
use result::{Plan, VqeResult};
use servers::Servers;

/// Produces quantum-experiment results as Avro, consumes them at the same time and checks each: once, in order, equal.
///
/// Without --bootstrap it starts its own broker and Schema Registry in this process.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A cluster of your own instead of the embedded broker.
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,

    /// The Schema Registry that belongs to it; the URL may have a path.
    #[arg(long, value_name = "URL")]
    registry: Option<String>,

    /// The topic, made if it does not exist; neither it nor its subject is ever deleted. Default: a topic with a random
    /// name, deleted at the end together with its subject.
    #[arg(short, long, value_parser = topic_name)]
    topic: Option<String>,

    /// How many records.
    #[arg(short = 'n', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    records: u64,

    /// How many partitions a topic gets that is made.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// What the records are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Keeps the topic and the subject with the random name. Those of --topic are always kept.
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    options: Options,
}

impl Demo {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let properties = self.options.properties()?;
        let own_cluster = self.bootstrap.is_some() || properties.value("bootstrap.servers").is_some();
        if !own_cluster && (self.registry.is_some() || properties.value("schema.registry.url").is_some()) {
            return Err(Failure::Usage("--registry needs --bootstrap: a cluster of your own has both".to_owned()));
        }
        let properties = match &self.registry {
            Some(url) => properties.set("schema.registry.url", url),
            None => properties,
        };
        let servers = if own_cluster { None } else { Some(Servers::start()?) };
        let properties = match &servers {
            Some(servers) => properties
                .set("bootstrap.servers", servers.bootstrap())
                .set("schema.registry.url", servers.registry_url()),
            None => with_bootstrap(properties, self.bootstrap.as_deref())?,
        };
        let runtime = Builder::new_multi_thread().enable_all().thread_name("milena").build()?;
        let done = runtime.block_on(self.journey(properties, servers.is_some()));
        runtime.shutdown_timeout(Duration::from_secs(1));
        if let Some(servers) = servers {
            servers.stop();
        }
        let outcome = done?;
        outcome.write(&mut io::stdout().lock()).map_err(Failure::stdout)?;
        if outcome.is_good() { Ok(()) } else { Err(Failure::error("the demo's checks failed")) }
    }

    async fn journey(&self, properties: Properties, embedded: bool) -> Result<Outcome, Failure> {
        let mut ending = Ending::listen()?;
        let properties = with_demo_defaults(properties);
        let registry = registry(&properties)?;
        let run = format!("vqe{:06x}", fastrand::u32(..0x100_0000));
        let topic = self.topic.clone().unwrap_or_else(|| format!("milena-demo-{run}"));
        let plan = Plan { run, seed: self.seed, records: self.records };
        let started = tokio::select! {
            started = self.start(&properties, &topic) => started,
            () = ending.asked() => Err(interrupted()),
        };
        let (kafka, made) = started?;
        let avro = avro(&registry, &properties)?;
        let registered = Cell::new(false);
        let work = async {
            // Here, so that a registry that refuses is one error, and nothing of it is left to delete.
            Serializer::<VqeResult>::prepare(&avro, Target { topic: &topic, part: Part::Value }).await?;
            registered.set(true);
            self.measure(&kafka, avro.clone(), &properties, topic.clone(), plan, embedded).await
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = ending.asked() => Err(interrupted()),
        };
        // A name that somebody gave may be somebody's: its subject may be older than the demo, even if the topic is not.
        if made && self.topic.is_none() && !embedded && !self.keep {
            clean_up(&kafka, registered.get().then_some(&registry), &topic).await;
        }
        outcome
    }

    /// Connects and makes sure that the topic is there. Whether the demo made it is the second of the pair.
    async fn start(&self, properties: &Properties, topic: &str) -> Result<(Kafka, bool), Failure> {
        let kafka = connect(properties).await?;
        match kafka.admin().create_topic(NewTopic::new(topic, self.partitions, -1)).await {
            Ok(()) => Ok((kafka, true)),
            Err(error) if error.code() == Some(milena::ErrorCode::TOPIC_ALREADY_EXISTS) => Ok((kafka, false)),
            Err(error) => Err(error.into()),
        }
    }

    async fn measure(
        &self,
        kafka: &Kafka,
        avro: Avro<VqeResult>,
        properties: &Properties,
        topic: String,
        plan: Plan,
        embedded: bool,
    ) -> Result<Outcome, Failure> {
        let keys = plan.experiments();
        let journey = Journey::prepare(kafka, avro, topic.clone(), plan).await?;
        let partitions = journey.partitions();
        let (before, start) = (Cpu::now(), Instant::now());
        let counts = journey.run(io::stderr().is_terminal()).await?;
        let wall = start.elapsed();
        let cpu = Cpu::now().zip(before).map(|(now, before)| now.since(before));
        let settings = properties.producer()?;
        let (codec, acknowledges) = (settings.compression_type, settings.acks != 0);
        let bootstrap = properties.client()?.bootstrap_servers.join(",");
        let registry = properties.registry()?.urls.iter().map(|url| without_user(url)).collect::<Vec<_>>().join(",");
        Ok(Outcome { counts, wall, cpu, keys, partitions, codec, topic, bootstrap, registry, embedded, acknowledges })
    }
}

fn avro(registry: &Registry, properties: &Properties) -> Result<Avro<VqeResult>, Failure> {
    let settings = properties.registry()?;
    let avro = registry.avro::<VqeResult>();
    Ok(if settings.use_latest_version { avro.use_latest() } else { avro.auto_register(settings.auto_register_schemas) })
}

/// The demo shows the idempotent producer with snappy and acks=all, unless the properties ask for something else.
fn with_demo_defaults(mut properties: Properties) -> Properties {
    for (name, value) in [("acks", "all"), ("compression.type", "snappy")] {
        if properties.value(name).is_none() {
            properties.insert(name, value);
        }
    }
    properties
}

/// The URL as it may be shown: user and password stay out of it.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Deletes the topic, and its subject from the registry if there is one.
async fn clean_up(kafka: &Kafka, registry: Option<&Registry>, topic: &str) {
    if let Err(error) = kafka.admin().delete_topic(topic).await {
        say(&format!("the topic {topic} could not be deleted: {}", chain(&error)));
    }
    let Some(registry) = registry else { return };
    // A registry need not know the subject, nor how to delete one.
    match registry.delete_subject(&format!("{topic}-value"), false).await {
        Err(error) if !matches!(error.kind(), ErrorKind::Registry(404 | 405)) => {
            say(&format!("the subject {topic}-value could not be deleted: {}", chain(&error)));
        }
        _ => {}
    }
}

fn interrupted() -> Failure {
    Failure::error("interrupted")
}

#[cfg(test)]
mod tests {
    use super::without_user;

    #[test]
    fn no_password_is_shown() {
        let table = [
            ("http://h:1/a/b", "http://h:1/a/b"),
            ("https://user:pass@h", "https://h"),
            ("https://user:p@ss@h/x@y", "https://h/x@y"),
        ];
        for (url, shown) in table {
            assert_eq!(without_user(url), shown);
        }
    }
}
