use super::*;
use crate::wire::{catalog, messages::*};

fn offer(apis: &[(ApiKey, i16, i16)]) -> Versions {
    let api_keys = apis.iter().map(|(key, min_version, max_version)| ApiVersion {
        api_key: key.0,
        min_version: *min_version,
        max_version: *max_version,
    });
    Versions::from_response(&ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() })
}

/// A line of `offers.txt`: the API, and per broker what it offers and what is picked.
type Line = (ApiKey, Vec<Option<(i16, i16, Option<i16>)>>);

fn offers() -> (Vec<&'static str>, Vec<Line>) {
    let mut lines = include_str!("offers.txt").lines().filter(|line| !line.starts_with('#'));
    let brokers = lines.next().expect("a head").split_whitespace().skip(1).collect();
    let lines = lines.map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a name");
        let key = (0..200).map(ApiKey).find(|key| key.name() == name).unwrap_or_else(|| panic!("{name} is no API"));
        (key, words.map(cell).collect())
    });
    (brokers, lines.collect())
}

fn cell(word: &str) -> Option<(i16, i16, Option<i16>)> {
    let (range, picked) = word.split_once(':')?;
    let (low, high) = range.split_once('-').expect("a range");
    Some((low.parse().expect("a number"), high.parse().expect("a number"), picked.parse().ok()))
}

#[test]
fn brokers_from_2_1_to_4_4_get_the_highest_version_in_common() {
    let (brokers, lines) = offers();
    assert_eq!(brokers, ["2.1.1", "2.8.2", "3.9.1", "4.0.0", "4.3.1", "4.4"]);
    let mut compared = 0;
    for (at, broker) in brokers.iter().enumerate() {
        let cells = lines.iter().map(|(key, cells)| (*key, *cells.get(at).expect("a cell per broker")));
        let offered: Vec<_> =
            cells.clone().filter_map(|(key, cell)| cell.map(|(low, high, _)| (key, low, high))).collect();
        let versions = offer(&offered);
        for (key, cell) in cells {
            let Some(api) = catalog::Api::of_key(key) else { continue };
            let picked = versions.choose_from(key, api.request.versions.clone(), api.stable.clone(), Choice::Stable);
            let mut expected = cell.and_then(|(.., picked)| picked);
            if *broker == "4.4" {
                // Until every table has what came with 4.4.
                expected = expected.map(|version| version.min(*api.stable.end()));
            }
            assert_eq!(picked.as_ref().ok(), expected.as_ref(), "{key} of Kafka {broker}: {picked:?}");
            compared += usize::from(cell.is_some());
        }
    }
    assert!(compared > 100, "{compared}");
}

/// What a client cannot do without, every broker that is served has.
#[test]
fn no_broker_from_2_1_lacks_what_producers_and_consumers_need() {
    let (brokers, lines) = offers();
    for needed in [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 18, 19, 20, 22].map(ApiKey) {
        let (_, cells) = lines.iter().find(|(key, _)| *key == needed).expect("it is in the table");
        for (broker, cell) in brokers.iter().zip(cells) {
            assert!(cell.is_some_and(|(.., picked)| picked.is_some()), "{needed} of Kafka {broker}");
        }
    }
}

#[test]
fn the_highest_common_version_is_picked() {
    let table = [
        ((0, 13), Some(13)), // Kafka 4: offers 0–2, which it refuses
        ((0, 7), Some(7)),   // Kafka 2.1
        ((9, 99), Some(13)), // a broker of the future
        ((0, 2), None),      // below our floor
        ((14, 20), None),    // above our table
        ((5, 4), None),      // nonsense
    ];
    for ((min, max), expected) in table {
        let versions = offer(&[(ApiKey::PRODUCE, min, max)]);
        assert_eq!(versions.pick::<ProduceRequest>().ok(), expected, "{min} to {max}");
    }
}

