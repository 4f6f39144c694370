//! Deleting ACLs (KIP-140, KIP-290).

use super::prelude::*;

message! {
    /// Asks to delete every ACL that a filter matches. The numbers are those of
    /// [`DescribeAclsRequest`](super::DescribeAclsRequest).
    request DeleteAclsRequest = DELETE_ACLS, versions 1..=3, flexible 2 => DeleteAclsResponse {
        /// The filters.
        filters: Vec<DeleteAclsFilter> => since(0),
    }

    /// A filter. A part of it that is 1 (any) or null matches everything.
    struct DeleteAclsFilter {
        /// What the ACL is about: 1 anything, 2 a topic, 3 a group, 4 the cluster, 5 a transactional id, 6 a delegation
        /// token, 7 a user (since version 3, KIP-373).
        resource_type_filter: i8                    => since(0),
        /// The name of the resource; null is all.
        resource_name_filter: Option<Str> = empty() => since(0).nullable(0),
        /// How the ACL names its resource: 1 in any way, 2 so that it fits the name, 3 literally, 4 by a prefix
        /// (KIP-290).
        pattern_type_filter: i8 = 3                 => since(1),
        /// Whom the ACL is about, such as `User:alice`; null is all.
        principal_filter: Option<Str> = empty()     => since(0).nullable(0),
        /// From where the principal connects; null is all.
        host_filter: Option<Str> = empty()          => since(0).nullable(0),
        /// What the ACL is about: 1 anything, 2 all at once, 3 read, 4 write and so on.
        operation: i8                               => since(0),
        /// What the ACL says: 1 anything, 2 deny, 3 allow.
        permission_type: i8                         => since(0),
    }
}

message! {
    /// What each filter deleted, in the order of the request.
    response DeleteAclsResponse, versions 1..=3, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                       => since(0),
        /// The outcomes.
        filter_results: Vec<DeleteAclsFilterResult> => since(0),
    }

    /// What one filter deleted.
    struct DeleteAclsFilterResult {
        /// The filter's error, or none.
        error_code: ErrorCode                     => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty()      => since(0).nullable(0),
        /// The ACLs that it matched.
        matching_acls: Vec<DeleteAclsMatchingAcl> => since(0),
    }

    /// What became of one ACL.
    struct DeleteAclsMatchingAcl {
        /// The error of this deletion, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
        /// What the resource is.
        resource_type: i8                    => since(0),
        /// The resource's name or its prefix; `*` is every name.
        resource_name: Str                   => since(0),
        /// How the name is meant: 3 literally, 4 as a prefix (KIP-290).
        pattern_type: i8 = 3                 => since(1),
        /// Whom it was about.
        principal: Str                       => since(0),
        /// From where the principal connects.
        host: Str                            => since(0),
        /// What it was about.
        operation: i8                        => since(0),
        /// What it said: 2 deny, 3 allow.
        permission_type: i8                  => since(0),
    }
}
