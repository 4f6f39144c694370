//! The registry's futures, dropped. It is reached by HTTP over a socket, so the clock is the system's.

use milena::{
    ErrorKind,
    embedded::EmbeddedCluster,
    registry::{Compatibility, Registry, Schema, Version},
};
use tokio::runtime;

use super::at_every_cut;

fn real() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn schema() -> Schema {
    Schema::avro(r#""string""#)
}

/// With a schema that is registered, as 1, by another handle, so that nothing is remembered.
async fn start() -> (EmbeddedCluster, Registry) {
    let cluster = EmbeddedCluster::builder().with_registry().start().await.expect("it starts");
    let registry = Registry::new(cluster.registry_url()).expect("a URL");
    registry.register("s", &schema()).await.expect("registered");
    (cluster, registry)
}

#[test]
fn dropped_questions_to_the_registry_can_be_asked_again() {
    at_every_cut(&real, async |cut| {
        let (cluster, first) = start().await;
        let id = first.register("s", &schema()).await.expect("it remembers");
        let registry = Registry::new(cluster.registry_url()).expect("a URL");
        let mut is_enough = true;
        macro_rules! asked {
            ($($call:expr => $expected:expr;)*) => {
                $(
                    is_enough &= cut.of($call).await.is_some();
                    assert_eq!($call.await.expect("an answer"), $expected, "{cut}");
                )*
            };
        }
        let (schema, latest) = (schema(), first.latest("s").await.expect("an answer"));
        asked! {
            registry.lookup("s", &schema) => latest;
            registry.schema_by_id(id) => schema;
            registry.version("s", Version::Number(1)) => latest;
            registry.latest("s") => latest;
            registry.versions("s") => [1];
            registry.subjects() => ["s"];
            registry.is_compatible("s", &schema) => true;
            registry.compatibility(None) => Compatibility::Backward;
        }
        cluster.shutdown().await;
        is_enough
    });
}

#[test]
fn dropped_writes_to_the_registry_are_done_or_not() {
    at_every_cut(&real, async |cut| {
        let (cluster, _) = start().await;
        let registry = Registry::new(cluster.registry_url()).expect("a URL");
        let registered = cut.of(registry.register("new", &schema())).await;
        registry.register("new", &schema()).await.expect("registered");
        assert_eq!(registry.versions("new").await.expect("versions"), [1], "once: {cut}");
        let level = Compatibility::Full;
        let set = cut.of(registry.set_compatibility(Some("new"), level)).await;
        let deleted_version = cut.of(registry.delete_version("new", Version::Number(1), false)).await;
        let deleted = cut.of(registry.delete_subject("new", false)).await;
        // The embedded registry may serve none of these three; whatever it says, it says again.
        for again in [
            registry.set_compatibility(Some("new"), level).await.map(drop),
            registry.delete_version("new", Version::Number(1), false).await.map(drop),
            registry.delete_subject("new", false).await.map(drop),
        ] {
            let is_told = |error: milena::Error| matches!(error.kind(), ErrorKind::Registry(404 | 405));
            assert!(again.map_or_else(is_told, |()| true), "{cut}");
        }
        cluster.shutdown().await;
        registered.is_some() && set.is_some() && deleted_version.is_some() && deleted.is_some()
    });
}
