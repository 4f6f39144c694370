//! How each type of Kafka's specifications lies on the wire.
//!
//! Rules this file keeps:
//! - a type says its size, its bytes and its description in one place;
//! - null is a matter of `Option`, never of a special value; a version without null neither writes nor reads it;
//! - everything is read where it will lie, and nothing that is large is returned: a structure that was read onto the
//!   stack and then moved into its list stalled on its own stores, which took longer than reading it;
//! - memory is reserved for at most a thousand elements, and no more bytes than the frame has left, ahead of reading.

use std::ops::{Add, AddAssign};

use bytes::Bytes;

use super::{
    BrokerIds, ErrorCode, Kind, Reader, Records, Str, Uuid, Writer,
    buf::{MAX_STRING, Prefix},
    fault::{DecodeError, DecodeFault, EncodeError, EncodeFault},
    ids, varint,
};

/// A type that can stand in a message.
pub trait Field: Sized + Default {
    /// Zero, empty or null. A constant, so that it costs a copy and no more.
    const DEFAULT: Self;
    /// The type in the words of Kafka's specifications.
    const KIND: Kind;
    /// How many bytes [`write`](Field::write) appends.
    fn measure(&self, at: At) -> Size;
    /// Appends the bytes.
    ///
    /// # Errors
    /// The value cannot be said in this version.
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError>;
    /// Reads the bytes into a value that is still [`DEFAULT`](Field::DEFAULT), or what the table has in its place.
    ///
    /// # Errors
    /// They are not what this version allows.
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError>;
}

/// A type that has a null on the wire; in a message it is an `Option`.
pub trait Nullable: Field {
    /// The size of a value where null would have been possible too.
    #[inline]
    fn measure_some(&self, at: At) -> Size {
        self.measure(at)
    }
    /// Appends a value where null would have been possible too.
    ///
    /// # Errors
    /// As [`Field::write`].
    #[inline]
    fn write_some(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        self.write(out, at)
    }
    /// The size of null.
    fn measure_null(at: At) -> Size;
    /// Appends null.
    fn write_null(out: &mut Writer, at: At);
    /// Reads a value or null.
    ///
    /// # Errors
    /// As [`Field::read`].
    fn read_nullable(value: &mut Option<Self>, input: &mut Reader, at: At) -> Result<(), DecodeError>;
}

/// In which version a field is written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The version of the message.
    pub version: i16,
    /// Whether the version has compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
    /// Whether the field may be null in this version.
    pub nullable: bool,
}

/// How many bytes something takes in a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes that are copied into the frame.
    pub inline: usize,
    /// Bytes of records, which are shared.
    pub shared: usize,
}

impl Size {
    /// Nothing.
    pub const ZERO: Self = Self { inline: 0, shared: 0 };

    /// So many copied bytes.
    pub const fn of(inline: usize) -> Self {
        Self { inline, shared: 0 }
    }

    /// All bytes.
    pub const fn total(self) -> usize {
        self.inline + self.shared
    }
}

