//! The settings of topics and brokers: which there are, what they may be, and what they are by default.
//!
//! Rules this file keeps:
//! - a setting that Kafka has is known here with Kafka's default, and described, whether or not it changes anything in a
//!   cluster without disks; an unknown one is refused;
//! - a topic's own value comes before what was set for all brokers, that before the default;
//! - nothing is half altered: a change is checked whole before any of it counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::codecs;

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Bool,
    /// At least this.
    Int(i64),
    /// At least this.
    Long(i64),
    /// Between 0 and 1.
    Ratio,
    OneOf(&'static [&'static str]),
    /// Of these; of anything if there are none.
    List(&'static [&'static str]),
}

/// A setting.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    /// What the brokers call the default of all topics; empty if they have none.
    pub(super) broker_name: &'static str,
    pub(super) doc: &'static str,
}

/// Values by the names of settings.
pub(super) type Values = BTreeMap<String, String>;

/// A change to a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// Why settings are refused, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

impl Definition {
    /// Whether a value fits.
    pub(super) fn check(&self, value: &str) -> Result<(), Refused> {
        if value.len() > LONGEST_VALUE {
            return Err(Refused(format!("The value for configuration {} is too long", self.name)));
        }
        let fits = match self.kind {
            Kind::Bool => matches!(value, "true" | "false"),
            Kind::Int(least) => value.trim().parse::<i32>().is_ok_and(|number| i64::from(number) >= least),
            Kind::Long(least) => value.trim().parse::<i64>().is_ok_and(|number| number >= least),
            Kind::Ratio => value.trim().parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
            Kind::OneOf(known) => known.contains(&value),
            Kind::List(known) => known.is_empty() || list(value).all(|entry| known.contains(&entry)),
        };
        if fits { Ok(()) } else { Err(Refused(format!("Invalid value {value} for configuration {}", self.name))) }
    }

    /// The type by Kafka's numbers (KIP-569).
    pub(super) fn type_code(&self) -> i8 {
        match self.kind {
            Kind::Bool => 1,
            Kind::OneOf(_) => 2,
            Kind::Int(_) => 3,
            Kind::Long(_) => 5,
            Kind::Ratio => 6,
            Kind::List(_) => 7,
        }
    }
}

/// The setting of this name in a table.
pub(super) fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    table.iter().find(|definition| definition.name == name)
}

