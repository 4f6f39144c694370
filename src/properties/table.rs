//! Every property that milena knows, one line each.
//!
//! Rules this file keeps:
//! - a name that Java's clients know is here, be it used, without effect or refused: nothing of Java's is "unknown";
//! - defaults and ranges stand here and nowhere else; `docs/config.md` is written out of this table by a test;
//! - a default that is not Java's says why.

use Kind::{Bool, Bytes, List, Millis, OneOf, Secret, Text, Whole};
use Status::{Ignored, Refused, Used};

/// A property: how its value is read, and what milena does with it.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: &'static str,
    /// Which clients read it: `K`afka (every connection), `P`roducer, `C`onsumer, `S`ecurity, Schema `R`egistry.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that writes docs/config.md"))]
    pub clients: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// Java's default, where it is another.
    pub java: Option<&'static str>,
    pub status: Status,
    /// What it does, and why the default is not Java's.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that writes docs/config.md"))]
    pub note: &'static str,
}

/// How a value is read, and its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Secret,
    List,
    Bool,
    OneOf(&'static [&'static str]),
    Whole { min: i64, max: i64 },
    Bytes { min: i64, max: i64 },
    Millis { min: i64, max: i64 },
}

/// What milena does with a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Used,
    /// Accepted, because a file shared with Java programs has it, and without effect.
    Ignored(&'static str),
    /// An error, because the program would not do what the property asks for.
    Refused(&'static str),
}

impl Kind {
    /// The range in words, for errors and for the documentation.
    pub(super) fn range(self) -> String {
        match self {
            Text | Secret => "text".to_owned(),
            List => "a list separated by commas".to_owned(),
            Bool => "true or false".to_owned(),
            OneOf(values) => {
                let named = values.iter().map(|value| if value.is_empty() { "empty" } else { value });
                format!("one of {}", named.collect::<Vec<_>>().join(", "))
            }
            Whole { min, max } => format!("a whole number from {min} to {max}"),
            Bytes { min, max } => format!("a number of bytes from {min} to {max}"),
            Millis { min, max } => format!("a number of milliseconds from {min} to {max}"),
        }
    }

    /// Whether `value`, already trimmed, is in the range.
    pub(super) fn accepts(self, value: &str) -> bool {
        match self {
            Text | Secret | List => true,
            Bool => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            OneOf(values) => values.iter().any(|known| known.eq_ignore_ascii_case(value)),
            Whole { min, max } | Bytes { min, max } | Millis { min, max } => {
                value.parse::<i64>().is_ok_and(|number| (min..=max).contains(&number))
            }
        }
    }
}

/// The entry of `name`.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

/// The known name that is nearest to `name`, unless even that one is far off.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let (distance, nearest) = TABLE.iter().map(|entry| (distance(&lower, entry.name), entry.name)).min()?;
    (distance <= name.chars().count().div_ceil(2)).then_some(nearest)
}

