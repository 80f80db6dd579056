use super::*;
use serde_json::json;

fn acme() -> Ident {
    Ident::new("acme").unwrap()
}

/// A decision as a gateway sends it, with the digest of its call, whatever the nonce.
fn sent(nonce: &str) -> serde_json::Value {
    let tenant = acme();
    let params = json::parse(br#"{"amount":1}"#).unwrap();
    let (agent, tool, action) = ("bot", "bank", "transfer");
    let call = Call { nonce, tenant: &tenant, agent, run: None, tool, action, params: &params };
    json!({"specversion": "1.0", "id": "1", "source": "/gw", "type": event::DECISION, "time": "2027-01-15T08:00:00Z",
        "data": {"agent": {"id": "bot"}, "tool": {"name": "bank", "action": "transfer"}, "verdict": APPROVAL_NEEDED,
            "labels": {"env": "prod"}, "call": {"digest": call.digest()},
            "payload": {"params": {"amount": 1}, "nonce": nonce, "owner": "ann", "reason": "It is due."}}})
}

/// Its entry and its payload, as posting splits them.
fn posted(sent: &serde_json::Value) -> (Vec<u8>, Fields) {
    let event = event::parse(&canonical::of(sent)).unwrap();
    let plain: serde_json::Value = serde_json::from_slice(&event.plain).unwrap();
    let entry = json!({"v": 1, "tenant": "acme", "kind": "decision", "producer": "gw-1", "commit": "", "payload": [],
        "prior": {}, "event": plain, "journal": {"epoch": 1, "seq": 4, "time": Nanos(1_800_000_000_000_000_000)}});
    (canonical::of(&entry), event.fields.into_iter().map(|f| (f.name, f.value)).collect())
}

/// What the event gives, read as `rules test` reads it.
fn of_event(sent: &serde_json::Value) -> Result<Frozen, NotPaused> {
    let event = event::parse(&canonical::of(sent)).unwrap();
    let call = PausedCall::of_event(&acme(), &event)?;
    call.asked(&event.fields.into_iter().map(|field| (field.name, field.value)).collect())
}

/// What the event gives, read as the server reads it; the same as where it was not posted yet.
fn asked(sent: &serde_json::Value) -> Result<Frozen, NotPaused> {
    let (entry, payload) = posted(sent);
    let asked = Decision::of_entry(7, &entry).and_then(|decision| decision.call.asked(&payload));
    assert_eq!(asked, of_event(sent), "the same before and after it is posted");
    asked
}

#[test]
fn p7_everything_that_the_event_says_is_read() {
    let sent = sent("AAAAAAAAAAAAAAAAAAAAAA");
    let (entry, payload) = posted(&sent);
    let decision = Decision::of_entry(7, &entry).unwrap();
    let scope = Scope { producer: "gw-1", source: "/gw", id: "1", ours: false };
    assert_eq!(decision.id, approval_id(&acme(), scope));
    assert_eq!((decision.index, decision.producer.as_str()), (7, "gw-1"));
    assert_eq!(decision.leaf, leaf_hash(&entry).to_string());
    assert_eq!(decision.at(), Nanos(1_800_000_000_000_000_000));
    let call = &decision.call;
    assert_eq!(call.said_at, Some(decision.at()));
    assert_eq!((call.agent.as_str(), call.run.as_deref()), ("bot", None));
    assert_eq!((call.tool.as_str(), call.action.as_str()), ("bank", "transfer"));
    assert_eq!(call.labels, BTreeMap::from([("env".into(), "prod".into())]));
    let frozen = asked(&sent).unwrap();
    assert_eq!(Ok(&frozen), call.asked(&payload).as_ref());
    assert_eq!(Some(&frozen.digest), call.declared.as_ref());
    assert_eq!(frozen.params, r#"{"amount":1}"#);
    assert_eq!(frozen.owners, ["ann"]);
    assert_eq!(frozen.agent_says.as_deref(), Some("It is due."));
}

#[test]
fn p7_nonces() {
    for length in [1, 22, 64] {
        assert_eq!(asked(&sent(&"n".repeat(length))).unwrap().nonce.len(), length);
    }
    for length in [0, 65, 1000] {
        assert_eq!(asked(&sent(&"n".repeat(length))), Err(NotPaused::Nonce), "{length} bytes");
    }
    // Bytes count, not characters.
    assert!(asked(&sent(&"é".repeat(32))).is_ok());
    assert_eq!(asked(&sent(&"é".repeat(33))), Err(NotPaused::Nonce));
    let mut number = sent("7");
    number["data"]["payload"]["nonce"] = json!(7);
    assert_eq!(asked(&number), Err(NotPaused::Nonce));
    let said = NotPaused::Nonce.to_string();
    assert!(said.contains("a text of 1 to 64 bytes"), "{said}");
}

#[test]
fn p7_what_pauses_nothing() {
    let check = |path: &str, value: serde_json::Value, expected: NotPaused| {
        let mut sent = sent("AAAAAAAAAAAAAAAAAAAAAA");
        *sent.pointer_mut(path).unwrap() = value;
        assert_eq!(asked(&sent), Err(expected));
    };
    check("/data/verdict", json!("allow"), NotPaused::Verdict("allow".into()));
    check("/data/payload", json!({"params": 1}), NotPaused::Absent("nonce"));
    check("/data/payload", json!({"nonce": "n"}), NotPaused::Absent("params"));
    let digest = sent("AAAAAAAAAAAAAAAAAAAAAA")["data"]["call"]["digest"].clone();
    let computed = digest.as_str().unwrap().to_owned();
    let absent = NotPaused::NoDigest { tenant: acme(), computed: computed.clone() };
    check("/data/call", json!({}), absent);
    let other = NotPaused::Digest { said: "x".into(), tenant: acme(), computed };
    check("/data/call/digest", json!("x"), other);
    let mut shadow = sent("AAAAAAAAAAAAAAAAAAAAAA");
    shadow["data"]["mode"] = json!("shadow");
    assert_eq!(asked(&shadow), Err(NotPaused::Shadow));
    shadow["data"]["mode"] = json!("enforce");
    assert!(asked(&shadow).is_ok());
}

/// Bytes that posting never writes: a reader that passed over them would read less than what is hashed.
#[test]
fn p7_entries_are_read_strictly() {
    let (entry, _) = posted(&sent("n"));
    let check = |path: &str, value: serde_json::Value, expected: NotPaused| {
        let mut changed: serde_json::Value = serde_json::from_slice(&entry).unwrap();
        *changed.pointer_mut(path).unwrap() = value;
        let read = Decision::of_entry(7, &canonical::of(&changed)).map(|_| ());
        assert_eq!(read, Err(expected), "{path}");
    };
    check("/kind", json!("event"), NotPaused::NotADecision);
    check("/event/type", json!(event::EXECUTION), NotPaused::NotADecision);
    check("/v", json!(2), NotPaused::NotAnEntry);
    check("/tenant", json!("A"), NotPaused::Malformed("tenant"));
    check("/producer", json!(null), NotPaused::Malformed("producer"));
    check("/event/source", json!(1), NotPaused::Malformed("source"));
    check("/event/data/agent", json!({}), NotPaused::Malformed("data.agent.id"));
    check(
        "/event/data/agent",
        json!({"id": "a", "run": 1}),
        NotPaused::Malformed("data.agent.run"),
    );
    check("/event/data/labels", json!({"env": 1}), NotPaused::Malformed("data.labels"));
    check("/event/data/labels", json!([]), NotPaused::Malformed("data.labels"));
    check("/event/data/call/digest", json!(null), NotPaused::Malformed("data.call.digest"));
    let spaced = [b" ".as_slice(), &entry].concat();
    assert!(matches!(Decision::of_entry(7, &spaced), Err(NotPaused::NotAnEntry)));
}
