//! Messages that no client library would send, and none should have to read.

use tokio::time::timeout;

use super::{Nats, numbered};
use crate::journal::{
    Error, Followed, Headers, Message, State,
    conformance::{Place, follow},
    jetstream::{Jetstream, testserver::DEADLINE},
};

const TO: &str = "countersign.acme.decisions.gw-1";

/// Header blocks that the client library reads.
const ODD: &[&[u8]] = &[
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0\r\nCountersign-Salt: a\r\n\r\n",
    b"NATS/1.0\r\nCountersign-Salt:a\r\nCountersign-Salt: b\r\n\r\n",
    b"NATS/1.0\r\nCountersign-Salt:\r\nCountersign-Salt: b\r\n\r\n",
    b"NATS/1.0\r\nCountersign-Salt: a\r\n  b\r\n\tc\r\n\r\n",
    b"NATS/1.0\r\nCountersign-Salt: a\r\n : b\r\nCountersign-Signature: s\r\n\r\n",
    "NATS/1.0\r\nCountersign-Salt: \u{a0}\u{2003}ä\u{85}b\u{3000} \r\n\r\n".as_bytes(),
    b"NATS/1.0\r\nCountersign-Salt: a\0b\r\n\r\n",
    b"NATS/1.0\nCountersign-Salt: a\nCountersign-Receipt-To: b\n\n",
    b"NATS/1.0\r\n\r\nCountersign-Salt: a\r\n\r\n",
    b"NATS/1.0\r\ncountersign-salt: a\r\nCOUNTERSIGN-SALT: b\r\n\r\n",
    b"NATS/1.0\r\n: nameless\r\nCountersign-Salt: a\r\n\r\n",
    b"NATS/1.0\r\nCountersign-Salt: a: b: c",
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0 404 No Messages\r\n\r\n",
    b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 9999999\r\n\r\n",
    b"NATS/1.0 409 Consumer Deleted\r\nCountersign-Salt: a\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: 1\r\nNats-Subject: x\r\nNats-Stream: y\r\n\r\n",
];

/// Header blocks on which the client library drops its connection; on the last one it even panics, in a task of its own.
const POISON: &[&[u8]] = &[
    b"\xff\xfe\xfd",
    b"NATS/1.0\r\nCountersign-Salt: \xff\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"NATS/1.0 999999\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\nCountersign-Salt: a\r\n\r\n",
    b"NATS/1.0\r\nA b: c\r\nCountersign-Salt: a\r\n\r\n",
    b"\r\n",
    b"NATS/1.0\r\nCountersign-Salt: a\rb\r\n\r\n",
];

/// Waits until the stream has stored `count` messages: a flushed message is on its way, not yet stored.
async fn stored(journal: &Jetstream, count: usize) {
    let started = std::time::Instant::now();
    while journal.state().await.unwrap().last < count as u64 {
        assert!(started.elapsed() < DEADLINE, "not stored");
    }
}

/// Follows from 1 until `count` messages have come, as often as it takes; also says how often it took.
async fn follow_all(journal: &Jetstream, count: usize) -> (Vec<Message>, usize) {
    let mut all: Vec<Message> = Vec::new();
    let mut follows = 0;
    while all.len() < count {
        follows += 1;
        let before = all.len();
        let mut following = follow(journal, all.last().map_or(1, |message| message.seq + 1));
        while all.len() < count {
            match timeout(DEADLINE, following.items.recv()).await.expect("in time") {
                Some(Followed::Messages(messages)) => all.extend(messages),
                Some(Followed::Connected(State { .. })) => {}
                None => break,
            }
        }
        assert!(all.len() > before, "every follow makes progress");
        if all.len() < count {
            let ended = following.task.await.expect("no panic");
            assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
        }
    }
    (all, follows)
}

/// P6: a message is the same whichever way it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_headers_read_the_same_both_ways() {
    let place = Nats::make().await;
    let journal = place.open().await;
    journal.append((1..=100).map(numbered).collect()).await.unwrap(); // past the careful beginning
    let mut raw = place.server.raw();
    for block in ODD {
        raw.publish(TO, block, b"");
        raw.publish(TO, block, b"body");
    }
    raw.flush();
    let count = 100 + 2 * ODD.len();
    stored(&journal, count).await;
    let (all, follows) = follow_all(&journal, count).await;
    assert_eq!(follows, 1, "none of these ends a connection");
    for message in &all {
        let stored = journal.get(message.seq).await.unwrap();
        assert_eq!(stored.as_ref(), Some(message));
    }
    let salts = all[100..].iter().step_by(2).map(|message| message.headers.salt.as_deref());
    assert_eq!(salts.clone().nth(2), Some(Some("a")), "the first of several");
    assert_eq!(salts.clone().nth(10), Some(None), "names are case-sensitive, as in NATS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_passed() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let mut raw = place.server.raw();
    let mut count = 0;
    for block in POISON.iter().chain(POISON) {
        journal.append((1..=100).map(numbered).collect()).await.unwrap();
        raw.publish(TO, block, b"body");
        raw.publish(TO, block, b"");
        raw.flush();
        count += 102;
    }
    stored(&journal, count).await;
    let (all, follows) = follow_all(&journal, count).await;
    assert!(follows > POISON.len(), "each poison ended one connection: {follows}");
    for (message, seq) in all.iter().zip(1..) {
        assert_eq!(message.seq, seq);
    }
    let poisoned = &all[100];
    assert_eq!(poisoned.body, b"body");
    assert_eq!(poisoned.headers, Headers::default());
    assert!(
        place.connection.connected() && place.connection.connects() == 1,
        "nobody else noticed"
    );
}

/// Nothing but poison: one follow reads it all, one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_poison_is_passed() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let mut raw = place.server.raw();
    for _ in 0..500 {
        raw.publish(TO, b"\xff", b"x");
    }
    raw.flush();
    stored(&journal, 500).await;
    let (all, follows) = follow_all(&journal, 500).await;
    assert_eq!((all.len(), follows), (500, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subjects_outside_the_grammar_are_delivered_without_one() {
    let place = Nats::make().await;
    let journal = place.open().await;
    let mut raw = place.server.raw();
    let strange = ["decisions.GW", "decisions.a_b", "approvals.%2e", "decisions.\u{e4}"];
    for local in strange {
        raw.publish(&format!("countersign.acme.{local}"), b"", b"x");
    }
    raw.flush();
    let (all, _) = follow_all(&journal, strange.len()).await;
    assert!(all.iter().all(|message| message.subject.is_none()), "{all:?}");
}

/// A producer cannot hide, expire, replace or pre-empt messages by headers for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_for_the_server_do_no_harm() {
    let place = Nats::make().await;
    let journal = place.open().await;
    journal.append(vec![numbered(1)]).await.unwrap();
    let mut raw = place.server.raw();
    for header in [
        "Nats-Rollup: sub",
        "Nats-Rollup: all",
        "Nats-TTL: 1s",
        "Nats-Incr: 1",
        "Nats-Schedule: @every 1s",
    ] {
        let block = format!("NATS/1.0\r\n{header}\r\n\r\n");
        raw.publish(TO, block.as_bytes(), b"x");
    }
    // A batch that never ends stays invisible and blocks nobody.
    raw.publish(TO, b"NATS/1.0\r\nNats-Batch-Id: x\r\nNats-Batch-Sequence: 1\r\n\r\n", b"x");
    raw.flush();
    assert_eq!(journal.append(vec![numbered(2)]).await, Ok(vec![2]), "none of these was stored");
    assert_eq!(journal.state().await.unwrap().first, 1);
}
