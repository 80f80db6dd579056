use super::*;
use data_encoding::BASE64URL_NOPAD;
use ledger::system::{By, KeyId};

const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";
const ISS: &str = "https://log.example/v1/tenants/acme";

fn key(seed: u8) -> Signer {
    Signer::new("log.example/agent", &[seed; 32])
}

fn tenant() -> Ident {
    Ident::new("acme").unwrap()
}

fn issue(chain: &[&str]) -> Issue {
    Issue {
        chain: chain.iter().map(|id| (*id).to_owned()).collect(),
        parents: (1..chain.len() as u64).collect(),
        scope: vec!["mail".into(), "payments".into()],
        region: Some("eu".into()),
        org: None,
        cnf: None,
        iat: 1_000,
        exp: 2_000,
        producer: None,
        by: By::Key { key: KeyId::new("0123456789abcdef").unwrap(), person: None, approval: None },
        reason: None,
    }
}

fn claims(chain: &[&str]) -> Claims {
    let tenant = tenant();
    Claims::of(&issue(chain), 17, &Expected { iss: ISS, tenant: &tenant, origin: ORIGIN })
}

#[test]
fn the_last_agent_acts_for_the_first_one() {
    let check = |chain: &[&str], agent: &str, text: &str| {
        let claims = claims(chain);
        assert_eq!(claims.agent(), agent);
        let told = String::from_utf8(canonical::of(&claims)).unwrap();
        assert!(told.contains(text), "{told}");
        let token = claims.mint(&key(1)).unwrap();
        assert_eq!(read(&token, &[key(2).vkey().clone(), key(1).vkey().clone()]), Ok(claims));
    };
    check(
        &["bot"],
        "bot",
        r#""jti":"1-17","nbf":1000,"region":"eu","scope":"mail payments","sub":"bot""#,
    );
    check(
        &["helpdesk", "planner", "bot"],
        "bot",
        r#"{"act":{"act":{"sub":"planner"},"sub":"bot"},"exp":2000,"#,
    );
}

#[test]
fn nothing_but_what_we_mint_is_read() {
    let good = claims(&["bot"]);
    let keys = [key(1).vkey().clone()];
    let token = good.mint(&key(1)).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let signed = |header: &str, payload: &[u8]| {
        let text = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(payload)
        );
        let signature = BASE64URL_NOPAD.encode(&key(1).sign_bytes(text.as_bytes()));
        format!("{text}.{signature}")
    };
    let kid = crate::jws::kid(&keys[0]);
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"agent+jwt"}}"#);
    let payload = canonical::of(&good);
    let check =
        |text: &str, expected: TokenFault| assert_eq!(read(text, &keys), Err(expected), "{text}");
    assert_eq!(signed(&header, &payload), token, "the forger below can sign as we do");
    for other in [
        header.replace("EdDSA", "none"),
        header.replace("EdDSA", "HS256"),
        header.replace("agent+jwt", "ovr+jwt"),
        header.replace("agent+jwt", "JWT"),
        header.replace(r#""typ""#, r#""x":1,"typ""#),
        header.replace(':', ": "),
    ] {
        check(&signed(&other, &payload), TokenFault::Malformed);
    }
    let told = String::from_utf8(payload.clone()).unwrap();
    for other in [
        told.replace(r#""scope""#, r#""more":1,"scope""#),
        told.replace(':', ": "),
        told.replace("1000", "1e3"),
        told.replace(r#""sub":"bot""#, r#""sub":"bot","sub":"boss""#),
        told.replace(r#","sub":"bot""#, ""),
        "[]".to_owned(),
    ] {
        check(&signed(&header, other.as_bytes()), TokenFault::Malformed);
    }
    check(&format!("{}.{}.", parts[0], parts[1]), TokenFault::Signature);
    check(&format!("{}.{}", parts[0], parts[1]), TokenFault::Malformed);
    check(&format!("{token}="), TokenFault::Malformed);
    check(
        &format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            &good.mint(&key(2)).unwrap().split('.').next_back().unwrap()
        ),
        TokenFault::Signature,
    );
    check(&good.mint(&key(2)).unwrap(), TokenFault::UnknownKey);
    check(&"x".repeat(AGENT_TOKEN_BYTES_MAX + 1), TokenFault::Malformed);
    let many: Vec<String> = (0..=CHAIN_MAX).map(|number| format!("a{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(&claims(&many).mint(&key(1)).unwrap(), TokenFault::Malformed);
    assert!(read(&claims(&many[..CHAIN_MAX]).mint(&key(1)).unwrap(), &keys).is_ok());
}

#[test]
fn times_and_places_are_checked() {
    let tenant = tenant();
    let at = |seconds| claims(&["bot"]).check_time(Nanos::default().plus_seconds(seconds));
    assert_eq!(at(969), Err(TokenFault::NotYetValid));
    assert_eq!(at(970), Ok(()));
    assert_eq!(at(1_999), Ok(()));
    assert_eq!(at(2_000), Err(TokenFault::Expired));
    let check = |iss: &str, of: &str, origin: &str, expected| {
        let of = Ident::new(of).unwrap();
        let found = claims(&["bot"]).index(&Expected { iss, tenant: &of, origin });
        assert_eq!(found, expected);
    };
    check(ISS, "acme", ORIGIN, Ok(17));
    check("https://other.example/v1/tenants/acme", "acme", ORIGIN, Err(TokenFault::Issuer));
    check(ISS, "globex", ORIGIN, Err(TokenFault::Tenant));
    check(ISS, "acme", "log.example/v1/tenants/acme/logs/2", Err(TokenFault::NotIssued));
    for jti in ["1-", "1", "-17", "1-017", "1-+17", "01-17", "1-17-3"] {
        let claims = Claims { jti: jti.into(), ..claims(&["bot"]) };
        let expected = Expected { iss: ISS, tenant: &tenant, origin: ORIGIN };
        assert_eq!(claims.index(&expected), Err(TokenFault::NotIssued), "{jti}");
    }
}

#[test]
fn tokens_of_the_golden_log_are_those_of_its_entries() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../../proto/vectors/agent-token.json")).unwrap();
    let text = |name: &str| file[name].as_str().unwrap();
    let (tenant, keys) = (tenant(), [Vkey::parse(text("vkey")).unwrap()]);
    let expected = Expected { iss: text("issuer"), tenant: &tenant, origin: text("origin") };
    for case in file["cases"].as_array().unwrap() {
        let mut event = case["event"].clone();
        event.as_object_mut().unwrap().remove("op");
        let issue: Issue = serde_json::from_value(event).unwrap();
        let index = case["index"].as_u64().unwrap();
        let claims = Claims::of(&issue, index, &expected);
        assert_eq!(serde_json::to_value(&claims).unwrap(), case["claims"]);
        assert_eq!(read(case["token"].as_str().unwrap(), &keys).unwrap(), claims);
        assert_eq!(claims.index(&expected), Ok(index));
    }
}
