use super::*;

fn check<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(text: &str) {
    let value: T = serde_json::from_str(text).unwrap();
    let again: T = serde_json::from_slice(&crate::canonical::of(&value)).unwrap();
    assert_eq!(value, again);
}

fn refused<T: for<'de> Deserialize<'de>>(text: &str) {
    assert!(serde_json::from_str::<T>(text).is_err(), "{text}");
}

const BY: &str = r#""by":{"key":"0123456789abcdef"}"#;

#[test]
fn bodies_read_back() {
    let add = r#""op":"add","key_id":"0123456789abcdef","sha256":"x","name":"n""#;
    check::<Access>(&format!(r#"{{{add},"roles":["publisher"],"producer":"gw-1",{BY}}}"#));
    check::<Access>(&format!(r#"{{"op":"remove","key_id":"0123456789abcdef",{BY}}}"#));
    check::<ClockReset>(&format!(
        r#"{{"at":"2026-01-02T03:04:05.000000000Z",{BY},"reason":null}}"#
    ));
    check::<Claim>(r#"{"id":"000102030405060708090a0b0c0d0e0f","by":{"server":"signing"}}"#);
    refused::<Claim>(r#"{"id":"00010203","by":{"server":"signing"}}"#);
    refused::<Claim>(r#"{"id":"000102030405060708090A0B0C0D0E0F","by":{"server":"signing"}}"#);
    check::<NewEpoch>(&format!(
        r#"{{"epoch":2,"journal":"a","from":1,"previous_journal":"b","previous_posted":9,{BY}}}"#
    ));
    refused::<Access>(&format!(r#"{{{add},"roles":[],{BY},"more":1}}"#));
}

#[test]
fn an_act_says_who_and_why_in_one_closed_shape() {
    check::<By>(r#"{"key":"0123456789abcdef"}"#);
    check::<By>(r#"{"key":"0123456789abcdef","person":"p-ana"}"#);
    check::<By>(r#"{"operator":"0123456789abcdef"}"#);
    check::<By>(r#"{"command":"init"}"#);
    check::<By>(r#"{"server":"retention"}"#);
    for by in [
        r"{}",
        r"null",
        r#""admin""#,
        r#"{"key":"0123456789ABCDEF"}"#,
        r#"{"key":"0123"}"#,
        r#"{"person":"p-ana"}"#,
        r#"{"key":"0123456789abcdef","person":"Ana Lima"}"#,
        r#"{"key":"0123456789abcdef","name":"n"}"#,
        r#"{"key":"0123456789abcdef","operator":"0123456789abcdef"}"#,
        r#"{"command":"serve"}"#,
        r#"{"command":"init","key":"0123456789abcdef"}"#,
        r#"{"server":"retention","more":1}"#,
    ] {
        refused::<By>(by);
        refused::<Access>(&format!(r#"{{"op":"remove","key_id":"0123456789abcdef","by":{by}}}"#));
    }
    refused::<Access>(r#"{"op":"remove","key_id":"0123456789abcdef"}"#);
    let hash = "vCrs/DjTZkXWx9l82PPCmDkGd1rE2hje/lz+WpHhXyg=";
    let removal = r#""op":"remove","key_id":"0123456789abcdef""#;
    let reason = |reason: &str| format!(r#"{{{removal},{BY},"reason":{reason}}}"#);
    check::<Access>(&reason(&format!(r#"{{"index":4,"leaf_hash":"{hash}"}}"#)));
    refused::<Access>(&reason(&format!(r#"{{"leaf_hash":"{hash}"}}"#)));
    refused::<Access>(&reason(&format!(r#"{{"index":4,"leaf_hash":"{}"}}"#, &hash[1..])));
    refused::<Access>(&reason(r#""asked""#));
}
