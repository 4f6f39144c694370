//! Stub.

pub(crate) mod fetch;
