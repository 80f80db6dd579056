use super::*;
use decider::{
    approval::{Opening, Requested, Summary, Token},
    quorum::Quorum,
    rule::{Match, Owner, Rule},
};
use serde_json::{Value, json};

const ISS: &str = "https://log.example/v1/tenants/acme";

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

/// `proto/vectors/override-token.json`, written by an independent generator.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../proto/vectors/override-token.json")).unwrap()
}

/// A key that `Vkey::parse` refuses is never in a set.
fn keys(texts: &Value) -> Vec<Vkey> {
    let texts = texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    texts.filter_map(|text| Vkey::parse(text).ok()).collect()
}

fn check(token: &str, keys: &[Vkey], expected: &Value) -> Result<Claims, Error> {
    let text = |name: &str| expected[name].as_str().unwrap();
    let (tid, aud) = (ident(text("tid")), ident(text("aud")));
    let now = Nanos::parse(text("now")).unwrap();
    verify(token, keys, &Expected { iss: text("iss"), tid: &tid, aud: &aud, now })
}

#[test]
fn p7_vectors() {
    let file = vectors();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    let own = |case: &Value, name: &str| case.get(name).unwrap_or(&file[name]).clone();
    for case in cases {
        let (keys, expected) = (keys(&own(case, "keys")), own(case, "expected"));
        let found = check(case["token"].as_str().unwrap(), &keys, &expected);
        assert_eq!(found.err().map(Error::code), case["error"].as_str(), "{}", case["name"]);
    }
}

/// A redemption that is repeated after `exp` gets its result, so `exp` is checked last, and by itself.
#[test]
fn p8_expired_tokens_can_be_read() {
    let file = vectors();
    let cases = file["cases"].as_array().unwrap().iter();
    let expired: Vec<_> = cases.filter(|case| case["error"] == "token_expired").collect();
    assert!(expired.len() > 1);
    for case in expired {
        let claims = read(case["token"].as_str().unwrap(), &keys(&file["keys"])).unwrap();
        let (iss, tid, aud) = (ISS, &ident("acme"), &ident("gw-2"));
        let expected = Expected { iss, tid, aud, now: Nanos(u64::MAX) };
        assert_eq!(claims.check(&expected), Err(Error::Audience), "{}", case["name"]);
        let expected = Expected { aud: &claims.aud, ..expected };
        assert_eq!(claims.check(&expected), Err(Error::Expired), "{}", case["name"]);
    }
}

#[test]
fn p7_every_changed_byte_is_refused() {
    let file = vectors();
    let (token, keys) = (file["cases"][0]["token"].as_str().unwrap(), keys(&file["keys"]));
    for at in 0..token.len() {
        for flip in [1, 2, 0x20] {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] ^= flip;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(check(&changed, &keys, &file["expected"]).is_err(), "byte {at} ^ {flip}");
        }
        assert!(check(&token[..at], &keys, &file["expected"]).is_err(), "the first {at} bytes");
    }
}

#[test]
fn mints_the_vectors_and_the_same_text_again() {
    let file = vectors();
    let claims: Claims = serde_json::from_value(file["claims"].clone()).unwrap();
    for (at, seed) in file["seeds"].as_array().unwrap().iter().enumerate() {
        let seed = data_encoding::HEXLOWER.decode(seed.as_str().unwrap().as_bytes()).unwrap();
        let name = "log.example/v1/tenants/acme/logs/1/token";
        let signer = Signer::new(name, &seed.try_into().unwrap());
        let token = mint(&claims, &signer).unwrap();
        assert_eq!(token, file["cases"][at]["token"].as_str().unwrap());
        assert_eq!(token, mint(&claims, &signer).unwrap());
    }
    let keys = keys(&file["keys"]);
    assert_eq!(jwks(&keys), file["jwks"]);
    assert_eq!(jwks(&[]), json!({"keys": []}));
    let kid = file["jwks"]["keys"][1]["kid"].as_str().unwrap();
    assert_eq!(key_of(&keys, kid), Some(&keys[1]));
}

