//! What is said to prove who we are and to whom we talk; how it is sent is `net`'s business.
//!
//! Rules this folder keeps:
//! - no socket and no task in here: TLS gives a configuration, SASL gives bytes for bytes;
//! - no secret reaches a `Debug`, a log or an error, and every type that holds one has a test that says so;
//! - the names and defaults of the settings are those of Kafka's Java client;
//! - what weakens a check is spelled `dangerous`.

mod jaas;
mod properties;
mod sasl;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;

pub use sasl::Sasl;
pub(crate) use sasl::{Exchange, Step};
#[cfg(feature = "tls")]
pub use tls::TlsConfig;
#[cfg(all(feature = "tls", feature = "embedded"))]
pub(crate) use tls::{certificates, private_key, provider};
#[cfg(feature = "tls")]
pub(crate) use tls::{explain as explain_tls, server_name};

/// How connections to the brokers are protected (`security.protocol`). The default is neither TLS nor SASL.
///
/// ```
/// use milena::security::{Sasl, Security, TlsConfig};
///
/// let security = Security::tls(TlsConfig::new().ca_file("ca.pem")).with_sasl(Sasl::scram_sha_512("alice", "secret"));
/// assert_eq!(security.protocol(), "SASL_SSL");
/// assert!(!format!("{security:?}").contains("secret\""));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Security {
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    sasl: Option<Sasl>,
}

impl Security {
    /// No encryption and no authentication (`PLAINTEXT`). The default.
    pub fn plaintext() -> Self {
        Self::default()
    }

    /// TLS with these settings (`SSL`).
    #[cfg(feature = "tls")]
    pub fn tls(tls: TlsConfig) -> Self {
        Self { tls: Some(tls), sasl: None }
    }

    /// The same with authentication by SASL (`SASL_PLAINTEXT`, or `SASL_SSL` over TLS).
    ///
    /// Without TLS everyone on the path can read a PLAIN password, and records in any case.
    #[must_use]
    pub fn with_sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Kafka's name of this combination, as in `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match (self.is_tls(), self.sasl.is_some()) {
            (false, false) => "PLAINTEXT",
            (true, false) => "SSL",
            (false, true) => "SASL_PLAINTEXT",
            (true, true) => "SASL_SSL",
        }
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_config(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }

    pub(crate) fn sasl(&self) -> Option<&Sasl> {
        self.sasl.as_ref()
    }
}

/// Text that never prints itself.
#[derive(Clone)]
struct Secret(String);

impl Secret {
    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_in_debug_of_security() {
        let security = Security::plaintext().with_sasl(Sasl::plain("alice", "hunter2"));
        let printed = format!("{security:?} {:?}", Secret("hunter2".to_owned()));
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("alice"), "the name is no secret and helps: {printed}");
    }

    #[test]
    fn protocol_names_are_kafkas() {
        let sasl = Sasl::plain("a", "b");
        assert_eq!(Security::plaintext().protocol(), "PLAINTEXT");
        assert_eq!(Security::plaintext().with_sasl(sasl).protocol(), "SASL_PLAINTEXT");
    }
}
