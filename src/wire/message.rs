//! The `message!` macro: a table that reads like Kafka's specification becomes a structure with its codec.
//!
//! ```text
//! message! {
//!     /// What the request is for.
//!     request FetchRequest = FETCH, versions 4..=18, flexible 12 => FetchResponse {
//!         /// What the field says.
//!         cluster_id: Option<Str>       => since(12).nullable(12).tag(0).ignorable(),
//!         replica_id: i32 = -1          => versions(0, 14),
//!         topics: Vec<FetchTopic>       => since(0),
//!     }
//!     /// A structure inside.
//!     struct FetchTopic { … }
//! }
//! ```
//!
//! `response` has no key and names no answer; `data` is a structure that travels inside bytes of other messages, with
//! versions of its own.
//!
//! A line is `name: type = default => rule`. Without a default it is the type's own (zero, empty, null), which is
//! what Kafka's specifications mean too. Defaults are constants. An `Option` whose default is the empty string or list
//! says `= empty()`.
//!
//! Rules this file keeps:
//! - a field that carries a value is never left out silently: unless the rule says `ignorable`, a version without
//!   the field is an error;
//! - tagged fields are written only when they differ from their default, in the order of their tags;
//! - unknown tagged fields are skipped within their bounds;
//! - `Debug` prints no field whose rule says `secret`.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::{ApiKey, At, DecodeError, EncodeError, Field, Reader, Writer};

/// A message of the protocol, in all its versions.
pub trait Message: Field + Default + Clone + fmt::Debug + PartialEq {
    /// The name in Kafka's specifications.
    const NAME: &'static str;
    /// The versions that the table has.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; `i16::MAX` where none has.
    const FLEXIBLE_FROM: i16;
    /// The table.
    const FIELDS: &'static [FieldSpec] = Self::KIND.fields();

    /// How long the answer asks the client to hold back (KIP-219); zero in requests and in answers that never ask.
    fn throttle(&self) -> Duration {
        Duration::ZERO
    }

    /// How many bytes the body takes in `version`.
    fn size(&self, version: i16) -> usize {
        self.measure(at::<Self>(version)).total()
    }

    /// Appends the body in `version`.
    ///
    /// # Errors
    /// The table has no such version, or a field carries what the version cannot say.
    fn encode(&self, out: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError { structure: Self::NAME, field: "", fault: super::EncodeFault::Version(version) });
        }
        self.write(out, at::<Self>(version))
    }

    /// Reads the body in `version`.
    ///
    /// # Errors
    /// The table has no such version, or the bytes are not what the version allows.
    fn decode(input: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(input.fault(super::DecodeFault::Version(version)));
        }
        let mut message = Self::DEFAULT;
        message.read(input, at::<Self>(version))?;
        Ok(message)
    }
}

/// A message that is answered by another.
pub trait Request: Message {
    /// The key in the header.
    const API: ApiKey;
    /// The answer.
    type Response: Message;
    /// The versions that may be negotiated: all that Kafka calls stable.
    const STABLE: RangeInclusive<i16>;

    /// How long `response` asks the client to hold back (KIP-219).
    fn throttle_time(response: &Self::Response) -> Duration {
        response.throttle()
    }

    /// The version of the header before the request. Version 2 has tagged fields.
    fn request_header_version(version: i16) -> i16 {
        if version >= Self::FLEXIBLE_FROM { 2 } else { 1 }
    }

    /// The version of the header before the response. Version 1 has tagged fields.
    fn response_header_version(version: i16) -> i16 {
        if version >= Self::FLEXIBLE_FROM { 1 } else { 0 }
    }
}

/// In which version a whole message is written or read.
pub(super) fn at<M: Message>(version: i16) -> At {
    At { version, flexible: version >= M::FLEXIBLE_FROM, nullable: false }
}

/// A type in the words of Kafka's specifications.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    String,
    Uuid,
    Bytes,
    Records,
    /// `[]` of another type.
    Array {
        of: &'static Kind,
    },
    /// A structure with a table of its own.
    Struct {
        name: &'static str,
        fields: &'static [FieldSpec],
    },
}

