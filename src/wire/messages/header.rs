//! What stands in front of every request and response.

use super::prelude::*;

message! {
    /// In front of a request. Version 2 is that of flexible requests (KIP-482).
    data RequestHeader, versions 1..=2, flexible 2 {
        /// The API.
        request_api_key: i16      => since(0),
        /// The version of the request.
        request_api_version: i16  => since(0),
        /// Comes back in front of the response.
        correlation_id: i32       => since(0),
        /// Who asks, for logs and quotas. Its length stays plain, so that every broker can read it.
        client_id: Option<Str> = empty() => since(1).nullable(1).rigid(),
    }
}

message! {
    /// In front of a response. Version 1 is that of flexible responses (KIP-482).
    data ResponseHeader, versions 0..=1, flexible 1 {
        /// Which request is answered.
        correlation_id: i32 => since(0),
    }
}