/// Edit distance where swapping two neighbours counts as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut cost = (above[j] + usize::from(a[i] != b[j])).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                let swapped: &Vec<usize> = &before;
                cost = cost.min(swapped[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;

const fn row(
    name: &'static str,
    clients: &'static str,
    kind: Kind,
    default: &'static str,
    note: &'static str,
) -> Entry {
    Entry { name, clients, kind, default, java: None, status: Used, note }
}

impl Entry {
    const fn java(mut self, default: &'static str) -> Self {
        self.java = Some(default);
        self
    }
}

const fn ignored(name: &'static str, clients: &'static str, why: &'static str) -> Entry {
    Entry { name, clients, kind: Text, default: "", java: None, status: Ignored(why), note: "" }
}

const fn refused(name: &'static str, clients: &'static str, why: &'static str) -> Entry {
    Entry { name, clients, kind: Text, default: "", java: None, status: Refused(why), note: "" }
}

const PARTITIONERS: &[&str] = &[
    "default",
    "sticky",
    "round_robin",
    "random",
    "consistent",
    "consistent_random",
    "murmur2",
    "murmur2_random",
    "fnv1a",
    "fnv1a_random",
    "sarama_hash",
    "sarama_reference_hash",
    "manual",
];
const PARTITIONER_CLASSES: &[&str] = &[
    "",
    "org.apache.kafka.clients.producer.internals.DefaultPartitioner",
    "org.apache.kafka.clients.producer.RoundRobinPartitioner",
    "org.apache.kafka.clients.producer.UniformStickyPartitioner",
];
const CODE: &str = "serializers and deserializers are given in code";
const JVM: &str = "is about the Java virtual machine";
const PLUGIN: &str = "names a Java class, which milena cannot load";
const INTERCEPTOR: &str =
    "names Java classes, which milena cannot load; ProducerBuilder::interceptor takes them in code";
const GROUP: &str = "consumer groups come with a later release";
const TXN: &str = "two-phase commit is not stable in Kafka (KIP-939)";
const METRIC: &str = "milena has no Java metrics reporters";
const KERBEROS: &str = "Kerberos comes with a later release";
const OAUTH: &str = "OAUTHBEARER comes with a later release";
const JKS: &str = "milena reads PEM, not Java key stores";
const SHARE: &str = "share groups come with a later release";

/// All of them, grouped by who reads them.
#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    // Every connection.
    row("bootstrap.servers", "K", List, "", "The first addresses to ask for the cluster."),
    row("client.id", "K", Text, "milena", "The name in the broker's logs and quotas. Not empty, so that an operator sees who calls.").java(""),
    row("request.timeout.ms", "KPC", Millis { min: 1, max: INT }, "30000", "How long one request may wait for its reply."),
    row("socket.connection.setup.timeout.ms", "K", Millis { min: 1, max: LONG }, "10000", "How long TCP, TLS, SASL and ApiVersions of one connection may take."),
    row("socket.connection.setup.timeout.max.ms", "K", Millis { min: 1, max: LONG }, "30000", "An upper bound of the former. Java lets that one grow up to here with every failure in a row; milena keeps it as it is."),
    row("reconnect.backoff.ms", "K", Millis { min: 0, max: LONG }, "50", "The pause after the first failed connection to a broker; doubles, with jitter (KIP-144)."),
    row("reconnect.backoff.max.ms", "K", Millis { min: 0, max: LONG }, "1000", "Where that doubling ends."),
    row("retry.backoff.ms", "K", Millis { min: 0, max: LONG }, "100", "The pause before the first repetition of a request; doubles, with jitter (KIP-580)."),
    row("retry.backoff.max.ms", "K", Millis { min: 0, max: LONG }, "1000", "Where that doubling ends."),
    row("metadata.max.age.ms", "K", Millis { min: 0, max: LONG }, "300000", "How old the picture of the cluster may become."),
    row("default.api.timeout.ms", "KC", Millis { min: 1, max: INT }, "60000", "How long a consumer asks for a topic that is not known, and how long a partition may be without success before poll says so. Admin calls have a setter of their own."),
    ignored("connections.max.idle.ms", "K", "idle connections are kept; one that the broker closes is opened again when it is needed"),
    ignored("send.buffer.bytes", "K", "the system's own tuning of socket buffers is better"),
    ignored("receive.buffer.bytes", "K", "the system's own tuning of socket buffers is better"),
    ignored("client.dns.lookup", "K", "every address of a name is tried, as with use_all_dns_ips"),
    row("metadata.recovery.strategy", "K", OneOf(&["rebootstrap", "none"]), "rebootstrap", "What to do when no known broker can be reached, or one says that the client's picture of the cluster is too old: go back to the addresses in bootstrap.servers, or ask those brokers for ever (KIP-899, KIP-1102)."),
    row("metadata.recovery.rebootstrap.trigger.ms", "K", Millis { min: 0, max: INT }, "300000", "After so long without an answer about the cluster the client goes back to bootstrap.servers too, although some known broker lets it connect (KIP-1102)."),
    ignored("enable.metrics.push", "K", "telemetry (KIP-714) comes with a later release"),
    ignored("metric.reporters", "K", METRIC),
    ignored("metrics.num.samples", "K", METRIC),
    ignored("metrics.recording.level", "K", METRIC),
    ignored("metrics.sample.window.ms", "K", METRIC),
    ignored("auto.include.jmx.reporter", "K", METRIC),
    refused("config.providers", "K", PLUGIN),
    refused("interceptor.classes", "PC", INTERCEPTOR),
    refused("bootstrap.controllers", "K", "talking to controllers directly comes with a later release"),
    // The producer.
    row("acks", "P", OneOf(&["all", "-1", "0", "1"]), "all", "Which replicas must have a batch before it counts as written."),
    row("enable.idempotence", "P", Bool, "true", "Whether the broker refuses repetitions (KIP-98). Needs acks=all, retries above 0 and at most 5 requests in flight."),
    row("batch.size", "P", Bytes { min: 0, max: INT }, "1000000", "A batch is sealed at this size, before compression. Memory is taken in chunks as records come, not reserved, and small batches cost: 16 KB doubles the client's CPU per record. A partition whose leader refused a batch as too large gets batches of half the size from then on, for the life of the producer.").java("16384"),
    row("linger.ms", "P", Millis { min: 0, max: LONG }, "5", "How long a batch waits for more records (KIP-1030)."),
    row("compression.type", "P", OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]), "none", "The codec of new batches."),
    row("compression.gzip.level", "P", Whole { min: -1, max: 9 }, "-1", "-1 is the codec's own default, 6 (KIP-390)."),
    row("compression.lz4.level", "P", Whole { min: 1, max: 17 }, "9", "Accepted; the encoder has one level, its fast one, whatever stands here."),
    row("compression.zstd.level", "P", Whole { min: -131_072, max: 22 }, "3", "Values beyond what the encoder has become its nearest (KIP-390)."),
    row("max.in.flight.requests.per.connection", "P", Whole { min: 1, max: INT }, "5", "How many Produce requests may be unanswered per broker. Order holds up to 5 with idempotence."),
    row("retries", "P", Whole { min: 0, max: INT }, "2147483647", "How often a batch is sent again. delivery.timeout.ms is the better bound."),
    row("delivery.timeout.ms", "P", Millis { min: 0, max: INT }, "120000", "How long after append a record is at last acknowledged or failed. Not below linger.ms + request.timeout.ms."),
    row("buffer.memory", "P", Bytes { min: 0, max: LONG }, "33554432", "Bytes of records that may be unacknowledged; above it enqueue waits."),
    row("max.block.ms", "P", Millis { min: 0, max: LONG }, "60000", "How long enqueue may wait for metadata or memory."),
    row("max.request.size", "P", Bytes { min: 0, max: INT }, "1048576", "The largest record, before compression. Unlike in Java it does not bound a request, which carries batches of several partitions: `ProducerBuilder::request_bytes` does."),
    row("transaction.timeout.ms", "P", Millis { min: 1, max: INT }, "60000", "How long a transaction may be open before its coordinator aborts it and fences its producer."),
    row("transactional.id", "P", Text, "", "Whose transactions these are; the builder then ends with `transactional`."),
    refused("transaction.two.phase.commit.enable", "P", TXN),
    row("partitioner", "P", OneOf(PARTITIONERS), "default", "How a record finds its partition that names none, by librdkafka's names and milena's; see `producer::Partitioning`. `default` is Java's, which librdkafka calls murmur2_random (its own default is consistent_random)."),
    row("partitioner.class", "P", OneOf(PARTITIONER_CLASSES), "", "The same by Java's names, with those that Java 4.0 removed. Other classes cannot be loaded; a Partitioner can be given in code."),
    row("partitioner.ignore.keys", "P", Bool, "false", "Whether keys are left out of account; for the default partitioner alone."),
    row("partitioner.adaptive.partitioning.enable", "P", Bool, "true", "Whether partitions with fewer batches waiting get more of the records that may go anywhere (KIP-794)."),
    row("partitioner.availability.timeout.ms", "P", Millis { min: 0, max: LONG }, "0", "A broker that has taken nothing for so long gets none of those records until it does; 0 is never (KIP-794)."),
    row("partitioner.rack.aware", "P", Bool, "false", "Whether those records go to partitions led from client.rack, while there are any (KIP-1123, Kafka 4.4). Needs client.rack."),
    row("metadata.max.idle.ms", "P", Millis { min: 5000, max: LONG }, "300000", "A topic that was not written to for so long is asked for no more, and looked up again when it is used (KIP-526). What a consumer reads stays in the picture."),
    ignored("key.serializer", "P", CODE),
    ignored("value.serializer", "P", CODE),
    // The consumer.
    row("fetch.min.bytes", "C", Bytes { min: 0, max: INT }, "1", "The broker answers once it has this much, or after fetch.max.wait.ms."),
    row("fetch.max.bytes", "C", Bytes { min: 0, max: INT }, "8388608", "How much one Fetch answer holds. 8 MiB stays in the processor's cache; 50 MiB costs page faults and gains nothing.").java("52428800"),
    row("max.partition.fetch.bytes", "C", Bytes { min: 0, max: INT }, "1048576", "How much of it may come from one partition."),
    row("fetch.max.wait.ms", "C", Millis { min: 0, max: INT }, "500", "How long the broker may hold a Fetch for which it has too little."),
    row("check.crcs", "C", Bool, "true", "Whether the checksum of every batch is checked."),
    row("isolation.level", "C", OneOf(&["read_uncommitted", "read_committed"]), "read_uncommitted", "read_committed hides what transactions aborted."),
    row("auto.offset.reset", "C", OneOf(&["latest", "earliest", "none"]), "latest", "Where to go when a position is not there any more; none is an error."),
    row("client.rack", "CP", Text, "", "The rack of this client, to read from a near replica (KIP-392), and to write to near leaders with partitioner.rack.aware (KIP-1123)."),
    ignored("max.poll.records", "C", "poll hands out whole batches, whose records are read lazily"),
    ignored("allow.auto.create.topics", "C", "asking for metadata never makes a topic here; `milena produce` makes a missing one unless this is false"),
    ignored("exclude.internal.topics", "C", "subscriptions by pattern come with a later release"),
    refused("group.id", "C", GROUP),
    refused("group.instance.id", "C", GROUP),
    refused("group.remote.assignor", "C", GROUP),
    ignored("group.protocol", "C", GROUP),
    ignored("enable.auto.commit", "C", GROUP),
    ignored("auto.commit.interval.ms", "C", GROUP),
    ignored("heartbeat.interval.ms", "C", GROUP),
    ignored("session.timeout.ms", "C", GROUP),
    ignored("max.poll.interval.ms", "C", GROUP),
    ignored("partition.assignment.strategy", "C", GROUP),
    ignored("share.acknowledgement.mode", "C", SHARE),
    ignored("share.acquire.mode", "C", SHARE),
    ignored("key.deserializer", "C", CODE),
    ignored("value.deserializer", "C", CODE),
    // The Schema Registry, by the names of Confluent's serializers.
    row("schema.registry.url", "R", List, "", "The base address of the registry; it may have a path."),
    row("basic.auth.credentials.source", "R", OneOf(&["URL", "USER_INFO"]), "URL", "Whether user and password stand in the address or in basic.auth.user.info."),
    row("basic.auth.user.info", "R", Secret, "", "user:password for the registry."),
    row("auto.register.schemas", "R", Bool, "true", "Whether a serializer registers a schema that the registry does not have."),
    row("use.latest.version", "R", Bool, "false", "Whether a serializer writes with the subject's newest schema instead of its own."),
    // Security: read by `Security::from_properties`.
    row("security.protocol", "S", OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), "PLAINTEXT", "Whether connections use TLS and SASL."),
    row("sasl.mechanism", "S", OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), "", "Has to be named with a SASL protocol, as Java's default is not there yet.").java("GSSAPI"),
    row("sasl.jaas.config", "S", Secret, "", "The line of the stock PlainLoginModule or ScramLoginModule with username and password."),
    row("ssl.truststore.location", "S", Text, "", "A PEM file of authorities. Without it: those of the system."),
    row("ssl.truststore.certificates", "S", Text, "", "The same as text."),
    row("ssl.truststore.type", "S", OneOf(&["PEM"]), "PEM", "Only PEM is read; Java key stores and PKCS#12 are not.").java("JKS"),
    row("ssl.keystore.location", "S", Text, "", "A PEM file with our own certificate chain and key."),
    row("ssl.keystore.certificate.chain", "S", Secret, "", "Our certificate chain as PEM text."),
    row("ssl.keystore.key", "S", Secret, "", "Our private key as PEM text."),
    row("ssl.keystore.type", "S", OneOf(&["PEM"]), "PEM", "Only PEM is read.").java("JKS"),
    row("ssl.endpoint.identification.algorithm", "S", OneOf(&["https", ""]), "https", "Empty accepts a certificate for any name: whoever has one of the same authority can then pose as the broker."),
    row("ssl.enabled.protocols", "S", List, "TLSv1.2,TLSv1.3", "The TLS versions on offer."),
    ignored("ssl.protocol", "S", "the newest of ssl.enabled.protocols that both sides have is used"),
    refused("ssl.truststore.password", "S", JKS),
    refused("ssl.keystore.password", "S", JKS),
    refused("ssl.key.password", "S", "encrypted private keys are not read yet"),
    ignored("ssl.cipher.suites", "S", "the suites of rustls are all safe and cannot be chosen here"),
    ignored("ssl.keymanager.algorithm", "S", JVM),
    ignored("ssl.trustmanager.algorithm", "S", JVM),
    ignored("ssl.provider", "S", JVM),
    ignored("ssl.secure.random.implementation", "S", JVM),
    ignored("security.providers", "S", JVM),
    refused("ssl.engine.factory.class", "S", PLUGIN),
    refused("sasl.client.callback.handler.class", "S", PLUGIN),
    refused("sasl.login.callback.handler.class", "S", PLUGIN),
    refused("sasl.login.class", "S", PLUGIN),
    refused("sasl.kerberos.service.name", "S", KERBEROS),
    ignored("sasl.kerberos.kinit.cmd", "S", KERBEROS),
    ignored("sasl.kerberos.min.time.before.relogin", "S", KERBEROS),
    ignored("sasl.kerberos.ticket.renew.jitter", "S", KERBEROS),
    ignored("sasl.kerberos.ticket.renew.window.factor", "S", KERBEROS),
    ignored("sasl.login.connect.timeout.ms", "S", OAUTH),
    ignored("sasl.login.read.timeout.ms", "S", OAUTH),
    ignored("sasl.login.refresh.buffer.seconds", "S", OAUTH),
    ignored("sasl.login.refresh.min.period.seconds", "S", OAUTH),
    ignored("sasl.login.refresh.window.factor", "S", OAUTH),
    ignored("sasl.login.refresh.window.jitter", "S", OAUTH),
    ignored("sasl.login.retry.backoff.max.ms", "S", OAUTH),
    ignored("sasl.login.retry.backoff.ms", "S", OAUTH),
    refused("sasl.oauthbearer.token.endpoint.url", "S", OAUTH),
    refused("sasl.oauthbearer.client.credentials.client.id", "S", OAUTH),
    refused("sasl.oauthbearer.client.credentials.client.secret", "S", OAUTH),
    refused("sasl.oauthbearer.assertion.file", "S", OAUTH),
    refused("sasl.oauthbearer.assertion.private.key.file", "S", OAUTH),
    refused("sasl.oauthbearer.assertion.private.key.passphrase", "S", OAUTH),
    refused("sasl.oauthbearer.assertion.template.file", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.algorithm", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.claim.aud", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.claim.exp.seconds", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.claim.iss", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.claim.jti.include", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.claim.nbf.seconds", "S", OAUTH),
    ignored("sasl.oauthbearer.assertion.claim.sub", "S", OAUTH),
    ignored("sasl.oauthbearer.clock.skew.seconds", "S", OAUTH),
    ignored("sasl.oauthbearer.expected.audience", "S", OAUTH),
    ignored("sasl.oauthbearer.expected.issuer", "S", OAUTH),
    ignored("sasl.oauthbearer.header.urlencode", "S", OAUTH),
    ignored("sasl.oauthbearer.jwks.endpoint.refresh.ms", "S", OAUTH),
    ignored("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "S", OAUTH),
    ignored("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "S", OAUTH),
    ignored("sasl.oauthbearer.jwks.endpoint.url", "S", OAUTH),
    ignored("sasl.oauthbearer.jwt.retriever.class", "S", OAUTH),
    ignored("sasl.oauthbearer.jwt.validator.class", "S", OAUTH),
    ignored("sasl.oauthbearer.scope", "S", OAUTH),
    ignored("sasl.oauthbearer.scope.claim.name", "S", OAUTH),
    ignored("sasl.oauthbearer.sub.claim.name", "S", OAUTH),
];
