//! From a fresh stream to one that a broker takes requests on: TLS, ApiVersions, SASL.
//!
//! Rules this file keeps:
//! - one deadline (`NetConfig::connect_timeout` from the connected socket on) bounds all of it, and the error says which part the broker did not answer;
//! - ApiVersions falls back to what the broker can read: its own highest version if it says so, else 0 (N1, KIP-511);
//!   a broker that just hangs up is asked again with version 0 on a new connection, once;
//! - the length of a reply is checked before memory is reserved (N13), its correlation id before it is read (N3);
//! - bytes that are no Kafka reply are told apart: TLS spoken to a plain client, HTTP, or neither;
//! - an end of the stream right after TLS or SASL began is called what it is: ambiguous (N5).

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use crate::{
    Error, Result,
    error::ErrorKind,
    security::{Exchange, Sasl, Step},
    wire::{
        ApiKey, ErrorCode, Request, Str, Versions, decode_response, encode_request,
        messages::{ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslHandshakeRequest},
        response_correlation_id,
    },
};

use super::{
    NetConfig,
    transport::{self, Address, Stream},
};

/// A connection that takes requests.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) stream: Stream,
    /// What the broker offers.
    pub(crate) versions: Versions,
    /// After how long the broker wants to be shown the credentials again (KIP-368); `None` is never.
    #[cfg_attr(not(test), expect(dead_code, reason = "re-authentication is an issue of its own"))]
    pub(crate) session_lifetime: Option<Duration>,
}

/// Why a stream did not become ready.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Error,
    /// The peer hung up on an ApiVersions that it may be too old to read: a new connection may try version 0.
    pub(super) may_be_old: bool,
}

/// Connects to `address` (`host:port`) and introduces itself as `client_id`.
///
/// # Errors
/// `Connect`, `Disconnected` and `Timeout` may pass; `Tls`, `Authentication`, `Protocol`, `UnsupportedVersion` and
/// `Config` will not, unless something is changed.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(crate) async fn connect(address: &str, config: &NetConfig, client_id: &str) -> Result<Ready> {
    let address = Address::parse(address)?;
    let stream = transport::connect(&address, config).await?;
    let refused = match greet(stream, &address, config, client_id, TRIED_FIRST).await {
        Ok(ready) => return Ok(ready),
        Err(refused) if refused.may_be_old => refused,
        Err(refused) => return Err(refused.error),
    };
    tracing::debug!(%address, error = %refused.error, "asking again with ApiVersions version 0");
    let stream = transport::connect(&address, config).await?;
    // If that fails too, the first error is the better one: most often nothing is old, the broker just went away.
    greet(stream, &address, config, client_id, 0).await.map_err(|again| match again.error.kind() {
        ErrorKind::Disconnected => refused.error,
        _ => again.error,
    })
}

/// Introduces itself on a stream, beginning with this version of ApiVersions.
pub(super) async fn greet(
    stream: Stream,
    address: &Address,
    config: &NetConfig,
    client_id: &str,
    first_version: i16,
) -> Result<Ready, Refused> {
    let limit = config.connect_timeout;
    let deadline = Instant::now() + limit;
    let stream = secured(stream, address, config, deadline).await.map_err(Refused::for_good)?;
    let mut talk = Talk { stream, address, client_id, deadline, limit, next_correlation_id: 0 };
    let versions = talk.api_versions(first_version).await?;
    let session_lifetime = match config.security.sasl() {
        Some(sasl) => talk.authenticate(sasl, &versions).await.map_err(Refused::for_good)?,
        None => None,
    };
    Ok(Ready { stream: talk.stream, versions, session_lifetime })
}

#[cfg(feature = "tls")]
async fn secured(stream: Stream, address: &Address, config: &NetConfig, deadline: Instant) -> Result<Stream> {
    let Some(tls) = config.security.tls_config() else { return Ok(stream) };
    match timeout_at(deadline, stream.secure(address, tls)).await {
        Ok(secured) => secured,
        Err(_) => Err(silent(address, "the TLS handshake", config.connect_timeout)),
    }
}

#[cfg(not(feature = "tls"))]
async fn secured(stream: Stream, _: &Address, _: &NetConfig, _: Instant) -> Result<Stream> {
    Ok(stream)
}

impl Refused {
    fn for_good(error: Error) -> Self {
        Self { error, may_be_old: false }
    }
}

/// One request at a time over a stream that nobody else uses yet.
struct Talk<'a> {
    stream: Stream,
    address: &'a Address,
    client_id: &'a str,
    deadline: Instant,
    limit: Duration,
    next_correlation_id: i32,
}

