use super::*;
use crate::wire::messages::*;

fn offer(apis: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let api_keys = apis.iter().map(|(key, min_version, max_version)| ApiVersion {
        api_key: key.0,
        min_version: *min_version,
        max_version: *max_version,
    });
    ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() }
}

#[test]
fn the_highest_common_version_is_picked() {
    let table = [
        ((0, 13), Some(13)), // Kafka 4: offers 0–2, which it refuses
        ((0, 7), Some(7)),   // Kafka 2.1
        ((9, 99), Some(13)), // a broker of the future
        ((0, 2), None),      // below our floor
        ((14, 20), None),    // above our table
    ];
    for ((min, max), expected) in table {
        let versions = Versions::from_response(&offer(&[(ApiKey::PRODUCE, min, max)]));
        assert_eq!(versions.pick::<ProduceRequest>().ok(), expected, "{min} to {max}");
    }
    let error = Versions::default().pick::<ProduceRequest>().map_err(|error| error.to_string());
    assert_eq!(error, Err("the broker does not know the request Produce (this client in 3 to 13)".into()));
}

#[test]
fn an_unstable_version_is_never_picked() {
    let versions = Versions::from_response(&offer(&[(ApiKey::INIT_PRODUCER_ID, 0, 6)]));
    assert_eq!(versions.pick::<InitProducerIdRequest>().ok(), Some(5));
    assert_eq!(versions.pick_at_most::<InitProducerIdRequest>(2).ok(), Some(2));
    assert!(versions.supports(ApiKey::INIT_PRODUCER_ID, 6) && !versions.supports(ApiKey::FETCH, 6));
}

#[test]
fn t1_features_are_finalized_levels() {
    let mut response = offer(&[]);
    let name = Str::from("transaction.version");
    response.finalized_features = vec![FinalizedFeatureKey { name, max_version_level: 2, min_version_level: 1 }];
    assert_eq!(Versions::from_response(&response).feature("transaction.version"), None, "the epoch is unknown");
    response.finalized_features_epoch = 7;
    assert_eq!(Versions::from_response(&response).feature("transaction.version"), Some(2));
    assert_eq!(Versions::from_response(&response).feature("group.version"), None);
}