/// `values` after these changes; `find` knows the settings, `default` says what a list is that was never set.
pub(super) fn changed(
    find: impl Fn(&str) -> Option<&'static Definition>,
    values: &Values,
    changes: impl IntoIterator<Item = (String, Change)>,
    default: impl Fn(&'static Definition) -> String,
) -> Result<Values, Refused> {
    let mut values = values.clone();
    for (name, change) in changes {
        let definition = find(&name).ok_or_else(|| Refused(format!("Unknown config name: {name}")))?;
        let current = || values.get(&name).cloned().unwrap_or_else(|| default(definition));
        let value = match change {
            Change::Delete => {
                values.remove(&name);
                continue;
            }
            Change::Set(value) => value,
            Change::Append(_) | Change::Subtract(_) if !matches!(definition.kind, Kind::List(_)) => {
                return Err(Refused(format!("Can't change the list {name}: its type is not LIST.")));
            }
            Change::Append(more) => {
                let old = current();
                let new = list(&more).filter(|entry| !list(&old).any(|known| known == *entry));
                list(&old).chain(new).collect::<Vec<_>>().join(",")
            }
            Change::Subtract(less) => {
                let old = current();
                let left = list(&old).filter(|entry| !list(&less).any(|gone| gone == *entry));
                left.collect::<Vec<_>>().join(",")
            }
        };
        definition.check(&value)?;
        values.insert(name, value);
    }
    Ok(values)
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// A topic's settings: what was set, and what all of them together are.
#[derive(Debug)]
pub(super) struct TopicConfigs(RwLock<Arc<TopicConfig>>);

impl TopicConfigs {
    pub(super) fn new(config: TopicConfig) -> Self {
        Self(RwLock::new(Arc::new(config)))
    }

    pub(super) fn current(&self) -> Arc<TopicConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, config: TopicConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

/// What the settings of one topic come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopicConfig {
    /// What was set for this topic.
    pub(super) own: Values,
    pub(super) max_message_bytes: usize,
    pub(super) segment_bytes: usize,
    pub(super) segment_millis: i64,
    /// −1 for ever.
    pub(super) retention_millis: i64,
    /// −1 without bound.
    pub(super) retention_bytes: i64,
    pub(super) delete: bool,
    pub(super) compact: bool,
    pub(super) delete_retention_millis: i64,
    pub(super) min_compaction_lag_millis: i64,
    pub(super) min_cleanable_ratio: f64,
    pub(super) log_append_time: bool,
    pub(super) before_max_millis: i64,
    pub(super) after_max_millis: i64,
    /// The codec of everything in the log; `None` for the producer's.
    pub(super) codec: Option<i16>,
    pub(super) min_in_sync: usize,
    pub(super) unclean: bool,
}

impl TopicConfig {
    /// What `own` comes to, over `defaults`, which are by the topics' names of the settings.
    pub(super) fn new(own: Values, defaults: &Values) -> Result<Self, Refused> {
        for (name, value) in &own {
            find(TOPIC, name).ok_or_else(|| Refused(format!("Unknown topic config name: {name}")))?.check(value)?;
        }
        let value = |name: &str| -> &str {
            let default = || find(TOPIC, name).map_or("", |definition| definition.default);
            own.get(name).or_else(|| defaults.get(name)).map_or_else(default, String::as_str)
        };
        let number = |name: &str| value(name).trim().parse::<i64>().unwrap_or_default();
        let size = |name: &str| usize::try_from(number(name)).unwrap_or_default();
        let policy: Vec<&str> = list(value("cleanup.policy")).collect();
        Ok(Self {
            max_message_bytes: size("max.message.bytes"),
            segment_bytes: size("segment.bytes"),
            segment_millis: number("segment.ms"),
            retention_millis: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            delete: policy.contains(&"delete"),
            compact: policy.contains(&"compact"),
            delete_retention_millis: number("delete.retention.ms"),
            min_compaction_lag_millis: number("min.compaction.lag.ms"),
            min_cleanable_ratio: value("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
            log_append_time: value("message.timestamp.type") == "LogAppendTime",
            before_max_millis: number("message.timestamp.before.max.ms"),
            after_max_millis: number("message.timestamp.after.max.ms"),
            codec: codecs::by_name(value("compression.type")),
            min_in_sync: size("min.insync.replicas"),
            unclean: value("unclean.leader.election.enable") == "true",
            own,
        })
    }
}

/// The setting of topics for which the brokers' setting of this name is the default.
pub(super) fn find_topics(broker_name: &str) -> Option<&'static Definition> {
    TOPIC.iter().find(|definition| definition.broker_name == broker_name && !broker_name.is_empty())
}

/// The setting of brokers of this name, if it can be altered.
pub(super) fn find_brokers(name: &str) -> Option<&'static Definition> {
    find_topics(name).or_else(|| find(BROKER, name))
}

const fn define(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker_name: &'static str,
    doc: &'static str,
) -> Definition {
    Definition { name, kind, default, broker_name, doc }
}

/// No value is longer, so that settings cannot fill the memory.
const LONGEST_VALUE: usize = 10_000;
const FOREVER: &str = "9223372036854775807";
const CODECS: Kind = Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
const CLOCKS: Kind = Kind::OneOf(&["CreateTime", "LogAppendTime"]);
const POLICIES: Kind = Kind::List(&["compact", "delete"]);
/// Settings of Kafka that mean something only to a broker with disks, threads or other brokers.
const WITHOUT_EFFECT: &str = "Known and kept, without effect in an embedded cluster.";

/// The settings of topics, ordered by name.
#[rustfmt::skip]
pub(super) static TOPIC: &[Definition] = &[
    define("cleanup.policy", POLICIES, "delete", "log.cleanup.policy", "Whether old segments are deleted, or the last record of every key is kept, or both."),
    define("compression.gzip.level", Kind::Int(-1), "-1", "compression.gzip.level", WITHOUT_EFFECT),
    define("compression.lz4.level", Kind::Int(1), "9", "compression.lz4.level", WITHOUT_EFFECT),
    define("compression.type", CODECS, "producer", "compression.type", "The codec in which batches are kept; producer keeps them as they came."),
    define("compression.zstd.level", Kind::Int(-131_072), "3", "compression.zstd.level", WITHOUT_EFFECT),
    define("delete.retention.ms", Kind::Long(0), "86400000", "log.cleaner.delete.retention.ms", "How long a compacted topic keeps tombstones."),
    define("file.delete.delay.ms", Kind::Long(0), "60000", "log.segment.delete.delay.ms", WITHOUT_EFFECT),
    define("flush.messages", Kind::Long(1), FOREVER, "log.flush.interval.messages", WITHOUT_EFFECT),
    define("flush.ms", Kind::Long(0), FOREVER, "log.flush.interval.ms", WITHOUT_EFFECT),
    define("follower.replication.throttled.replicas", Kind::List(&[]), "", "", WITHOUT_EFFECT),
    define("index.interval.bytes", Kind::Int(0), "4096", "log.index.interval.bytes", WITHOUT_EFFECT),
    define("leader.replication.throttled.replicas", Kind::List(&[]), "", "", WITHOUT_EFFECT),
    define("local.retention.bytes", Kind::Long(-2), "-2", "log.local.retention.bytes", WITHOUT_EFFECT),
    define("local.retention.ms", Kind::Long(-2), "-2", "log.local.retention.ms", WITHOUT_EFFECT),
    define("max.compaction.lag.ms", Kind::Long(1), FOREVER, "log.cleaner.max.compaction.lag.ms", WITHOUT_EFFECT),
    define("max.message.bytes", Kind::Int(0), "1048588", "message.max.bytes", "The largest batch in bytes that is accepted."),
    define("message.timestamp.after.max.ms", Kind::Long(0), "3600000", "log.message.timestamp.after.max.ms", "How far a record's timestamp may be ahead of the broker's clock."),
    define("message.timestamp.before.max.ms", Kind::Long(0), FOREVER, "log.message.timestamp.before.max.ms", "How far a record's timestamp may be behind the broker's clock."),
    define("message.timestamp.type", CLOCKS, "CreateTime", "log.message.timestamp.type", "Whose clock the records' timestamps are of."),
    define("min.cleanable.dirty.ratio", Kind::Ratio, "0.5", "log.cleaner.min.cleanable.ratio", "How much of a log must be new before it is compacted."),
    define("min.compaction.lag.ms", Kind::Long(0), "0", "log.cleaner.min.compaction.lag.ms", "How long a record is safe from compaction."),
    define("min.insync.replicas", Kind::Int(1), "1", "min.insync.replicas", "How many replicas must be in sync for a write with acks=all."),
    define("preallocate", Kind::Bool, "false", "log.preallocate", WITHOUT_EFFECT),
    define("remote.log.copy.disable", Kind::Bool, "false", "", WITHOUT_EFFECT),
    define("remote.log.delete.on.disable", Kind::Bool, "false", "", WITHOUT_EFFECT),
    define("remote.storage.enable", Kind::Bool, "false", "", WITHOUT_EFFECT),
    define("retention.bytes", Kind::Long(-1), "-1", "log.retention.bytes", "How large a partition grows before its oldest segments are deleted; -1 without bound."),
    define("retention.ms", Kind::Long(-1), "604800000", "log.retention.ms", "How old a segment grows before it is deleted; -1 for ever."),
    define("segment.bytes", Kind::Int(14), "1073741824", "log.segment.bytes", "How much of a partition is deleted or compacted at once; never more than the cluster's own setting."),
    define("segment.index.bytes", Kind::Int(4), "10485760", "log.index.size.max.bytes", WITHOUT_EFFECT),
    define("segment.jitter.ms", Kind::Long(0), "0", "log.roll.jitter.ms", WITHOUT_EFFECT),
    define("segment.ms", Kind::Long(1), "604800000", "log.roll.ms", "After how long a new segment is begun."),
    define("unclean.leader.election.enable", Kind::Bool, "false", "unclean.leader.election.enable", "Whether a replica that is not in sync may lead where no other is alive."),
];

/// The settings of groups (KIP-848, KIP-932), ordered by name.
#[rustfmt::skip]
pub(super) static GROUP: &[Definition] = &[
    define("consumer.heartbeat.interval.ms", Kind::Int(1), "5000", "", "How often members of a consumer group are to be heard of."),
    define("consumer.session.timeout.ms", Kind::Int(1), "45000", "", "After how long without a heartbeat a member is taken for dead."),
    define("share.auto.offset.reset", Kind::OneOf(&["latest", "earliest"]), "latest", "", WITHOUT_EFFECT),
    define("share.heartbeat.interval.ms", Kind::Int(1), "5000", "", WITHOUT_EFFECT),
    define("share.isolation.level", Kind::OneOf(&["read_committed", "read_uncommitted"]), "read_uncommitted", "", WITHOUT_EFFECT),
    define("share.record.lock.duration.ms", Kind::Int(1000), "30000", "", WITHOUT_EFFECT),
    define("share.session.timeout.ms", Kind::Int(1), "45000", "", WITHOUT_EFFECT),
];

/// The settings of brokers that can be altered and are no default of topics.
#[rustfmt::skip]
pub(super) static BROKER: &[Definition] = &[
    define("background.threads", Kind::Int(1), "10", "", WITHOUT_EFFECT),
    define("follower.replication.throttled.rate", Kind::Long(0), FOREVER, "", WITHOUT_EFFECT),
    define("leader.replication.throttled.rate", Kind::Long(0), FOREVER, "", WITHOUT_EFFECT),
    define("log.cleaner.backoff.ms", Kind::Long(0), "15000", "", WITHOUT_EFFECT),
    define("log.cleaner.threads", Kind::Int(0), "1", "", WITHOUT_EFFECT),
    define("max.connections", Kind::Int(0), "2147483647", "", WITHOUT_EFFECT),
    define("max.connections.per.ip", Kind::Int(0), "2147483647", "", WITHOUT_EFFECT),
    define("num.io.threads", Kind::Int(1), "8", "", WITHOUT_EFFECT),
    define("num.network.threads", Kind::Int(1), "3", "", WITHOUT_EFFECT),
    define("num.replica.fetchers", Kind::Int(1), "1", "", WITHOUT_EFFECT),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_default_is_valid_and_names_are_in_order() {
        for table in [TOPIC, GROUP, BROKER] {
            assert!(table.is_sorted_by_key(|definition| definition.name));
            for definition in table {
                assert_eq!(definition.check(definition.default), Ok(()), "{}", definition.name);
            }
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let table = [
            ("retention.ms", "-1", true),
            ("retention.ms", "-2", false),
            ("retention.ms", "soon", false),
            ("max.message.bytes", "3000000000", false),
            ("cleanup.policy", "compact, delete", true),
            ("cleanup.policy", "compact,archive", false),
            ("compression.type", "lz4", true),
            ("compression.type", "none", false),
            ("min.cleanable.dirty.ratio", "1.1", false),
            ("preallocate", "yes", false),
            ("leader.replication.throttled.replicas", &"0:1,".repeat(2500), true),
            ("leader.replication.throttled.replicas", &"0:1,".repeat(2501), false),
            ("no.such.setting", "1", false),
        ];
        for (name, value, fits) in table {
            let config = TopicConfig::new(values(&[(name, value)]), &Values::new());
            assert_eq!(config.is_ok(), fits, "{name}={value}");
        }
    }

    #[test]
    fn a_topics_own_value_comes_first() {
        let defaults = values(&[("retention.ms", "5"), ("segment.bytes", "100")]);
        let config = TopicConfig::new(values(&[("retention.ms", "7")]), &defaults).unwrap();
        assert_eq!((config.retention_millis, config.segment_bytes, config.retention_bytes), (7, 100, -1));
        assert_eq!((config.delete, config.compact, config.codec), (true, false, None));
    }

    #[test]
    fn changes_are_made_whole_or_not_at_all() {
        let own = values(&[("cleanup.policy", "compact"), ("retention.ms", "7")]);
        let apply = |changes: &[(&str, Change)]| {
            let changes = changes.iter().map(|(name, change)| ((*name).to_owned(), change.clone()));
            changed(|name| find(TOPIC, name), &own, changes, |definition| definition.default.to_owned())
        };
        let text = |value: &str| value.to_owned();
        let both = values(&[("cleanup.policy", "compact,delete"), ("retention.ms", "7")]);
        assert_eq!(apply(&[("cleanup.policy", Change::Append(text("delete,compact")))]), Ok(both));
        let none = values(&[("cleanup.policy", ""), ("retention.ms", "7")]);
        assert_eq!(apply(&[("cleanup.policy", Change::Subtract(text("compact")))]), Ok(none));
        assert_eq!(apply(&[("retention.ms", Change::Delete)]), Ok(values(&[("cleanup.policy", "compact")])));
        assert!(apply(&[("retention.ms", Change::Append(text("8")))]).is_err());
        assert!(
            apply(&[("retention.ms", Change::Set(text("8"))), ("retention.bytes", Change::Set(text("x")))]).is_err()
        );
        assert!(apply(&[("unknown", Change::Delete)]).is_err());
    }
}
