//! One request to one address of a registry: a socket, HTTP/1.1, a bounded answer.
//!
//! Rules this file keeps:
//! - connecting and answering are bounded in time, the answer's body in size;
//! - every address that a host name stands for is tried, and an error names each;
//! - a kept connection that turns out to be closed is replaced by a fresh one, whose failure counts;
//! - no redirect is followed: credentials go to the address they were given for and nowhere else.

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

#[cfg(feature = "tls")]
use {
    crate::security::{explain_tls, server_name},
    tokio_rustls::client::TlsStream,
};

use super::url::{Authorization, BaseUrl};

/// One address of a registry and the idle connections to it.
pub(super) struct Endpoint {
    pub(super) url: BaseUrl,
    authorization: Option<HeaderValue>,
    #[cfg_attr(not(feature = "tls"), expect(dead_code))]
    tls: Option<Tls>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

#[cfg(feature = "tls")]
pub(super) type Tls = std::sync::Arc<rustls::ClientConfig>;
/// Without the feature `tls` there is nothing that could be configured.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(super) enum Tls {}

/// How long the steps of one request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connect: Duration,
    pub(super) request: Duration,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Starts with `/`, percent-encoded, with the query.
    pub(super) path: String,
    /// JSON, or empty.
    pub(super) body: Bytes,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent: no address could be reached.
    Connect(String),
    /// The TLS handshake failed, which the next attempt will not change.
    Tls(String),
    /// The connection was lost, or what came was not HTTP.
    Broken(String),
    /// The time for one request ran out.
    Timeout(Duration),
    /// The body is larger than is accepted.
    TooLarge,
}

impl Endpoint {
    pub(super) fn new(url: BaseUrl, authorization: Option<&Authorization>, tls: Option<Tls>) -> Self {
        let authorization = authorization.and_then(|authorization| {
            let mut value = HeaderValue::from_str(&authorization.0).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self { url, authorization, tls, idle: Mutex::new(Vec::new()) }
    }

    /// Sends `call` and reads the whole answer.
    pub(super) async fn ask(&self, call: &Call, bounds: Bounds) -> Result<Answer, Failure> {
        let asking = async {
            while let Some(kept) = self.take_idle() {
                if let Some(answer) = self.ask_over_kept(kept, call).await {
                    return answer;
                }
            }
            let fresh = timeout(bounds.connect, self.connect())
                .await
                .map_err(|_| Failure::Connect(format!("no connection within {:?}", bounds.connect)))??;
            self.ask_over(fresh, call)
                .await
                .unwrap_or_else(|| Err(Failure::Broken("closed before the request was sent".into())))
        };
        timeout(bounds.request, asking).await.unwrap_or(Err(Failure::Timeout(bounds.request)))
    }

    /// `None` if the connection is of no use: closed by the peer while idle, which may show only after sending. Every
    /// call may be made twice, so that it does not matter which.
    async fn ask_over_kept(&self, mut kept: SendRequest<Full<Bytes>>, call: &Call) -> Option<Result<Answer, Failure>> {
        kept.ready().await.ok()?;
        self.ask_over(kept, call).await.filter(|outcome| !matches!(outcome, Err(Failure::Broken(_))))
    }

    async fn ask_over(&self, mut connection: SendRequest<Full<Bytes>>, call: &Call) -> Option<Result<Answer, Failure>> {
        let request = match self.request(call) {
            Ok(request) => request,
            Err(error) => return Some(Err(Failure::Broken(error.to_string()))),
        };
        let response = match connection.try_send_request(request).await {
            Ok(response) => response,
            Err(unsent) if unsent.message().is_some() => return None,
            Err(lost) => return Some(Err(Failure::Broken(with_causes(lost.error())))),
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Some(Err(Failure::TooLarge)),
            Err(error) => return Some(Err(Failure::Broken(with_causes(&*error)))),
        };
        self.keep(connection);
        Some(Ok(Answer { status: head.status, retry_after: retry_after(&head.headers), body }))
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.url.path, call.path))
            .header(HOST, self.url.authority())
            .header(USER_AGENT, concat!("milena/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, CONTENT)
            .header("Confluent-Accept-Unknown-Properties", "true");
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, CONTENT);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(call.body.clone()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = self.connect_tcp().await?;
        if !self.url.tls {
            return handshake(stream).await;
        }
        #[cfg(feature = "tls")]
        if let Some(config) = &self.tls {
            return handshake(self.connect_tls(config, stream).await?).await;
        }
        // An address with https is refused without a configuration when the registry is made.
        Err(Failure::Tls("https is not configured".into()))
    }

    #[cfg(feature = "tls")]
    async fn connect_tls(&self, config: &Tls, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        let name = server_name(&self.url.host).map_err(|error| Failure::Tls(error.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        connector.connect(name, stream).await.map_err(|error| match explain_tls(&error, &self.url.authority()) {
            Some(explained) => Failure::Tls(explained.to_string()),
            // A connection that was merely lost may come up at the next attempt.
            None => Failure::Broken(error.to_string()),
        })
    }

    async fn connect_tcp(&self) -> Result<TcpStream, Failure> {
        let BaseUrl { host, port, .. } = &self.url;
        let addresses =
            lookup_host((host.as_str(), *port)).await.map_err(|error| Failure::Connect(error.to_string()))?;
        let mut tried = Vec::new();
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small requests, small answers: waiting to fill a segment only delays them.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => tried.push(format!("{address}: {}", brief(&error))),
            }
        }
        if tried.is_empty() {
            tried.push(format!("the name {host} stands for no address"));
        }
        Err(Failure::Connect(tried.join(", ")))
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) | Self::Tls(why) | Self::Broken(why) => f.write_str(why),
            Self::Timeout(after) => write!(f, "no answer within {after:?}"),
            Self::TooLarge => write!(f, "the answer is larger than {MAX_BODY} bytes"),
        }
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, driver) = http1::Builder::new()
        .max_headers(100)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::Broken(with_causes(&error)))?;
    // The driver ends by itself when the connection is closed or its handle dropped; what went wrong is told to the request.
    tokio::spawn(async move {
        let _ = driver.await;
    });
    Ok(connection)
}

/// Only the form in seconds: a date needs a clock that both sides agree on.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Without the operating system's number.
fn brief(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => "timed out".into(),
        _ => error.to_string(),
    }
}

const CONTENT: &str = "application/vnd.schemaregistry.v1+json";
/// A schema with its description; the largest known are below 1 MiB.
const MAX_BODY: usize = 16 * 1024 * 1024;
const MAX_HEAD: usize = 64 * 1024;
const MAX_IDLE: usize = 4;