/// RFC 8037, appendix A.3.
#[test]
fn key_ids_are_thumbprints() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let seed = data_encoding::HEXLOWER.decode(seed.as_bytes()).unwrap();
    let signer = Signer::new("x", &seed.try_into().unwrap());
    assert_eq!(kid(signer.vkey()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn too_much_is_not_minted() {
    let signer = Signer::new("x", &[1; 32]);
    let mut claims: Claims = serde_json::from_value(vectors()["claims"].clone()).unwrap();
    // The longest names and 128 people fit.
    let longest = |n: usize| ident(&format!("p-{n:061}"));
    claims.sub = "\"".repeat(256);
    claims.call.tool = format!("{}/{}", "\"".repeat(256), "\"".repeat(256));
    claims.iss = issuer(&format!("https://{}", "h".repeat(400)), &longest(0));
    claims.apr.by = (0..128).map(longest).collect();
    assert!(mint(&claims, &signer).is_ok());
    claims.apr.by = (0..400).map(longest).collect();
    assert_eq!(mint(&claims, &signer), Err(Error::TooBig));
}

/// A state with a token that was valid from `iat` to `exp`, in nanoseconds.
fn state(phase: Phase, iat: u64, exp: u64) -> State {
    let rule = Rule {
        name: "all".into(),
        matches: Match::default(),
        quorum: Quorum::AtLeast { at_least: 2, of: "finance".into() },
        deny: 1,
        approve_within: 3600,
        execute_within: 900,
        report_within: 900,
        token_life: 120,
        channels: Vec::new(),
        escalate: Vec::new(),
        step_up: None,
        one_by_one: false,
        owner: Owner::Known,
        unreviewed: false,
    };
    let requested = Requested {
        v: 1,
        opening: Opening { producer: ident("gw-1"), index: 4 },
        call: Summary {
            agent: "agt-payments".into(),
            run: None,
            tool: "bank".into(),
            action: "transfer".into(),
            digest: "d".repeat(43),
        },
        rule,
        rule_digest: "r".repeat(43),
        owners: Vec::new(),
        requested_at: Nanos(0),
        approval_deadline: Nanos(1),
    };
    State {
        phase,
        requested: Some(Box::new(requested)),
        granted_by: vec![ident("p-2"), ident("p-1")],
        token: Some(Token {
            jti: "j".repeat(22),
            kid: "k".into(),
            iat: Nanos(iat),
            exp: Nanos(exp),
        }),
        ..State::begin("leaf")
    }
}

#[test]
fn claims_follow_from_the_state() {
    let (tenant, id) = (ident("acme"), ident("apr-1"));
    let granted = Granted { id: &id, seq: 12 };
    let live = state(Phase::Minted, 1_999_999_999, 121_999_999_999);
    let claims = Claims::new(ISS, &tenant, granted, &live).unwrap();
    let told = json!({
        "iss": ISS, "aud": "gw-1", "sub": "agt-payments", "tid": "acme", "jti": "j".repeat(22),
        "iat": 1, "nbf": 1, "exp": 121,
        "apr": {"id": "apr-1", "seq": 12, "rule": "r".repeat(43), "by": ["p-1", "p-2"]},
        "call": {"tool": "bank/transfer", "dig": "d".repeat(43), "alg": "countersign-call-v1"}, "max": 1,
    });
    assert_eq!(serde_json::to_value(&claims).unwrap(), told);
    for phase in [Phase::Granted, Phase::Redeemed, Phase::Revoked, Phase::Lapsed] {
        assert_eq!(Claims::new(ISS, &tenant, granted, &state(phase, 0, 9)), None, "{phase:?}");
    }
}

#[test]
fn issuers_have_one_spelling() {
    assert_eq!(issuer("https://log.example", &ident("acme")), ISS);
    assert_eq!(issuer("https://log.example/", &ident("acme")), ISS);
}
