//! milena's tables against Kafka's own specifications, which ship inside the jar of kafka-clients: every message,
//! every field, its type, versions, tag, null, default and whether it may be dropped.

use std::{collections::HashMap, path::Path};

use milena::wire::{FieldSpec, Kind, Rule};
use protocol_tests::{catalog::catalog, jar, variable};
use serde_json::Value;

/// The jar whose specifications the tables follow.
const JAR: &str = "kafka-clients-4.3.1.jar";

#[test]
fn tables_are_kafkas_specifications() {
    let Some(folder) = variable("tables_are_kafkas_specifications", "MILENA_KAFKA_LIBS") else { return };
    let specs = specs(&Path::new(&folder).join(JAR));
    let mut differences = Vec::new();
    for table in catalog() {
        let Some(spec) = specs.get(table.name) else {
            differences.push(format!("{} is not among Kafka's messages", table.name));
            continue;
        };
        let mut check = Check { spec, differences: &mut differences };
        let mut same = |what: &str, ours: String, theirs: String| check.same(table.name, what, ours, theirs);
        same("api key", format!("{:?}", table.api.map(i64::from)), format!("{:?}", spec["apiKey"].as_i64()));
        let versions = range(spec["validVersions"].as_str());
        same("versions", format!("{:?}", Some(&table.versions)), format!("{versions:?}"));
        let flexible = range(spec["flexibleVersions"].as_str()).map_or(i16::MAX, |versions| *versions.start());
        same("flexible from", table.flexible_from.to_string(), flexible.to_string());
        if spec["type"] == "request" {
            let unstable = spec["latestVersionUnstable"].as_bool().unwrap_or(false);
            let last = versions.map_or(-1, |versions| *versions.end());
            same("last stable version", table.last_stable.to_string(), (last - i16::from(unstable)).to_string());
        }
        check.fields(table.name, table.fields, &spec["fields"]);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(specs.len() > 150, "the jar holds {} specifications", specs.len());
}

/// What holds of every table, jar or not: the macro writes tagged fields in the order of the table.
#[test]
fn tags_count_up_from_zero() {
    fn check(name: &str, fields: &[FieldSpec]) {
        let tags: Vec<u32> = fields.iter().filter_map(|field| field.rule.tag).collect();
        assert!(tags.iter().enumerate().all(|(index, tag)| index == *tag as usize), "{name}: {tags:?}");
        for field in fields {
            check(field.name, inner(&field.kind).fields());
        }
    }
    catalog().iter().for_each(|table| check(table.name, table.fields));
}

struct Check<'a> {
    spec: &'a Value,
    differences: &'a mut Vec<String>,
}

impl Check<'_> {
    fn same(&mut self, place: &str, what: &str, ours: String, theirs: String) {
        if ours != theirs {
            self.differences.push(format!("{place}: {what} is {ours} here and {theirs} in Kafka"));
        }
    }

    fn fields(&mut self, place: &str, ours: &[FieldSpec], theirs: &Value) {
        let theirs = theirs.as_array().map(Vec::as_slice).unwrap_or_default();
        let names = |names: Vec<String>| names.join(", ");
        let our_names = ours.iter().map(|field| field.name.to_string()).collect();
        let their_names = theirs.iter().map(|field| snake(field["name"].as_str().unwrap_or_default())).collect();
        self.same(place, "the list of fields", names(our_names), names(their_names));
        for (ours, theirs) in ours.iter().zip(theirs) {
            self.field(&format!("{place}.{}", ours.name), ours, theirs);
        }
    }

    fn field(&mut self, place: &str, ours: &FieldSpec, theirs: &Value) {
        let kind = theirs["type"].as_str().unwrap_or_default();
        let Rule { first, last, nullable_from, tag, tagged_from, ignorable, rigid, entity, secret: _ } = ours.rule;
        let versions = range(theirs["versions"].as_str());
        self.same(place, "versions", format!("{:?}", Some(first..=last)), format!("{versions:?}"));
        let from = |name: &str| range(theirs[name].as_str()).map_or(i16::MAX, |versions| *versions.start());
        self.same(place, "nullable from", nullable_from.to_string(), from("nullableVersions").to_string());
        self.same(place, "tag", format!("{tag:?}"), format!("{:?}", theirs["tag"].as_u64()));
        self.same(place, "tagged from", tagged_from.to_string(), from("taggedVersions").to_string());
        let can_ignore = theirs["ignorable"].as_bool().unwrap_or(false);
        self.same(place, "ignorable", ignorable.to_string(), can_ignore.to_string());
        self.same(place, "rigid", rigid.to_string(), (theirs["flexibleVersions"] == "none").to_string());
        let entity = entity.map_or("none".into(), |entity| format!("{entity:?}"));
        let their_entity = theirs["entityType"].as_str().unwrap_or("none");
        self.same(place, "entity", entity.to_lowercase(), their_entity.to_lowercase());
        self.same(place, "type", type_name(&ours.kind), kind.to_string());
        if let Some(default) = default_of(&ours.kind, nullable_from < i16::MAX, &theirs["default"]) {
            let ours = (ours.default)();
            self.same(place, "default", if ours == "NONE" { "0".into() } else { ours }, default);
        }
        let nested = inner(&ours.kind).fields();
        if !nested.is_empty() {
            let common = || {
                let name = kind.trim_start_matches("[]");
                let structures = self.spec["commonStructs"].as_array()?;
                structures.iter().find(|structure| structure["name"] == name).map(|structure| &structure["fields"])
            };
            let theirs = if theirs["fields"].is_array() { Some(&theirs["fields"]) } else { common() };
            let theirs = theirs.cloned().unwrap_or_default();
            self.fields(place, nested, &theirs);
        }
    }
}

