//! Avro keys and values whose schemas live in the registry.
//!
//! Rules this file keeps:
//! - what a record needs is at hand before it is written or read; the registry is asked in `prepare`, once per topic
//!   when writing and once per schema when reading;
//! - a schema that does not parse is an error of the first use, so that making a serializer never fails;
//! - nothing is allocated to find out that all is at hand.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Arc, PoisonError, RwLock},
};

use apache_avro::types::Value;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind, Result},
    serdes::{
        Deserializer, Part, Serializer, Target,
        avro::{AvroRecord, AvroSchema},
        wire_format::{SchemaId, read_prefix, write_prefix},
    },
};

use super::{Registry, Schema, SchemaType, Version};

/// Values of type `T` as Avro, with the schema's id in front. Made by [`Registry::avro`].
///
/// Reading brings what was written with another schema into the form of `T`'s own: fields are reordered, left out or
/// filled with defaults, numbers promoted. Field aliases are not followed yet.
pub struct Avro<T> {
    core: Arc<Core>,
    of: PhantomData<fn() -> T>,
}

/// Dynamic values as Avro, with the schema's id in front. Made by [`Registry::avro_value`].
#[derive(Clone)]
pub struct AvroValue {
    core: Arc<Core>,
}

/// Under which subject a schema is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SubjectName {
    /// `TOPIC-key` and `TOPIC-value`: one schema per topic. Java: `TopicNameStrategy`.
    #[default]
    Topic,
    /// The record's full name: any topic, any number of types in it. Java: `RecordNameStrategy`.
    Record,
    /// `TOPIC-FULLNAME`. Java: `TopicRecordNameStrategy`.
    TopicRecord,
}

/// Where the id comes from that is put in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdFrom {
    Register,
    Lookup,
    Latest,
}

struct Core {
    registry: Registry,
    /// That of the type; for dynamic values the one they are written with, or read into.
    schema: Option<Result<AvroSchema>>,
    subject_name: SubjectName,
    id_from: IdFrom,
    written: RwLock<HashMap<Box<str>, PerPart>>,
    read: RwLock<HashMap<SchemaId, AvroSchema>>,
}

#[derive(Default)]
struct PerPart {
    key: Option<Written>,
    value: Option<Written>,
}

/// What the records of one part of one topic are written with.
struct Written {
    id: SchemaId,
    schema: AvroSchema,
}

impl Registry {
    /// Avro for a type that knows its schema. A schema that does not parse is an error of the first use.
    pub fn avro<T: AvroRecord>(&self) -> Avro<T> {
        self.avro_with_schema(T::SCHEMA)
    }

    /// Avro for any serde type with the schema given as text. A schema that does not parse is an error of the first
    /// use.
    pub fn avro_with_schema<T>(&self, schema: &str) -> Avro<T> {
        Avro { core: Arc::new(Core::new(self, Some(schema))), of: PhantomData }
    }

    /// Avro without a type. Reading gives values in the form they were written in; writing needs a schema, from
    /// [`schema`](AvroValue::schema) or [`use_latest`](AvroValue::use_latest).
    pub fn avro_value(&self) -> AvroValue {
        AvroValue { core: Arc::new(Core::new(self, None)) }
    }
}

macro_rules! options {
    () => {
        /// Under which subject the schema is registered. Default: by the topic.
        /// Java: `key.subject.name.strategy`, `value.subject.name.strategy`.
        #[must_use]
        pub fn subject_name(self, subject_name: SubjectName) -> Self {
            self.with(|core| core.subject_name = subject_name)
        }

        /// Whether an unknown schema is registered at the first record, or is an error. Default: it is registered.
        /// Java: `auto.register.schemas`.
        #[must_use]
        pub fn auto_register(self, auto_register: bool) -> Self {
            self.with(|core| core.id_from = if auto_register { IdFrom::Register } else { IdFrom::Lookup })
        }

        /// Writes with the subject's newest schema, into which the values must fit, and registers nothing.
        /// It is fetched once per topic. Java: `use.latest.version`.
        #[must_use]
        pub fn use_latest(self) -> Self {
            self.with(|core| core.id_from = IdFrom::Latest)
        }
    };
}

impl<T> Avro<T> {
    options!();

    fn with(self, set: impl FnOnce(&mut Core)) -> Self {
        Self { core: self.core.with(set), of: PhantomData }
    }
}

impl AvroValue {
    options!();

    /// The schema that values are written with and brought into when they are read.
    /// Default: none; values are read as they were written.
    #[must_use]
    pub fn schema(self, text: &str) -> Self {
        self.with(|core| core.schema = Some(AvroSchema::parse(text)))
    }

    fn with(self, set: impl FnOnce(&mut Core)) -> Self {
        Self { core: self.core.with(set) }
    }
}

