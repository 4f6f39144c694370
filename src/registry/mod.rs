//! The client of a Schema Registry: Confluent's, or another that speaks its REST interface.
//!
//! Rules this folder keeps:
//! - it imports `serdes`, `error` and, for TLS, `security`; nothing of brokers;
//! - what cannot change (the schema of an id) is asked once; what can is asked again after a while;
//! - errors carry the registry's own text and the address, never a password.

use std::{fmt, sync::Arc, time::Duration};

use hyper::Method;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "tls")]
use crate::security::TlsConfig;

mod cache;
mod http;
mod model;
mod transport;
mod url;

#[cfg(feature = "avro")]
mod avro;
#[cfg(test)]
mod tests;

#[cfg(feature = "avro")]
pub use avro::{Avro, AvroValue, SubjectName};
pub use model::{Compatibility, Reference, Schema, SchemaType, SubjectVersion, Version};

pub use crate::serdes::wire_format::SchemaId;

use cache::{Cache, Limits};
use http::{Bounds, Call, Endpoint};
use transport::{Settings, Transport, excerpt};
use url::{Authorization, BaseUrl, encode_segment};

/// A Schema Registry. Cloning gives another handle to the same connections and caches.
///
/// ```no_run
/// # async fn example() -> milena::Result<()> {
/// use milena::registry::{Registry, Schema};
///
/// let registry = Registry::new("http://localhost:8081")?;
/// let id = registry.register("orders-value", &Schema::avro(r#""string""#)).await?;
/// assert_eq!(registry.schema_by_id(id).await?.text(), r#""string""#);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    transport: Transport,
    ids: Cache<SchemaId, Schema>,
    registered: Cache<(Box<str>, Schema), SchemaId>,
    looked_up: Cache<(Box<str>, Schema), SubjectVersion>,
    versions: Cache<(Box<str>, i32), SubjectVersion>,
    latest: Cache<Box<str>, SubjectVersion>,
}

/// Settings of a [`Registry`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RegistryBuilder {
    urls: String,
    authorization: Option<Authorization>,
    #[cfg(feature = "tls")]
    tls: TlsConfig,
    settings: Settings,
}

impl Registry {
    /// The registry at `urls`: one URL or several of the same registry, separated by commas.
    /// A URL may hold a path, to which requests are joined, and a user with password.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// As [`RegistryBuilder::build`].
    pub fn new(urls: impl Into<String>) -> Result<Self> {
        Self::builder(urls).build()
    }

    /// Like [`new`](Self::new), with settings.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::registry::Registry;
    /// let registry = Registry::builder("http://one:8081,http://two:8081")
    ///     .basic_auth("alice", "secret")
    ///     .timeout(Duration::from_secs(10))
    ///     .build()?;
    /// # Ok::<(), milena::Error>(())
    /// ```
    pub fn builder(urls: impl Into<String>) -> RegistryBuilder {
        let bounds = Bounds { connect: Duration::from_secs(5), request: Duration::from_secs(10) };
        let settings = Settings {
            bounds,
            deadline: Duration::from_secs(30),
            retries: 3,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
        };
        RegistryBuilder {
            urls: urls.into(),
            authorization: None,
            #[cfg(feature = "tls")]
            tls: TlsConfig::new(),
            settings,
        }
    }

    /// Registers `schema` under `subject` and gives its id; a schema that is there already keeps its id.
    /// The answer is kept for as long as the handle lives (the last thousand of them).
    ///
    /// # Errors
    /// `Registry(409)` if the schema is not compatible with the subject's earlier ones, `Registry(422)` if it is not
    /// valid, each with the registry's explanation; `Authentication` for 401; `Connect`, `Disconnected` or `Timeout` if
    /// no address answers. The last four can come from every call here.
    ///
    /// # Cancel safety
    /// The request goes on when the future is dropped.
    pub async fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId> {
        let key = (Box::from(subject), schema.clone());
        let asked = || {
            let (registry, key) = (self.clone(), key.clone());
            async move {
                let path = format!("/subjects/{}/versions", encode_segment(&key.0));
                let answer: model::IdAnswer =
                    registry.send(Method::POST, path, &model::SchemaBody::from(&key.1)).await?;
                registry.0.latest.forget(&key.0);
                registry.0.looked_up.forget(&key);
                Ok(SchemaId(answer.id))
            }
        };
        self.0.registered.get(&key, asked).await
    }