impl Kind {
    /// The table of a structure, empty for other types.
    pub const fn fields(&self) -> &'static [FieldSpec] {
        match self {
            Kind::Struct { fields, .. } => fields,
            _ => &[],
        }
    }
}

/// One line of a table.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    /// The field's name in Rust's case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// In which versions it exists, and how.
    pub rule: Rule,
    /// The value of a version without the field, as `Debug` prints it.
    pub default: fn() -> String,
}

/// In which versions a field exists, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The first version with the field.
    pub first: i16,
    /// The last version with the field; `i16::MAX` while it still exists.
    pub last: i16,
    /// The first version where it may be null; `i16::MAX` where none.
    pub nullable_from: i16,
    /// Its number among the tagged fields, if it is one.
    pub tag: Option<u32>,
    /// The first version where it is a tagged field.
    pub tagged_from: i16,
    /// Whether a version without the field may drop its value.
    pub ignorable: bool,
    /// Whether the value must not be printed.
    pub secret: bool,
    /// Whether it keeps its plain length in flexible versions.
    pub rigid: bool,
    /// What it names, if it names something of the cluster.
    pub entity: Option<Entity>,
}

/// What a field's value names. Kafka: `entityType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Entity {
    TopicName,
    GroupId,
    ProducerId,
    BrokerId,
    TransactionalId,
}

/// The field exists from `first` on.
pub(super) const fn since(first: i16) -> Rule {
    versions(first, i16::MAX)
}

/// The field exists from `first` to `last`.
pub(super) const fn versions(first: i16, last: i16) -> Rule {
    Rule {
        first,
        last,
        nullable_from: i16::MAX,
        tag: None,
        tagged_from: i16::MAX,
        ignorable: false,
        secret: false,
        rigid: false,
        entity: None,
    }
}

/// A field's name as the specification has it: `r#match` is only how Rust writes `match`.
pub(super) const fn plain_name(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// The default of fields that can be null and are not unless somebody says so.
pub(super) const fn empty<T: Field>() -> Option<T> {
    Some(T::DEFAULT)
}

impl Rule {
    /// It may be null from version `from` on.
    pub const fn nullable(self, from: i16) -> Self {
        Self { nullable_from: from, ..self }
    }

    /// It is a tagged field wherever it exists.
    pub const fn tag(self, tag: u32) -> Self {
        Self { tag: Some(tag), tagged_from: self.first, ..self }
    }

    /// A version without it may drop its value.
    pub const fn ignorable(self) -> Self {
        Self { ignorable: true, ..self }
    }

    /// Its value is never printed.
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// It keeps its plain length in flexible versions.
    pub const fn rigid(self) -> Self {
        Self { rigid: true, ..self }
    }

    /// Its value names this.
    pub const fn entity(self, entity: Entity) -> Self {
        Self { entity: Some(entity), ..self }
    }

    /// Where the field is found in a version.
    pub const fn place(&self, at: At) -> Place {
        if at.version < self.first || at.version > self.last {
            return Place::Absent;
        }
        match self.tag {
            Some(tag) if at.version >= self.tagged_from => Place::Tagged(tag),
            _ => Place::Plain,
        }
    }

    /// The version for the field's value.
    pub const fn at(&self, at: At) -> At {
        At { nullable: at.version >= self.nullable_from, flexible: at.flexible && !self.rigid, ..at }
    }
}

/// Where a field is found in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Absent,
    /// In its turn.
    Plain,
    /// Among the tagged fields, under this number.
    Tagged(u32),
}

