//! Versions, settings, the shipped server configuration.

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::{Nats, delete_stream, halt, numbered, tenant};
use crate::{
    ident::Ident,
    journal::{
        Error,
        conformance::{Place, message},
        jetstream::{
            Connection, Jetstream, Options,
            settings::wanted,
            testserver::{DEADLINE, Server},
            wire::{Address, Found},
        },
    },
};

#[tokio::test]
async fn a_server_below_the_floor_is_refused() {
    let server = Server::start_program("nats-server-2.10", "");
    let text = halt(Connection::open(&server.options()).await);
    assert!(text.contains("2.10.26") && text.contains("2.11"), "{text}");
}

#[tokio::test]
async fn a_server_with_small_messages_is_refused() {
    let server = Server::start_program("nats-server", "max_payload: 256KB");
    let text = halt(Connection::open(&server.options()).await);
    assert!(text.contains("max_payload"), "{text}");
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let server = Server::start();
    let options = server.options();
    drop(server);
    assert!(matches!(Connection::open(&options).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn the_floor_works_without_atomic_batches() {
    let server = Server::start_program("nats-server-2.11", "");
    let connection = server.connect().await;
    let journal = Jetstream::create(&connection, &tenant(), 1).await.unwrap();
    assert!(!journal.atomic());
    let batch = (1..=1000).map(numbered).collect::<Vec<_>>();
    assert_eq!(journal.append(batch).await.unwrap(), (1..=1000).collect::<Vec<u64>>());
    assert_eq!(journal.get(777).await.unwrap().unwrap().body, b"777");
    let swap = |expected| super::Append { expected, ..numbered(1) };
    assert_eq!(journal.append(vec![swap(Some(1000))]).await, Ok(vec![1001]));
    assert_eq!(journal.append(vec![swap(Some(1000))]).await, Err(Error::Conflict));
    let text = halt(journal.append(vec![swap(None), swap(Some(1001))]).await);
    assert!(text.contains("2.12"), "{text}");
    assert_eq!(journal.state().await.unwrap().last, 1001);
}

#[tokio::test]
async fn init_adopts_nothing_and_open_makes_nothing() {
    let server = Server::start();
    let connection = server.connect().await;
    let text = halt(Jetstream::open(&connection, &tenant()).await);
    assert!(text.contains("there is no stream COUNTERSIGN_acme"), "{text}");
    let journal = Jetstream::create(&connection, &tenant(), 1).await.unwrap();
    assert!(journal.atomic());
    let text = halt(Jetstream::create(&connection, &tenant(), 1).await);
    assert!(text.contains("exists already"), "{text}");
    let other = Ident::new("acme-2").unwrap();
    let second = Jetstream::create(&connection, &other, 1).await.unwrap();
    assert_ne!(second.state().await.unwrap().identity, journal.state().await.unwrap().identity);
}

/// Makes the stream by hand with some settings changed.
async fn make_stream(connection: &Connection, changes: &[(&str, Value)]) {
    let address = Address::new(&tenant());
    let mut config = wanted(&address, 1, true);
    for (name, value) in changes {
        config[*name] = value.clone();
    }
    match connection.api("STREAM.CREATE.COUNTERSIGN_acme", &config).await.unwrap() {
        Found::Answer(_) => {}
        Found::Refused { description, .. } => panic!("{changes:?}: {description}"),
    }
}

/// Every setting of the server that this test can set, changed one at a time.
#[tokio::test]
async fn every_other_setting_is_refused() {
    let server = Server::start();
    let connection = server.connect().await;
    let subjects = Address::new(&tenant()).patterns();
    let extra = [&subjects[..], &["other".to_owned()]].concat();
    let other_stream = json!({"name": "OTHER", "subjects": ["x"]});
    connection.api("STREAM.CREATE.OTHER", &other_stream).await.unwrap();
    let hour_ns = 3_600_000_000_000_u64;
    let changes: &[&[(&str, Value)]] = &[
        &[("subjects", json!(subjects[..3]))],
        &[("subjects", json!(extra))],
        &[("retention", json!("interest"))],
        &[("retention", json!("workqueue"))],
        &[("storage", json!("memory")), ("allow_atomic", json!(false))],
        &[("discard", json!("old"))],
        &[("max_age", json!(hour_ns))],
        &[("max_msgs_per_subject", json!(5))],
        &[("discard_new_per_subject", json!(true)), ("max_msgs_per_subject", json!(5))],
        &[("max_consumers", json!(3))],
        &[("duplicate_window", json!(120_000_000_000_u64))],
        &[("deny_delete", json!(true))],
        &[("deny_purge", json!(true))],
        &[("allow_direct", json!(true))],
        &[("allow_rollup_hdrs", json!(true))],
        &[("allow_msg_ttl", json!(true))],
        &[("subject_delete_marker_ttl", json!(hour_ns)), ("allow_msg_ttl", json!(true))],
        &[
            ("allow_msg_schedules", json!(true)),
            ("allow_rollup_hdrs", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("discard", json!("old")),
        ],
        &[("allow_msg_counter", json!(true)), ("discard", json!("old"))],
        &[("allow_batched", json!(true))],
        &[("persist_mode", json!("async")), ("allow_atomic", json!(false))],
        &[("no_ack", json!(true))],
        &[("first_seq", json!(10))],
        &[("consumer_limits", json!({"inactive_threshold": hour_ns}))],
        &[("republish", json!({"src": ">", "dest": "copy.>"}))],
        &[("subject_transform", json!({"src": ">", "dest": "moved.>"}))],
        &[("sources", json!([{"name": "OTHER"}]))],
    ];
    for change in changes {
        make_stream(&connection, change).await;
        let text = halt(Jetstream::open(&connection, &tenant()).await);
        let (name, _) = &change[0];
        assert!(text.contains(&format!("{name} is ")), "{name}: {text}");
        delete_stream(&connection).await;
    }
}

#[tokio::test]
async fn all_differences_are_named_at_once_and_seen_later_too() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let mut config = wanted(&Address::new(&tenant()), 1, true);
    config["discard"] = json!("old");
    config["deny_purge"] = json!(true);
    config["max_bytes"] = json!(1_000_000); // free to choose
    place.connection.api("STREAM.UPDATE.COUNTERSIGN_acme", &config).await.unwrap();
    let text = halt(journal.state().await);
    let list = "discard is \"old\", must be \"new\"; deny_purge is true, must be false.";
    assert!(text.contains(list), "{text}");
    assert!(!text.contains("max_bytes"), "{text}");
}

#[tokio::test]
async fn outbound_messages() {
    let server = Server::start();
    let connection = server.connect().await;
    let mut theirs = connection.client().subscribe("countersign-out.>").await.unwrap();
    connection.publish_out("countersign-out.acme.gw-1.receipts", b"r".to_vec()).await.unwrap();
    connection.flush().await.unwrap();
    let got = tokio::time::timeout(DEADLINE, theirs.next()).await.unwrap().unwrap();
    assert_eq!(&got.payload[..], b"r");
    for subject in [
        "countersign.acme.decisions.gw-1",
        "countersign-outer",
        "$JS.API.STREAM.PURGE.X",
        "countersign-out.a b",
        "countersign-out.a\r\nPUB x 0",
        "countersign-out.*",
        "countersign-out..x",
        "countersign-out.",
        &format!("countersign-out.{}", "x".repeat(300)),
        "",
    ] {
        let refused = connection.publish_out(subject, vec![]).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{subject:?}");
    }
}

/// The example producer of `scripts/nats.conf`, with a client library.
async fn producer(server: &Server, password: &str) -> async_nats::Client {
    async_nats::ConnectOptions::with_user_and_password("acme-gw-1".into(), password.into())
        .custom_inbox_prefix("_INBOX_gw-1")
        .connect(server.options().url)
        .await
        .unwrap()
}

async fn acknowledged(producer: &async_nats::Client) -> u64 {
    let own = "countersign.acme.decisions.gw-1";
    let answer = producer.request(own, "{}".into()).await.unwrap();
    let ack: Value = serde_json::from_slice(&answer.payload).unwrap();
    ack["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn the_shipped_configuration_keeps_producers_in_their_place() {
    let server = Server::start_shipped(vec![
        ("COUNTERSIGN_NATS_PASSWORD", "\"our secret\"".into()),
        ("COUNTERSIGN_NATS_GW_1_PASSWORD", "\"12345\"".into()),
    ]);
    let options = Options {
        user: Some("countersign".into()),
        password_file: Some(server.file("password", "our secret\n")),
        ..server.options()
    };
    let connection = Connection::open(&options).await.unwrap();
    let journal = Jetstream::create(&connection, &tenant(), 1).await.unwrap();
    let producer = producer(&server, "12345").await;

    assert_eq!(acknowledged(&producer).await, 1, "a producer publishes and gets the broker's ack");

    let mut foreign = Vec::new();
    for subject in ["countersign.>", "countersign-out.acme.gw-2.>", "_INBOX.>", "$JS.>", ">"] {
        foreign.push(producer.subscribe(subject).await.unwrap());
    }
    let mut own = producer.subscribe("countersign-out.acme.gw-1.>").await.unwrap();
    let forbidden = [
        "countersign.acme.decisions.gw-2",
        "countersign.acme.approvals.apr-1",
        "countersign.acme.evidence.apr-1",
        "countersign.acme.system.rules",
        "countersign.other.decisions.gw-1",
        "countersign-out.acme.gw-2.receipts",
        "$JS.API.STREAM.INFO.COUNTERSIGN_acme",
        "$JS.API.STREAM.PURGE.COUNTERSIGN_acme",
        "$JS.API.STREAM.DELETE.COUNTERSIGN_acme",
        "$JS.API.STREAM.MSG.DELETE.COUNTERSIGN_acme",
        "$JS.API.STREAM.MSG.GET.COUNTERSIGN_acme",
        "$JS.API.CONSUMER.CREATE.COUNTERSIGN_acme",
    ];
    for subject in forbidden {
        producer.publish(subject, "{\"seq\":1}".into()).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(acknowledged(&producer).await, 2, "nothing of that was stored");

    // The way around permissions: the broker's ack as a message on somebody else's subject.
    for subject in forbidden {
        let own = "countersign.acme.decisions.gw-1";
        producer.publish_with_reply(own, subject, "x".into()).await.unwrap();
    }
    producer.flush().await.unwrap();
    let stored = forbidden.len() as u64;
    assert_eq!(acknowledged(&producer).await, 3 + stored, "only its own messages were stored");
    for seq in 1..=3 + stored {
        let subject = journal.get(seq).await.unwrap().unwrap().subject.unwrap();
        assert_eq!(subject.to_string(), "decisions.gw-1", "{seq}");
    }

    connection.publish_out("countersign-out.acme.gw-2.receipts", b"theirs".to_vec()).await.unwrap();
    connection.publish_out("countersign-out.acme.gw-1.receipts", b"own".to_vec()).await.unwrap();
    let got = tokio::time::timeout(DEADLINE, own.next()).await.unwrap().unwrap();
    assert_eq!(&got.payload[..], b"own");
    for mut subscriber in foreign {
        assert!(subscriber.next().now_or_never().flatten().is_none(), "it hears nobody else");
    }
    journal.append(vec![message("system.rules", "x")]).await.unwrap();
    assert_eq!(journal.trim(3).await, Ok(()));
    assert_eq!(journal.erase(3).await, Ok(true));
}