impl Add for Size {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { inline: self.inline + other.inline, shared: self.shared + other.shared }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

macro_rules! numbers {
    ($($type:ty = $kind:ident),*) => {$(
        impl Field for $type {
            const DEFAULT: Self = 0 as Self;
            const KIND: Kind = Kind::$kind;
            #[inline]
            fn measure(&self, _: At) -> Size {
                Size::of(size_of::<Self>())
            }
            #[inline]
            fn write(&self, out: &mut Writer, _: At) -> Result<(), EncodeError> {
                out.put(&self.to_be_bytes());
                Ok(())
            }
            #[inline]
            fn read(&mut self, input: &mut Reader, _: At) -> Result<(), DecodeError> {
                *self = Self::from_be_bytes(input.array()?);
                Ok(())
            }
        }
    )*};
}

numbers! { i8 = Int8, i16 = Int16, u16 = Uint16, i32 = Int32, u32 = Uint32, i64 = Int64, f64 = Float64 }

impl Field for bool {
    const DEFAULT: Self = false;
    const KIND: Kind = Kind::Bool;
    #[inline]
    fn measure(&self, _: At) -> Size {
        Size::of(1)
    }
    #[inline]
    fn write(&self, out: &mut Writer, _: At) -> Result<(), EncodeError> {
        out.put(&[u8::from(*self)]);
        Ok(())
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, _: At) -> Result<(), DecodeError> {
        *self = input.array::<1>()? != [0];
        Ok(())
    }
}

impl Field for ErrorCode {
    const DEFAULT: Self = Self::NONE;
    const KIND: Kind = Kind::Int16;
    #[inline]
    fn measure(&self, at: At) -> Size {
        self.0.measure(at)
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        self.0.write(out, at)
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        self.0.read(input, at)
    }
}

impl Field for Uuid {
    const DEFAULT: Self = Self(0);
    const KIND: Kind = Kind::Uuid;
    #[inline]
    fn measure(&self, _: At) -> Size {
        Size::of(16)
    }
    #[inline]
    fn write(&self, out: &mut Writer, _: At) -> Result<(), EncodeError> {
        out.put_uuid(*self);
        Ok(())
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, _: At) -> Result<(), DecodeError> {
        self.0 = u128::from_be_bytes(input.array()?);
        Ok(())
    }
}

impl Field for Str {
    const DEFAULT: Self = Self::EMPTY;
    const KIND: Kind = Kind::String;
    #[inline]
    fn measure(&self, at: At) -> Size {
        measure_length(self.len(), Prefix::Short, at) + Size::of(self.len())
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_length(self.len(), Prefix::Short, out, at)?;
        out.put(self.as_bytes());
        Ok(())
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        let length = read_length(Prefix::Short, input, at)?;
        *self = input.str(length)?;
        Ok(())
    }
}

impl Field for Bytes {
    const DEFAULT: Self = Self::new();
    const KIND: Kind = Kind::Bytes;
    #[inline]
    fn measure(&self, at: At) -> Size {
        measure_length(self.len(), Prefix::Long, at) + Size::of(self.len())
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_length(self.len(), Prefix::Long, out, at)?;
        out.put(self);
        Ok(())
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        let length = read_length(Prefix::Long, input, at)?;
        *self = input.bytes(length)?;
        Ok(())
    }
}

impl Field for Records {
    const DEFAULT: Self = Self::EMPTY;
    const KIND: Kind = Kind::Records;
    #[inline]
    fn measure(&self, at: At) -> Size {
        measure_length(self.len(), Prefix::Long, at) + Size { inline: 0, shared: self.len() }
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_length(self.len(), Prefix::Long, out, at)?;
        out.put_records(self);
        Ok(())
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        let length = read_length(Prefix::Long, input, at)?;
        *self = input.records(length)?;
        Ok(())
    }
}

impl<T: Field> Field for Vec<T> {
    const DEFAULT: Self = Self::new();
    const KIND: Kind = Kind::Array { of: &T::KIND };
    #[inline]
    fn measure(&self, at: At) -> Size {
        self.iter().fold(measure_length(self.len(), Prefix::Long, at), |size, element| size + element.measure(at))
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_length(self.len(), Prefix::Long, out, at)?;
        self.iter().try_for_each(|element| element.write(out, at))
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        let length = read_length(Prefix::Long, input, at)?;
        *self = read_elements(length, input, at)?;
        Ok(())
    }
}

impl Field for BrokerIds {
    const DEFAULT: Self = Self::EMPTY;
    const KIND: Kind = <Vec<i32> as Field>::KIND;
    #[inline]
    fn measure(&self, at: At) -> Size {
        measure_length(self.len(), Prefix::Long, at) + Size::of(ids::ID * self.len())
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_length(self.len(), Prefix::Long, out, at)?;
        self.iter().for_each(|id| out.put(&id.to_be_bytes()));
        Ok(())
    }
    #[inline(always)]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        let count = read_length(Prefix::Long, input, at)?;
        input.check_count(count)?;
        let ahead = input.ahead();
        self.set_big_endian(input.slice(ids::ID * count)?, ahead);
        Ok(())
    }
}

