//! The registry over HTTP/1.1, written by hand.

use serde_json::{Value, json};

use super::*;

struct Http {
    address: String,
    base: String,
}

impl Http {
    async fn start(path: &str) -> (EmbeddedCluster, Self) {
        let cluster = EmbeddedCluster::builder().with_registry().registry_path(path).start().await.unwrap();
        let url = cluster.registry_url();
        let rest = url.strip_prefix("http://").unwrap();
        let (address, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let http = Self { address: address.to_owned(), base: base.to_owned() };
        (cluster, http)
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.raw(method, &format!("{}{path}", self.base), &body).await
    }

    async fn raw(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/vnd.schemaregistry.v1+json"), "{head}");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    async fn register(&self, subject: &str, schema: &Value) -> (u16, Value) {
        let body = json!({"schema": schema.to_string(), "schemaType": "AVRO"});
        self.call("POST", &format!("/subjects/{subject}/versions"), Some(body)).await
    }
}

fn user(fields: Value) -> Value {
    json!({"type": "record", "name": "User", "namespace": "ex", "fields": fields})
}

fn named() -> Value {
    user(json!([{"name": "name", "type": "string"}]))
}

#[tokio::test]
async fn the_same_schema_has_one_id_and_each_subject_its_versions() {
    for path in ["", "/a/registry/"] {
        let (cluster, http) = Http::start(path).await;
        let (status, first) = http.register("orders-value", &named()).await;
        assert_eq!(
            (status, &first["id"], &first["version"], &first["schemaType"]),
            (200, &json!(1), &json!(1), &json!("AVRO"))
        );
        assert_eq!(http.register("orders-value", &named()).await, (200, first), "again, nothing changes");
        let spaced = r#" { "name" : "User", "type":"record", "namespace":"ex","fields":[{"type":{"type":"string"},"name":"name"}]}"#;
        let body = json!({"schema": spaced});
        let (_, other) = http.call("POST", "/subjects/other%2Fkey/versions", Some(body.clone())).await;
        assert_eq!((&other["id"], &other["version"]), (&json!(1), &json!(1)), "other spaces, same schema");
        let longer = user(json!([{"name": "name", "type": "string"}, {"name": "age", "type": "int", "default": 0}]));
        let (_, second) = http.register("orders-value", &longer).await;
        assert_eq!((&second["id"], &second["version"]), (&json!(2), &json!(2)));

        assert_eq!(http.call("GET", "/subjects", None).await.1, json!(["orders-value", "other/key"]));
        assert_eq!(http.call("GET", "/subjects/orders-value/versions", None).await.1, json!([1, 2]));
        let (_, latest) = http.call("GET", "/subjects/orders-value/versions/latest", None).await;
        assert_eq!((&latest["subject"], &latest["id"]), (&json!("orders-value"), &json!(2)));
        let (_, found) = http.call("POST", "/subjects/other%2Fkey", Some(body)).await;
        assert_eq!((&found["subject"], &found["version"]), (&json!("other/key"), &json!(1)));
        let (_, by_id) = http.call("GET", "/schemas/ids/1", None).await;
        let text: Value = serde_json::from_str(by_id["schema"].as_str().unwrap()).unwrap();
        assert_eq!(text, named());
        assert_eq!(http.call("GET", "/schemas/ids/2/schema", None).await.1, longer);
        let uses = json!([{"subject": "orders-value", "version": 1}, {"subject": "other/key", "version": 1}]);
        assert_eq!(http.call("GET", "/schemas/ids/1/versions", None).await.1, uses);
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_with_its_reason() {
    let (cluster, http) = Http::start("").await;
    http.register("s", &named()).await;
    let without_default = user(json!([{"name": "name", "type": "string"}, {"name": "age", "type": "int"}]));
    let body = json!({"schema": without_default.to_string()});
    let (_, check) = http.call("POST", "/compatibility/subjects/s/versions/latest", Some(body.clone())).await;
    let (_, elsewhere) = http.call("POST", "/compatibility/subjects/new/versions/latest", Some(body)).await;
    assert_eq!(elsewhere["is_compatible"], json!(true), "a subject without versions takes anything");
    let (status, refusal) = http.register("s", &without_default).await;
    if cfg!(feature = "avro") {
        assert_eq!((status, &refusal["error_code"], &check["is_compatible"]), (409, &json!(40901), &json!(false)));
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains("incompatible with an earlier schema for subject \"s\""), "{message}");
        assert_eq!(http.call("GET", "/subjects/s/versions", None).await.1, json!([1]), "nothing was kept");
    }
    let none = json!({"compatibility": "none"});
    assert_eq!(http.call("PUT", "/config/s", Some(none)).await, (200, json!({"compatibility": "NONE"})));
    assert_eq!(http.call("GET", "/config/s", None).await, (200, json!({"compatibilityLevel": "NONE"})));
    assert_eq!(http.call("GET", "/config", None).await, (200, json!({"compatibilityLevel": "BACKWARD"})));
    assert_eq!(http.register("s", &without_default).await.0, 200, "NONE checks nothing");
    cluster.shutdown().await;
}

#[tokio::test]
async fn errors_have_confluents_codes() {
    let (cluster, http) = Http::start("").await;
    http.register("s", &named()).await;
    let schema = |text: &str| Some(json!({"schema": text}));
    let table = [
        ("GET", "/subjects/absent/versions", None, 404, 40401),
        ("GET", "/subjects/s/versions/9", None, 404, 40402),
        ("GET", "/subjects/s/versions/x", None, 422, 42202),
        ("GET", "/schemas/ids/77", None, 404, 40403),
        ("POST", "/subjects/absent", schema("\"int\""), 404, 40401),
        ("POST", "/subjects/s", schema("\"int\""), 404, 40403),
        ("POST", "/subjects/s/versions", schema("{"), 422, 42201),
        ("POST", "/subjects/s/versions", Some(json!({"schema": "\"int\"", "schemaType": "COBOL"})), 422, 42201),
        ("POST", "/subjects/s/versions", Some(json!({})), 422, 422),
        ("POST", "/subjects/s/versions", None, 422, 422),
        ("PUT", "/config", Some(json!({"compatibility": "SOMETIMES"})), 422, 42203),
        ("GET", "/config/s", None, 404, 40408),
        ("GET", "/nowhere", None, 404, 404),
        ("GET", "/subjects/%zz/versions", None, 404, 404),
        ("PATCH", "/subjects", None, 405, 405),
    ];
    for (method, path, body, status, code) in table {
        let (found, answer) = http.call(method, path, body).await;
        assert_eq!((found, &answer["error_code"]), (status, &json!(code)), "{method} {path}: {answer}");
        assert!(answer["message"].is_string());
    }
    assert_eq!(http.raw("POST", "/subjects/s/versions", "{nonsense").await.0, 400);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_schema_may_refer_to_another() {
    let (cluster, http) = Http::start("").await;
    http.register("user", &named()).await;
    let order = json!({"type": "record", "name": "Order", "fields": [{"name": "by", "type": "ex.User"}]});
    let mut body = json!({"schema": order.to_string()});
    if cfg!(feature = "avro") {
        assert_eq!(http.call("POST", "/subjects/order/versions", Some(body.clone())).await.0, 422, "unknown name");
    }
    body["references"] = json!([{"name": "ex.User", "subject": "user", "version": 1}]);
    let (status, answer) = http.call("POST", "/subjects/order/versions", Some(body.clone())).await;
    assert_eq!((status, &answer["references"]), (200, &body["references"]), "{answer}");
    body["references"][0]["version"] = json!(3);
    assert_eq!(http.call("POST", "/subjects/order/versions", Some(body)).await.0, 422, "unknown reference");
    cluster.shutdown().await;
}
