//! The conformance suite on a real server, and what only JetStream can get wrong.

mod cluster;
mod hostile;
mod setup;
mod trouble;

use tokio::sync::mpsc;

use super::{Connection, Info, Jetstream, testserver::Server};
use crate::{
    ident::Ident,
    journal::{
        Append, Error, Followed, Message, State, Subject,
        conformance::{Place, Port, conformance, message},
    },
};

fn tenant() -> Ident {
    Ident::new("acme").expect("an ident")
}

struct Nats {
    server: Server,
    connection: Connection,
}

impl Place for Nats {
    type Journal = Jetstream;

    async fn make() -> Self {
        let server = Server::start();
        let connection = server.connect().await;
        Jetstream::create(&connection, &tenant(), 1).await.expect("create");
        Self { server, connection }
    }

    async fn open(&self) -> Jetstream {
        Jetstream::open(&self.connection, &tenant()).await.expect("open")
    }

    async fn restart(&mut self) {
        self.server.kill();
        self.server.start_again();
        self.connection = self.server.connect().await;
    }

    async fn make_anew(&mut self) {
        delete_stream(&self.connection).await;
        Jetstream::create(&self.connection, &tenant(), 1).await.expect("create");
    }
}

/// A decision, `n` as its body.
fn numbered(n: usize) -> Append {
    message("decisions.gw-1", &n.to_string())
}

fn halt<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Halt(text)) => text,
        other => panic!("{other:?} instead of a halt"),
    }
}

async fn delete_stream(connection: &Connection) {
    connection.api("STREAM.DELETE.COUNTERSIGN_acme", &serde_json::json!({})).await.expect("delete");
}

impl Port for Jetstream {
    async fn state(&self) -> Result<State, Error> {
        self.state().await
    }
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<u64>, Error> {
        self.append(batch).await
    }
    async fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        self.get(seq).await
    }
    async fn last_on(&self, subject: &Subject) -> Result<Option<Message>, Error> {
        self.last_on(subject).await
    }
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<Message>, Error> {
        self.read_subject(subject).await
    }
    async fn follow(&self, from: u64, sink: mpsc::Sender<Followed>) -> Result<(), Error> {
        self.follow(from, sink).await
    }
    async fn erase(&self, seq: u64) -> Result<bool, Error> {
        self.erase(seq).await
    }
    async fn trim(&self, below: u64) -> Result<(), Error> {
        self.trim(below).await
    }
}

conformance!(Nats);

fn check_leader(cluster: &serde_json::Value, has_leader: bool) {
    let state = serde_json::json!({"messages": 1, "first_seq": 1, "last_seq": 1});
    let answer =
        serde_json::json!({"config": {}, "created": "", "state": state, "cluster": cluster});
    let info: Info = serde_json::from_value(answer).unwrap();
    assert_eq!(info.of_leader().is_ok(), has_leader, "{cluster}");
}

/// A replica without a leader answers too, with what it holds; seen of nats-server 2.15.1.
#[test]
fn p4_a_stream_without_a_leader_is_away() {
    check_leader(&serde_json::Value::Null, true);
    check_leader(&serde_json::json!({"name": "c", "leader": "n1", "replicas": []}), true);
    check_leader(&serde_json::json!({"name": "c", "leader": ""}), false);
    let replicas = serde_json::json!([{"name": "n2", "current": false, "active": 0}]);
    check_leader(&serde_json::json!({"name": "c", "replicas": replicas}), false);
}