impl Talk<'_> {
    async fn api_versions(&mut self, first_version: i16) -> Result<Versions, Refused> {
        let mut version = first_version;
        loop {
            let frame = self.exchange(&introduction(), version).await.map_err(|error| {
                // Brokers before 0.10 and some imitations hang up on what they cannot read (N1).
                Refused { may_be_old: version > 0 && error.kind() == ErrorKind::Disconnected, error }
            })?;
            match self.read_api_versions(frame, version).map_err(Refused::for_good)? {
                Offer::Versions(versions) => return Ok(versions),
                Offer::AskAgain(lower) => version = lower,
            }
        }
    }

    fn read_api_versions(&self, frame: Bytes, version: i16) -> Result<Offer> {
        let unsupported = frame.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
        // A broker that cannot read the version asked for answers in version 0 (KIP-511).
        let readable = if unsupported { 0 } else { version };
        let response = self.decode::<ApiVersionsRequest>(frame, readable)?;
        if unsupported && version > 0 {
            return Ok(Offer::AskAgain(
                highest_api_versions(&response).filter(|v| (0..version).contains(v)).unwrap_or(0),
            ));
        }
        match response.error_code {
            ErrorCode::NONE => Ok(Offer::Versions(Versions::from_response(&response))),
            code => Err(Error::broker(code, format!("{} refused ApiVersions", self.address))),
        }
    }

    async fn authenticate(&mut self, sasl: &Sasl, versions: &Versions) -> Result<Option<Duration>> {
        self.choose_mechanism(sasl, versions).await?;
        let version = versions.pick::<SaslAuthenticateRequest>()?;
        let mut exchange = sasl.exchange()?;
        let mut token = exchange.first();
        for _ in 0..MAX_SASL_ROUNDS {
            let request = SaslAuthenticateRequest { auth_bytes: Bytes::from(token) };
            let frame = self.exchange(&request, version).await?;
            let response = self.decode::<SaslAuthenticateRequest>(frame, version)?;
            if response.error_code != ErrorCode::NONE {
                return Err(self.rejected(sasl, response.error_code, response.error_message.as_deref()));
            }
            match advance(&mut exchange, response.auth_bytes).await? {
                Step::Respond(next) => token = next,
                Step::Done => return Ok(lifetime(response.session_lifetime_ms)),
            }
        }
        let mechanism = sasl.mechanism();
        let what = format!("{} did not end SASL {mechanism} within {MAX_SASL_ROUNDS} rounds", self.address);
        Err(Error::new(ErrorKind::Authentication, what))
    }

    async fn choose_mechanism(&mut self, sasl: &Sasl, versions: &Versions) -> Result<()> {
        // Version 0 would mean tokens without headers, which brokers since 1.0 do not need.
        if !versions.supports(ApiKey::SASL_HANDSHAKE, 1) {
            let what = format!("{} does not offer SaslHandshake version 1, which SASL needs", self.address);
            return Err(Error::new(ErrorKind::UnsupportedVersion, what));
        }
        let request = SaslHandshakeRequest { mechanism: Str::from(sasl.mechanism()) };
        let frame = self.exchange(&request, 1).await?;
        let response = self.decode::<SaslHandshakeRequest>(frame, 1)?;
        let mechanism = sasl.mechanism();
        let what = match response.error_code {
            ErrorCode::NONE => return Ok(()),
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered: Vec<_> = response.mechanisms.iter().map(|name| printable(name)).collect();
                format!("{} does not offer SASL {mechanism}: it offers {}", self.address, offered.join(", "))
            }
            ErrorCode::ILLEGAL_SASL_STATE => {
                format!("{} takes no SASL here: it may be a listener without it (PLAINTEXT or SSL)", self.address)
            }
            code => format!("{} refused SASL {mechanism}: {code}", self.address),
        };
        Err(Error::new(ErrorKind::Authentication, what))
    }

    fn rejected(&self, sasl: &Sasl, code: ErrorCode, message: Option<&str>) -> Error {
        let (address, mechanism, user) = (self.address, sasl.mechanism(), sasl.username().escape_debug());
        let why = message.map_or_else(|| code.to_string(), printable);
        let what = format!("{address} refused user `{user}` by {mechanism}: {why}");
        Error::new(ErrorKind::Authentication, what)
    }

    /// Sends a request and gives the frame that answers it, without its length.
    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes> {
        let id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let frame = encode_request(request, version, id, Some(self.client_id))
            .map_err(|error| self.broken(format!("{} cannot be written: {error}", R::NAME)))?;
        let (address, limit) = (self.address, self.limit);
        let done = timeout_at(self.deadline, async {
            for piece in frame.pieces() {
                self.stream.write_all(piece).await?;
            }
            self.stream.flush().await?;
            self.read_frame().await
        });
        let frame = match done.await {
            Ok(Ok(Ok(frame))) => frame,
            Ok(Ok(Err(error))) => return Err(error),
            Ok(Err(error)) => return Err(self.lost(&error, R::NAME)),
            Err(_) => return Err(silent(address, R::NAME, limit)),
        };
        match response_correlation_id(&frame) {
            Ok(found) if found == id => Ok(frame),
            Ok(found) => Err(self.broken(format!("the reply to {} has the correlation id {found}, not {id}", R::NAME))),
            Err(error) => Err(self.broken(format!("the reply to {} is cut short", R::NAME)).with_source(error)),
        }
    }

    /// The outer result is the stream's, the inner one the protocol's.
    async fn read_frame(&mut self) -> io::Result<Result<Bytes>> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).await?;
        let length = match self.frame_length(prefix) {
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).await?;
        Ok(Ok(Bytes::from(frame)))
    }

    fn frame_length(&self, prefix: [u8; 4]) -> Result<usize> {
        let address = self.address;
        let speaks = match &prefix {
            [0x14..=0x17, 0x03, 0x00..=0x04, _] => "TLS: set `security.protocol` to SSL or SASL_SSL",
            b"HTTP" => "HTTP: it is a web server",
            b"SSH-" => "SSH",
            _ => {
                let length = i32::from_be_bytes(prefix);
                return usize::try_from(length).ok().filter(|length| (4..=MAX_REPLY).contains(length)).ok_or_else(
                    || {
                        let limit = format!("4 to {MAX_REPLY} are possible here");
                        self.broken(format!("a reply of {length} bytes is announced, {limit}; is it a Kafka broker?"))
                    },
                );
            }
        };
        Err(Error::new(ErrorKind::Protocol, format!("{address} does not speak plain Kafka but {speaks}")))
    }

    fn decode<R: Request>(&self, frame: Bytes, version: i16) -> Result<R::Response> {
        decode_response::<R>(frame, version).map_err(|error| {
            self.broken(format!("the reply to {} version {version} is damaged", R::NAME)).with_source(error)
        })
    }

    fn broken(&self, what: String) -> Error {
        Error::new(ErrorKind::Protocol, format!("{}: {what}", self.address))
    }

    fn lost(&self, error: &io::Error, doing: &str) -> Error {
        let address = self.address;
        #[cfg(feature = "tls")]
        if let Some(error) = crate::security::explain_tls(error, &address.to_string()) {
            return error;
        }
        // N5: a broker that dislikes a listener's protocol or a credential may just hang up, as one that stops does.
        let causes = "the listener may want another `security.protocol`, or the broker may be starting or stopping";
        let what = format!("{address} closed the connection instead of answering {doing}: {causes} ({error})");
        Error::new(ErrorKind::Disconnected, what)
    }
}