impl<T: Nullable> Field for Option<T> {
    const DEFAULT: Self = None;
    const KIND: Kind = T::KIND;
    #[inline]
    fn measure(&self, at: At) -> Size {
        match self {
            Some(value) if at.nullable => value.measure_some(at),
            Some(value) => value.measure(at),
            None => T::measure_null(at),
        }
    }
    #[inline]
    fn write(&self, out: &mut Writer, at: At) -> Result<(), EncodeError> {
        match self {
            Some(value) if at.nullable => value.write_some(out, at),
            Some(value) => value.write(out, at),
            None if at.nullable => {
                T::write_null(out, at);
                Ok(())
            }
            None => Err(EncodeError::new(EncodeFault::Null)),
        }
    }
    #[inline]
    fn read(&mut self, input: &mut Reader, at: At) -> Result<(), DecodeError> {
        if at.nullable { T::read_nullable(self, input, at) } else { self.insert(T::DEFAULT).read(input, at) }
    }
}

/// The null of types that have a length in front, and how they are read.
macro_rules! null_by_length {
    ($prefix:expr, $value:ident, $input:ident, $at:ident, $length:ident => $read:expr) => {
        #[inline]
        fn measure_null(at: At) -> Size {
            measure_null_length($prefix, at)
        }
        #[inline]
        fn write_null(out: &mut Writer, at: At) {
            write_null_length($prefix, out, at);
        }
        #[inline]
        fn read_nullable($value: &mut Option<Self>, $input: &mut Reader, $at: At) -> Result<(), DecodeError> {
            match $input.length($prefix, $at.flexible)? {
                Some($length) => $read,
                None => *$value = None,
            }
            Ok(())
        }
    };
}

impl Nullable for Str {
    null_by_length! { Prefix::Short, value, input, at, length => *value = Some(input.str(length)?) }
}

impl Nullable for Bytes {
    null_by_length! { Prefix::Long, value, input, at, length => *value = Some(input.bytes(length)?) }
}

impl Nullable for Records {
    null_by_length! { Prefix::Long, value, input, at, length => *value = Some(input.records(length)?) }
}

impl<T: Field> Nullable for Vec<T> {
    null_by_length! { Prefix::Long, value, input, at, count => *value = Some(read_elements(count, input, at)?) }
}

fn read_elements<T: Field>(count: usize, input: &mut Reader, at: At) -> Result<Vec<T>, DecodeError> {
    input.check_count(count)?;
    // Never more memory than the frame has bytes left: a count alone is no reason to believe in so many elements.
    let believed = input.remaining() / size_of::<T>().max(1);
    let mut elements = Vec::with_capacity(count.min(believed + 1).min(RESERVE));
    for _ in 0..count {
        elements.push_mut(T::DEFAULT).read(input, at)?;
    }
    Ok(elements)
}

/// A length where null is not possible.
#[inline(always)]
fn read_length(prefix: Prefix, input: &mut Reader, at: At) -> Result<usize, DecodeError> {
    match input.length(prefix, at.flexible)? {
        Some(length) => Ok(length),
        None => Err(input.fault(DecodeFault::Null)),
    }
}

fn measure_length(length: usize, prefix: Prefix, at: At) -> Size {
    // A length of more than 32 bits is refused when it is written.
    Size::of(if at.flexible { varint::len_u64(length as u64 + 1) } else { width(prefix) })
}

fn measure_null_length(prefix: Prefix, at: At) -> Size {
    Size::of(if at.flexible { 1 } else { width(prefix) })
}

fn write_length(length: usize, prefix: Prefix, out: &mut Writer, at: At) -> Result<(), EncodeError> {
    let limit = if prefix == Prefix::Short { MAX_STRING } else { i32::MAX as usize };
    if length > limit {
        return Err(EncodeError::new(EncodeFault::TooLong(length)));
    }
    match (at.flexible, prefix) {
        (true, _) => out.put_uvarint(length as u32 + 1),
        (false, Prefix::Short) => out.put(&(length as i16).to_be_bytes()),
        (false, Prefix::Long) => out.put(&(length as i32).to_be_bytes()),
    }
    Ok(())
}

fn write_null_length(prefix: Prefix, out: &mut Writer, at: At) {
    match (at.flexible, prefix) {
        (true, _) => out.put_uvarint(0),
        (false, Prefix::Short) => out.put(&(-1i16).to_be_bytes()),
        (false, Prefix::Long) => out.put(&(-1i32).to_be_bytes()),
    }
}

const fn width(prefix: Prefix) -> usize {
    match prefix {
        Prefix::Short => 2,
        Prefix::Long => 4,
    }
}

/// For how many elements memory is reserved before the first is read (as Kafka 4.4).
const RESERVE: usize = 1_000;
