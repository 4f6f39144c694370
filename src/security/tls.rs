//! TLS settings by Kafka's names, turned into a `rustls` configuration without a line of C.
//!
//! Rules this file keeps:
//! - the cryptography comes from the user's provider, else from the process's default one, else from graviola;
//!   graviola panics on a CPU that lacks its instructions, so the CPU is asked first and the answer is an error;
//! - files are read once, when the first connection is made, and every clone of the settings shares the result
//!   (and with it the cache of TLS sessions);
//! - private keys appear in no `Debug` and no error.

mod explain;
mod verifier;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::{Error, Result, error::ErrorKind};

use super::Secret;
pub(crate) use explain::explain;

/// How TLS connections are made. By default the system's authorities are trusted, the broker's name is checked, and
/// no client certificate is shown.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    roots: Roots,
    identity: Option<Identity>,
    check_name: bool,
    versions: Versions,
    provider: Option<Arc<CryptoProvider>>,
    built: Built,
}

#[derive(Debug, Clone)]
enum Roots {
    System,
    File(PathBuf),
    Inline(String),
}

#[derive(Clone)]
enum Identity {
    File(PathBuf),
    Inline { key: Secret, chain: String },
}

/// Which versions of TLS are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    Both,
    Only12,
    Only13,
}

impl TlsConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            roots: Roots::System,
            identity: None,
            check_name: true,
            versions: Versions::Both,
            provider: None,
            built: Built::default(),
        }
    }

    /// Uses a whole `rustls` configuration and nothing of the other settings here: for hardware keys, other
    /// verifiers, key logging.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self { built: Built(Arc::new(OnceLock::from(config))), ..Self::new() }
    }

    /// Trusts the authorities in this PEM file, and no others (`ssl.truststore.location` with
    /// `ssl.truststore.type=PEM`). Default: the system's.
    #[must_use]
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.changed(|config| config.roots = Roots::File(path.into()))
    }

    /// Trusts the authorities in this PEM text, and no others (`ssl.truststore.certificates`).
    #[must_use]
    pub fn ca_pem(self, pem: impl Into<String>) -> Self {
        self.changed(|config| config.roots = Roots::Inline(pem.into()))
    }

    /// Shows the client certificate in this PEM file, which holds the private key and the chain
    /// (`ssl.keystore.location` with `ssl.keystore.type=PEM`). Default: none.
    #[must_use]
    pub fn identity_file(self, path: impl Into<PathBuf>) -> Self {
        self.changed(|config| config.identity = Some(Identity::File(path.into())))
    }

    /// Shows a client certificate given as PEM texts (`ssl.keystore.key`, `ssl.keystore.certificate.chain`).
    #[must_use]
    pub fn identity_pem(self, key: impl Into<String>, chain: impl Into<String>) -> Self {
        let identity = Identity::Inline { key: Secret(key.into()), chain: chain.into() };
        self.changed(|config| config.identity = Some(identity))
    }

    /// Takes the cryptography from this provider (ring, aws-lc-rs, a FIPS module). Default: the one installed for the
    /// process, else graviola.
    #[must_use]
    pub fn crypto_provider(self, provider: Arc<CryptoProvider>) -> Self {
        self.changed(|config| config.provider = Some(provider))
    }

    /// Accepts a certificate of a trusted authority whatever host it was made for (an empty
    /// `ssl.endpoint.identification.algorithm`). Everyone with any certificate of that authority can then pose as
    /// a broker.
    #[must_use]
    pub fn dangerous_accept_any_name(self) -> Self {
        self.changed(|config| config.check_name = false)
    }

    #[must_use]
    pub(super) fn versions(self, versions: Versions) -> Self {
        self.changed(|config| config.versions = versions)
    }

    fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.built = Built::default();
        self
    }

    /// The configuration for `rustls`. Reads files the first time: call it where blocking is allowed or short.
    ///
    /// # Errors
    /// `Config` if a file is missing or holds something else than PEM; `Tls` if this CPU has no provider.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.built.0.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build()?);
        Ok(self.built.0.get_or_init(|| config).clone())
    }

    fn build(&self) -> Result<ClientConfig> {
        let provider = provider(self.provider.clone())?;
        let roots = Arc::new(self.roots.load()?);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions.of_rustls())
            .map_err(|error| bad("the TLS provider cannot do the TLS versions asked for", error))?;
        let builder = if self.check_name {
            builder.with_root_certificates(roots)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier::AnyName::new(roots, &provider)))
        };
        let Some(identity) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let (chain, key) = identity.load()?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad("the client certificate and its private key do not work together", error))
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// The built configuration, shared by clones; printing it would say nothing useful.
#[derive(Clone, Default)]
struct Built(Arc<OnceLock<Arc<ClientConfig>>>);

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "built" } else { "not built" })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Inline { key, chain } => write!(f, "Inline(key {key:?}, chain of {} bytes)", chain.len()),
        }
    }
}

