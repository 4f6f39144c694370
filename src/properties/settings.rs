//! The typed settings of each client, read out of checked properties.
//!
//! Rules this file keeps:
//! - every field's documentation names the Java property; its default stands in the table, once;
//! - rules that join two properties are Java's: what Java refuses is refused, what Java adjusts is adjusted alike;
//! - a duration is never longer than 24 days, so that adding it to an instant cannot overflow.

use std::{fmt, time::Duration};

use crate::error::Result;

use super::{Checked, config};

/// What every connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSettings {
    /// `bootstrap.servers`
    pub bootstrap_servers: Vec<String>,
    /// `client.id`
    pub client_id: String,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`; at most `socket.connection.setup.timeout.max.ms`
    pub connection_setup_timeout: Duration,
    /// `reconnect.backoff.ms`; at most `reconnect_backoff_max`
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`
    pub reconnect_backoff_max: Duration,
    /// `retry.backoff.ms`; at most `retry_backoff_max`
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// `metadata.max.idle.ms`
    pub metadata_max_idle: Duration,
    /// `metadata.recovery.rebootstrap.trigger.ms`; `None` where `metadata.recovery.strategy` is `none`
    pub rebootstrap_trigger: Option<Duration>,
    /// `default.api.timeout.ms`
    pub default_api_timeout: Duration,
}

