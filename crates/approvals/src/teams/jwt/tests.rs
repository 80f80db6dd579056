use super::*;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// Made for these tests; nobody trusts it.
const PRIVATE: &[u8] = include_bytes!("test-key.der");
const MODULUS: &str = include_str!("test-key.n");
const APP: &str = "11111111-2222-3333-4444-555555555555";
const DIRECTORY: &str = "66666666-2222-3333-4444-555555555555";
const SERVICE: &str = "https://smba.trafficmanager.net/emea/";

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": APP, "serviceurl": SERVICE, "nbf": now() - 10, "exp": now() + 3600,
    })
}

fn jwk() -> Value {
    json!({
        "kty": "RSA", "use": "sig", "kid": "k1", "n": MODULUS.trim(), "e": "AQAB",
        "endorsements": ["msteams", "webchat"],
    })
}

fn keys(jwk: &Value) -> Vec<Key> {
    key_set(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
}

fn signed(claims: &Value) -> String {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("k1".into());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_der(PRIVATE)).unwrap()
}

/// Verifies a token whose claims were changed.
fn check(change: impl FnOnce(&mut Value), expected: Option<Untrusted>) {
    let mut claims = claims();
    change(&mut claims);
    let token = signed(&claims);
    assert_eq!(key_id(&token).as_deref(), Ok("k1"));
    assert_eq!(verify(&token, &keys(&jwk())[0], APP).err(), expected, "{claims}");
}

#[test]
fn claims_are_all_checked() {
    let bad = Some(Untrusted::Claims);
    check(|_| {}, None);
    check(|c| c["iss"] = "https://sts.windows.net/x/".into(), bad);
    check(|c| c["iss"] = json!([ISSUER]), bad);
    check(|c| c["aud"] = "another-bot".into(), bad);
    check(|c| c["aud"] = json!([APP, "another-bot"]), bad);
    check(|c| c["appid"] = "another-bot".into(), bad);
    check(|c| c["azp"] = "another-bot".into(), bad);
    for name in ["iss", "aud", "exp", "nbf", "serviceurl"] {
        check(|c| drop(c.as_object_mut().unwrap().remove(name)), bad);
        check(|c| c[name] = Value::Null, bad);
    }
}

#[test]
fn times_have_five_minutes() {
    let bad = Some(Untrusted::Claims);
    check(|c| c["exp"] = (now() - SKEW_SECONDS + 60).into(), None);
    check(|c| c["exp"] = (now() - SKEW_SECONDS).into(), bad);
    check(|c| c["nbf"] = (now() + SKEW_SECONDS - 60).into(), None);
    check(|c| c["nbf"] = (now() + SKEW_SECONDS + 60).into(), bad);
    check(|c| c["iat"] = (now() + SKEW_SECONDS + 60).into(), bad);
    check(|c| c["iat"] = "soon".into(), bad);
}

#[test]
fn only_rs256_with_a_key_id() {
    let body = BASE64URL_NOPAD.encode(claims().to_string().as_bytes());
    let forged = |header: Value, signature: &str| {
        format!("{}.{body}.{signature}", BASE64URL_NOPAD.encode(header.to_string().as_bytes()))
    };
    for header in [
        json!({"alg": "none", "kid": "k1"}),
        json!({"alg": "HS256", "kid": "k1"}),
        json!({"alg": "PS256", "kid": "k1"}),
        json!({"alg": "RS256"}),
        json!({"alg": "RS256", "kid": ""}),
        json!({"alg": "RS256", "kid": "k1", "crit": ["exp"]}),
    ] {
        assert_eq!(key_id(&forged(header.clone(), "AAAA")), Err(Untrusted::Form), "{header}");
    }
    // Even past that check, the public key does not verify an HMAC made with it.
    let secret = EncodingKey::from_secret(MODULUS.trim().as_bytes());
    let hmac = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
    assert_eq!(verify(&hmac, &keys(&jwk())[0], APP), Err(Untrusted::Form));
    let token = signed(&claims());
    let (message, _) = token.rsplit_once('.').unwrap();
    let cut = format!("{message}.{}", BASE64URL_NOPAD.encode(&[1; 256]));
    assert_eq!(verify(&cut, &keys(&jwk())[0], APP), Err(Untrusted::Signature));
}

#[test]
fn bearer_tokens_are_plain() {
    assert_eq!(bearer(Some("Bearer abc")), Ok("abc"));
    let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
    for bad in
        [None, Some(""), Some("Bearer "), Some("bearer abc"), Some("Bearer a b"), Some(&*long)]
    {
        assert_eq!(bearer(bad), Err(Untrusted::NoToken));
    }
}

#[test]
fn weak_and_foreign_keys_are_left_out() {
    let with = |name: &str, value: Value| {
        let mut jwk = jwk();
        jwk[name] = value;
        keys(&jwk).len()
    };
    assert_eq!(with("extra", 1.into()), 1);
    assert_eq!(with("kty", "oct".into()), 0);
    assert_eq!(with("use", "enc".into()), 0);
    assert_eq!(with("n", BASE64URL_NOPAD.encode(&[255; 128]).into()), 0);
    assert!(key_set(b"{}").is_none());
}

#[test]
fn what_a_token_may_bring() {
    let hosts = ["smba.trafficmanager.net".to_owned()];
    let bring = |jwk: &Value, change: fn(&mut Value), service: &str| {
        let mut claims = claims();
        claims["serviceurl"] = service.into();
        let mut activity = json!({
            "type": "invoke", "channelId": "msteams", "serviceUrl": service,
            "conversation": {"id": "19:x", "tenantId": DIRECTORY}, "from": {"id": "29:a"},
        });
        change(&mut activity);
        let speaker = verify(&signed(&claims), &keys(jwk)[0], APP).unwrap();
        let activity: Activity = serde_json::from_value(activity).unwrap();
        speaker.may_bring(&activity, DIRECTORY, &hosts).err()
    };
    assert_eq!(bring(&jwk(), |_| {}, SERVICE), None);
    let mut unendorsed = jwk();
    unendorsed["endorsements"] = json!(["webchat"]);
    assert_eq!(bring(&unendorsed, |_| {}, SERVICE), Some(Untrusted::Endorsement));
    unendorsed.as_object_mut().unwrap().remove("endorsements");
    assert_eq!(bring(&unendorsed, |_| {}, SERVICE), Some(Untrusted::Endorsement));
    let webchat: fn(&mut Value) = |a| a["channelId"] = "webchat".into();
    assert_eq!(bring(&jwk(), webchat, SERVICE), Some(Untrusted::Endorsement));
    let elsewhere: fn(&mut Value) = |a| a["serviceUrl"] = "https://evil.example/".into();
    assert_eq!(bring(&jwk(), elsewhere, SERVICE), Some(Untrusted::ServiceUrl));
    assert_eq!(bring(&jwk(), |_| {}, "https://evil.example/"), Some(Untrusted::ServiceUrl));
    let foreign: fn(&mut Value) = |a| a["conversation"]["tenantId"] = APP.into();
    assert_eq!(bring(&jwk(), foreign, SERVICE), Some(Untrusted::Directory));
}
