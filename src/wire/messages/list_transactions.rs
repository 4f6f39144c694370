//! Which transactions a broker coordinates (KIP-664, KIP-994, KIP-1152).

use super::prelude::*;

message! {
    /// Asks one broker for its transactions; each filter narrows the list.
    request ListTransactionsRequest = LIST_TRANSACTIONS, versions 0..=2, flexible 0 => ListTransactionsResponse {
        /// The states wanted, such as `Ongoing`; empty is all.
        state_filters: Vec<Str>               => since(0),
        /// The producer ids wanted; empty is all.
        producer_id_filters: Vec<i64>         => since(0).entity(ProducerId),
        /// Only those that have run longer than so many milliseconds; negative is all (KIP-994).
        duration_filter: i64 = -1             => since(1),
        /// A regular expression (RE2) for the transactional id; null or empty is all (KIP-1152).
        transactional_id_pattern: Option<Str> => since(2).nullable(2),
    }
}

message! {
    /// The transactions of one broker.
    response ListTransactionsResponse, versions 0..=2, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                     => since(0),
        /// The error, or none.
        error_code: ErrorCode                                     => since(0),
        /// The states asked for that the broker does not know.
        unknown_state_filters: Vec<Str>                           => since(0),
        /// The transactions.
        transaction_states: Vec<ListTransactionsTransactionState> => since(0),
    }

    /// A transaction.
    struct ListTransactionsTransactionState {
        /// The transactional id.
        transactional_id: Str  => since(0).entity(TransactionalId),
        /// The producer id.
        producer_id: i64       => since(0).entity(ProducerId),
        /// Its state, such as `Ongoing`.
        transaction_state: Str => since(0),
    }
}