    /// Finds the version under which `schema` stands in `subject`, without registering it.
    ///
    /// # Errors
    /// `Registry(404)` if the subject or the schema in it is not known.
    ///
    /// # Cancel safety
    /// The request goes on when the future is dropped.
    pub async fn lookup(&self, subject: &str, schema: &Schema) -> Result<SubjectVersion> {
        let key = (Box::from(subject), schema.clone());
        let asked = || {
            let (registry, key) = (self.clone(), key.clone());
            async move {
                let path = format!("/subjects/{}", encode_segment(&key.0));
                let answer: model::VersionAnswer =
                    registry.send(Method::POST, path, &model::SchemaBody::from(&key.1)).await?;
                Ok(answer.into())
            }
        };
        self.0.looked_up.get(&key, asked).await
    }

    /// The schema with this id. It is kept for as long as the handle lives (the last thousand of them); that an id is
    /// not known is kept for five seconds, so that one bad record does not turn into a request per attempt.
    ///
    /// # Errors
    /// `Registry(404)` if there is no such id.
    ///
    /// # Cancel safety
    /// The request goes on when the future is dropped.
    pub async fn schema_by_id(&self, id: SchemaId) -> Result<Schema> {
        let asked = || {
            let registry = self.clone();
            async move {
                let answer: model::SchemaAnswer = registry.fetch(format!("/schemas/ids/{id}")).await?;
                Ok(answer.into())
            }
        };
        self.0.ids.get(&id, asked).await
    }

    /// One version of a subject. The newest is kept for a minute, or until something is registered by this handle.
    ///
    /// # Errors
    /// `Registry(404)` if the subject or version is not known.
    ///
    /// # Cancel safety
    /// The request goes on when the future is dropped.
    pub async fn version(&self, subject: &str, version: Version) -> Result<SubjectVersion> {
        let subject = Box::<str>::from(subject);
        let asked = || {
            let (registry, subject) = (self.clone(), subject.clone());
            async move {
                let path = format!("/subjects/{}/versions/{version}", encode_segment(&subject));
                let answer: model::VersionAnswer = registry.fetch(path).await?;
                Ok(SubjectVersion::from(answer))
            }
        };
        match version {
            Version::Latest => self.0.latest.get(&subject, asked).await,
            Version::Number(number) => self.0.versions.get(&(subject.clone(), number), asked).await,
        }
    }

    /// The newest version of a subject; see [`version`](Self::version).
    ///
    /// # Errors
    /// `Registry(404)` if the subject is not known.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn latest(&self, subject: &str) -> Result<SubjectVersion> {
        self.version(subject, Version::Latest).await
    }

    /// The version numbers of a subject.
    ///
    /// # Errors
    /// `Registry(404)` if the subject is not known.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        self.fetch(format!("/subjects/{}/versions", encode_segment(subject))).await
    }

    /// The names of all subjects.
    ///
    /// # Errors
    /// Those of every call: `Connect`, `Timeout`, `Authentication`, `Registry`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn subjects(&self) -> Result<Vec<String>> {
        self.fetch("/subjects".into()).await
    }

    /// Whether `schema` could be registered under `subject` as far as compatibility with its newest version goes.
    /// A subject that is not there yet takes any schema.
    ///
    /// # Errors
    /// `Registry(422)` if the schema is not valid.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn is_compatible(&self, subject: &str, schema: &Schema) -> Result<bool> {
        let path = format!("/compatibility/subjects/{}/versions/latest", encode_segment(subject));
        match self.send::<model::CompatibleAnswer>(Method::POST, path, &model::SchemaBody::from(schema)).await {
            Ok(answer) => Ok(answer.is_compatible),
            Err(error) if error.kind() == ErrorKind::Registry(404) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The level of compatibility of a subject, or with `None` the one of all subjects without their own.
    ///
    /// # Errors
    /// `Registry(404)` if the subject has no level of its own (some registries answer with the general one instead).
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility> {
        self.fetch::<model::LevelAnswer>(config_path(subject)).await.map(|answer| answer.level)
    }

    /// Sets the level of compatibility of a subject, or with `None` the general one.
    ///
    /// # Errors
    /// Those of every call: `Connect`, `Timeout`, `Authentication`, `Registry`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<()> {
        let body = model::LevelBody { compatibility: level };
        self.send::<serde_json::Value>(Method::PUT, config_path(subject), &body).await.map(drop)
    }

    /// Deletes a subject and tells which versions went. Ids stay known, so that records stay readable, unless it is
    /// `permanent`, for which the subject must have been deleted before.
    ///
    /// # Errors
    /// `Registry(404)` if the subject is not known or, for `permanent`, has not been deleted before.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<i32>> {
        let path = format!("/subjects/{}{}", encode_segment(subject), permanent_query(permanent));
        let versions = self.ask(Call::delete(path)).await;
        self.forget_subject(subject);
        versions
    }

    /// Deletes one version of a subject; see [`delete_subject`](Self::delete_subject).
    ///
    /// # Errors
    /// `Registry(404)` if there is no such version.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the registry may have acted all the same.
    pub async fn delete_version(&self, subject: &str, version: Version, permanent: bool) -> Result<i32> {
        let path = format!("/subjects/{}/versions/{version}{}", encode_segment(subject), permanent_query(permanent));
        let number = self.ask(Call::delete(path)).await;
        self.forget_subject(subject);
        number
    }

    async fn fetch<T: DeserializeOwned>(&self, path: String) -> Result<T> {
        self.ask(Call::get(path)).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: String, body: &impl serde::Serialize) -> Result<T> {
        self.ask(Call::send(method, path, body)?).await
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let body = self.0.transport.ask(&call).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let Call { method, path, .. } = call;
            let seen = excerpt(&body);
            let text =
                format!("the Schema Registry's answer to {method} {path} is not what was asked for: {error} ({seen})");
            Error::new(ErrorKind::Protocol, text)
        })
    }

    fn forget_subject(&self, subject: &str) {
        let Inner { registered, looked_up, versions, latest, .. } = &*self.0;
        latest.forget(&Box::from(subject));
        versions.forget_where(|key| &*key.0 == subject);
        registered.forget_where(|key| &*key.0 == subject);
        looked_up.forget_where(|key| &*key.0 == subject);
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.0.transport.endpoints.iter().map(|endpoint| &endpoint.url);
        f.debug_list().entries(urls).finish()
    }
}