enum Offer {
    Versions(Versions),
    AskAgain(i16),
}

/// Who we are, for brokers that want to know (KIP-511); versions that cannot say it leave it out.
pub(crate) fn introduction() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: Str::from_static("milena"),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        ..Default::default()
    }
}

fn highest_api_versions(response: &ApiVersionsResponse) -> Option<i16> {
    let own = response.api_keys.iter().find(|offered| offered.api_key == ApiKey::API_VERSIONS.0)?;
    Some(own.max_version)
}

/// Steps off the async threads where keys are derived: SCRAM hashes thousands of rounds.
async fn advance(exchange: &mut Exchange, challenge: Bytes) -> Result<Step> {
    if !exchange.is_slow() {
        return exchange.step(&challenge);
    }
    let mut moved = std::mem::replace(exchange, Exchange::Over);
    let work = tokio::task::spawn_blocking(move || {
        let step = moved.step(&challenge);
        (moved, step)
    });
    let (moved, step) = work.await.map_err(|error| {
        Error::new(ErrorKind::Authentication, "deriving the SCRAM keys was stopped").with_source(error)
    })?;
    *exchange = moved;
    step
}

fn lifetime(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().filter(|milliseconds| *milliseconds > 0).map(Duration::from_millis)
}

fn silent(address: &Address, what: &str, limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("{address} accepted the connection but did not answer {what} within {limit:?}"),
    )
}

/// A text of the peer's, short and on one line.
fn printable(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

/// The version of ApiVersions that is tried first: the newest that brokers of Kafka 4.0 to 4.3 can read. Version 5
/// (Kafka 4.4) would cost a second round trip on each of them, and says nothing yet: whom the client means (KIP-1242)
/// is not known to the handshake.
const TRIED_FIRST: i16 = 4;
/// The longest reply of a handshake: a list of all versions has two kilobytes.
const MAX_REPLY: usize = 1 << 20;
/// More rounds than any mechanism has.
const MAX_SASL_ROUNDS: usize = 16;

#[cfg(test)]
mod tests;
