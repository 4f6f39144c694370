//! Which ACLs there are (KIP-140, KIP-290).

use super::prelude::*;

message! {
    /// Asks for the ACLs that a filter matches. A part of the filter that is 1 (any) or null matches everything.
    request DescribeAclsRequest = DESCRIBE_ACLS, versions 1..=3, flexible 2 => DescribeAclsResponse {
        /// What the ACL is about: 1 anything, 2 a topic, 3 a group, 4 the cluster, 5 a transactional id, 6 a delegation
        /// token, 7 a user (since version 3, KIP-373).
        resource_type_filter: i8                    => since(0),
        /// The name of the resource; null is all.
        resource_name_filter: Option<Str> = empty() => since(0).nullable(0),
        /// How the ACL names its resource: 1 in any way, 2 so that it fits the name asked about, 3 literally, 4 by a
        /// prefix (KIP-290).
        pattern_type_filter: i8 = 3                 => since(1),
        /// Whom the ACL is about, such as `User:alice`; null is all.
        principal_filter: Option<Str> = empty()     => since(0).nullable(0),
        /// From where the principal connects; null is all.
        host_filter: Option<Str> = empty()          => since(0).nullable(0),
        /// What the ACL is about: 1 anything, 2 all at once, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe,
        /// 9 the cluster's own actions, 10 describe configs, 11 alter configs, 12 idempotent writes, 13 create tokens,
        /// 14 describe tokens, 15 two-phase commit.
        operation: i8                               => since(0),
        /// What the ACL says: 1 anything, 2 deny, 3 allow.
        permission_type: i8                         => since(0),
    }
}

message! {
    /// The ACLs, by resource.
    response DescribeAclsResponse, versions 1..=3, flexible 2 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                => since(0),
        /// The error, or none.
        error_code: ErrorCode                => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> = empty() => since(0).nullable(0),
        /// The resources that have ACLs.
        resources: Vec<DescribeAclsResource> => since(0),
    }

    /// The ACLs of one resource.
    struct DescribeAclsResource {
        /// What the resource is, in the numbers of `resource_type_filter`.
        resource_type: i8         => since(0),
        /// The resource's name or its prefix; `*` is every name.
        resource_name: Str        => since(0),
        /// How the name is meant: 3 literally, 4 as a prefix (KIP-290).
        pattern_type: i8 = 3      => since(1),
        /// Its ACLs.
        acls: Vec<AclDescription> => since(0),
    }

    /// One ACL.
    struct AclDescription {
        /// Whom it is about, such as `User:alice`; `User:*` is everybody.
        principal: Str      => since(0),
        /// From where the principal connects; `*` is everywhere.
        host: Str           => since(0),
        /// What it is about, in the numbers of [`DescribeAclsRequest`].
        operation: i8       => since(0),
        /// What it says: 2 deny, 3 allow.
        permission_type: i8 => since(0),
    }
}
