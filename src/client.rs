//! `Kafka`: where every client begins. The only file that knows all of them.

use std::time::Duration;

use crate::{
    admin::Admin,
    backoff::Backoff,
    cluster::{Call, Cluster, ClusterConfig},
    consumer::ConsumerBuilder,
    error::{Error, ErrorKind, Result},
    net::{NetConfig, Network},
    producer::{self, ProducerBuilder},
    properties::{ClientSettings, ConsumerSettings, Properties},
    security::Security,
    types::{BrokerId, FOREVER},
    wire::{Features, Request, Versions},
};

/// A client of one Kafka cluster. Cheap to clone; producers, consumers and admin calls made from it share its
/// metadata and connections. There is nothing to close: connections end when all that was made from it is dropped.
///
/// ```no_run
/// # async fn run() -> milena::Result<()> {
/// let kafka = milena::Kafka::connect("localhost:9092").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Kafka {
    cluster: Cluster,
    producer: producer::Settings,
    consumer: ConsumerSettings,
    api_timeout: Duration,
}

impl Kafka {
    /// Connects in plaintext to any of `bootstrap` (`host:port`, several with commas), tried in random order, and
    /// learns from it who the brokers are. Everything else has its default. Java: `bootstrap.servers`.
    ///
    /// # Errors
    /// `Config` if `bootstrap` is empty or no list of addresses. When none answers, mostly `Connect`; `Protocol` where
    /// something else than Kafka answered. The text names every address that was tried, and why it failed.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect(bootstrap: &str) -> Result<Self> {
        Self::builder().bootstrap(bootstrap).connect().await
    }

    /// A client with settings of its own.
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// A producer of bytes, to be configured.
    ///
    /// The properties that the client was made with are its defaults.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.cluster.clone(), self.producer.clone())
    }

    /// A consumer of bytes, to be configured.
    ///
    /// The properties that the client was made with are its defaults.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.cluster.clone()).settings(self.consumer.clone())
    }

    /// Any request of the protocol, for what milena has no words of its own for: see [`Call`] for where it goes.
    ///
    /// ```no_run
    /// # use milena::wire::messages::DescribeGroupsRequest;
    /// # async fn run(kafka: milena::Kafka) -> milena::Result<()> {
    /// let request = DescribeGroupsRequest { groups: vec!["billing".into()], ..Default::default() };
    /// let answer = kafka.request(request).coordinator_of_group("billing").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request<R: Request>(&self, request: R) -> Call<R> {
        Call::new(self.cluster.clone(), request, self.api_timeout)
    }

    /// What a broker offers: its APIs in their versions, and its view of the cluster's features. Asked anew.
    ///
    /// # Errors
    /// `Timeout` and what keeps the broker from being reached; `Broker` if it refuses to tell.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up and changes nothing.
    pub async fn versions(&self, broker: impl Into<BrokerId>) -> Result<Versions> {
        self.cluster.versions(broker.into(), self.api_timeout).await
    }

    /// What the cluster has switched on, by the newest answer that any connection of this client has got: each new
    /// connection asks, and [`versions`](Self::versions) does. Nothing is sent. Clusters before 2.7 tell nothing.
    pub fn features(&self) -> Features {
        self.cluster.features()
    }

    /// Topics and what else an operator asks for. Nothing is sent yet.
    pub fn admin(&self) -> Admin {
        Admin::new(self.cluster.clone(), self.api_timeout)
    }
}

/// Makes a [`Kafka`]. A property that is set twice has its last value.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing happens until `connect` is awaited"]
pub struct KafkaBuilder {
    properties: Properties,
    security: Option<Security>,
    network: Network,
}

impl KafkaBuilder {
    /// Where to begin: `host:port`, several with commas. No default; it has to be set. Java: `bootstrap.servers`.
    pub fn bootstrap(self, addresses: &str) -> Self {
        self.property("bootstrap.servers", addresses)
    }

    /// What the client calls itself in the brokers' logs and quotas. Default: `milena`. Java: `client.id`.
    pub fn client_id(self, id: &str) -> Self {
        self.property("client.id", id)
    }

    /// One property by its Java name. It is checked by `connect`.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.insert(name, value);
        self
    }

    /// Properties by their Java names, over those set before. They are checked by `connect`.
    pub fn properties(mut self, properties: &Properties) -> Self {
        for name in properties.names() {
            if let Some(value) = properties.value(name) {
                self.properties.insert(name, value);
            }
        }
        self
    }

    /// TLS and SASL as values instead of properties; they win over the properties. Default: what the properties say,
    /// without any neither of the two. Java: `security.protocol`, `sasl.*`, `ssl.*`.
    pub fn security(mut self, security: Security) -> Self {
        self.security = Some(security);
        self
    }

    /// Connects inside this process to an embedded cluster that listens there, instead of by sockets.
    #[cfg(feature = "embedded")]
    pub fn memory_network(mut self, network: &crate::memory::MemoryNetwork) -> Self {
        self.network = Network::Memory(network.clone());
        self
    }

    /// Checks the settings, connects to any of the bootstrap addresses and learns who the brokers are.
    ///
    /// # Errors
    /// `Config` for an unknown property (with the nearest known one), a value out of range, or no address; `Connect`,
    /// `Tls`, `Authentication` or `Protocol` when no broker can be reached, naming every address and why.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect(self) -> Result<Kafka> {
        self.properties.check()?;
        let settings = self.properties.client()?;
        let producer = producer::Settings::new(&self.properties.producer()?)?;
        let consumer = self.properties.consumer()?;
        let lookup = |name: &str| self.properties.value(name).map(str::to_owned);
        let security = self.security.map_or_else(|| Security::from_properties(&lookup), Ok)?;
        let api_timeout = settings.default_api_timeout;
        let cluster = Cluster::connect(cluster_config(settings, security, self.network)?).await?;
        Ok(Kafka { cluster, producer, consumer, api_timeout })
    }
}

fn cluster_config(settings: ClientSettings, security: Security, network: Network) -> Result<ClusterConfig> {
    if settings.bootstrap_servers.is_empty() {
        return Err(Error::new(ErrorKind::Config, "no address to begin with: set bootstrap.servers to HOST:PORT"));
    }
    let net = NetConfig { connect_timeout: settings.connection_setup_timeout, max_frame: MAX_FRAME, security, network };
    Ok(ClusterConfig {
        bootstrap: settings.bootstrap_servers,
        client_id: settings.client_id,
        request_timeout: settings.request_timeout,
        // Zero would mean a refresh at every look.
        metadata_max_age: settings.metadata_max_age.max(Duration::from_secs(1)),
        metadata_max_idle: settings.metadata_max_idle.min(FOREVER),
        rebootstrap_trigger: settings.rebootstrap_trigger,
        retry_backoff: Backoff::new(settings.retry_backoff, settings.retry_backoff_max),
        reconnect_backoff: Backoff::new(settings.reconnect_backoff, settings.reconnect_backoff_max),
        net,
    })
}

/// The longest reply that is read (Java's brokers refuse requests over 100 MiB; a Fetch reply can be as large as what
/// was asked for and one batch more).
const MAX_FRAME: usize = 256 << 20;
