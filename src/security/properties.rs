//! The security settings by the names of Kafka's Java client.
//!
//! Rules this file keeps:
//! - an error names the property, its value unless that is a secret, and what is allowed;
//! - what is set but would be ignored is an error, not a surprise.

use crate::{Error, Result, error::ErrorKind};

use super::{Sasl, Security, jaas::LoginModule};
#[cfg(feature = "tls")]
use super::{TlsConfig, tls::Versions};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Security {
    /// The names that [`from_properties`](Self::from_properties) looks up.
    pub const PROPERTIES: &'static [&'static str] = &[
        "security.protocol",
        "sasl.mechanism",
        "sasl.jaas.config",
        "ssl.truststore.location",
        "ssl.truststore.type",
        "ssl.truststore.certificates",
        "ssl.keystore.location",
        "ssl.keystore.type",
        "ssl.keystore.key",
        "ssl.keystore.certificate.chain",
        "ssl.endpoint.identification.algorithm",
        "ssl.enabled.protocols",
    ];

    /// Reads the settings that `lookup` gives for [`PROPERTIES`](Self::PROPERTIES).
    ///
    /// # Errors
    /// `Config`, naming the property, its value and the allowed values. Files are not read here.
    pub fn from_properties(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let protocol = lookup("security.protocol").unwrap_or_else(|| "PLAINTEXT".to_owned());
        let (tls, sasl) = match protocol.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            _ => return Err(not_allowed("security.protocol", &protocol, "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")),
        };
        let security = if tls { with_tls(lookup)? } else { Self::plaintext() };
        Ok(if sasl { security.with_sasl(sasl_from(lookup)?) } else { security })
    }
}

#[cfg(feature = "tls")]
fn with_tls(lookup: Lookup<'_>) -> Result<Security> {
    let mut tls = TlsConfig::new();
    for name in ["ssl.truststore.type", "ssl.keystore.type"] {
        if let Some(value) = lookup(name).filter(|value| !value.eq_ignore_ascii_case("PEM")) {
            return Err(not_allowed(name, &value, "PEM (stores of other types must be converted first)"));
        }
    }
    tls = match (lookup("ssl.truststore.location"), lookup("ssl.truststore.certificates")) {
        (Some(_), Some(_)) => return Err(both("ssl.truststore.location", "ssl.truststore.certificates")),
        (Some(path), None) => tls.ca_file(path),
        (None, Some(pem)) => tls.ca_pem(pem),
        (None, None) => tls,
    };
    tls = with_identity(tls, lookup)?;
    if let Some(value) = lookup("ssl.enabled.protocols") {
        tls = tls.versions(versions(&value)?);
    }
    match lookup("ssl.endpoint.identification.algorithm").as_deref() {
        None => {}
        Some("") => tls = tls.dangerous_accept_any_name(),
        Some(value) if value.eq_ignore_ascii_case("https") => {}
        Some(value) => {
            let allowed = "https, or nothing at all to accept any name";
            return Err(not_allowed("ssl.endpoint.identification.algorithm", value, allowed));
        }
    }
    Ok(Security::tls(tls))
}

#[cfg(not(feature = "tls"))]
fn with_tls(_lookup: Lookup<'_>) -> Result<Security> {
    Err(config("security.protocol asks for TLS, but milena was built without the feature `tls`"))
}

#[cfg(feature = "tls")]
fn with_identity(tls: TlsConfig, lookup: Lookup<'_>) -> Result<TlsConfig> {
    let (location, key) = (lookup("ssl.keystore.location"), lookup("ssl.keystore.key"));
    match (location, key, lookup("ssl.keystore.certificate.chain")) {
        (None, None, None) => Ok(tls),
        (Some(path), None, None) => Ok(tls.identity_file(path)),
        (None, Some(key), Some(chain)) => Ok(tls.identity_pem(key, chain)),
        (Some(_), _, _) => Err(both("ssl.keystore.location", "ssl.keystore.key or ssl.keystore.certificate.chain")),
        (None, _, _) => Err(config("ssl.keystore.key and ssl.keystore.certificate.chain must be set together")),
    }
}

#[cfg(feature = "tls")]
fn versions(value: &str) -> Result<Versions> {
    let names: Vec<_> = value.split(',').map(str::trim).collect();
    let (tls12, tls13) = (names.contains(&"TLSv1.2"), names.contains(&"TLSv1.3"));
    match (tls12, tls13, names.iter().all(|name| matches!(*name, "TLSv1.2" | "TLSv1.3"))) {
        (true, true, true) => Ok(Versions::Both),
        (true, false, true) => Ok(Versions::Only12),
        (false, true, true) => Ok(Versions::Only13),
        _ => Err(not_allowed("ssl.enabled.protocols", value, "TLSv1.2, TLSv1.3")),
    }
}

