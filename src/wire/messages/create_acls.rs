//! Creating ACLs (KIP-140, KIP-290).

use super::prelude::*;

message! {
    /// Asks for new ACLs. The numbers are those of [`DescribeAclsRequest`](super::DescribeAclsRequest).
    request CreateAclsRequest = CREATE_ACLS, versions 1..=3, flexible 2 => CreateAclsResponse {
        /// The ACLs.
        creations: Vec<AclCreation> => since(0),
    }

    /// An ACL to create.
    struct AclCreation {
        /// What the resource is: 2 a topic, 3 a group, 4 the cluster, 5 a transactional id, 6 a delegation token, 7 a
        /// user (since version 3, KIP-373).
        resource_type: i8             => since(0),
        /// The resource's name or its prefix; `*` is every name.
        resource_name: Str            => since(0),
        /// How the name is meant: 3 literally, 4 as a prefix (KIP-290).
        resource_pattern_type: i8 = 3 => since(1),
        /// Whom it is about, such as `User:alice`; `User:*` is everybody.
        principal: Str                => since(0),
        /// From where the principal connects; `*` is everywhere.
        host: Str                     => since(0),
        /// What it is about: 2 all, 3 read, 4 write and so on.
        operation: i8                 => since(0),
        /// What it says: 2 deny, 3 allow.
        permission_type: i8           => since(0),
    }
}

message! {
    /// What became of each ACL, in the order of the request.
    response CreateAclsResponse, versions 1..=3, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32           => since(0),
        /// The outcomes.
        results: Vec<AclCreationResult> => since(0),
    }

    /// What became of one ACL.
    struct AclCreationResult {
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
    }
}
