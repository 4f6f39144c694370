//! The registry client against a real Schema Registry, named by `MILENA_REGISTRY_URL`, and against the embedded one.
//!
//! Rules this file keeps:
//! - the same stories hold on Apicurio, Confluent's and the embedded registry, which differ in ids, codes and optional
//!   fields;
//! - every test makes subjects of its own and deletes them, so that one registry can be used again and again.

use milena::{
    ErrorKind,
    registry::{Compatibility, Reference, Registry, Schema, SchemaId, SubjectName, Version},
    serdes::{Deserializer, Part, Serializer, Target, avro::AvroRecord},
};
use protocol_tests::unique;
use serde::{Deserialize, Serialize};

macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod live {
            $(#[tokio::test]
            async fn $story() {
                if let Some(url) = protocol_tests::variable(stringify!($story), "MILENA_REGISTRY_URL") {
                    super::$story(&url).await;
                }
            })*
        }

        mod embedded {
            use milena::embedded::EmbeddedCluster;

            $(#[tokio::test]
            async fn $story() {
                let cluster = EmbeddedCluster::builder().with_registry().registry_path("/apis/v7").start().await.unwrap();
                super::$story(&cluster.registry_url()).await;
                cluster.shutdown().await;
            })*
        }
    };
}

stories!(
    registering_is_idempotent_and_ids_lead_back_to_the_schema,
    what_is_deleted_is_gone_for_this_handle_too,
    an_incompatible_schema_is_refused_with_the_registrys_text,
    what_does_not_exist_or_is_not_valid_is_an_error_that_says_so,
    a_type_of_another_subject_is_found_by_a_reader,
    typed_records_go_through_the_registry_and_evolve,
);

