use super::*;
use crate::{
    disclosure::{Field, Scope, Seed},
    ident::Ident,
};

#[test]
fn p6_bytes_are_canonical_and_read_back() {
    let seed = Seed::derive(&[1; 32], 1, 2);
    let scope = Scope { producer: "gw-1", source: "/gw", id: "1", ours: false };
    let fields = [
        Field { name: "params".into(), value: b"{}".to_vec() },
        Field { name: "nonce".into(), value: b"\"n\"".to_vec() },
    ];
    let draft = Draft::new(
        Kind::Decision,
        Ident::new("gw-1").ok(),
        br#"{"id":"1","source":"/gw"}"#.to_vec(),
        b"{}",
        &fields,
        (&seed, scope),
    );
    let origin = Origin { epoch: 1, seq: 2, time: Nanos(3) };
    let tenant = Ident::new("acme").unwrap();
    let prior = Prior { approval: Some(1), system: Some(0) };
    let bytes = draft.finish(&tenant, (origin, prior), Some(SequenceNote::Reused));
    assert_eq!(canonical::to_vec(&json::parse(&bytes).unwrap()), bytes);
    let view = View::parse(&bytes).unwrap();
    assert_eq!((view.kind, view.origin, view.prior), (Kind::Decision, origin, prior));
    for prior in [Prior::default(), Prior { approval: None, system: Some(7) }] {
        let bytes = draft.finish(&tenant, (origin, prior), None);
        assert_eq!(canonical::to_vec(&json::parse(&bytes).unwrap()), bytes);
        assert_eq!(View::parse(&bytes).unwrap().prior, prior);
    }
    assert_eq!(view.text(&["event", "source"]), Some("/gw"));
    assert_eq!(view.payload().count(), 2);
    let payload = Payload::decode(&draft.payload).unwrap();
    assert_eq!(payload.encode(), draft.payload);
    assert_eq!(payload.commit_salt, Some(seed.salt(&scope, "")));
    assert_eq!(Payload::name(&payload.disclosures[0]).as_deref(), Some("params"));
    let empty = Payload::default();
    assert_eq!(Payload::decode(&empty.encode()), Some(empty));
    assert_eq!(Payload::decode(b"\x01\0\x05abc"), None);
}

#[test]
fn an_entry_of_our_own_is_read_as_by_the_strict_reader() {
    #[derive(serde::Deserialize)]
    struct Event {
        id: String,
    }
    let seed = Seed::derive(&[1; 32], 1, 2);
    let scope = Scope { producer: "gw-1", source: "/gw", id: "1", ours: false };
    let event = br#"{"id":"1"}"#.to_vec();
    let draft = Draft::new(Kind::Approval, None, event, b"{}", &[], (&seed, scope));
    let origin = Origin { epoch: 1, seq: 2, time: Nanos(3) };
    let bytes = draft.finish(&Ident::new("acme").unwrap(), (origin, Prior::default()), None);
    let own = Own::<Event>::read(&bytes).unwrap();
    assert_eq!((own.kind, own.origin, own.event.id.as_str()), (Kind::Approval, origin, "1"));
    assert!(Own::<Vec<u8>>::read(&bytes).is_none());
    let newer = String::from_utf8(bytes).unwrap().replace("\"v\":1}", "\"v\":2}");
    assert!(Own::<Event>::read(newer.as_bytes()).is_none());
}
