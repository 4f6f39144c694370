//! Where serializers write what is then copied into a batch.
//!
//! Rules this file keeps:
//! - the buffer goes from record to record on the same thread, so that serializing allocates nothing in the long run;
//! - what needs no serializing is not copied here.

use std::{cell::Cell, ops::Range};

use crate::{
    error::Result,
    serdes::{Part, Target},
};

use super::{AsBytes, Field, Record, accumulator::Bytes};

/// The bytes of one record's serialized fields.
#[derive(Default)]
pub(super) struct Scratch(Vec<u8>);

/// Where a field's bytes are.
enum Place {
    Null,
    /// With the caller.
    Plain,
    /// In the scratch buffer.
    Written(Range<usize>),
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// Serializes a record; what was written before is overwritten.
    ///
    /// # Errors
    /// The serializers'.
    pub(super) fn write<'b, K, V, RK: Field<K>, RV: Field<V>>(
        &'b mut self,
        record: &'b Record<'_, RK, RV>,
        key: &'b K,
        value: &'b V,
    ) -> Result<Bytes<'b>> {
        self.0.clear();
        let target = |part| Target { topic: record.topic, part };
        let key_place = self.field(&record.key, key, target(Part::Key))?;
        let value_place = self.field(&record.value, value, target(Part::Value))?;
        Ok(Bytes {
            timestamp: record.timestamp,
            key: self.bytes(&record.key, key, &key_place),
            value: self.bytes(&record.value, value, &value_place),
            headers: &record.headers,
        })
    }

    /// Serializes a field unless its bytes are there already.
    fn field<S, F: Field<S>>(&mut self, field: &F, serializer: &S, target: Target<'_>) -> Result<Place> {
        Ok(match field.as_bytes(serializer) {
            AsBytes::Null => Place::Null,
            AsBytes::Plain(_) => Place::Plain,
            AsBytes::Written => {
                if self.0.capacity() == 0 {
                    self.0 = SCRATCH.try_with(Cell::take).unwrap_or_default();
                }
                let start = self.0.len();
                field.write(serializer, target, &mut self.0)?;
                Place::Written(start..self.0.len())
            }
        })
    }

    fn bytes<'b, S, F: Field<S>>(&'b self, field: &'b F, serializer: &'b S, place: &Place) -> Option<&'b [u8]> {
        match (place, field.as_bytes(serializer)) {
            (Place::Written(range), _) => self.0.get(range.clone()),
            (Place::Plain, AsBytes::Plain(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        if (1..=MAX_SCRATCH).contains(&buffer.capacity()) {
            // A thread that is ending keeps nothing.
            let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
        }
    }
}

/// A larger serializing buffer is not kept.
const MAX_SCRATCH: usize = 1 << 20;
