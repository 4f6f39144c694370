//! What one broker offers, and what of it we use.
//!
//! Rules this file keeps:
//! - a request goes out in the highest version that both sides have, and never below our own floor: brokers 4.x
//!   offer Produce 0–2 for the sake of librdkafka and refuse them (KAFKA-18659);
//! - a version that Kafka calls unstable is never chosen;
//! - features are finalized levels of the cluster (KIP-584), never guessed from the versions of APIs (T1).

use std::{collections::HashMap, ops::RangeInclusive};

use super::{ApiKey, Request, Str, messages::ApiVersionsResponse};
use crate::error::{Error, ErrorKind};

/// What one broker offers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Versions {
    apis: HashMap<ApiKey, RangeInclusive<i16>>,
    features: HashMap<Str, i16>,
}

impl Versions {
    /// Keeps what a broker answered to ApiVersions.
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let apis = response.api_keys.iter().map(|api| (ApiKey(api.api_key), api.min_version..=api.max_version));
        let finalized = response.finalized_features.iter().filter(|_| response.finalized_features_epoch >= 0);
        let features = finalized.map(|feature| (feature.name.detached(), feature.max_version_level));
        Self { apis: apis.collect(), features: features.collect() }
    }

    /// The version in which a request of type `R` goes to this broker.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedVersion`] where there is no common one; the text says what each side has.
    pub fn pick<R: Request>(&self) -> Result<i16, Error> {
        self.pick_at_most::<R>(i16::MAX)
    }

    /// As [`pick`](Self::pick), but not above `limit`: a transaction of the old kind may not use Produce 12, for one.
    ///
    /// # Errors
    /// As [`pick`](Self::pick).
    pub fn pick_at_most<R: Request>(&self, limit: i16) -> Result<i16, Error> {
        let ours = *R::STABLE.start()..=limit.min(*R::STABLE.end());
        let Some(theirs) = self.apis.get(&R::API) else {
            let text = format!("the broker does not know the request {}", R::API.name());
            return Err(Error::new(ErrorKind::UnsupportedVersion, text));
        };
        let version = *ours.end().min(theirs.end());
        if version >= *ours.start().max(theirs.start()) {
            return Ok(version);
        }
        let (low, high) = (theirs.start(), theirs.end());
        let text = format!(
            "the broker has {} in versions {low} to {high}, this client in {} to {}",
            R::API.name(),
            ours.start(),
            ours.end()
        );
        Err(Error::new(ErrorKind::UnsupportedVersion, text))
    }

    /// The finalized level of a feature such as `transaction.version`; `None` where the cluster has not finalized it.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.get(name).copied()
    }

    /// Whether the broker takes this API in this version.
    pub fn supports(&self, api: ApiKey, version: i16) -> bool {
        self.apis.get(&api).is_some_and(|range| range.contains(&version))
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(error, Err("the broker does not know the request Produce".into()));
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
}
