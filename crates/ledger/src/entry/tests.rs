use super::*;

#[test]
fn p6_bytes_are_canonical_and_read_back() {
    let seed = Seed::derive(&[1; 32], 1, 2);
    let scope = Scope { producer: "gw-1", source: "/gw", id: "1" };
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
    let payload = Payload { commit_salt: Some(draft.commit_salt), disclosures: draft.disclosures };
    assert_eq!(Payload::decode(&payload.encode()), Some(payload.clone()));
    assert_eq!(Payload::name(&payload.disclosures[0]).as_deref(), Some("params"));
    let empty = Payload::default();
    assert_eq!(Payload::decode(&empty.encode()), Some(empty));
    assert_eq!(Payload::decode(b"\x01\0\x05abc"), None);
}
