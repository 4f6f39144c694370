//! What one broker offers, and what of it we use.
//!
//! Rules this file keeps:
//! - a request goes out in the highest version that both sides have, and never below our own floor: brokers 4.x
//!   offer Produce 0–2 for the sake of librdkafka and refuse them (KAFKA-18659);
//! - a version that Kafka calls unstable is chosen only by a caller that asks for it in so many words;
//! - features are finalized levels of the cluster (KIP-584), never guessed from the versions of APIs (T1).

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{ApiKey, Features, Request, Str, messages::ApiVersionsResponse};
use crate::error::{Error, ErrorKind};

/// What one broker offers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Versions {
    apis: BTreeMap<ApiKey, RangeInclusive<i16>>,
    supported: BTreeMap<Str, RangeInclusive<i16>>,
    features: Features,
}

/// Which versions of a request may be chosen from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// All that Kafka calls stable.
    #[default]
    Stable,
    /// The stable ones up to this one.
    AtMost(i16),
    /// This one only, even if it is unstable.
    Exactly(i16),
    /// All that the table has, also the unstable ones.
    Unstable,
}

impl Versions {
    /// Keeps what a broker answered to ApiVersions.
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let apis = response.api_keys.iter().map(|api| (ApiKey(api.api_key), api.min_version..=api.max_version));
        let features = response.supported_features.iter();
        let supported = features.map(|feature| (feature.name.detached(), feature.min_version..=feature.max_version));
        let features = Features::from_response(response);
        Self { apis: apis.collect(), supported: supported.collect(), features }
    }

    /// The version in which a request of type `R` goes to this broker.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedVersion`] where there is no common one; the text says what each side has.
    pub fn pick<R: Request>(&self) -> Result<i16, Error> {
        self.choose::<R>(Choice::Stable)
    }

    /// As [`pick`](Self::pick), but not above `limit`: a transaction of the old kind may not use Produce 12, for one.
    ///
    /// # Errors
    /// As [`pick`](Self::pick).
    pub fn pick_at_most<R: Request>(&self, limit: i16) -> Result<i16, Error> {
        self.choose::<R>(Choice::AtMost(limit))
    }

    /// The highest version that the broker has among those that may be chosen from.
    ///
    /// # Errors
    /// As [`pick`](Self::pick).
    pub fn choose<R: Request>(&self, choice: Choice) -> Result<i16, Error> {
        self.choose_from(R::API, R::VERSIONS, R::STABLE, choice)
    }

    fn choose_from(
        &self,
        api: ApiKey,
        known: RangeInclusive<i16>,
        stable: RangeInclusive<i16>,
        choice: Choice,
    ) -> Result<i16, Error> {
        let stable = *stable.start()..=(*stable.end()).min(highest_for_clients(api));
        let ours = match choice {
            Choice::Stable => stable.clone(),
            Choice::AtMost(limit) => *stable.start()..=(*stable.end()).min(limit),
            Choice::Unstable => *known.start()..=(*known.end()).min(highest_for_clients(api)),
            Choice::Exactly(version) if known.contains(&version) => version..=version,
            Choice::Exactly(version) => {
                let text = format!("{} has no version {version} here, only {}", api.name(), span(&known));
                return Err(Error::new(ErrorKind::UnsupportedVersion, text));
            }
        };
        let theirs = self.range(api);
        let highest = theirs.as_ref().map(|theirs| *ours.end().min(theirs.end()));
        let common =
            |version: &i16| ours.contains(version) && theirs.as_ref().is_some_and(|them| them.contains(version));
        highest.filter(common).ok_or_else(|| {
            let asked = match choice {
                Choice::Stable => format!("this client in {}", span(&stable)),
                Choice::AtMost(limit) => format!("this client in {}, at most {limit} was asked for", span(&stable)),
                Choice::Exactly(version) => format!("version {version} was asked for"),
                Choice::Unstable => format!("this client in {}", span(&ours)),
            };
            let text = match &theirs {
                Some(theirs) => format!("the broker has {} in versions {}, {asked}", api.name(), span(theirs)),
                None => format!("the broker does not know the request {} ({asked})", api.name()),
            };
            Error::new(ErrorKind::UnsupportedVersion, text)
        })
    }

    /// The versions in which the broker takes an API; `None` where it does not know it.
    pub fn range(&self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        self.apis.get(&api).cloned()
    }

    /// Every API that the broker takes, by number, and in which versions. Also those that have no table here.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ApiKey, RangeInclusive<i16>)> {
        self.apis.iter().map(|(api, range)| (*api, range.clone()))
    }

    /// Whether the broker takes this API in this version.
    pub fn supports(&self, api: ApiKey, version: i16) -> bool {
        self.apis.get(&api).is_some_and(|range| range.contains(&version))
    }

    /// The finalized features of the cluster, as this broker saw them when it answered.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The finalized level of a feature such as `transaction.version`; `None` where the cluster has not finalized it.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.level(name)
    }

    /// The levels of a feature that this broker could have: what the cluster may be upgraded to if all brokers agree.
    pub fn supported_feature(&self, name: &str) -> Option<RangeInclusive<i16>> {
        self.supported.get(name).cloned()
    }
}

/// Versions above this one are for brokers among themselves, and take the right to act on the cluster.
fn highest_for_clients(api: ApiKey) -> i16 {
    match api {
        ApiKey::ADD_PARTITIONS_TO_TXN => 3, // KIP-890
        _ => i16::MAX,
    }
}

fn span(range: &RangeInclusive<i16>) -> String {
    format!("{} to {}", range.start(), range.end())
}

#[cfg(test)]
mod tests;
