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
        let (low, high) = (*R::STABLE.start(), *R::STABLE.end());
        let ours = match choice {
            Choice::Stable => low..=high,
            Choice::AtMost(limit) => low..=high.min(limit),
            Choice::Unstable => R::VERSIONS,
            Choice::Exactly(version) if R::VERSIONS.contains(&version) => version..=version,
            Choice::Exactly(version) => {
                let known = span(&R::VERSIONS);
                return Err(unsupported(format!("{} has no version {version} here, only {known}", R::API.name())));
            }
        };
        let theirs = self.range(R::API);
        let common = theirs.as_ref().map(|theirs| (*ours.end().min(theirs.end()), *ours.start().max(theirs.start())));
        match common {
            Some((highest, lowest)) if highest >= lowest => Ok(highest),
            _ => Err(unsupported(no_common::<R>(theirs, choice))),
        }
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

fn no_common<R: Request>(theirs: Option<RangeInclusive<i16>>, choice: Choice) -> String {
    let (name, stable) = (R::API.name(), span(&R::STABLE));
    let ours = match choice {
        Choice::Stable => format!("this client in {stable}"),
        Choice::AtMost(limit) => format!("this client in {stable}, and at most {limit} was asked for"),
        Choice::Exactly(version) => format!("version {version} was asked for"),
        Choice::Unstable => format!("this client in {}", span(&R::VERSIONS)),
    };
    match theirs {
        Some(theirs) => format!("the broker has {name} in versions {}, {ours}", span(&theirs)),
        None => format!("the broker does not know the request {name} ({ours})"),
    }
}

fn span(range: &RangeInclusive<i16>) -> String {
    format!("{} to {}", range.start(), range.end())
}

fn unsupported(text: String) -> Error {
    Error::new(ErrorKind::UnsupportedVersion, text)
}

#[cfg(test)]
mod tests;
