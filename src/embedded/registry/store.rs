//! Subjects and their versions, schemas and their ids, and the compatibility that new versions must have.
//!
//! Rules this file keeps:
//! - ids begin at 1 and belong to a schema, whatever subjects it is in; versions begin at 1 in each subject;
//! - registering what a subject already has changes nothing and answers with what it has;
//! - a refused schema leaves no trace.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;
use crate::types::HashMap;

/// What a client sends to register or look up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submitted {
    schema: String,
    #[serde(default = "avro")]
    schema_type: String,
    #[serde(default)]
    references: Vec<Reference>,
}

fn avro() -> String {
    AVRO.to_owned()
}

/// Another schema that one refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Reference {
    name: String,
    subject: String,
    version: i32,
}

/// A schema as one version of a subject.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) subject: String,
    pub(super) version: i32,
    pub(super) id: i32,
    pub(super) text: Arc<str>,
    pub(super) schema_type: String,
    pub(super) references: Vec<Reference>,
}

/// Why a request is refused, in Confluent's codes.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The HTTP status: the first three digits of the code.
    pub(super) fn status(&self) -> u16 {
        let status = if self.code >= 1000 { self.code / 100 } else { self.code };
        u16::try_from(status).unwrap_or(500)
    }

    fn no_subject(subject: &str) -> Self {
        Self::new(40401, format!("Subject '{subject}' not found."))
    }
}

/// Everything the registry knows.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// By id, which is the index plus one.
    schemas: Vec<Schema>,
    ids: HashMap<Schema, i32>,
    /// By subject: the ids of its versions, which are the index plus one.
    subjects: BTreeMap<String, Vec<i32>>,
    levels: HashMap<String, String>,
    level: Option<String>,
}

/// What makes a schema the same as another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Schema {
    text: Arc<str>,
    schema_type: String,
    references: Vec<Reference>,
}

impl Store {
    pub(super) fn subjects(&self) -> Vec<&str> {
        self.subjects.keys().map(String::as_str).collect()
    }

    pub(super) fn versions(&self, subject: &str) -> Result<Vec<usize>, Refusal> {
        let ids = self.subjects.get(subject).ok_or_else(|| Refusal::no_subject(subject))?;
        Ok((1..=ids.len()).collect())
    }

    /// A version by its number, or `latest` or −1.
    pub(super) fn version(&self, subject: &str, version: &str) -> Result<Version, Refusal> {
        let ids = self.subjects.get(subject).ok_or_else(|| Refusal::no_subject(subject))?;
        let invalid = || {
            let message = format!(
                "The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
            );
            Refusal::new(42202, message)
        };
        let wanted = match version {
            "latest" | "-1" => ids.len(),
            number => number.parse().ok().filter(|number| *number > 0).ok_or_else(invalid)?,
        };
        let found = wanted.checked_sub(1).and_then(|index| self.describe(subject, ids, index));
        found.ok_or_else(|| Refusal::new(40402, format!("Version {version} not found.")))
    }

    pub(super) fn by_id(&self, id: &str) -> Result<Version, Refusal> {
        let missing = || Refusal::new(40403, format!("Schema {id} not found"));
        let id = id.parse().map_err(|_| missing())?;
        let schema = self.schema(id).ok_or_else(missing)?;
        Ok(Self::place(schema, String::new(), 0, id))
    }

    /// Subjects and versions that have the schema.
    pub(super) fn uses(&self, id: &str) -> Result<Vec<(&str, usize)>, Refusal> {
        let id = self.by_id(id)?.id;
        let all = self.subjects.iter().flat_map(|(subject, ids)| (1..).zip(ids).map(move |at| (subject, at)));
        Ok(all
            .filter(|(_, (_, known))| **known == id)
            .map(|(subject, (version, _))| (subject.as_str(), version))
            .collect())
    }