/// Makes structures, their codecs and their descriptions from tables. The module doc shows one.
macro_rules! message {
    () => {};
    (
        $(#[$doc:meta])*
        request $name:ident = $api:ident, versions $versions:expr, $(unstable $unstable:literal,)? flexible $flexible:tt
            => $response:ident $(with header $header:literal)? { $($fields:tt)* }
        $($rest:tt)*
    ) => {
        structure! { $(#[$doc])* $name { $($fields)* } }
        body! { $name, $versions, $flexible, $($fields)* }
        impl Request for $name {
            const API: ApiKey = ApiKey::$api;
            type Response = $response;
            const STABLE: RangeInclusive<i16> = *Self::VERSIONS.start()..=last_stable!(*Self::VERSIONS.end() $(, $unstable)?);
            $(
                fn response_header_version(_: i16) -> i16 {
                    $header
                }
            )?
        }
        message! { $($rest)* }
    };
    (
        $(#[$doc:meta])*
        response $name:ident, versions $versions:expr, flexible $flexible:tt { $($fields:tt)* }
        $($rest:tt)*
    ) => {
        structure! { $(#[$doc])* $name { $($fields)* } }
        body! { $name, $versions, $flexible, $($fields)* }
        message! { $($rest)* }
    };
    (
        $(#[$doc:meta])*
        data $name:ident, versions $versions:expr, flexible $flexible:tt { $($fields:tt)* }
        $($rest:tt)*
    ) => {
        structure! { $(#[$doc])* $name { $($fields)* } }
        body! { $name, $versions, $flexible, $($fields)* }
        message! { $($rest)* }
    };
    ($(#[$doc:meta])* struct $name:ident { $($fields:tt)* } $($rest:tt)*) => {
        structure! { $(#[$doc])* $name { $($fields)* } }
        message! { $($rest)* }
    };
}

/// The last version that may be negotiated.
macro_rules! last_stable {
    ($last:expr) => {
        $last
    };
    ($last:expr, $unstable:literal) => {
        $unstable - 1
    };
}

/// What makes a structure a message.
macro_rules! body {
    (
        $name:ident, $versions:expr, $flexible:tt,
        $( $(#[$about:meta])* $field:ident: $type:ty $(= $default:expr)? => $rule:expr, )*
    ) => {
        impl Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: RangeInclusive<i16> = $versions;
            const FLEXIBLE_FROM: i16 = $flexible;

            $( throttle_of! { $field } )*
        }
    };
}

/// A message with this field says how long to hold back; other fields have no part in it.
macro_rules! throttle_of {
    (throttle_time_ms) => {
        fn throttle(&self) -> Duration {
            Duration::from_millis(self.throttle_time_ms.try_into().unwrap_or(0))
        }
    };
    ($other:ident) => {};
}

/// A field's default: what the table says, or the type's own.
macro_rules! default_of {
    ($type:ty) => {
        <$type as Field>::DEFAULT
    };
    ($type:ty, $default:expr) => {
        $default
    };
}

/// One structure with its codec.
macro_rules! structure {
    (
        $(#[$doc:meta])*
        $name:ident { $( $(#[$about:meta])* $field:ident: $type:ty $(= $default:expr)? => $rule:expr, )* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        pub struct $name {
            $( $(#[$about])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self::DEFAULT
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = f.debug_struct(stringify!($name));
                $(
                    let shown: &dyn fmt::Debug = if const { $rule }.secret { &"(secret)" } else { &self.$field };
                    out.field(plain_name(stringify!($field)), shown);
                )*
                out.finish()
            }
        }

        impl Field for $name {
            const DEFAULT: Self = Self { $( $field: default_of!($type $(, $default)?), )* };
            const KIND: Kind = Kind::Struct {
                name: stringify!($name),
                fields: &[ $( FieldSpec {
                    name: plain_name(stringify!($field)),
                    kind: <$type as Field>::KIND,
                    rule: $rule,
                    default: || {
                        let default: $type = default_of!($type $(, $default)?);
                        format!("{default:?}")
                    },
                }, )* ],
            };

            fn measure(&self, at: At) -> Size {
                let mut size = Size::ZERO;
                let mut tags = 0;
                $(
                    const { $rule }.measure(at, &self.$field, || default_of!($type $(, $default)?), &mut size, &mut tags);
                )*
                if at.flexible { size + Size::of(varint::len_u32(tags)) } else { size }
            }

            fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
                let mut tags = 0;
                $(
                    const { $rule }
                        .write_plain(at, &self.$field, || default_of!($type $(, $default)?), out, &mut tags)
                        .map_err(|error| error.within(stringify!($name), plain_name(stringify!($field))))?;
                )*
                if at.flexible {
                    out.put_uvarint(tags);
                }
                if tags > 0 {
                    $(
                        const { $rule }
                            .write_tagged(at, &self.$field, || default_of!($type $(, $default)?), out)
                            .map_err(|error| error.within(stringify!($name), plain_name(stringify!($field))))?;
                    )*
                }
                Ok(())
            }

            fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
                $(
                    if const { $rule }.place(at) == Place::Plain {
                        self.$field.read(input, const { $rule }.at(at))?;
                    }
                )*
                if at.flexible {
                    let tags = input.tag_count()?;
                    if tags > 0 {
                        return self.read_tags(tags, input, at);
                    }
                }
                Ok(())
            }
        }

        impl $name {
            // Out of the way of `read`: a structure in a list has none, or one at a change of leaders.
            #[cold]
            #[inline(never)]
            fn read_tags(&mut self, count: usize, input: &mut Reader, at: At) -> Result<(), DecodeError> {
                input.counted_tags(count, |input, tag| {
                    $(
                        if const { $rule }.place(at) == Place::Tagged(tag) {
                            // A peer may say a tag twice; the last one counts, as a whole.
                            self.$field = <$type as Field>::DEFAULT;
                            self.$field.read(input, const { $rule }.at(at))?;
                            return Ok(true);
                        }
                    )*
                    let _ = (&self, input, tag);
                    Ok(false)
                })
            }
        }

        impl Nullable for $name {
            fn measure_some(&self, at: At) -> Size {
                Size::of(1) + self.measure(at)
            }
            fn write_some(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
                out.put(&[1]);
                self.write(out, at)
            }
            fn measure_null(_: At) -> Size {
                Size::of(1)
            }
            fn write_null(out: &mut Writer, _: At) {
                out.put(&[0xff]);
            }
            fn read_nullable(value: &mut Option<Self>, input: &mut Reader, at: At) -> Result<(), DecodeError> {
                *value = None;
                if i8::from_be_bytes(input.array()?) < 0 { Ok(()) } else { value.insert(Self::DEFAULT).read(input, at) }
            }
        }
    };
}

pub(super) use {body, default_of, last_stable, message, structure, throttle_of};

/// The steps of a generated codec, here so that they are compiled as functions and not written out per field.
impl Rule {
    #[inline]
    pub(super) fn measure<T: Field + PartialEq>(
        &self,
        at: At,
        value: &T,
        default: impl FnOnce() -> T,
        size: &mut super::Size,
        tags: &mut u32,
    ) {
        match self.place(at) {
            Place::Absent => {}
            Place::Plain => *size += value.measure(self.at(at)),
            Place::Tagged(tag) => {
                if *value != default() {
                    let inner = value.measure(self.at(at));
                    let prefix = super::varint::len_u32(tag) + super::varint::len_u64(inner.total() as u64);
                    *size += inner + super::Size::of(prefix);
                    *tags += 1;
                }
            }
        }
    }

    #[inline]
    pub(super) fn write_plain<T: Field + PartialEq>(
        &self,
        at: At,
        value: &T,
        default: impl FnOnce() -> T,
        out: &mut Writer,
        tags: &mut u32,
    ) -> Result<(), EncodeError> {
        match self.place(at) {
            Place::Plain => value.write(out, self.at(at)),
            Place::Tagged(_) => {
                *tags += u32::from(*value != default());
                Ok(())
            }
            Place::Absent if self.ignorable || *value == default() => Ok(()),
            Place::Absent => Err(EncodeError::new(super::EncodeFault::Unsupported(at.version))),
        }
    }

    #[inline]
    pub(super) fn write_tagged<T: Field + PartialEq>(
        &self,
        at: At,
        value: &T,
        default: impl FnOnce() -> T,
        out: &mut Writer,
    ) -> Result<(), EncodeError> {
        let Place::Tagged(tag) = self.place(at) else { return Ok(()) };
        if *value == default() {
            return Ok(());
        }
        let length = value.measure(self.at(at)).total();
        let length = u32::try_from(length).map_err(|_| EncodeError::new(super::EncodeFault::TooLong(length)))?;
        out.put_uvarint(tag);
        out.put_uvarint(length);
        value.write(out, self.at(at))
    }
}