impl Versions {
    fn of_rustls(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&TLS13, &TLS12],
            Self::Only12 => vec![&TLS12],
            Self::Only13 => vec![&TLS13],
        }
    }
}

impl Roots {
    fn load(&self) -> Result<RootCertStore> {
        let (certificates, origin) = match self {
            Self::System => return system_roots(),
            Self::File(path) => (certificates(&read(path)?, path.display())?, path.display().to_string()),
            Self::Inline(pem) => (certificates(pem.as_bytes(), INLINE_ROOTS)?, INLINE_ROOTS.to_owned()),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(format!("a certificate of {origin} is unusable"), error))?;
        }
        Ok(roots)
    }
}

fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry a few certificates that no library can read; the others are what is wanted.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let why = if errors.is_empty() { "none is installed".to_owned() } else { errors.join("; ") };
    let advice = "give the brokers' authority with `ssl.truststore.location`";
    Err(Error::new(ErrorKind::Config, format!("no authority is known to this system ({why}): {advice}")))
}

impl Identity {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        match self {
            Self::File(path) => {
                let pem = read(path)?;
                Ok((certificates(&pem, path.display())?, private_key(&pem, path.display())?))
            }
            Self::Inline { key, chain } => Ok((
                certificates(chain.as_bytes(), "`ssl.keystore.certificate.chain`")?,
                private_key(key.expose().as_bytes(), "`ssl.keystore.key`")?,
            )),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| bad(format!("cannot read {}: {error}", path.display()), error))
}

pub(crate) fn certificates(pem: &[u8], origin: impl fmt::Display) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| bad(format!("{origin} is damaged PEM"), error))?;
    if found.is_empty() {
        let advice = "JKS and PKCS12 stores must be converted first, for example with `openssl pkcs12`";
        return Err(Error::new(ErrorKind::Config, format!("{origin} holds no PEM certificate ({advice})")));
    }
    Ok(found)
}

pub(crate) fn private_key(pem: &[u8], origin: impl fmt::Display) -> Result<PrivateKeyDer<'static>> {
    let encrypted = pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if encrypted => {
            let advice = "decrypt it with `openssl pkey` first";
            Error::new(
                ErrorKind::Config,
                format!("the private key in {origin} is encrypted, which is not supported yet: {advice}"),
            )
        }
        // The cause may quote the line it failed at, and that line is a key.
        _ => Error::new(ErrorKind::Config, format!("{origin} holds no readable PEM private key")),
    })
}

fn bad(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Config, what).with_source(source)
}

/// The name that the broker's certificate must be made for.
///
/// A trailing dot, which DNS allows, is not part of a name in TLS (N12: servers refuse such an SNI).
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>> {
    let bare = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|error| {
        bad(format!("`{}` is no host name that a certificate can be made for", host.escape_debug()), error)
    })
}

/// The cryptography to use: this one, else that of the process, else our own.
///
/// # Errors
/// `Tls` if this CPU has no provider.
pub(crate) fn provider(chosen: Option<Arc<CryptoProvider>>) -> Result<Arc<CryptoProvider>> {
    choose_provider(chosen, CryptoProvider::get_default().cloned(), missing_instructions())
}

fn choose_provider(
    chosen: Option<Arc<CryptoProvider>>,
    of_process: Option<Arc<CryptoProvider>>,
    missing: Vec<&'static str>,
) -> Result<Arc<CryptoProvider>> {
    if let Some(provider) = chosen.or(of_process) {
        return Ok(provider);
    }
    if missing.is_empty() {
        return own_provider();
    }
    let lacks = missing.join(", ");
    Err(Error::new(
        ErrorKind::Tls,
        format!(
            "this CPU lacks {lacks}, which the built-in TLS provider needs: give another to `TlsConfig::crypto_provider`"
        ),
    ))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn own_provider() -> Result<Arc<CryptoProvider>> {
    Ok(Arc::new(rustls_graviola::default_provider()))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn own_provider() -> Result<Arc<CryptoProvider>> {
    Err(Error::new(ErrorKind::Tls, "there is no built-in TLS provider for this kind of CPU"))
}

/// What graviola needs and this CPU has not.
#[cfg(target_arch = "x86_64")]
fn missing_instructions() -> Vec<&'static str> {
    let needed = [
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("bmi1", is_x86_feature_detected!("bmi1")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
    ];
    needed.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect()
}

#[cfg(target_arch = "aarch64")]
fn missing_instructions() -> Vec<&'static str> {
    let needed = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    needed.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn missing_instructions() -> Vec<&'static str> {
    vec!["the instructions of x86-64 and AArch64"]
}

const INLINE_ROOTS: &str = "`ssl.truststore.certificates`";
const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";

#[cfg(test)]
mod tests;