    /// The version of a subject that a schema is.
    pub(super) fn look_up(&self, subject: &str, submitted: Submitted) -> Result<Version, Refusal> {
        let ids = self.subjects.get(subject).ok_or_else(|| Refusal::no_subject(subject))?;
        let schema = self.accept(submitted)?;
        let index = self.ids.get(&schema).and_then(|id| ids.iter().position(|known| known == id));
        let found = index.and_then(|index| self.describe(subject, ids, index));
        found.ok_or_else(|| Refusal::new(40403, "Schema not found"))
    }

    /// Makes a schema the newest version of a subject, if it is not one of its versions already.
    pub(super) fn register(&mut self, subject: &str, submitted: Submitted) -> Result<Version, Refusal> {
        let schema = self.accept(submitted)?;
        let known = self.ids.get(&schema).copied();
        let versions = self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default();
        if let Some(version) = known
            .and_then(|id| versions.iter().position(|version| *version == id))
            .and_then(|index| self.describe(subject, versions, index))
        {
            return Ok(version);
        }
        let conflicts = self.level_conflicts(subject, &schema);
        if !conflicts.is_empty() {
            let details = conflicts.join(", ");
            let message = format!(
                "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{details}]"
            );
            return Err(Refusal::new(40901, message));
        }
        let id = known.unwrap_or_else(|| {
            self.schemas.push(schema.clone());
            let id = i32::try_from(self.schemas.len()).unwrap_or(i32::MAX);
            self.ids.insert(schema.clone(), id);
            id
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        versions.push(id);
        let version = i32::try_from(versions.len()).unwrap_or(i32::MAX);
        Ok(Self::place(&schema, subject.to_owned(), version, id))
    }

    /// Why a schema does not go with one version of a subject, by the subject's level.
    pub(super) fn conflicts(&self, subject: &str, version: &str, submitted: Submitted) -> Result<Vec<String>, Refusal> {
        let schema = self.accept(submitted)?;
        if !self.subjects.contains_key(subject) {
            return Ok(Vec::new());
        }
        let earlier = self.version(subject, version)?;
        let earlier = self.schema(earlier.id).ok_or_else(|| Refusal::no_subject(subject))?;
        Ok(self.judge(self.level_of(subject), earlier, &schema))
    }

    /// Why a schema cannot be the next version of a subject.
    pub(super) fn conflicts_by_level(&self, subject: &str, submitted: Submitted) -> Result<Vec<String>, Refusal> {
        let schema = self.accept(submitted)?;
        Ok(self.level_conflicts(subject, &schema))
    }

    /// The compatibility level of the cluster, or of a subject that has its own.
    pub(super) fn level(&self, subject: Option<&str>) -> Result<&str, Refusal> {
        match subject {
            None => Ok(self.level.as_deref().unwrap_or(DEFAULT_LEVEL)),
            Some(subject) => self.levels.get(subject).map(String::as_str).ok_or_else(|| {
                Refusal::new(40408, format!("Subject '{subject}' does not have subject-level compatibility configured"))
            }),
        }
    }

    pub(super) fn configure(&mut self, subject: Option<&str>, body: &Value) -> Result<String, Refusal> {
        let level = body.get("compatibility").and_then(Value::as_str).map(str::to_uppercase);
        let level = level.filter(|level| LEVELS.contains(&level.as_str())).ok_or_else(|| {
            Refusal::new(42203, format!("Invalid compatibility level. Valid values are {}", LEVELS.join(", ")))
        })?;
        match subject {
            Some(subject) => drop(self.levels.insert(subject.to_owned(), level.clone())),
            None => self.level = Some(level.clone()),
        }
        Ok(level)
    }

    fn level_of(&self, subject: &str) -> &str {
        self.levels.get(subject).or(self.level.as_ref()).map_or(DEFAULT_LEVEL, String::as_str)
    }

    /// Checks a schema and brings it into the form it is stored and compared in.
    fn accept(&self, submitted: Submitted) -> Result<Schema, Refusal> {
        let Submitted { schema: text, schema_type, references } = submitted;
        let invalid = |why: String| Refusal::new(42201, format!("Invalid schema: {why}"));
        let text = match schema_type.as_str() {
            AVRO => {
                let referred = self.referred(&references)?;
                schema::check(&text, &referred).map_err(invalid)?;
                schema::canonical(&text).map_err(invalid)?
            }
            "JSON" => serde_json::from_str::<Value>(&text).map(|_| text).map_err(|error| invalid(error.to_string()))?,
            "PROTOBUF" => text,
            other => return Err(invalid(format!("Invalid schema type {other}"))),
        };
        Ok(Schema { text: text.into(), schema_type, references })
    }

    /// The texts of all schemas referred to, those they refer to included.
    fn referred(&self, references: &[Reference]) -> Result<Vec<String>, Refusal> {
        let mut texts = Vec::new();
        let mut open = references.to_vec();
        while let Some(reference) = open.pop() {
            let found = self.version(&reference.subject, &reference.version.to_string()).map_err(|_| {
                let Reference { name, subject, version } = &reference;
                Refusal::new(
                    42201,
                    format!("No schema reference found for subject \"{subject}\" and version {version} (\"{name}\")"),
                )
            })?;
            if !texts.iter().any(|text| *text == *found.text) {
                texts.push(found.text.to_string());
                open.extend(found.references);
            }
        }
        Ok(texts)
    }

    fn level_conflicts(&self, subject: &str, schema: &Schema) -> Vec<String> {
        let level = self.level_of(subject);
        let versions = self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default();
        let checked = if level.ends_with("_TRANSITIVE") { versions.len() } else { 1 };
        let newest_first = versions.iter().rev().take(checked);
        newest_first.filter_map(|id| self.schema(*id)).flat_map(|earlier| self.judge(level, earlier, schema)).collect()
    }

    fn judge(&self, level: &str, earlier: &Schema, new: &Schema) -> Vec<String> {
        if level == "NONE" {
            return Vec::new();
        }
        if earlier.schema_type != new.schema_type {
            return vec!["Incompatible because of different schema type".to_owned()];
        }
        if new.schema_type != AVRO {
            return Vec::new();
        }
        // What is stored was accepted, so that its references are there.
        let earlier_refers = self.referred(&earlier.references).unwrap_or_default();
        let new_refers = self.referred(&new.references).unwrap_or_default();
        let earlier = (&*earlier.text, earlier_refers.as_slice());
        let new = (&*new.text, new_refers.as_slice());
        let backward = level.starts_with("BACKWARD") || level.starts_with("FULL");
        let forward = level.starts_with("FORWARD") || level.starts_with("FULL");
        let mut conflicts = Vec::new();
        conflicts.extend(backward.then(|| schema::conflict(earlier, new)).flatten());
        conflicts.extend(forward.then(|| schema::conflict(new, earlier)).flatten());
        if !conflicts.is_empty() {
            conflicts.push(format!("{{oldSchema: '{}'}}", earlier.0));
            conflicts.push(format!("{{validateFields: 'false', compatibility: '{level}'}}"));
        }
        conflicts
    }

    fn schema(&self, id: i32) -> Option<&Schema> {
        self.schemas.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn describe(&self, subject: &str, ids: &[i32], index: usize) -> Option<Version> {
        let id = *ids.get(index)?;
        let version = i32::try_from(index + 1).ok()?;
        Some(Self::place(self.schema(id)?, subject.to_owned(), version, id))
    }

    fn place(schema: &Schema, subject: String, version: i32, id: i32) -> Version {
        let Schema { text, schema_type, references } = schema.clone();
        Version { subject, version, id, text, schema_type, references }
    }
}

const AVRO: &str = "AVRO";
const DEFAULT_LEVEL: &str = "BACKWARD";
const LEVELS: &[&str] =
    &["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"];
