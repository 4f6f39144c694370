//! What a registry keeps: schemas, subjects, versions, levels of compatibility; and their form in JSON.
//!
//! Rules this file keeps:
//! - every field but the schema and the id may be missing: registries differ in what they send;
//! - an absent `schemaType` is AVRO; an unknown one survives and prints.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::serdes::wire_format::SchemaId;

/// The text of a schema, its language, and the schemas it refers to. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Schema(Arc<Parts>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Parts {
    kind: SchemaType,
    text: String,
    references: Vec<Reference>,
}

impl Schema {
    /// An Avro schema in JSON.
    pub fn avro(text: impl Into<String>) -> Self {
        Self::new(SchemaType::Avro, text)
    }

    /// A schema of any language.
    pub fn new(kind: SchemaType, text: impl Into<String>) -> Self {
        Self(Arc::new(Parts { kind, text: text.into(), references: Vec::new() }))
    }

    /// The same schema, referring to types of others.
    #[must_use]
    pub fn with_references(self, references: impl IntoIterator<Item = Reference>) -> Self {
        let mut parts = Arc::unwrap_or_clone(self.0);
        parts.references = references.into_iter().collect();
        Self(Arc::new(parts))
    }

    /// The language of the schema.
    pub fn kind(&self) -> &SchemaType {
        &self.0.kind
    }

    /// The text of the schema.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The schemas whose types the text uses.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.kind, self.0.text)
    }
}

/// The language of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchemaType {
    /// `AVRO`.
    Avro,
    /// `JSON`: JSON Schema.
    Json,
    /// `PROTOBUF`.
    Protobuf,
    /// Any other, by the registry's name for it.
    Other(String),
}

impl SchemaType {
    fn from_name(name: Option<String>) -> Self {
        match name.as_deref() {
            None | Some("AVRO") => Self::Avro,
            Some("JSON") => Self::Json,
            Some("PROTOBUF") => Self::Protobuf,
            Some(_) => Self::Other(name.unwrap_or_default()),
        }
    }
}

impl fmt::Display for SchemaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
            Self::Other(name) => name,
        })
    }
}

/// A schema that another one uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The name by which the text uses it; for Avro the full name of the type.
    pub name: String,
    /// The subject under which it is registered.
    pub subject: String,
    /// Its version there.
    pub version: i32,
}

/// A schema in its place: a version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectVersion {
    /// The subject.
    pub subject: String,
    /// The version within the subject, from 1.
    pub version: i32,
    /// The schema's id.
    pub id: SchemaId,
    /// The schema.
    pub schema: Schema,
}

/// Which version of a subject is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest.
    Latest,
    /// This one, from 1.
    Number(i32),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Which changes of a subject's schema the registry lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Compatibility {
    /// Any change.
    None,
    /// The new schema reads what the last one wrote. The default of registries.
    Backward,
    /// The new schema reads what any earlier one wrote.
    BackwardTransitive,
    /// The last schema reads what the new one writes.
    Forward,
    /// Every earlier schema reads what the new one writes.
    ForwardTransitive,
    /// Both ways with the last schema.
    Full,
    /// Both ways with every earlier schema.
    FullTransitive,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaBody<'a> {
    schema: &'a str,
    /// Not sent for Avro: old registries know no other and refuse the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_type: Option<String>,
    #[serde(skip_serializing_if = "<[Reference]>::is_empty")]
    references: &'a [Reference],
}

impl<'a> From<&'a Schema> for SchemaBody<'a> {
    fn from(schema: &'a Schema) -> Self {
        let schema_type = (*schema.kind() != SchemaType::Avro).then(|| schema.kind().to_string());
        Self { schema: schema.text(), schema_type, references: schema.references() }
    }
}

#[derive(Deserialize)]
pub(super) struct IdAnswer {
    pub(super) id: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaAnswer {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

impl From<SchemaAnswer> for Schema {
    fn from(answer: SchemaAnswer) -> Self {
        Schema::new(SchemaType::from_name(answer.schema_type), answer.schema)
            .with_references(answer.references.unwrap_or_default())
    }
}

#[derive(Deserialize)]
pub(super) struct VersionAnswer {
    subject: String,
    version: i32,
    id: i32,
    #[serde(flatten)]
    schema: SchemaAnswer,
}

impl From<VersionAnswer> for SubjectVersion {
    fn from(answer: VersionAnswer) -> Self {
        let VersionAnswer { subject, version, id, schema } = answer;
        Self { subject, version, id: SchemaId(id), schema: schema.into() }
    }
}

#[derive(Deserialize)]
pub(super) struct CompatibleAnswer {
    pub(super) is_compatible: bool,
}

#[derive(Deserialize)]
pub(super) struct LevelAnswer {
    // Asked for it is `compatibilityLevel`, put it is `compatibility`.
    #[serde(rename = "compatibilityLevel", alias = "compatibility")]
    pub(super) level: Compatibility,
}

#[derive(Serialize)]
pub(super) struct LevelBody {
    pub(super) compatibility: Compatibility,
}