impl<T> Clone for Avro<T> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), of: PhantomData }
    }
}

impl<T: Serialize> Serializer<T> for Avro<T> {
    async fn prepare(&self, target: Target<'_>) -> Result<()> {
        self.core.prepare_writing(target).await
    }

    fn serialize(&self, target: Target<'_>, value: &T, out: &mut Vec<u8>) -> Result<()> {
        self.core.write(target, out, |schema, out| schema.encode(value, out))
    }
}

impl Serializer<Value> for AvroValue {
    async fn prepare(&self, target: Target<'_>) -> Result<()> {
        self.core.prepare_writing(target).await
    }

    fn serialize(&self, target: Target<'_>, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        self.core.write(target, out, |schema, out| schema.encode_value(value, out))
    }
}

impl<T: DeserializeOwned> Deserializer for Avro<T> {
    type Output<'a> = T;

    fn is_ready(&self, _target: Target<'_>, payload: &[u8]) -> bool {
        self.core.can_read(payload)
    }

    async fn prepare(&self, target: Target<'_>, payload: &[u8]) -> Result<()> {
        self.core.prepare_reading(target, payload).await
    }

    /// Null is an error: a topic with tombstones is read with [`Nullable`](crate::serdes::Nullable) around this.
    fn deserialize(&self, target: Target<'_>, payload: Option<&[u8]>) -> Result<T> {
        let Some(payload) = payload else { return Err(null(target)) };
        let reader = self.core.schema()?;
        self.core.read(target, payload, |writer, body| writer.decode(reader, body))
    }
}

impl Deserializer for AvroValue {
    /// A tombstone is `None`.
    type Output<'a> = Option<Value>;

    fn is_ready(&self, _target: Target<'_>, payload: &[u8]) -> bool {
        self.core.can_read(payload)
    }

    async fn prepare(&self, target: Target<'_>, payload: &[u8]) -> Result<()> {
        self.core.prepare_reading(target, payload).await
    }

    fn deserialize(&self, target: Target<'_>, payload: Option<&[u8]>) -> Result<Option<Value>> {
        let Some(payload) = payload else { return Ok(None) };
        let reader = self.core.schema.as_ref().map(|schema| schema.as_ref().map_err(Clone::clone)).transpose()?;
        self.core.read(target, payload, |writer, body| writer.decode_value(reader, body)).map(Some)
    }
}

impl Core {
    fn new(registry: &Registry, schema: Option<&str>) -> Self {
        Self {
            registry: registry.clone(),
            schema: schema.map(AvroSchema::parse),
            subject_name: SubjectName::default(),
            id_from: IdFrom::Register,
            written: RwLock::default(),
            read: RwLock::default(),
        }
    }

    /// Other settings, with nothing fetched.
    fn with(&self, set: impl FnOnce(&mut Self)) -> Arc<Self> {
        let Self { schema, subject_name, id_from, .. } = self;
        let fresh = Self::new(&self.registry, None);
        let mut core = Self { schema: schema.clone(), subject_name: *subject_name, id_from: *id_from, ..fresh };
        set(&mut core);
        Arc::new(core)
    }

    fn schema(&self) -> Result<&AvroSchema> {
        let missing = || {
            Error::new(
                ErrorKind::Config,
                "dynamic Avro values need a schema to be written with: `schema` or `use_latest`",
            )
        };
        self.schema.as_ref().ok_or_else(missing)?.as_ref().map_err(Clone::clone)
    }

    async fn prepare_writing(&self, target: Target<'_>) -> Result<()> {
        if self.with_written(target, |_| ()).is_some() {
            return Ok(());
        }
        let written = self.fetch_written(target).await.map_err(|error| about(target, error))?;
        let mut topics = self.written.write().unwrap_or_else(PoisonError::into_inner);
        let parts = topics.entry(target.topic.into()).or_default();
        match target.part {
            Part::Key => parts.key = Some(written),
            Part::Value => parts.value = Some(written),
        }
        Ok(())
    }

    async fn fetch_written(&self, target: Target<'_>) -> Result<Written> {
        let subject = self.subject(target)?;
        if self.id_from == IdFrom::Latest {
            let latest = self.registry.latest(&subject).await?;
            return Ok(Written { id: latest.id, schema: self.registry.parse_avro(&latest.schema).await? });
        }
        let schema = self.schema()?.clone();
        let text = Schema::avro(schema.text());
        let id = match self.id_from {
            IdFrom::Register => self.registry.register(&subject, &text).await?,
            _ => self.registry.lookup(&subject, &text).await?.id,
        };
        Ok(Written { id, schema })
    }

