//! The settings of a cluster that lets not everybody in.

use std::time::Duration;

use super::Builder;
use crate::{embedded::SaslMechanism, types::FOREVER};

impl Builder {
    /// Lets nobody in but users with a password, of whom this is one. May be called again for more; with any of the
    /// [mechanisms](Self::sasl_mechanisms). Default: everybody is let in.
    ///
    /// ```no_run
    /// # async fn example() -> milena::Result<()> {
    /// use milena::{Kafka, embedded::EmbeddedCluster, security::{Sasl, Security}};
    ///
    /// let cluster = EmbeddedCluster::builder().sasl_user("alice", "alice-secret").start().await?;
    /// let sasl = Sasl::scram_sha_256("alice", "alice-secret");
    /// let security = Security::plaintext().with_sasl(sasl);
    /// let kafka = Kafka::builder().bootstrap(&cluster.bootstrap()).security(security).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sasl_user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.sasl.add_user(name.into(), password.into());
        self
    }

    /// The ways that users may show who they are. Default: all of them.
    /// Kafka's property: `sasl.enabled.mechanisms`.
    pub fn sasl_mechanisms(mut self, mechanisms: impl IntoIterator<Item = SaslMechanism>) -> Self {
        self.settings.sasl.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// How long a user is believed (KIP-368): a connection that goes on without having shown the credentials again is
    /// closed at its next request. Default: for good. Kafka's property: `connections.max.reauth.ms`.
    pub fn sasl_session_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.sasl.lifetime = Some(lifetime.min(FOREVER));
        self
    }

    /// How long a client may take for TLS and SASL together, from the accepted connection on. Default: 30 seconds.
    /// Kafka's nearest property, `connections.max.idle.ms`, is for all connections.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.settings.handshake_timeout = limit.min(FOREVER);
        self
    }

    /// Speaks TLS and nothing else, with this private key and certificate chain in PEM, which should be good for
    /// `127.0.0.1` or the [advertised host](Self::advertised_host). Default: no TLS.
    /// Kafka's properties: `ssl.keystore.key`, `ssl.keystore.certificate.chain`.
    #[cfg(feature = "tls")]
    pub fn tls_pem(mut self, key: impl Into<String>, chain: impl Into<String>) -> Self {
        let client_ca = self.settings.tls.take().and_then(|tls| tls.client_ca);
        self.settings.tls = Some(crate::embedded::tls::TlsSettings { key: key.into(), chain: chain.into(), client_ca });
        self
    }

    /// Lets only clients in that have a certificate of this authority, in PEM, whose subject is then the principal.
    /// It means nothing without [`tls_pem`](Self::tls_pem). Default: no certificate is asked for.
    /// Kafka's properties: `ssl.client.auth=required`, `ssl.truststore.certificates`.
    #[cfg(feature = "tls")]
    pub fn tls_client_ca_pem(mut self, ca: impl Into<String>) -> Self {
        let (key, chain) = self.settings.tls.take().map(|tls| (tls.key, tls.chain)).unwrap_or_default();
        self.settings.tls = Some(crate::embedded::tls::TlsSettings { key, chain, client_ca: Some(ca.into()) });
        self
    }
}