/// What the producer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerSettings {
    /// `acks` as it goes over the wire: -1 is all
    pub acks: i16,
    /// `enable.idempotence`; false also where other properties exclude it and it was not asked for
    pub enable_idempotence: bool,
    /// `batch.size`, in bytes before compression
    pub batch_size: usize,
    /// `linger.ms`
    pub linger: Duration,
    /// `compression.type`: none, gzip, snappy, lz4 or zstd
    pub compression_type: &'static str,
    /// The level of that codec: `compression.gzip.level`, `compression.lz4.level` or `compression.zstd.level`.
    /// `None` if it was not set, or if the codec has no levels.
    pub compression_level: Option<i32>,
    /// `max.in.flight.requests.per.connection`
    pub max_in_flight: usize,
    /// `retries`
    pub retries: u32,
    /// `delivery.timeout.ms`; at least `linger` and `request_timeout` together
    pub delivery_timeout: Duration,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `buffer.memory`, in bytes
    pub buffer_memory: usize,
    /// `max.block.ms`
    pub max_block: Duration,
    /// `max.request.size`, in bytes
    pub max_request_size: usize,
    /// `transactional.id`; `None` where it is empty or not set
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`
    pub transaction_timeout: Duration,
    /// `partitioner`, or the name that it has for `partitioner.class` and `partitioner.ignore.keys`
    pub partitioner: &'static str,
    /// `partitioner.adaptive.partitioning.enable`
    pub adaptive_partitioning: bool,
    /// `partitioner.availability.timeout.ms`; zero is never
    pub availability_timeout: Duration,
    /// `client.rack`, if `partitioner.rack.aware` is true
    pub partitioner_rack: Option<String>,
}

/// What the consumer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerSettings {
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`
    pub max_partition_fetch_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait: Duration,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`
    pub default_api_timeout: Duration,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `isolation.level` is `read_committed`
    pub read_committed: bool,
    /// `auto.offset.reset`
    pub auto_offset_reset: OffsetReset,
    /// `client.rack`; empty is none
    pub client_rack: String,
}

/// `auto.offset.reset`: where a consumer goes when its position is not in the log any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// To the end.
    #[default]
    Latest,
    /// To the first record that is there.
    Earliest,
    /// Nowhere: an error.
    None,
}

/// What the Schema Registry's client needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrySettings {
    /// `schema.registry.url`
    pub urls: Vec<String>,
    /// `basic.auth.user.info`, if `basic.auth.credentials.source` is `USER_INFO`: `user:password`
    pub user_info: Option<SecretText>,
    /// `auto.register.schemas`
    pub auto_register_schemas: bool,
    /// `use.latest.version`
    pub use_latest_version: bool,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl ClientSettings {
    pub(super) fn read(values: &Checked<'_>) -> Result<Self> {
        let bootstrap_servers = values.list("bootstrap.servers");
        for server in &bootstrap_servers {
            check_address(server)?;
        }
        let setup_max = duration(values, "socket.connection.setup.timeout.max.ms");
        let reconnect_max = duration(values, "reconnect.backoff.max.ms");
        let retry_max = duration(values, "retry.backoff.max.ms");
        Ok(Self {
            bootstrap_servers,
            client_id: values.text("client.id").to_owned(),
            request_timeout: duration(values, "request.timeout.ms"),
            connection_setup_timeout: duration(values, "socket.connection.setup.timeout.ms").min(setup_max),
            reconnect_backoff: duration(values, "reconnect.backoff.ms").min(reconnect_max),
            reconnect_backoff_max: reconnect_max,
            retry_backoff: duration(values, "retry.backoff.ms").min(retry_max),
            retry_backoff_max: retry_max,
            metadata_max_age: duration(values, "metadata.max.age.ms"),
            metadata_max_idle: duration(values, "metadata.max.idle.ms"),
            rebootstrap_trigger: (values.one_of("metadata.recovery.strategy") == "rebootstrap")
                .then(|| duration(values, "metadata.recovery.rebootstrap.trigger.ms")),
            default_api_timeout: duration(values, "default.api.timeout.ms"),
        })
    }
}

impl ProducerSettings {
    pub(super) fn read(values: &Checked<'_>) -> Result<Self> {
        let acks = if values.text("acks").eq_ignore_ascii_case("all") { -1 } else { values.number("acks") as i16 };
        let compression_type = values.one_of("compression.type");
        Ok(Self {
            acks,
            enable_idempotence: idempotence(values, acks)?,
            batch_size: size(values, "batch.size"),
            linger: duration(values, "linger.ms"),
            compression_type,
            compression_level: level(values, compression_type)?,
            max_in_flight: size(values, "max.in.flight.requests.per.connection"),
            retries: u32::try_from(values.number("retries")).unwrap_or_default(),
            delivery_timeout: delivery_timeout(values)?,
            request_timeout: duration(values, "request.timeout.ms"),
            buffer_memory: size(values, "buffer.memory"),
            max_block: duration(values, "max.block.ms"),
            max_request_size: size(values, "max.request.size"),
            transactional_id: Some(values.text("transactional.id").to_owned()).filter(|id| !id.is_empty()),
            transaction_timeout: duration(values, "transaction.timeout.ms"),
            partitioner: partitioner(values)?,
            adaptive_partitioning: values.flag("partitioner.adaptive.partitioning.enable"),
            availability_timeout: duration(values, "partitioner.availability.timeout.ms"),
            partitioner_rack: rack(values)?,
        })
    }
}

impl ConsumerSettings {
    pub(super) fn read(values: &Checked<'_>) -> Self {
        let bytes = |name| i32::try_from(values.number(name)).unwrap_or(i32::MAX);
        Self {
            fetch_min_bytes: bytes("fetch.min.bytes"),
            fetch_max_bytes: bytes("fetch.max.bytes"),
            max_partition_fetch_bytes: bytes("max.partition.fetch.bytes"),
            fetch_max_wait: duration(values, "fetch.max.wait.ms"),
            request_timeout: duration(values, "request.timeout.ms"),
            default_api_timeout: duration(values, "default.api.timeout.ms"),
            check_crcs: values.flag("check.crcs"),
            read_committed: values.one_of("isolation.level") == "read_committed",
            auto_offset_reset: match values.one_of("auto.offset.reset") {
                "earliest" => OffsetReset::Earliest,
                "none" => OffsetReset::None,
                _ => OffsetReset::Latest,
            },
            client_rack: values.text("client.rack").to_owned(),
        }
    }
}

impl RegistrySettings {
    pub(super) fn read(values: &Checked<'_>) -> Result<Self> {
        let user_info = Some(values.text("basic.auth.user.info")).filter(|text| !text.is_empty());
        let wanted = values.one_of("basic.auth.credentials.source") == "USER_INFO";
        if user_info.is_some_and(|text| !text.contains(':')) {
            return Err(config("basic.auth.user.info has to be user:password".to_owned()));
        }
        // Confluent's serializers read the user only when the source says so. Whoever sets a user and no source
        // means it to be used; to drop it in silence would end in a 401 that nobody understands.
        let used = wanted || !values.is_set("basic.auth.credentials.source");
        if wanted && user_info.is_none() {
            return Err(config(
                "basic.auth.credentials.source is USER_INFO, but basic.auth.user.info is not set".to_owned(),
            ));
        }
        Ok(Self {
            urls: values.list("schema.registry.url"),
            user_info: user_info.filter(|_| used).map(SecretText::new),
            auto_register_schemas: values.flag("auto.register.schemas"),
            use_latest_version: values.flag("use.latest.version"),
        })
    }
}

impl SecretText {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. It must not reach a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// KIP-98's conditions as Java enforces them: too many requests in flight always fail; acks and retries fail if
/// idempotence was asked for, and switch it off if it was merely the default.
fn idempotence(values: &Checked<'_>, acks: i16) -> Result<bool> {
    let asked = values.is_set("enable.idempotence");
    if !values.flag("enable.idempotence") {
        return Ok(false);
    }
    let retries = values.number("retries");
    if acks != -1 || retries == 0 {
        if !asked {
            return Ok(false);
        }
        let (name, value, needed) =
            if acks == -1 { ("retries", retries, "above 0") } else { ("acks", i64::from(acks), "all") };
        return Err(config(format!("enable.idempotence=true needs {name} to be {needed}, but {name} is {value}")));
    }
    let in_flight = values.number("max.in.flight.requests.per.connection");
    if in_flight > 5 {
        return Err(config(format!(
            "enable.idempotence=true needs max.in.flight.requests.per.connection to be at most 5, but it is {in_flight}"
        )));
    }
    Ok(true)
}

/// Not below linger and request timeout together: an error if it was set so, otherwise raised (KIP-91).
fn delivery_timeout(values: &Checked<'_>) -> Result<Duration> {
    let timeout = duration(values, "delivery.timeout.ms");
    let least = (duration(values, "linger.ms") + duration(values, "request.timeout.ms")).min(LONGEST);
    if timeout >= least {
        return Ok(timeout);
    }
    if values.is_set("delivery.timeout.ms") {
        return Err(config(format!(
            "delivery.timeout.ms is {}, but has to be at least linger.ms + request.timeout.ms, which is {}",
            timeout.as_millis(),
            least.as_millis()
        )));
    }
    Ok(least)
}

/// Java's classes by the names of `partitioner`. `partitioner.ignore.keys` is about the default alone.
fn partitioner(values: &Checked<'_>) -> Result<&'static str> {
    let class = values.one_of("partitioner.class");
    let of_class = match class.rsplit('.').next().unwrap_or_default() {
        "RoundRobinPartitioner" => "round_robin",
        "UniformStickyPartitioner" => "sticky",
        _ => "default",
    };
    let named = values.one_of("partitioner");
    let chosen = if values.is_set("partitioner") { named } else { of_class };
    if !class.is_empty() && chosen != of_class {
        return Err(config(format!("partitioner is {named}, but partitioner.class is {class}")));
    }
    Ok(if chosen == "default" && values.flag("partitioner.ignore.keys") { "sticky" } else { chosen })
}

/// The rack whose leaders are preferred (KIP-1123).
fn rack(values: &Checked<'_>) -> Result<Option<String>> {
    let rack = values.text("client.rack").trim();
    match (values.flag("partitioner.rack.aware"), rack) {
        (false, _) => Ok(None),
        (true, "") => Err(config("partitioner.rack.aware=true needs client.rack".to_owned())),
        (true, rack) => Ok(Some(rack.to_owned())),
    }
}

fn level(values: &Checked<'_>, compression_type: &str) -> Result<Option<i32>> {
    let name = match compression_type {
        "gzip" => "compression.gzip.level",
        "lz4" => "compression.lz4.level",
        "zstd" => "compression.zstd.level",
        _ => return Ok(None),
    };
    let level = values.number(name) as i32;
    if name == "compression.gzip.level" && level == 0 {
        return Err(config(format!("{name} is 0, but has to be from 1 to 9, or -1")));
    }
    Ok(values.is_set(name).then_some(level))
}

fn check_address(server: &str) -> Result<()> {
    let port =
        server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 => Ok(()),
        _ => {
            Err(config(format!("bootstrap.servers has {server:?}, but an address is HOST:PORT, as in localhost:9092")))
        }
    }
}

fn duration(values: &Checked<'_>, name: &str) -> Duration {
    Duration::from_millis(u64::try_from(values.number(name)).unwrap_or_default()).min(LONGEST)
}

fn size(values: &Checked<'_>, name: &str) -> usize {
    usize::try_from(values.number(name)).unwrap_or_default()
}

const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