async fn registering_is_idempotent_and_ids_lead_back_to_the_schema(url: &str) {
    let registry = at(url);
    let subject = unique("idempotent/ü");
    let schema = record(r#"{"name": "a", "type": "int"}"#);
    let id = registry.register(&subject, &schema).await.unwrap();
    let other_handle = at(url);
    let spaced = Schema::avro(schema.text().replace(": ", " :   "));
    assert_eq!(other_handle.register(&subject, &spaced).await.unwrap(), id);
    assert!(other_handle.schema_by_id(id).await.unwrap().text().contains(r#""name""#));
    assert_eq!(other_handle.versions(&subject).await.unwrap(), [1]);
    assert!(other_handle.subjects().await.unwrap().contains(&subject));

    let latest = other_handle.latest(&subject).await.unwrap();
    assert_eq!((latest.subject.as_str(), latest.version, latest.id), (subject.as_str(), 1, id));
    assert_eq!(other_handle.version(&subject, Version::Number(1)).await.unwrap().id, id);
    assert_eq!(other_handle.lookup(&subject, &schema).await.unwrap().id, id);
    delete(&registry, &subject).await;
}

async fn what_is_deleted_is_gone_for_this_handle_too(url: &str) {
    let registry = at(url);
    let subject = unique("deleted-value");
    let schema = record(r#"{"name": "a", "type": "int"}"#);
    let id = registry.register(&subject, &schema).await.unwrap();
    registry.latest(&subject).await.unwrap();
    match registry.delete_version(&subject, Version::Number(1), false).await {
        Err(error) if error.kind() == ErrorKind::Registry(405) => return, // The embedded registry serves no deletes.
        deleted => assert_eq!(deleted.unwrap(), 1),
    }
    assert_eq!(registry.latest(&subject).await.unwrap_err().kind(), ErrorKind::Registry(404));
    assert_eq!(at(url).schema_by_id(id).await.unwrap().text(), registry.schema_by_id(id).await.unwrap().text());
    assert_eq!(registry.register(&subject, &schema).await.unwrap(), id);
    assert_eq!(registry.versions(&subject).await.unwrap(), [2]);
    delete(&registry, &subject).await;
    assert_eq!(registry.latest(&subject).await.unwrap_err().kind(), ErrorKind::Registry(404));
}

async fn an_incompatible_schema_is_refused_with_the_registrys_text(url: &str) {
    let registry = at(url);
    let subject = unique("incompatible-value");
    registry.register(&subject, &record(r#"{"name": "a", "type": "int"}"#)).await.unwrap();
    registry.set_compatibility(Some(&subject), Compatibility::Full).await.unwrap();
    assert_eq!(registry.compatibility(Some(&subject)).await.unwrap(), Compatibility::Full);
    let incompatible = record(r#"{"name": "a", "type": "string"}"#);
    assert!(!registry.is_compatible(&subject, &incompatible).await.unwrap());
    let error = registry.register(&subject, &incompatible).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry(409), "{error}");
    assert!(!error.is_retriable() && error.to_string().len() > 80, "{error}");
    println!("{error}");

    registry.set_compatibility(Some(&subject), Compatibility::None).await.unwrap();
    registry.register(&subject, &incompatible).await.unwrap();
    assert_eq!(registry.versions(&subject).await.unwrap(), [1, 2]);
    delete(&registry, &subject).await;
}

async fn what_does_not_exist_or_is_not_valid_is_an_error_that_says_so(url: &str) {
    let registry = at(url);
    let error = registry.schema_by_id(SchemaId(1_999_999_999)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry(404), "{error}");
    assert!(error.to_string().contains("/schemas/ids/1999999999"), "{error}");
    let nowhere = unique("nowhere");
    assert_eq!(registry.versions(&nowhere).await.unwrap_err().kind(), ErrorKind::Registry(404));
    assert_eq!(registry.lookup(&nowhere, &record("")).await.unwrap_err().kind(), ErrorKind::Registry(404));
    assert!(registry.is_compatible(&nowhere, &record("")).await.unwrap());
    let broken = Schema::avro(r#"{"type": "record", "name": "R"}"#);
    let error = registry.register(&nowhere, &broken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry(422), "{error}");
    println!("{error}");
}

async fn a_type_of_another_subject_is_found_by_a_reader(url: &str) {
    let registry = at(url);
    let (point_subject, topic) = (unique("point"), unique("line"));
    let point = r#"{"type": "record", "name": "Point", "namespace": "g", "fields": [{"name": "x", "type": "int"}]}"#;
    let line = r#"{"type": "record", "name": "Line", "namespace": "g", "fields": [
        {"name": "from", "type": "g.Point"}, {"name": "to", "type": "g.Point"}]}"#;
    registry.register(&point_subject, &Schema::avro(point)).await.unwrap();
    let reference = Reference { name: "g.Point".into(), subject: point_subject.clone(), version: 1 };
    let line = Schema::avro(line).with_references([reference]);
    let id = registry.register(&format!("{topic}-value"), &line).await.unwrap();

    let target = Target { topic: &topic, part: Part::Value };
    let mut payload = vec![0];
    payload.extend_from_slice(&id.0.to_be_bytes());
    payload.extend_from_slice(&[2, 4]);
    let avro = registry.avro_value();
    Deserializer::prepare(&avro, target, &payload).await.unwrap();
    let value = avro.deserialize(target, Some(&payload)).unwrap().unwrap();
    println!("{value:?}");
    delete(&registry, &format!("{topic}-value")).await;
    delete(&registry, &point_subject).await;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct R {
    a: String,
    b: i64,
}

impl AvroRecord for R {
    const SCHEMA: &'static str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "long"}]}"#;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "R")]
struct Wider {
    a: String,
    b: f64,
    c: Option<String>,
}

impl AvroRecord for Wider {
    const SCHEMA: &'static str = r#"{"type": "record", "name": "R", "fields": [{"name": "b", "type": "double"},
        {"name": "a", "type": "string"}, {"name": "c", "type": ["null", "string"], "default": null}]}"#;
}

async fn typed_records_go_through_the_registry_and_evolve(url: &str) {
    let registry = at(url);
    let topic = unique("evolve");
    let target = Target { topic: &topic, part: Part::Value };
    let (old, new) = (registry.avro::<R>(), registry.avro::<Wider>());
    let mut payload = Vec::new();
    Serializer::<R>::prepare(&old, target).await.unwrap();
    old.serialize(target, &R { a: "hi".into(), b: -3 }, &mut payload).unwrap();
    assert_eq!((payload[0], &payload[5..]), (0, &[0x04, 0x68, 0x69, 0x05][..]));

    // A reader of a handle of its own, as in another program, with a newer schema.
    let elsewhere = at(url).avro::<Wider>();
    Deserializer::prepare(&elsewhere, target, &payload).await.unwrap();
    let read = elsewhere.deserialize(target, Some(&payload)).unwrap();
    assert_eq!(read, Wider { a: "hi".into(), b: -3.0, c: None });

    // BACKWARD lets the newer schema in; the older reader has a default for nothing it lacks.
    let mut newer = Vec::new();
    Serializer::<Wider>::prepare(&new, target).await.unwrap();
    new.serialize(target, &Wider { a: "x".into(), b: 0.5, c: Some("y".into()) }, &mut newer).unwrap();
    assert_ne!(payload[..5], newer[..5]);
    let by_latest = at(url).avro::<Wider>().use_latest();
    let mut again = Vec::new();
    Serializer::<Wider>::prepare(&by_latest, target).await.unwrap();
    by_latest.serialize(target, &Wider { a: "x".into(), b: 0.5, c: Some("y".into()) }, &mut again).unwrap();
    assert_eq!(again, newer);

    let unregistered = registry.avro::<R>().auto_register(false).subject_name(SubjectName::TopicRecord);
    let error = Serializer::<R>::prepare(&unregistered, target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry(404), "{error}");
    delete(&registry, &format!("{topic}-value")).await;
}

fn at(url: &str) -> Registry {
    Registry::new(url).unwrap()
}

async fn delete(registry: &Registry, subject: &str) {
    match registry.delete_subject(subject, false).await {
        Err(error) if error.kind() == ErrorKind::Registry(405) => return, // The embedded registry, which ends with its test.
        deleted => drop(deleted.unwrap()),
    }
    registry.delete_subject(subject, true).await.unwrap();
}

fn record(fields: &str) -> Schema {
    Schema::avro(format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#))
}
