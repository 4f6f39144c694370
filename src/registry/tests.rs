use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// A registry that answers by a function and remembers what it was asked.
struct Scripted {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Debug, Clone)]
struct Asked {
    line: String,
    head: String,
    body: String,
}

/// Status, more header lines, body. Status 0 closes the connection instead.
type Reply = (u16, &'static str, String);

impl Scripted {
    async fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, remembered) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&remembered)));
            }
        });
        Self { url, asked }
    }

    async fn always(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_, _| (status, "", body.clone())).await
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn registry(&self) -> Registry {
        Registry::builder(&self.url).backoff(Duration::from_millis(1), Duration::from_millis(2)).build().unwrap()
    }
}

async fn serve<F>(mut stream: TcpStream, answer: Arc<F>, asked: Arc<Mutex<Vec<Asked>>>)
where
    F: Fn(usize, &Asked) -> Reply,
{
    let mut seen = Vec::new();
    loop {
        let request = loop {
            if let Some(request) = take_request(&mut seen) {
                break request;
            }
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(n) => seen.extend_from_slice(&more[..n]),
            }
        };
        let count = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len()
        };
        let (status, headers, body) = answer(count, &request);
        if status == 0 {
            return;
        }
        let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn take_request(seen: &mut Vec<u8>) -> Option<Asked> {
    let end = seen.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(seen[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    if seen.len() < end + length {
        return None;
    }
    let body = String::from_utf8(seen[end..end + length].to_vec()).unwrap();
    seen.drain(..end + length);
    Some(Asked { line: head.lines().next().unwrap().to_owned(), head, body })
}

fn text() -> Schema {
    Schema::avro(r#""string""#)
}

#[tokio::test]
async fn registering_asks_once_and_sends_what_the_interface_wants() {
    let server = Scripted::always(200, r#"{"id": 7, "unknown": [1]}"#).await;
    let registry = server.registry();
    for _ in 0..3 {
        assert_eq!(registry.register("a/b ü-value", &text()).await.unwrap(), SchemaId(7));
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /subjects/a%2Fb%20%C3%BC-value/versions HTTP/1.1");
    assert_eq!(asked[0].body, r#"{"schema":"\"string\""}"#);
    assert!(asked[0].head.contains("content-type: application/vnd.schemaregistry.v1+json\r\n"), "{}", asked[0].head);
    let schema = Schema::new(SchemaType::Json, "{}").with_references([Reference {
        name: "n".into(),
        subject: "s".into(),
        version: 2,
    }]);
    registry.register("s", &schema).await.unwrap();
    let body = r#"{"schema":"{}","schemaType":"JSON","references":[{"name":"n","subject":"s","version":2}]}"#;
    assert_eq!(server.asked()[1].body, body);
}

#[tokio::test]
async fn requests_are_joined_to_the_path_of_the_url_and_carry_its_user() {
    let server = Scripted::always(200, "[]").await;
    let url = server.url.replace("http://", "http://alice:se%40cret@") + "/apis/ccompat/v7/";
    let registry = Registry::new(url).unwrap();
    assert!(registry.subjects().await.unwrap().is_empty());
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /apis/ccompat/v7/subjects HTTP/1.1");
    assert!(asked[0].head.contains("authorization: Basic YWxpY2U6c2VAY3JldA==\r\n"), "{}", asked[0].head);
    assert!(!format!("{registry:?}").contains("cret"));
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    let server = Scripted::always(401, r#"{"error_code": 401, "message": "Unauthorized"}"#).await;
    let url = server.url.replace("http://", "http://alice:hunter2@");
    let registry = Registry::builder(url).basic_auth("bob", "hunter3").build().unwrap();
    let error = registry.subjects().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(!format!("{error} {error:?} {registry:?}").contains("hunter"), "{error:?}");
    assert!(server.asked()[0].head.contains("authorization: Basic Ym9iOmh1bnRlcjM=\r\n"), "bob goes before alice");
}

#[tokio::test]
async fn a_refusal_carries_the_registrys_own_text() {
    for (status, body, kind, needle) in [
        (
            409,
            r#"{"error_code": 40901, "message": "Schema being registered is incompatible"}"#,
            ErrorKind::Registry(409),
            "code 40901: Schema being registered is incompatible",
        ),
        (409, r#"{"error_code": 409, "message": "not so"}"#, ErrorKind::Registry(409), "409 Conflict: not so"),
        (422, "plain\n text", ErrorKind::Registry(422), "422 Unprocessable Entity: plain text"),
        (404, "", ErrorKind::Registry(404), "404 Not Found, with an empty body"),
        (415, r#"["what"]"#, ErrorKind::Registry(415), r#"["what"]"#),
        (301, "", ErrorKind::Registry(301), "301 Moved Permanently"),
        (200, "<html>", ErrorKind::Protocol, "<html>"),
        (204, "", ErrorKind::Protocol, "is not what was asked for"),
        (200, r#"{"id": "x"}"#, ErrorKind::Protocol, "invalid type"),
        (200, r#"{}"#, ErrorKind::Protocol, "missing field `id`"),
    ] {
        let server = Scripted::always(status, body).await;
        let error = server.registry().register("s", &text()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(needle) && error.to_string().contains("/subjects/s/versions"), "{error}");
        assert_eq!(server.asked().len(), 1, "{status} is not asked again");
    }
}

#[tokio::test]
async fn overload_is_asked_again_and_retry_after_is_honoured() {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = Scripted::start(move |count, _| match count {
            1 | 2 => (status, "", "busy".into()),
            _ => (200, "", "[1]".into()),
        })
        .await;
        assert_eq!(server.registry().versions("s").await.unwrap(), [1]);
        assert_eq!(server.asked().len(), 3);
    }
    let server = Scripted::always(503, r#"{"error_code": 50003, "message": "no leader"}"#).await;
    let error = server.registry().versions("s").await.unwrap_err();
    assert_eq!((error.kind(), server.asked().len()), (ErrorKind::Registry(503), 4));
    assert!(error.is_retriable() && error.to_string().contains("no leader"), "{error}");

    // Told to wait longer than the whole call may take: it ends at once.
    for retry_after in ["retry-after: 3600\r\n", "retry-after: 18446744073709551615\r\n"] {
        let server = Scripted::start(move |_, _| (429, retry_after, String::new())).await;
        let error = server.registry().versions("s").await.unwrap_err();
        assert_eq!((error.kind(), server.asked().len()), (ErrorKind::Registry(429), 1));
    }
    for ignored in ["retry-after: -1\r\n", "retry-after: Fri, 20 Nov 2026 12:14:34 GMT\r\n"] {
        let answer =
            move |count, _: &Asked| if count == 1 { (429, ignored, "".into()) } else { (200, "", "[1]".into()) };
        assert_eq!(Scripted::start(answer).await.registry().versions("s").await.unwrap(), [1]);
    }
}

#[tokio::test]
async fn the_next_address_is_asked_at_once_and_kept() {
    let dead = dead_url().await;
    let server = Scripted::always(200, "[1]").await;
    let registry = Registry::new(format!("{dead}, {}", server.url)).unwrap();
    let before = std::time::Instant::now();
    for _ in 0..3 {
        registry.versions("s").await.unwrap();
    }
    assert!(before.elapsed() < Duration::from_secs(2));
    let busy = Scripted::always(503, "").await;
    let registry = Registry::new(format!("{},{}", busy.url, server.url)).unwrap();
    for _ in 0..3 {
        registry.versions("s").await.unwrap();
    }
    assert_eq!(busy.asked().len(), 1, "the address that answered is asked first from then on");
}

#[tokio::test]
async fn a_registry_that_is_down_is_an_error_that_names_every_address() {
    let (one, two) = (dead_url().await, dead_url().await);
    let registry = Registry::builder(format!("{one},{two}"))
        .backoff(Duration::from_millis(1), Duration::from_millis(2))
        .build()
        .unwrap();
    let error = registry.register("s", &text()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let shown = error.to_string();
    assert!(shown.contains(&one) && shown.contains(&two) && shown.contains("connection refused"), "{shown}");
}

#[tokio::test]
async fn a_silent_registry_ends_in_a_timeout_within_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let registry = Registry::builder(&url).timeout(Duration::from_millis(200)).build().unwrap();
    let error = tokio::time::timeout(Duration::from_secs(5), registry.subjects()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains(&url), "{error}");
}

#[tokio::test]
async fn bytes_that_are_not_http_and_answers_without_end_are_errors() {
    for reply in
        [&b"\x00\x00\x00\x01garbage\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", b""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(reply).await;
            }
        });
        let registry = Registry::builder(&url).retries(1).timeout(Duration::from_secs(3)).build().unwrap();
        let error = registry.subjects().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Protocol), "{error:?}");
    }
    let server = Scripted::always(200, &format!("[\"{}\"]", "x".repeat(16 * 1024 * 1024))).await;
    let error = server.registry().subjects().await.unwrap_err();
    assert!(error.to_string().contains("larger than 16777216 bytes"), "{error}");
}

#[tokio::test]
async fn a_request_that_was_lost_with_its_connection_is_sent_again() {
    let answer = |count, _: &Asked| if count == 2 { (0, "", String::new()) } else { (200, "", "[1]".into()) };
    let server = Scripted::start(answer).await;
    let registry = server.registry();
    for _ in 0..3 {
        registry.versions("s").await.unwrap();
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_without_a_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[1]").await;
        }
    });
    let registry = Registry::builder(url).retries(0).build().unwrap();
    for _ in 0..50 {
        registry.versions("s").await.unwrap();
        // The server hangs up about now; whether it is seen before the next request or not, that one must succeed.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_thousand_tasks_with_a_new_id_make_one_request() {
    let server = Scripted::always(200, r#"{"schema": "\"string\""}"#).await;
    let registry = server.registry();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let registry = registry.clone();
        tasks.spawn(async move { registry.schema_by_id(SchemaId(5)).await.unwrap() });
    }
    assert!(tasks.join_all().await.iter().all(|schema| *schema == text()));
    assert_eq!(server.asked().len(), 1);
    assert_eq!(server.asked()[0].line, "GET /schemas/ids/5 HTTP/1.1");
}

#[tokio::test]
async fn an_unknown_id_is_asked_once_in_a_while() {
    let server = Scripted::always(404, r#"{"error_code": 40403, "message": "Schema 9 not found"}"#).await;
    let registry = server.registry();
    for _ in 0..5 {
        let error = registry.schema_by_id(SchemaId(9)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry(404));
        assert!(error.to_string().contains("Schema 9 not found"), "{error}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn versions_lookups_and_levels_are_read_with_and_without_the_optional_fields() {
    let bare = r#"{"subject": "s", "version": 3, "id": 4, "schema": "\"string\""}"#;
    let full = r#"{"subject": "s", "version": 3, "id": 4, "guid": "x", "schemaType": "AVRO", "schema": "\"string\"",
        "references": [], "metadata": null, "ts": 1, "deleted": false}"#;
    for body in [bare, full] {
        let server = Scripted::always(200, body).await;
        let registry = server.registry();
        let expected = SubjectVersion { subject: "s".into(), version: 3, id: SchemaId(4), schema: text() };
        assert_eq!(registry.latest("s").await.unwrap(), expected);
        assert_eq!(registry.version("s", Version::Number(3)).await.unwrap(), expected);
        assert_eq!(registry.lookup("s", &text()).await.unwrap(), expected);
        let lines: Vec<_> = server.asked().into_iter().map(|asked| asked.line).collect();
        let expected = [
            "GET /subjects/s/versions/latest HTTP/1.1",
            "GET /subjects/s/versions/3 HTTP/1.1",
            "POST /subjects/s HTTP/1.1",
        ];
        assert_eq!(lines, expected);
    }
    let server = Scripted::always(200, r#"{"compatibilityLevel": "FULL_TRANSITIVE"}"#).await;
    assert_eq!(server.registry().compatibility(Some("s")).await.unwrap(), Compatibility::FullTransitive);
    let server = Scripted::always(200, r#"{"compatibility": "NONE"}"#).await;
    server.registry().set_compatibility(None, Compatibility::None).await.unwrap();
    assert_eq!(
        (&*server.asked()[0].line, &*server.asked()[0].body),
        ("PUT /config HTTP/1.1", r#"{"compatibility":"NONE"}"#)
    );
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn https_checks_the_certificate_and_says_what_is_wrong() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    use crate::security::TlsConfig;

    const CHAIN: &str = include_str!("../security/testdata/broker.pem");
    const KEY: &str = include_str!("../security/testdata/broker.key");
    const CA: &str = include_str!("../security/testdata/ca.pem");
    const OTHER_CA: &str = include_str!("../security/testdata/other-ca.pem");

    let server = Scripted::always(200, "[1]").await;
    let chain = CertificateDer::pem_slice_iter(CHAIN.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/path", listener.local_addr().unwrap().port());
    let plain = server.url.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut behind = TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
            });
        }
    });

    let trusting = |ca: &str| Registry::builder(&url).tls(TlsConfig::new().ca_pem(ca)).build().unwrap();
    let registry = trusting(CA);
    for _ in 0..3 {
        assert_eq!(registry.versions("s").await.unwrap(), [1]);
    }
    assert_eq!(server.asked()[0].line, "GET /path/subjects/s/versions HTTP/1.1");
    let error = trusting(OTHER_CA).versions("s").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("does not trust"), "{error}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    });
    let registry = Registry::builder(url).tls(TlsConfig::new().ca_pem(CA)).build().unwrap();
    let error = registry.subjects().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("did not answer in TLS"), "{error}");
}

#[test]
fn addresses_are_checked_when_the_registry_is_made() {
    for urls in ["", " , ", "localhost:8081", "http://a,b"] {
        assert_eq!(Registry::new(urls).unwrap_err().kind(), ErrorKind::Config, "{urls}");
    }
}

/// An address at which nobody listens: the listener is gone.
async fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[cfg(feature = "avro")]
mod avro {
    use apache_avro::types::Value;

    use super::*;
    use crate::serdes::{Deserializer, Part, Serializer, Target, avro::AvroRecord};

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct R {
        a: String,
        b: i64,
    }

    impl AvroRecord for R {
        const SCHEMA: &'static str =
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"long"}]}"#;
    }

    const VALUE: Target<'static> = Target { topic: "t", part: Part::Value };
    const KEY: Target<'static> = Target { topic: "t", part: Part::Key };

    /// Registers anything as 1 and knows 1 as `R`.
    async fn server() -> Scripted {
        Scripted::start(|_, asked| {
            let schema = serde_json::to_string(R::SCHEMA).unwrap();
            match asked.line.split(' ').nth(1).unwrap() {
                "/subjects/t-value/versions" | "/subjects/t-key/versions" => (200, "", r#"{"id": 1}"#.into()),
                "/schemas/ids/1" => (200, "", format!(r#"{{"schema": {schema}}}"#)),
                "/subjects/t-value/versions/latest" => {
                    (200, "", format!(r#"{{"subject": "t-value", "version": 1, "id": 1, "schema": {schema}}}"#))
                }
                "/schemas/ids/3" => (200, "", r#"{"schema": "{", "schemaType": "AVRO"}"#.into()),
                "/schemas/ids/4" => (200, "", r#"{"schema": "{}", "schemaType": "JSON"}"#.into()),
                _ => (404, "", r#"{"error_code": 40403, "message": "not found"}"#.into()),
            }
        })
        .await
    }

    fn record() -> R {
        R { a: "hi".into(), b: -3 }
    }

    const GOLDEN: [u8; 9] = [0, 0, 0, 0, 1, 0x04, 0x68, 0x69, 0x05];

    #[tokio::test]
    async fn golden_frames_both_ways() {
        let server = server().await;
        let avro = server.registry().avro::<R>();
        for target in [VALUE, VALUE, KEY, KEY] {
            let mut out = Vec::new();
            Serializer::<R>::prepare(&avro, target).await.unwrap();
            avro.serialize(target, &record(), &mut out).unwrap();
            assert_eq!(out, GOLDEN);
        }
        assert_eq!(server.asked().len(), 2, "once per topic and part");
        assert!(!avro.is_ready(VALUE, &GOLDEN));
        Deserializer::prepare(&avro, VALUE, &GOLDEN).await.unwrap();
        assert!(avro.is_ready(VALUE, &GOLDEN));
        assert_eq!(avro.deserialize(VALUE, Some(&GOLDEN)).unwrap(), record());
        assert_eq!(server.asked().len(), 3);
    }

    #[tokio::test]
    async fn dynamic_values_use_the_writers_schema() {
        let server = server().await;
        let avro = server.registry().avro_value().use_latest();
        let value = Value::Record(vec![("a".into(), Value::String("hi".into())), ("b".into(), Value::Long(-3))]);
        let mut out = Vec::new();
        Serializer::prepare(&avro, VALUE).await.unwrap();
        avro.serialize(VALUE, &value, &mut out).unwrap();
        assert_eq!(out, GOLDEN);
        Deserializer::prepare(&avro, VALUE, &GOLDEN).await.unwrap();
        assert_eq!(avro.deserialize(VALUE, Some(&GOLDEN)).unwrap(), Some(value));
        assert_eq!(avro.deserialize(VALUE, None).unwrap(), None);
        let schemaless = server.registry().avro_value();
        assert_eq!(Serializer::prepare(&schemaless, VALUE).await.unwrap_err().kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn bad_payloads_are_errors_that_name_the_topic() {
        let server = server().await;
        let avro = server.registry().avro::<R>();
        Deserializer::prepare(&avro, VALUE, &GOLDEN).await.unwrap();
        for end in 0..GOLDEN.len() {
            let cut = &GOLDEN[..end];
            assert!(avro.is_ready(VALUE, cut));
            let error = avro.deserialize(VALUE, Some(cut)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Serialization);
            assert!(error.to_string().starts_with("value of a record of t: "), "{error}");
        }
        assert!(avro.deserialize(KEY, None).unwrap_err().to_string().contains("it is null"));
        for (id, kind, needle) in [
            (2, ErrorKind::Registry(404), "not found"),
            (3, ErrorKind::Serialization, "not a valid Avro schema"),
            (4, ErrorKind::Serialization, "is JSON, not Avro"),
        ] {
            let payload = [0, 0, 0, 0, id, 1, 2];
            assert!(!avro.is_ready(VALUE, &payload));
            let error = Deserializer::prepare(&avro, VALUE, &payload).await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(needle), "{error}");
            avro.deserialize(VALUE, Some(&payload)).unwrap_err();
        }
    }

    #[tokio::test]
    async fn subjects_are_named_by_the_strategy_and_lookup_registers_nothing() {
        let server = Scripted::always(200, r#"{"id": 1, "subject": "s", "version": 1, "schema": "\"int\""}"#).await;
        let avro = server.registry().avro_with_schema::<i32>(r#"{"type": "fixed", "size": 1, "name": "n.F"}"#);
        for (name, line) in [
            (SubjectName::Topic, "POST /subjects/t-key HTTP/1.1"),
            (SubjectName::Record, "POST /subjects/n.F HTTP/1.1"),
            (SubjectName::TopicRecord, "POST /subjects/t-n.F HTTP/1.1"),
        ] {
            let avro = avro.clone().auto_register(false).subject_name(name);
            Serializer::<i32>::prepare(&avro, KEY).await.unwrap();
            assert_eq!(server.asked().last().unwrap().line, line);
        }
        let nameless = server.registry().avro_with_schema::<i32>(r#""int""#).subject_name(SubjectName::Record);
        assert_eq!(Serializer::<i32>::prepare(&nameless, KEY).await.unwrap_err().kind(), ErrorKind::Config);
        let broken = server.registry().avro_with_schema::<i32>("{");
        assert_eq!(Serializer::<i32>::prepare(&broken, KEY).await.unwrap_err().kind(), ErrorKind::Serialization);
    }

    #[tokio::test]
    async fn types_of_other_subjects_are_fetched() {
        let server = Scripted::start(|_, asked| {
            let line = r#"{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"a\",\"type\":\"P\"},{\"name\":\"b\",\"type\":\"P\"}]}"#;
            let point = r#"{\"type\":\"record\",\"name\":\"P\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"}]}"#;
            match asked.line.split(' ').nth(1).unwrap() {
                "/schemas/ids/1" => {
                    let references = r#"[{"name": "P", "subject": "p", "version": 2}]"#;
                    (200, "", format!(r#"{{"schema": "{line}", "references": {references}}}"#))
                }
                "/subjects/p/versions/2" => {
                    (200, "", format!(r#"{{"subject": "p", "version": 2, "id": 9, "schema": "{point}"}}"#))
                }
                _ => (404, "", String::new()),
            }
        })
        .await;
        let avro = server.registry().avro_value();
        let payload = [0, 0, 0, 0, 1, 2, 4];
        Deserializer::prepare(&avro, VALUE, &payload).await.unwrap();
        let Some(Value::Record(fields)) = avro.deserialize(VALUE, Some(&payload)).unwrap() else { panic!() };
        assert_eq!(fields.len(), 2);
    }
}