    fn subject(&self, target: Target<'_>) -> Result<String> {
        let Target { topic, part } = target;
        let part = match part {
            Part::Key => "key",
            Part::Value => "value",
        };
        match self.subject_name {
            SubjectName::Topic => Ok(format!("{topic}-{part}")),
            SubjectName::Record => self.record_name(),
            SubjectName::TopicRecord => Ok(format!("{topic}-{}", self.record_name()?)),
        }
    }

    fn record_name(&self) -> Result<String> {
        let nameless =
            || Error::new(ErrorKind::Config, "the subject shall be named by the record, and the schema has no name");
        self.schema()?.full_name().ok_or_else(nameless)
    }

    fn write<W>(&self, target: Target<'_>, out: &mut Vec<u8>, write: W) -> Result<()>
    where
        W: FnOnce(&AvroSchema, &mut Vec<u8>) -> Result<()>,
    {
        let written = self.with_written(target, |Written { id, schema }| {
            write_prefix(*id, out);
            write(schema, out)
        });
        let unprepared = || Err(Error::new(ErrorKind::Serialization, "`serialize` was called before `prepare`"));
        written.unwrap_or_else(unprepared).map_err(|error| about(target, error))
    }

    fn with_written<R>(&self, target: Target<'_>, look: impl FnOnce(&Written) -> R) -> Option<R> {
        let topics = self.written.read().unwrap_or_else(PoisonError::into_inner);
        let parts = topics.get(target.topic)?;
        match target.part {
            Part::Key => parts.key.as_ref().map(look),
            Part::Value => parts.value.as_ref().map(look),
        }
    }

    /// Bytes that are no frame count as readable: `deserialize` says what is wrong with them.
    fn can_read(&self, payload: &[u8]) -> bool {
        read_prefix(payload).map_or(true, |(id, _)| self.with_read(id, |_| ()).is_some())
    }

    async fn prepare_reading(&self, target: Target<'_>, payload: &[u8]) -> Result<()> {
        let Ok((id, _)) = read_prefix(payload) else { return Ok(()) };
        if self.with_read(id, |_| ()).is_some() {
            return Ok(());
        }
        let fetched = async { self.registry.parse_avro(&self.registry.schema_by_id(id).await?).await };
        let schema = fetched.await.map_err(|error| about(target, error))?;
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        // More schemas than that in use at once is not life but an attack: start over.
        if read.len() >= MAX_READ {
            read.clear();
        }
        read.insert(id, schema);
        Ok(())
    }

    fn read<R>(
        &self,
        target: Target<'_>,
        payload: &[u8],
        read: impl FnOnce(&AvroSchema, &[u8]) -> Result<R>,
    ) -> Result<R> {
        let unprepared = || Err(Error::new(ErrorKind::Serialization, "`deserialize` was called before `prepare`"));
        read_prefix(payload)
            .and_then(|(id, body)| self.with_read(id, |writer| read(writer, body)).unwrap_or_else(unprepared))
            .map_err(|error| about(target, error))
    }

    fn with_read<R>(&self, id: SchemaId, look: impl FnOnce(&AvroSchema) -> R) -> Option<R> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(look)
    }
}

impl Registry {
    /// Parses a schema of the registry together with those it refers to.
    async fn parse_avro(&self, schema: &Schema) -> Result<AvroSchema> {
        let mut texts = Vec::new();
        let mut open = vec![schema.clone()];
        while let Some(schema) = open.pop() {
            if *schema.kind() != SchemaType::Avro {
                let text = format!("the schema is {}, not Avro", schema.kind());
                return Err(Error::new(ErrorKind::Serialization, text));
            }
            // The same text twice would define its types twice.
            if texts.contains(&schema) {
                continue;
            }
            if texts.len() >= MAX_REFERENCES {
                let text = format!("the schema refers to more than {MAX_REFERENCES} others");
                return Err(Error::new(ErrorKind::Serialization, text));
            }
            for reference in schema.references() {
                open.push(self.version(&reference.subject, Version::Number(reference.version)).await?.schema);
            }
            texts.push(schema);
        }
        let (first, others) = texts.split_first().map_or((schema, &[][..]), |(first, others)| (first, others));
        let others = others.iter().map(Schema::text).collect::<Vec<_>>();
        AvroSchema::parse_with(first.text(), &others)
    }
}

/// The same error, said about the record it happened to.
#[cold]
fn about(target: Target<'_>, error: Error) -> Error {
    let Target { topic, part } = target;
    let part = match part {
        Part::Key => "key",
        Part::Value => "value",
    };
    Error::new(error.kind(), format!("{part} of a record of {topic}: {error}"))
}

#[cold]
fn null(target: Target<'_>) -> Error {
    about(target, Error::new(ErrorKind::Serialization, "it is null: read a topic with tombstones with `Nullable`"))
}

const MAX_READ: usize = 4096;
const MAX_REFERENCES: usize = 64;
