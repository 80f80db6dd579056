use super::*;
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    pkcs8::EncodePublicKey as _,
};
use serde_json::json;

const ORIGIN: &str = "https://log.example:8443";

/// A device with one passkey.
struct Device {
    key: SigningKey,
    relying_party: &'static str,
    flags: u8,
    counter: u32,
}

impl Device {
    fn new() -> Self {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        Self { key, relying_party: "log.example", flags: PRESENT | VERIFIED, counter: 9 }
    }

    fn passkey(&self) -> Passkey {
        let der = self.key.verifying_key().to_public_key_der().unwrap();
        Passkey {
            credential: BASE64URL_NOPAD.encode(b"one"),
            public_key: BASE64URL_NOPAD.encode(der.as_bytes()),
            origin: ORIGIN.into(),
        }
    }

    fn data(&self) -> Vec<u8> {
        let mut data = Sha256::digest(self.relying_party).to_vec();
        data.push(self.flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn sign(&self, client: &serde_json::Value) -> Assertion {
        let (client, mut data) = (client.to_string(), self.data());
        let authenticator_data = BASE64URL_NOPAD.encode(&data);
        data.extend(Sha256::digest(&client));
        let signature: Signature = self.key.sign(&data);
        Assertion {
            authenticator_data,
            client_data: BASE64URL_NOPAD.encode(client.as_bytes()),
            signature: BASE64URL_NOPAD.encode(signature.to_der().as_bytes()),
        }
    }
}

fn client(purpose: &str, challenge: &[u8; 32], origin: &str) -> serde_json::Value {
    json!({"type": purpose, "challenge": BASE64URL_NOPAD.encode(challenge), "origin": origin,
           "crossOrigin": false, "other_keys_can_be_added_here": "x"})
}

fn answer(decision: &str, tenant: &Ident, person: &Ident, version: u64) -> [u8; 32] {
    let approval = Ident::new("apr-1").unwrap();
    let approval_id = &approval;
    Answer { approval_id, decision, digest: "d", nonce: "n", person, tenant, version }.challenge()
}

/// A device signs after `change`; the result of the check.
fn check(
    change: impl FnOnce(&mut Device),
    client: &serde_json::Value,
    challenge: &[u8; 32],
    expected: Result<u32, Broken>,
) {
    let mut device = Device::new();
    let passkey = device.passkey();
    change(&mut device);
    let found = device.sign(client).verify(&passkey, challenge);
    assert_eq!(found, expected, "{client}");
}

#[test]
fn p7_a_signature_counts_for_one_answer_of_one_person_only() {
    let ident = |text: &str| Ident::new(text).unwrap();
    let (acme, other, ann, bob) = (ident("acme"), ident("other"), ident("p-ann"), ident("p-bob"));
    let asked = answer("approve", &acme, &ann, 3);
    let signed = client("webauthn.get", &asked, ORIGIN);
    check(|_| (), &signed, &asked, Ok(9));
    for elsewhere in [
        answer("deny", &acme, &ann, 3),
        answer("approve", &other, &ann, 3),
        answer("approve", &acme, &bob, 3),
        answer("approve", &acme, &ann, 4),
        challenge_of_sign_in("n"),
        challenge_of_enrolment("n"),
    ] {
        check(|_| (), &signed, &elsewhere, Err(Broken::Challenge));
    }
}

#[test]
fn p7_origin_relying_party_verification_and_key_are_checked() {
    let asked = challenge_of_sign_in("n");
    let get = |origin| client("webauthn.get", &asked, origin);
    check(|_| (), &get("https://log.example"), &asked, Err(Broken::Origin));
    check(|_| (), &get("http://log.example:8443"), &asked, Err(Broken::Origin));
    let mut framed = get(ORIGIN);
    framed["crossOrigin"] = json!(true);
    check(|_| (), &framed, &asked, Err(Broken::Origin));
    let made = client("webauthn.create", &asked, ORIGIN);
    check(|_| (), &made, &asked, Err(Broken::Purpose));
    check(|d| d.relying_party = "example", &get(ORIGIN), &asked, Err(Broken::RelyingParty));
    check(|d| d.flags = PRESENT, &get(ORIGIN), &asked, Err(Broken::NotVerified));
    check(|d| d.flags = VERIFIED, &get(ORIGIN), &asked, Err(Broken::NotVerified));
    let other = |d: &mut Device| d.key = SigningKey::from_slice(&[8; 32]).unwrap();
    check(other, &get(ORIGIN), &asked, Err(Broken::Signature));
}

/// `proto/vectors/passkey.json`, written by an independent generator.
#[test]
fn p7_it_agrees_with_the_vectors() {
    let file = include_str!("../../../../proto/vectors/passkey.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let passkey: Passkey = serde_json::from_value(file["passkey"].clone()).unwrap();
    let ident = |name: &str| Ident::new(file["answer"][name].as_str().unwrap()).unwrap();
    let text = |name: &str| file["answer"][name].as_str().unwrap();
    let (approval, person, tenant) = (ident("approval_id"), ident("person"), ident("tenant"));
    let credential = BASE64URL_NOPAD.decode(passkey.credential.as_bytes()).unwrap();
    assert_eq!(Passkey::key_id(&tenant, &credential).as_str(), file["key_id"]);
    let challenge = Answer {
        approval_id: &approval,
        decision: text("decision"),
        digest: text("digest"),
        nonce: text("nonce"),
        person: &person,
        tenant: &tenant,
        version: file["answer"]["version"].as_u64().unwrap(),
    }
    .challenge();
    assert_eq!(BASE64URL_NOPAD.encode(&challenge), file["challenge"]);
    let verify = |value: &serde_json::Value| {
        serde_json::from_value::<Assertion>(value.clone()).unwrap().verify(&passkey, &challenge)
    };
    assert_eq!(verify(&file["good"]).map(u64::from), Ok(file["counter"].as_u64().unwrap()));
    for bad in file["bad"].as_array().unwrap() {
        assert!(verify(&bad["assertion"]).is_err(), "{}", bad["why"]);
    }
}

#[test]
fn an_enrolment_gives_the_credential_and_needs_a_known_key() {
    let device = Device { flags: PRESENT | VERIFIED | ATTESTED, ..Device::new() };
    let asked = challenge_of_enrolment("n");
    let mut data = device.data();
    data.extend([0; 16]);
    data.extend([0, 3]);
    data.extend(b"one");
    let enrolment = |public_key: String| Enrolment {
        authenticator_data: BASE64URL_NOPAD.encode(&data),
        client_data: BASE64URL_NOPAD
            .encode(client("webauthn.create", &asked, ORIGIN).to_string().as_bytes()),
        public_key,
    };
    let passkey = device.passkey();
    let made = enrolment(passkey.public_key.clone());
    assert_eq!(made.verify(&asked, ORIGIN), Ok(passkey));
    assert_eq!(made.verify(&asked, "https://log.example"), Err(Broken::Origin));
    let ed25519 = "302a300506032b6570032100".to_owned() + &"11".repeat(32);
    let ed25519 = data_encoding::HEXLOWER.decode(ed25519.as_bytes()).unwrap();
    let foreign = enrolment(BASE64URL_NOPAD.encode(&ed25519));
    assert_eq!(foreign.verify(&asked, ORIGIN), Err(Broken::Key));
}