/// How `Debug` prints the default that a specification means; `None` where only milena's own type could say it.
fn default_of(kind: &Kind, nullable: bool, spec: &Value) -> Option<String> {
    let text = spec.as_str().map_or_else(|| spec.to_string(), str::to_string);
    let said = (!spec.is_null()).then_some(text.as_str());
    let empty = |empty: &str| if nullable { format!("Some({empty})") } else { empty.to_string() };
    match (kind, said) {
        (_, Some("null")) => Some("None".into()),
        // Kafka's generator makes every `records` null at first, whatever its specification says.
        (Kind::Records, _) => Some(if nullable { "None".into() } else { "[0 bytes of records]".into() }),
        (Kind::String, said) => Some(empty(&format!("{:?}", said.unwrap_or_default()))),
        (Kind::Array { .. }, _) => Some(empty("[]")),
        (Kind::Bytes, _) => Some(empty("b\"\"")),
        (Kind::Uuid, _) => Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
        (Kind::Bool, said) => Some(said.unwrap_or("false").to_string()),
        (Kind::Float64, said) => Some(said.unwrap_or("0.0").to_string()),
        (Kind::Struct { .. }, _) => None,
        (_, said) => {
            let said = said.unwrap_or("0").trim();
            let hex = said.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
            Some(hex.map_or_else(|| said.to_string(), |number| number.to_string()))
        }
    }
}

/// A type in the words of the specifications. A structure whose name two messages use has the message's in front
/// here, so that name is compared by its end.
fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Array { of } => format!("[]{}", type_name(of)),
        Kind::Struct { name, .. } => {
            RENAMED.iter().find(|(ours, _)| ours == name).map_or(*name, |(_, kafka)| kafka).into()
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Structures whose name in the specifications is used by another message too.
const RENAMED: &[(&str, &str)] = &[
    ("ProduceLeaderIdAndEpoch", "LeaderIdAndEpoch"),
    ("FetchLeaderIdAndEpoch", "LeaderIdAndEpoch"),
    ("FetchEpochEndOffset", "EpochEndOffset"),
    ("FetchNodeEndpoint", "NodeEndpoint"),
    ("AlterClientQuotasRequestEntityData", "EntityData"),
    ("AlterClientQuotasRequestEntryData", "EntryData"),
    ("AlterClientQuotasResponseEntityData", "EntityData"),
    ("AlterClientQuotasResponseEntryData", "EntryData"),
    ("AlterPartitionRequestPartitionData", "PartitionData"),
    ("AlterPartitionRequestTopicData", "TopicData"),
    ("AlterPartitionResponsePartitionData", "PartitionData"),
    ("AlterPartitionResponseTopicData", "TopicData"),
    ("DescribeClientQuotasEntityData", "EntityData"),
    ("DescribeClientQuotasEntryData", "EntryData"),
    ("DescribeProducersTopicRequest", "TopicRequest"),
    ("DescribeQuorumListener", "Listener"),
    ("DescribeQuorumReplicaState", "ReplicaState"),
    ("DescribeQuorumRequestPartitionData", "PartitionData"),
    ("DescribeQuorumRequestTopicData", "TopicData"),
    ("DescribeQuorumResponsePartitionData", "PartitionData"),
    ("DescribeQuorumResponseTopicData", "TopicData"),
    ("DescribeTransactionsTopicData", "TopicData"),
    ("DescribeTransactionsTransactionState", "TransactionState"),
    ("ElectLeadersPartitionResult", "PartitionResult"),
    ("ElectLeadersTopicPartitions", "TopicPartitions"),
    ("IncrementalAlterConfigsResource", "AlterConfigsResource"),
    ("IncrementalAlterConfigsResourceResponse", "AlterConfigsResourceResponse"),
    ("IncrementalAlterableConfig", "AlterableConfig"),
    ("ListTransactionsTransactionState", "TransactionState"),
];

fn inner(kind: &Kind) -> &Kind {
    match kind {
        Kind::Array { of } => inner(of),
        other => other,
    }
}

/// `3`, `3+` or `3-5`; `none` and an absent one are `None`.
fn range(text: Option<&str>) -> Option<std::ops::RangeInclusive<i16>> {
    let text = text?.trim();
    if let Some(first) = text.strip_suffix('+') {
        return Some(first.parse().ok()?..=i16::MAX);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// `TopicIdName` → `topic_id_name`; a run of capitals is one word.
fn snake(name: &str) -> String {
    if name == "Enable2Pc" {
        return "enable_2pc".into();
    }
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| letters.get(before));
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || letters.get(index + 1).is_some_and(|next| next.is_lowercase())
            });
        if starts_word {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn specs(path: &Path) -> HashMap<String, Value> {
    let entries = jar::entries(path, "common/message/").expect("the jar");
    entries
        .into_iter()
        .filter(|(name, _)| name.ends_with(".json"))
        .map(|(name, content)| {
            let text = String::from_utf8(content).expect("text");
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let spec: Value = serde_json::from_str(&lines.collect::<Vec<_>>().join("\n"))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            (spec["name"].as_str().unwrap_or_default().to_string(), spec)
        })
        .collect()
}