#[test]
fn the_error_names_the_api_and_both_sides() {
    let known = offer(&[(ApiKey::PRODUCE, 0, 2), (ApiKey::INIT_PRODUCER_ID, 0, 5), (ApiKey::FETCH, 4, 17)]);
    let said = |outcome: Result<i16, Error>| {
        let error = outcome.expect_err("nothing in common");
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        error.to_string()
    };
    let table = [
        (known.pick::<ProduceRequest>(), "the broker has Produce in versions 0 to 2, this client in 3 to 13"),
        (known.pick::<MetadataRequest>(), "the broker does not know the request Metadata (this client in 0 to 13)"),
        (
            known.pick_at_most::<FetchRequest>(3),
            "the broker has Fetch in versions 4 to 17, this client in 4 to 18, at most 3 was asked for",
        ),
        (
            known.choose::<FetchRequest>(Choice::Exactly(18)),
            "the broker has Fetch in versions 4 to 17, version 18 was asked for",
        ),
        (known.choose::<FetchRequest>(Choice::Exactly(19)), "Fetch has no version 19 here, only 4 to 18"),
    ];
    for (outcome, text) in table {
        assert_eq!(said(outcome), text);
    }
}

#[test]
fn an_unstable_version_is_picked_only_when_asked_for() {
    let brave = offer(&[(ApiKey::INIT_PRODUCER_ID, 0, 6)]);
    let table = [
        (Choice::Stable, Some(5)),
        (Choice::AtMost(2), Some(2)),
        (Choice::AtMost(6), Some(5)),
        (Choice::AtMost(i16::MAX), Some(5)),
        (Choice::Unstable, Some(6)),
        (Choice::Exactly(6), Some(6)),
        (Choice::Exactly(3), Some(3)),
        (Choice::Exactly(7), None),
    ];
    for (choice, expected) in table {
        assert_eq!(brave.choose::<InitProducerIdRequest>(choice).ok(), expected, "{choice:?}");
    }
    assert_eq!(brave.pick::<InitProducerIdRequest>().ok(), Some(5));
    let usual = offer(&[(ApiKey::INIT_PRODUCER_ID, 0, 5)]);
    assert_eq!(usual.choose::<InitProducerIdRequest>(Choice::Unstable).ok(), Some(5), "the broker offers none");
    assert_eq!(usual.choose::<InitProducerIdRequest>(Choice::Exactly(6)).ok(), None);
}

#[test]
fn versions_between_brokers_are_not_for_clients() {
    let versions = offer(&[(ApiKey::ADD_PARTITIONS_TO_TXN, 0, 5)]);
    let choose = |choice| versions.choose_from(ApiKey::ADD_PARTITIONS_TO_TXN, 0..=5, 0..=5, choice).ok();
    let choices = [Choice::Stable, Choice::AtMost(5), Choice::Unstable, Choice::Exactly(5)];
    assert_eq!(choices.map(choose), [Some(3), Some(3), Some(3), Some(5)]);
}

#[test]
fn all_that_was_offered_can_be_read() {
    let versions = offer(&[(ApiKey::FETCH, 4, 17), (ApiKey(500), 1, 2)]);
    assert!(versions.supports(ApiKey::FETCH, 17) && !versions.supports(ApiKey::FETCH, 18));
    assert_eq!((versions.range(ApiKey(500)), versions.range(ApiKey::PRODUCE)), (Some(1..=2), None));
    assert_eq!(versions.iter().collect::<Vec<_>>(), [(ApiKey::FETCH, 4..=17), (ApiKey(500), 1..=2)]);
}

#[test]
fn what_a_broker_could_have_is_told_apart_from_what_is_on() {
    let name = Str::from("share.version");
    let response = ApiVersionsResponse {
        supported_features: vec![SupportedFeatureKey { name: name.clone(), min_version: 0, max_version: 2 }],
        finalized_features: vec![FinalizedFeatureKey { name, max_version_level: 1, min_version_level: 1 }],
        finalized_features_epoch: 7,
        ..Default::default()
    };
    let versions = Versions::from_response(&response);
    assert_eq!(versions.supported_feature("share.version"), Some(0..=2));
    assert_eq!((versions.feature("share.version"), versions.features().share_version()), (Some(1), 1));
    assert_eq!((versions.supported_feature("group.version"), versions.feature("group.version")), (None, None));
}
