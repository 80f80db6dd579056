//! Servers that die, streams that vanish, disks that fill.

use std::time::Instant;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;

use super::{Nats, halt, numbered, tenant};
use crate::journal::{
    Append, Error, Followed, Message,
    conformance::{Following, Place, follow, message},
    jetstream::{
        Connection, Jetstream,
        settings::wanted,
        testserver::{DEADLINE, PAUSE, Server},
        wire::Address,
    },
};

async fn until(connection: &Connection, connected: bool) {
    let started = Instant::now();
    while connection.connected() != connected {
        assert!(started.elapsed() < DEADLINE, "the connection should be up: {connected}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Everything until the follow ends, and how it ended.
async fn drain(mut following: Following) -> (Vec<Message>, Error) {
    let mut all = Vec::new();
    while let Some(item) = timeout(DEADLINE, following.items.recv()).await.expect("in time") {
        match item {
            Followed::Messages(messages) => all.extend(messages),
            Followed::Connected(_) => assert!(all.is_empty(), "Connected comes once, first"),
        }
    }
    (all, following.task.await.expect("no panic").expect_err("the receiver was there"))
}

/// As a leader that is gone: nobody answers what was asked before the next one is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p22_what_was_not_answered_is_asked_again() {
    let place = Nats::make().await;
    let client = place.connection.client().clone();
    let mut asked = client.subscribe("leader").await.expect("subscribed");
    client.flush().await.expect("flushed");
    let leader = tokio::spawn(async move {
        let _unanswered = asked.next().await.expect("asked");
        let again = asked.next().await.expect("asked again");
        let to = again.reply.expect("an answer is wanted");
        client.publish(to, "yes".into()).await.expect("answered");
    });
    let request = |subject: &str| {
        place.connection.request_again(subject.into(), async_nats::HeaderMap::new(), Vec::new())
    };
    assert_eq!(request("leader").await.expect("an answer"), b"yes");
    leader.await.expect("no panic");
    // Where nobody listens, it ends at once.
    assert!(matches!(request("nobody").await, Err(Error::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_following() {
    let mut place = Nats::make().await;
    let journal = place.open().await;
    for batch in 0..30 {
        let batch = (batch * 1000 + 1..=batch * 1000 + 1000).map(numbered).collect();
        journal.append(batch).await.unwrap();
    }
    let mut following = follow(&journal, 1);
    following.connected().await;
    let mut all = following.messages(5000).await;
    place.server.kill();
    until(&place.connection, false).await;
    let (more, error) = drain(following).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    all.extend(more);
    place.server.start_again();
    until(&place.connection, true).await;

    let state = journal.state().await.unwrap();
    assert_eq!(state.last, 30_000, "every acknowledged batch is there");
    let last = all.last().unwrap();
    assert_eq!(journal.get(last.seq).await.unwrap().as_ref(), Some(last), "P4: still the same");
    let mut following = follow(&journal, last.seq + 1);
    assert_eq!(following.connected().await, state);
    let rest = 30_000 - all.len();
    all.extend(following.messages(rest).await);
    for (message, n) in all.iter().zip(1..) {
        assert_eq!((message.seq, &message.body), (n, &n.to_string().into_bytes()));
    }
    following.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_waiting_for_messages() {
    let mut place = Nats::make().await;
    let journal = place.open().await;
    let mut following = follow(&journal, 1);
    following.connected().await;
    place.server.kill();
    let (all, error) = drain(following).await;
    assert!(all.is_empty() && matches!(error, Error::Unavailable(_)), "{error:?}");
    // While nobody is there, following fails at once instead of waiting.
    let (_, error) = drain(follow(&journal, 1)).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_made_anew_under_a_follow_is_noticed() {
    let mut place = Nats::make().await;
    let journal = place.open().await;
    journal.append((1..=100).map(numbered).collect()).await.unwrap();
    let before = journal.state().await.unwrap();
    let mut following = follow(&journal, 1);
    following.connected().await;
    following.messages(100).await;

    place.make_anew().await;
    let imposter = place.open().await;
    imposter.append((1..=200).map(numbered).collect()).await.unwrap();
    let (all, error) = drain(following).await;
    assert!(all.is_empty(), "nothing of the new stream is delivered as the old one");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_ne!(journal.state().await.unwrap().identity, before.identity);
    let (sink, mut items) = tokio::sync::mpsc::channel(1);
    let text = halt(journal.follow(101, sink).await);
    assert!(text.contains("made anew") && text.contains(&before.identity), "{text}");
    assert_eq!(items.recv().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_halts() {
    let place = Nats::make().await;
    let journal = place.open().await;
    super::delete_stream(&place.connection).await;
    halt(journal.state().await);
    halt(journal.get(1).await);
    let (sink, _items) = tokio::sync::mpsc::channel(1);
    halt(journal.follow(1, sink).await);
    let lost = journal.append(vec![numbered(1)]).await;
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appending_to_a_dead_server_writes_nothing_and_comes_back() {
    let mut place = Nats::make().await;
    let journal = place.open().await;
    place.server.kill();
    until(&place.connection, false).await;
    for batch in [vec![numbered(1)], vec![numbered(1), numbered(2)]] {
        let refused = journal.append(batch).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert!(matches!(journal.state().await, Err(Error::Unavailable(_))));
    let out = place.connection.publish_out("countersign-out.a", vec![]).await;
    assert!(matches!(out, Err(Error::Unavailable(_))));
    place.server.start_again();
    until(&place.connection, true).await;
    assert_eq!(journal.append(vec![numbered(1)]).await, Ok(vec![1]));
}

/// A message that was in flight when the server was killed is acknowledged and there, or not acknowledged. It
/// is never acknowledged and lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_appending() {
    let mut place = Nats::make().await;
    let journal = place.open().await;
    let writer = tokio::spawn({
        let journal = journal.clone();
        async move {
            let mut acknowledged = 0;
            loop {
                match journal.append((1..=100).map(numbered).collect()).await {
                    Ok(given) => acknowledged = *given.last().expect("100 of them"),
                    Err(error) => return (acknowledged, error),
                }
            }
        }
    });
    let started = Instant::now();
    while journal.state().await.unwrap().last < 1000 {
        assert!(started.elapsed() < DEADLINE);
    }
    place.server.kill();
    let (acknowledged, error) = timeout(DEADLINE, writer).await.unwrap().unwrap();
    assert!(matches!(error, Error::Unknown(_) | Error::Unavailable(_)), "{error:?}");
    until(&place.connection, false).await;
    place.server.start_again();
    until(&place.connection, true).await;
    let last = journal.state().await.unwrap().last;
    assert!(last >= acknowledged, "{acknowledged} acknowledged, {last} there");
    assert_eq!(last % 100, 0, "a batch is all or nothing");
}

#[tokio::test]
async fn a_full_stream_is_unavailable() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let mut config = wanted(&Address::new(&tenant()), 1, true);
    config["max_bytes"] = json!(200_000);
    place.connection.api("STREAM.UPDATE.COUNTERSIGN_acme", &config).await.unwrap();
    let large = || message("decisions.gw-1", &"x".repeat(50_000));
    let mut stored = 0;
    let full = loop {
        match journal.append(vec![large()]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Unavailable(_)), "{full:?}");
    assert!((2..=4).contains(&stored), "{stored}");
    let full = journal.append(vec![large(), large()]).await;
    assert!(matches!(full, Err(Error::Unavailable(_))), "{full:?}");
    assert_eq!(journal.state().await.unwrap().last, stored);
    journal.trim(stored + 1).await.unwrap();
    assert_eq!(journal.append(vec![large()]).await, Ok(vec![stored + 1]));
}

/// The server answers it as what is in flight, for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_behind_a_message_of_its_own_batch_is_refused() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let to = "approvals.apr-1";
    let swap = Append { expected: Some(0), ..message(to, "2") };
    let text = halt(journal.append(vec![message(to, "1"), swap.clone()]).await);
    assert!(text.contains("only the first"), "{text}");
    assert_eq!(journal.append(vec![swap, message(to, "3")]).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn an_ack_that_says_duplicate_halts() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let publish = || {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", "1");
        let to = "countersign.acme.decisions.gw-1".to_owned();
        place.connection.request(to, headers, b"x".to_vec())
    };
    // The window is short: try until two fall into one.
    let started = Instant::now();
    let second = loop {
        let (first, second) = tokio::join!(publish(), publish());
        let (_, second) = (first.unwrap(), second.unwrap());
        if String::from_utf8_lossy(&second).contains("duplicate") {
            break second;
        }
        assert!(started.elapsed() < DEADLINE);
    };
    let text = halt(journal.acknowledged(second));
    assert!(text.contains("duplicate"), "{text}");
}

/// 100 MB through a pull limit of 16 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_flow() {
    let place = Nats::make().await;
    let journal = place.open().await;
    for _ in 0..4 {
        let large = || message("decisions.gw-1", &"x".repeat(256 * 1024));
        journal.append((0..100).map(|_| large()).collect()).await.unwrap();
    }
    let mut following = follow(&journal, 1);
    following.connected().await;
    let mut next = 1;
    while next <= 400 {
        for message in following.messages(1).await {
            assert_eq!((message.seq, message.body.len()), (next, 256 * 1024));
            next += 1;
        }
    }
    following.stop().await;
}

#[tokio::test]
async fn two_tenants_share_a_connection() {
    let server = Server::start();
    let connection = server.connect().await;
    let open = async |name: &str| {
        let name = crate::ident::Ident::new(name).unwrap();
        Jetstream::create(&connection, &name, 1).await.unwrap()
    };
    let (a, b) = (open("a").await, open("a-b").await);
    a.append(vec![numbered(1), numbered(2)]).await.unwrap();
    assert_eq!(b.append(vec![numbered(3)]).await, Ok(vec![1]));
    assert_eq!(b.get(1).await.unwrap().unwrap().body, b"3");
    assert_eq!(b.get(2).await, Ok(None));
    assert_eq!(a.state().await.unwrap().last, 2);
}
