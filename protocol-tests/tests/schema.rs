//! milena's tables against Kafka's own specifications, which ship inside the jar of kafka-clients: every message,
//! every field, its type, versions, tag, null, default and whether it may be dropped.
//!
//! Rules this file keeps: what Kafka 4.4 adds to the jar of 4.3.1 stands in `kafka-4.4.json`, one entry to a message
//! with its source, and is laid over the jar's specifications first. So a difference that nobody listed fails, and so
//! does a listed one that the tables do not have, that the jar has already, or that leads nowhere.

use std::{collections::HashMap, path::Path};

use milena::wire::{FieldSpec, Kind, Rule};
use protocol_tests::{catalog::catalog, jar, variable};
use serde_json::Value;

/// The jar whose specifications the tables follow.
const JAR: &str = "kafka-clients-4.3.1.jar";

#[test]
fn tables_are_kafkas_specifications() {
    let Some(folder) = variable("tables_are_kafkas_specifications", "MILENA_KAFKA_LIBS") else { return };
    let mut specs = specs(&Path::new(&folder).join(JAR));
    assert!(specs.len() > 150, "the jar holds {} specifications", specs.len());
    let additions: Value = serde_json::from_str(include_str!("../kafka-4.4.json")).expect("kafka-4.4.json");
    let mut differences = Vec::new();
    for addition in array(&additions["messages"]) {
        let name = text(&addition["name"]);
        differences.extend(add(&mut specs, addition).err().map(|wrong| format!("kafka-4.4.json, {name}: {wrong}")));
        if !catalog().iter().any(|table| table.name == name) {
            differences.push(format!("{name} is listed in kafka-4.4.json and has no table"));
        }
    }
    for table in catalog() {
        let Some(spec) = specs.get(table.name) else {
            if UNSPECIFIED.contains(&table.name) {
                continue;
            }
            differences.push(format!("{} is not among Kafka's messages", table.name));
            continue;
        };
        let first = *table.versions.start();
        let mut check = Check { spec, first, differences: &mut differences };
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

/// The file of additions can say nothing that is not so: each entry here is refused.
#[test]
fn additions_that_say_nothing_or_lead_nowhere_are_refused() {
    let jar =
        r#"{ "validVersions": "0-1", "fields": [{ "name": "A", "versions": "0+", "fields": [{ "name": "B" }] }] }"#;
    let about = r#""name": "M", "kip": "KIP-1", "what": "w", "source": "s""#;
    let newer = |changes: &str| format!(r#"{{ {about}, "validVersions": "0-2", "changes": [{changes}] }}"#);
    for (addition, wrong) in [
        (r#"{ "name": "M", "kip": "KIP-1", "what": "w", "validVersions": "0-2" }"#.to_string(), "it has no source"),
        (format!(r#"{{ {about}, "validVersions": "0-1" }}"#), r#"the jar has versions "0-1" already"#),
        (format!(r#"{{ {about}, "spec": {{}} }}"#), "the jar has the message already"),
        (format!(r#"{{ {}, "validVersions": "0" }}"#, about.replace('M', "N")), "the jar has no such message"),
        (newer(r#"{ "in": ["C"], "field": "A", "set": {} }"#), r#"nothing is called "C""#),
        (newer(r#"{ "in": ["A", "B"], "field": "A", "set": {} }"#), "has no fields of its own"),
        (newer(r#"{ "in": [], "after": "B", "add": { "name": "C" } }"#), r#"no field is called "B""#),
        (newer(r#"{ "in": ["A"], "after": "B", "add": { "name": "B" } }"#), r#"the jar has "B" already"#),
        (newer(r#"{ "in": [], "field": "A", "set": { "versions": "0+" } }"#), r#"versions of "A" is "0+" already"#),
        (newer(r#"{ "in": [], "field": "A" }"#), "a change adds a field or sets attributes"),
    ] {
        let mut specs = HashMap::from([("M".to_string(), serde_json::from_str(jar).expect("the jar"))]);
        let said = add(&mut specs, &serde_json::from_str(&addition).expect("JSON"));
        assert!(said.as_ref().is_err_and(|said| said.contains(wrong)), "{addition}: {said:?}");
    }
}

struct Check<'a> {
    spec: &'a Value,
    /// The first version of the message.
    first: i16,
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
        // A range that ends before the first version of the message says nothing any more.
        let first_version = self.first;
        let from = |name: &str| match range(theirs[name].as_str()) {
            Some(versions) if *versions.end() >= first_version => *versions.start(),
            _ => i16::MAX,
        };
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

/// What Kafka writes by hand: its sticky assignors describe their user data in Java, without a specification.
const UNSPECIFIED: &[&str] = &["StickyAssignorUserData", "CooperativeStickyAssignorUserData"];

/// Structures whose name in the specifications is used by another message too.
const RENAMED: &[(&str, &str)] = &[
    ("AddRaftVoterListener", "Listener"),
    ("AlterClientQuotasRequestEntityData", "EntityData"),
    ("AlterClientQuotasRequestEntryData", "EntryData"),
    ("AlterClientQuotasResponseEntityData", "EntityData"),
    ("AlterClientQuotasResponseEntryData", "EntryData"),
    ("AlterPartitionRequestPartitionData", "PartitionData"),
    ("AlterPartitionRequestTopicData", "TopicData"),
    ("AlterPartitionResponsePartitionData", "PartitionData"),
    ("AlterPartitionResponseTopicData", "TopicData"),
    ("ConsumerGroupDescribeAssignment", "Assignment"),
    ("ConsumerGroupDescribeMember", "Member"),
    ("ConsumerGroupDescribeTopicPartitions", "TopicPartitions"),
    ("ConsumerGroupDescribedGroup", "DescribedGroup"),
    ("ConsumerGroupHeartbeatAssignment", "Assignment"),
    ("ConsumerGroupHeartbeatTopicPartitions", "TopicPartitions"),
    ("ConsumerProtocolAssignmentTopicPartition", "TopicPartition"),
    ("ConsumerProtocolSubscriptionTopicPartition", "TopicPartition"),
    ("DescribeClientQuotasEntityData", "EntityData"),
    ("DescribeClientQuotasEntryData", "EntryData"),
    ("DescribeProducersTopicRequest", "TopicRequest"),
    ("DescribeQuorumListener", "Listener"),
    ("DescribeQuorumReplicaState", "ReplicaState"),
    ("DescribeQuorumRequestPartitionData", "PartitionData"),
    ("DescribeQuorumRequestTopicData", "TopicData"),
    ("DescribeQuorumResponsePartitionData", "PartitionData"),
    ("DescribeQuorumResponseTopicData", "TopicData"),
    ("DescribeTopicPartitionsTopicRequest", "TopicRequest"),
    ("DescribeTransactionsTopicData", "TopicData"),
    ("DescribeTransactionsTransactionState", "TransactionState"),
    ("ElectLeadersPartitionResult", "PartitionResult"),
    ("ElectLeadersTopicPartitions", "TopicPartitions"),
    ("FetchEpochEndOffset", "EpochEndOffset"),
    ("FetchLeaderIdAndEpoch", "LeaderIdAndEpoch"),
    ("FetchNodeEndpoint", "NodeEndpoint"),
    ("IncrementalAlterConfigsResource", "AlterConfigsResource"),
    ("IncrementalAlterConfigsResourceResponse", "AlterConfigsResourceResponse"),
    ("IncrementalAlterableConfig", "AlterableConfig"),
    ("LeaderChangeMessageVoter", "Voter"),
    ("ListTransactionsTransactionState", "TransactionState"),
    ("ProduceLeaderIdAndEpoch", "LeaderIdAndEpoch"),
    ("ShareAcknowledgeLeaderIdAndEpoch", "LeaderIdAndEpoch"),
    ("ShareAcknowledgeNodeEndpoint", "NodeEndpoint"),
    ("ShareAcknowledgePartitionData", "PartitionData"),
    ("ShareFetchForgottenTopic", "ForgottenTopic"),
    ("ShareFetchLeaderIdAndEpoch", "LeaderIdAndEpoch"),
    ("ShareFetchNodeEndpoint", "NodeEndpoint"),
    ("ShareFetchPartition", "FetchPartition"),
    ("ShareFetchPartitionData", "PartitionData"),
    ("ShareFetchTopic", "FetchTopic"),
    ("ShareGroupDescribeAssignment", "Assignment"),
    ("ShareGroupDescribeMember", "Member"),
    ("ShareGroupDescribeTopicPartitions", "TopicPartitions"),
    ("ShareGroupDescribedGroup", "DescribedGroup"),
    ("ShareGroupHeartbeatAssignment", "Assignment"),
    ("ShareGroupHeartbeatTopicPartitions", "TopicPartitions"),
    ("StreamsGroupDescribeAssignment", "Assignment"),
    ("StreamsGroupDescribeEndpoint", "Endpoint"),
    ("StreamsGroupDescribeKeyValue", "KeyValue"),
    ("StreamsGroupDescribeMember", "Member"),
    ("StreamsGroupDescribeSubtopology", "Subtopology"),
    ("StreamsGroupDescribeTaskIds", "TaskIds"),
    ("StreamsGroupDescribeTaskOffset", "TaskOffset"),
    ("StreamsGroupDescribeTopicInfo", "TopicInfo"),
    ("StreamsGroupDescribeTopology", "Topology"),
    ("StreamsGroupDescribeTopologyDescription", "TopologyDescription"),
    ("StreamsGroupDescribeTopologyDescriptionGlobalStore", "TopologyDescriptionGlobalStore"),
    ("StreamsGroupDescribeTopologyDescriptionNode", "TopologyDescriptionNode"),
    ("StreamsGroupDescribeTopologyDescriptionSubtopology", "TopologyDescriptionSubtopology"),
    ("StreamsGroupDescribedGroup", "DescribedGroup"),
    ("StreamsGroupHeartbeatEndpoint", "Endpoint"),
    ("StreamsGroupHeartbeatKeyValue", "KeyValue"),
    ("StreamsGroupHeartbeatSubtopology", "Subtopology"),
    ("StreamsGroupHeartbeatTaskIds", "TaskIds"),
    ("StreamsGroupHeartbeatTaskOffset", "TaskOffset"),
    ("StreamsGroupHeartbeatTopicInfo", "TopicInfo"),
    ("StreamsGroupHeartbeatTopicPartition", "TopicPartition"),
    ("StreamsGroupHeartbeatTopology", "Topology"),
    ("UpdateRaftVoterKRaftVersionFeature", "KRaftVersionFeature"),
    ("UpdateRaftVoterListener", "Listener"),
    ("VotersRecordEndpoint", "Endpoint"),
    ("VotersRecordKRaftVersionFeature", "KRaftVersionFeature"),
    ("VotersRecordVoter", "Voter"),
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

/// Lays what Kafka 4.4 changes in one message over the specifications of 4.3.1.
fn add(specs: &mut HashMap<String, Value>, addition: &Value) -> Result<(), String> {
    for named in ["name", "kip", "what", "source"] {
        if text(&addition[named]).is_empty() {
            return Err(format!("it has no {named}"));
        }
    }
    let name = text(&addition["name"]);
    if addition["spec"].is_object() {
        return match specs.insert(name.to_string(), addition["spec"].clone()) {
            Some(_) => Err("the jar has the message already".into()),
            None => Ok(()),
        };
    }
    let spec = specs.get_mut(name).ok_or("the jar has no such message, so all of it must be given")?;
    if spec["validVersions"] == addition["validVersions"] {
        return Err(format!("the jar has versions {} already", spec["validVersions"]));
    }
    spec["validVersions"] = addition["validVersions"].clone();
    for change in array(&addition["changes"]) {
        let mut fields = &mut spec["fields"];
        for step in array(&change["in"]) {
            let inside =
                fields.as_array_mut().and_then(|fields| fields.iter_mut().find(|field| field["name"] == *step));
            fields = &mut inside.ok_or_else(|| format!("nothing is called {step}"))?["fields"];
        }
        let fields = fields.as_array_mut().ok_or_else(|| format!("{} has no fields of its own", change["in"]))?;
        apply(fields, change)?;
    }
    let structures = array(&addition["commonStructs"]).to_vec();
    match &mut spec["commonStructs"] {
        Value::Array(known) => known.extend(structures),
        none => *none = structures.into(),
    }
    Ok(())
}

/// One change: a field after another, or other attributes of one.
fn apply(fields: &mut Vec<Value>, change: &Value) -> Result<(), String> {
    let place = |name: &Value| {
        fields.iter().position(|field| field["name"] == *name).ok_or_else(|| format!("no field is called {name}"))
    };
    if change["add"].is_object() {
        let after = place(&change["after"])?;
        if place(&change["add"]["name"]).is_ok() {
            return Err(format!("the jar has {} already", change["add"]["name"]));
        }
        fields.insert(after + 1, change["add"].clone());
        return Ok(());
    }
    let at = place(&change["field"])?;
    let attributes = change["set"].as_object().ok_or("a change adds a field or sets attributes of one")?;
    for (attribute, value) in attributes {
        if fields[at][attribute] == *value {
            return Err(format!("{attribute} of {} is {value} already", change["field"]));
        }
        fields[at][attribute] = value.clone();
    }
    Ok(())
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
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
