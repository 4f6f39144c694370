use std::fmt::Debug;

use bytes::Bytes;

use super::*;
use crate::wire::{APIS, FieldSpec, Kind, Str};

/// In every secret field below, as SASL PLAIN sends it.
const SECRET: &[u8] = b"\0alice\0hunter2";

fn secret() -> Bytes {
    Bytes::from_static(SECRET)
}

fn setting() -> Option<Str> {
    Some(Str::from_static("hunter2"))
}

#[test]
fn no_secret_in_debug_of_a_message() {
    let upsertions = vec![ScramCredentialUpsertion { salt: secret(), salted_password: secret(), ..Default::default() }];
    let tokens = vec![DescribedDelegationToken { hmac: secret(), ..Default::default() }];
    let configs = vec![AlterableConfig { value: setting(), ..Default::default() }];
    let resources = vec![AlterConfigsResource { configs, ..Default::default() }];
    let changes = vec![IncrementalAlterableConfig { value: setting(), ..Default::default() }];
    let changed = vec![IncrementalAlterConfigsResource { configs: changes, ..Default::default() }];
    let messages: [&dyn Debug; 9] = [
        &SaslAuthenticateRequest { auth_bytes: secret() },
        &SaslAuthenticateResponse { auth_bytes: secret(), ..Default::default() },
        &CreateDelegationTokenResponse { hmac: secret(), ..Default::default() },
        &RenewDelegationTokenRequest { hmac: secret(), ..Default::default() },
        &ExpireDelegationTokenRequest { hmac: secret(), ..Default::default() },
        &DescribeDelegationTokenResponse { tokens, ..Default::default() },
        &AlterUserScramCredentialsRequest { upsertions, ..Default::default() },
        &AlterConfigsRequest { resources, ..Default::default() },
        &IncrementalAlterConfigsRequest { resources: changed, ..Default::default() },
    ];
    for message in messages {
        for printed in [format!("{message:?}"), format!("{message:#?}")] {
            assert!(!printed.contains("hunter2") && !printed.contains("alice"), "{printed}");
            assert!(printed.contains("(secret)"), "the field is not even named: {printed}");
        }
    }
}

/// A table that comes later cannot forget the rule: names that mean a secret are secret wherever they stand.
#[test]
fn fields_named_like_secrets_are_secret() {
    const NAMES: [&str; 4] = ["auth_bytes", "hmac", "salt", "salted_password"];
    fn check(structure: &str, fields: &[FieldSpec], found: &mut Vec<String>) {
        for field in fields {
            let name = format!("{structure}.{}", field.name);
            assert!(field.rule.secret || !NAMES.contains(&field.name), "{name} would be printed");
            found.extend(field.rule.secret.then_some(name));
            let mut kind = &field.kind;
            while let Kind::Array { of } = kind {
                kind = of;
            }
            if let Kind::Struct { name, fields } = kind {
                check(name, fields, found);
            }
        }
    }
    let mut found = Vec::new();
    for api in APIS {
        check(api.request.name, api.request.fields, &mut found);
        check(api.response.name, api.response.fields, &mut found);
    }
    assert_eq!(found.len(), 10, "add the message to the test above: {found:#?}");
}

#[test]
fn a_field_named_like_a_keyword_prints_its_own_name() {
    let component = ComponentData { entity_type: "user".into(), ..Default::default() };
    assert_eq!(format!("{component:?}"), r#"ComponentData { entity_type: "user", match_type: 0, match: Some("") }"#);
}