fn sasl_from(lookup: Lookup<'_>) -> Result<Sasl> {
    let Some(mechanism) = lookup("sasl.mechanism") else {
        return Err(config(format!(
            "sasl.mechanism is not set: set it to one of {MECHANISMS} (GSSAPI, Java's default, is not there yet)"
        )));
    };
    let (module, new): (_, fn(String, String) -> Sasl) = match mechanism.as_str() {
        "PLAIN" => ("PlainLoginModule", Sasl::plain),
        "SCRAM-SHA-256" => ("ScramLoginModule", Sasl::scram_sha_256),
        "SCRAM-SHA-512" => ("ScramLoginModule", Sasl::scram_sha_512),
        _ => return Err(not_allowed("sasl.mechanism", &mechanism, MECHANISMS)),
    };
    let Some(jaas) = lookup("sasl.jaas.config") else {
        return Err(config(format!("sasl.jaas.config is not set: {mechanism} needs the name and password in it")));
    };
    let jaas = LoginModule::parse(&jaas).map_err(in_jaas)?;
    if jaas.simple_name() != module {
        let found = jaas.simple_name().escape_debug();
        return Err(in_jaas(format!("{mechanism} needs {module}, not `{found}`")));
    }
    let sasl = new(jaas.required("username").map_err(in_jaas)?, jaas.required("password").map_err(in_jaas)?);
    match jaas.option("tokenauth") {
        Some(value) if module == "ScramLoginModule" && value.eq_ignore_ascii_case("true") => {
            Ok(sasl.with_delegation_token())
        }
        _ => Ok(sasl),
    }
}

fn in_jaas(why: String) -> Error {
    config(format!("sasl.jaas.config (its value is not shown): {why}"))
}

fn not_allowed(name: &str, value: &str, allowed: &str) -> Error {
    config(format!("{name}={}: allowed are {allowed}", value.escape_debug()))
}

#[cfg(feature = "tls")]
fn both(one: &str, other: &str) -> Error {
    config(format!("{one} and {other} are both set: one of them must go"))
}

fn config(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, why)
}

const MECHANISMS: &str = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512";

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="hunter2";"#;
    const SCRAM: &str =
        r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="hunter2";"#;

    fn read(properties: &[(&str, &str)]) -> Result<Security> {
        Security::from_properties(&|name| {
            assert!(Security::PROPERTIES.contains(&name), "{name} is missing in PROPERTIES");
            properties.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn good_settings() {
        assert_eq!(read(&[]).expect("defaults").protocol(), "PLAINTEXT");
        for (mechanism, jaas) in [("PLAIN", PLAIN), ("SCRAM-SHA-256", SCRAM), ("SCRAM-SHA-512", SCRAM)] {
            let properties =
                [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", mechanism), ("sasl.jaas.config", jaas)];
            let security = read(&properties).expect("valid");
            assert_eq!(security.protocol(), "SASL_PLAINTEXT");
            let sasl = security.sasl().expect("SASL");
            assert_eq!((sasl.mechanism(), sasl.username()), (mechanism, "alice"));
            assert!(!format!("{security:?}").contains("hunter2"));
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn good_tls_settings() {
        let table: &[&[(&str, &str)]] = &[
            &[],
            &[("ssl.truststore.type", "PEM"), ("ssl.truststore.location", "ca.pem")],
            &[("ssl.truststore.certificates", "-----BEGIN")],
            &[("ssl.keystore.type", "pem"), ("ssl.keystore.location", "me.pem")],
            &[("ssl.keystore.key", "k"), ("ssl.keystore.certificate.chain", "c")],
            &[("ssl.endpoint.identification.algorithm", "")],
            &[("ssl.endpoint.identification.algorithm", "HTTPS"), ("ssl.enabled.protocols", "TLSv1.2, TLSv1.3")],
        ];
        for properties in table {
            let all: Vec<_> = properties.iter().copied().chain([("security.protocol", "SSL")]).collect();
            assert_eq!(read(&all).expect("valid").protocol(), "SSL", "{properties:?}");
        }
    }

    #[test]
    fn bad_settings_name_property_value_and_what_is_allowed() {
        const SASL: (&str, &str) = ("security.protocol", "SASL_PLAINTEXT");
        type Properties = &'static [(&'static str, &'static str)];
        let table: &[(Properties, &[&str])] = &[
            (&[("security.protocol", "TLS")], &["security.protocol=TLS", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"]),
            (&[SASL], &["sasl.mechanism is not set", "PLAIN, SCRAM-SHA-256"]),
            (&[SASL, ("sasl.mechanism", "GSSAPI")], &["sasl.mechanism=GSSAPI", "SCRAM-SHA-512"]),
            (&[SASL, ("sasl.mechanism", "PLAIN")], &["sasl.jaas.config is not set"]),
            (
                &[SASL, ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", SCRAM)],
                &["needs PlainLoginModule", "`ScramLoginModule`"],
            ),
            (&[SASL, ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", "hunter2")], &["not shown", "control flag"]),
            (
                &[SASL, ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", "a.PlainLoginModule required;")],
                &["option `username`"],
            ),
        ];
        for (properties, expected) in table {
            let error = read(properties).map(|_| ()).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(expected.iter().all(|part| text.contains(part)), "{properties:?}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn bad_tls_settings_name_property_value_and_what_is_allowed() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("ssl.truststore.type", "JKS")], "ssl.truststore.type=JKS: allowed are PEM"),
            (&[("ssl.keystore.type", "PKCS12")], "ssl.keystore.type=PKCS12: allowed are PEM"),
            (&[("ssl.truststore.location", "a"), ("ssl.truststore.certificates", "b")], "both set"),
            (&[("ssl.keystore.location", "a"), ("ssl.keystore.key", "hunter2")], "both set"),
            (&[("ssl.keystore.key", "hunter2")], "must be set together"),
            (&[("ssl.endpoint.identification.algorithm", "ldap")], "=ldap: allowed are https"),
            (&[("ssl.enabled.protocols", "TLSv1.1")], "allowed are TLSv1.2, TLSv1.3"),
        ];
        for (properties, expected) in table {
            let all: Vec<_> = properties.iter().copied().chain([("security.protocol", "SSL")]).collect();
            let text = read(&all).map(|_| ()).expect_err("refused").to_string();
            assert!(text.contains(expected), "{properties:?}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
