//! The options that every command has, and the clients they make.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use milena::{ErrorCode, Kafka, admin::NewTopic, properties::Properties, registry::Registry};

use crate::failure::{Failure, say};

/// Configuration by Java's names.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// Sets a property by its Java name; may be repeated, and wins over --properties.
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = name_and_value)]
    property: Vec<(String, String)>,

    /// Reads a Java properties file.
    #[arg(long = "properties", aliases = ["command-config", "producer.config", "consumer.config"], value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Options {
    /// The file, then what `-X` says on top; checked, and every property without effect noted on stderr.
    pub(crate) fn properties(&self) -> Result<Properties, Failure> {
        self.properties_with(&[])
    }

    /// As [`properties`](Self::properties), for a command that obeys these properties although the library does not.
    pub(crate) fn properties_with(&self, obeyed: &[&str]) -> Result<Properties, Failure> {
        let mut properties = self.file.as_ref().map(Properties::load).transpose()?.unwrap_or_default();
        properties.extend(self.property.iter().cloned());
        properties.check()?;
        let is_obeyed = |note: &String| obeyed.iter().any(|name| note.split_whitespace().next() == Some(name));
        for note in properties.notes().into_iter().filter(|note| !is_obeyed(note)) {
            say(&format!("note: {note}"));
        }
        Ok(properties)
    }
}

/// The properties with `bootstrap` put over `bootstrap.servers`; one of the two has to be there.
pub(crate) fn with_bootstrap(properties: Properties, bootstrap: Option<&str>) -> Result<Properties, Failure> {
    let properties = match bootstrap {
        Some(bootstrap) => properties.set("bootstrap.servers", bootstrap),
        None => properties,
    };
    if properties.client()?.bootstrap_servers.is_empty() {
        return Err(Failure::Usage("no broker is named: -b HOST:PORT, or the property bootstrap.servers".to_owned()));
    }
    Ok(properties)
}

/// A client for the cluster that the properties name.
pub(crate) async fn connect(properties: &Properties) -> Result<Kafka, Failure> {
    Ok(Kafka::builder().properties(properties).connect().await?)
}

/// How many partitions the topic has. An unknown one is waited for, but not as long as the library would: a person
/// sits in front of it.
pub(crate) async fn partitions(kafka: &Kafka, properties: &Properties, topic: &str) -> Result<usize, Failure> {
    let patience = properties.client()?.default_api_timeout.min(TOPIC_TIMEOUT);
    Ok(kafka.admin().timeout(patience).topic(topic).await?.leaders.len())
}

/// Makes sure that a topic can be written to, and has so many partitions if `count` says how many. As other producers'
/// tools, these make one that is not there, otherwise with the broker's defaults, and say so; unless
/// `allow.auto.create.topics`, in Java the consumer's, is false.
pub(crate) async fn ready_topic(
    kafka: &Kafka,
    properties: &Properties,
    topic: &str,
    count: Option<i32>,
) -> Result<(), Failure> {
    let is_made = match properties.value(CREATE).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("true") => match kafka.admin().create_topic(NewTopic::new(topic, count.unwrap_or(-1), -1)).await {
            Ok(()) => true,
            Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) && count.is_none() => return Ok(()),
            // Whoever may not make topics can still write to one. An unknown topic is one error now, not one per line.
            Err(error) if error.code().is_some_and(|code| NOT_MADE.contains(&code)) => false,
            Err(error) => return Err(error.into()),
        },
        Some("false") => false,
        Some(value) => return Err(Failure::error(format!("{CREATE} is {value:?}, but has to be true or false"))),
    };
    if is_made {
        say(&format!("note: topic {topic} was not there; it has been made"));
        return Ok(());
    }
    let there = partitions(kafka, properties, topic).await?;
    match count {
        Some(asked) if usize::try_from(asked) != Ok(there) => {
            Err(Failure::error(format!("topic {topic} has {there} partitions, not {asked}")))
        }
        _ => Ok(()),
    }
}

/// The name of a topic; the broker judges the rest of it.
pub(crate) fn topic_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the name of a topic is not empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A separator of keys and values as typed: `\t`, `\n`, `\0` and `\\` stand for what they stand for elsewhere.
pub(crate) fn separator(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('0') => '\0',
                Some('\\') => '\\',
                _ => return Err("the escapes are \\t, \\n, \\0 and \\\\".to_owned()),
            },
            c => c,
        });
    }
    if out.is_empty() { Err("the separator is empty".to_owned()) } else { Ok(out) }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("a property is NAME=VALUE, as in linger.ms=20".to_owned()),
    }
}

/// The registry at `schema.registry.url`.
pub(crate) fn registry(properties: &Properties) -> Result<Registry, Failure> {
    let settings = properties.registry()?;
    let urls = settings.urls.join(",");
    if urls.is_empty() {
        return Err(Failure::Usage(
            "no registry is named: --registry URL, or the property schema.registry.url".to_owned(),
        ));
    }
    let mut builder = Registry::builder(urls);
    if let Some((user, password)) = settings.user_info.as_ref().and_then(|text| text.expose().split_once(':')) {
        builder = builder.basic_auth(user, password);
    }
    Ok(builder.build()?)
}

/// Whether a missing topic is made.
pub(crate) const CREATE: &str = "allow.auto.create.topics";

/// The answers to those who may not make a topic, or need not.
const NOT_MADE: [ErrorCode; 3] =
    [ErrorCode::TOPIC_ALREADY_EXISTS, ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorCode::CLUSTER_AUTHORIZATION_FAILED];

/// How long an unknown topic is asked for.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(10);