impl RegistryBuilder {
    /// Sends user and password with every request. Default: those in the URL, if any.
    /// Java: `basic.auth.user.info` with `basic.auth.credentials.source=USER_INFO`.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(Authorization::basic(user, password));
        self
    }

    /// How https is spoken. Default: the authorities that the system trusts; no certificate is shown.
    /// Java: `schema.registry.ssl.*`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = tls;
        self
    }

    /// Bounds a whole call, with every address and every retry. Default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.deadline = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Bounds one request to one address, connecting included. Default 10 s. Java: `http.read.timeout.ms`.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.bounds.request = timeout;
        self
    }

    /// Bounds connecting to one address. Default 5 s. Java: `http.connect.timeout.ms`.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.bounds.connect = timeout;
        self
    }

    /// How often all addresses are asked again when none could answer. Default 3. Java: `max.retries`.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// The longest pause before the first retry, doubled with each up to `max`; the pause itself is random below it.
    /// Default 200 ms and 5 s. Java: `retries.wait.ms`, `retries.max.wait.ms`.
    pub fn backoff(mut self, first: Duration, max: Duration) -> Self {
        self.settings.backoff = first;
        self.settings.backoff_max = max;
        self
    }

    /// The registry with these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// `Config` if a URL is malformed or there is none, or if it is https and the TLS settings are of no use; `Tls` if
    /// this CPU has no TLS provider.
    pub fn build(self) -> Result<Registry> {
        let urls = self.urls.split(',').filter(|url| !url.trim().is_empty()).map(BaseUrl::parse);
        let urls = urls.collect::<Result<Vec<_>>>()?;
        if urls.is_empty() {
            return Err(Error::new(ErrorKind::Config, "schema.registry.url: no URL is given"));
        }
        let tls = if urls.iter().any(|url| url.tls) { Some(self.tls_config()?) } else { None };
        let endpoints = urls.into_iter().map(|url| {
            let authorization = self.authorization.clone().or_else(|| url.authorization.clone());
            Endpoint::new(url, authorization.as_ref(), tls.clone())
        });
        let inner = Inner {
            transport: Transport::new(endpoints.collect(), self.settings),
            ids: Cache::new(LASTING),
            registered: Cache::new(LASTING),
            looked_up: Cache::new(LASTING),
            versions: Cache::new(LASTING),
            latest: Cache::new(Limits { values: Some(LATEST), ..LASTING }),
        };
        Ok(Registry(Arc::new(inner)))
    }

    #[cfg(feature = "tls")]
    fn tls_config(&self) -> Result<http::Tls> {
        self.tls.client_config()
    }

    #[cfg(not(feature = "tls"))]
    fn tls_config(&self) -> Result<http::Tls> {
        Err(Error::new(ErrorKind::Config, "schema.registry.url: https needs milena's feature `tls`"))
    }
}

fn config_path(subject: Option<&str>) -> String {
    match subject {
        Some(subject) => format!("/config/{}", encode_segment(subject)),
        None => "/config".into(),
    }
}

fn permanent_query(permanent: bool) -> &'static str {
    if permanent { "?permanent=true" } else { "" }
}

const LASTING: Limits = Limits { entries: 1000, values: None, misses: Duration::from_secs(5) };
/// More would overflow clocks.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const LATEST: Duration = Duration::from_secs(60);
