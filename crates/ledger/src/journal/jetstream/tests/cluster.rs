//! What depends on consensus, on three servers with three replicas; and the loss of one of them.

use std::time::Instant;

use tokio::time::timeout;

use super::{numbered, tenant};
use crate::journal::{
    Error, Followed, Message,
    conformance::{Place, conformance, follow},
    jetstream::{
        Connection, Jetstream, Options,
        testserver::{DEADLINE, Server},
    },
};

struct Cluster {
    servers: Vec<Server>,
    connection: Connection,
}

/// Tries until there is a leader.
async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let started = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(Error::Unavailable(_) | Error::Unknown(_)) if started.elapsed() < DEADLINE => {}
            Err(error) => panic!("{error:?} after {:?}", started.elapsed()),
        }
    }
}

async fn connect(servers: &[Server]) -> Connection {
    let urls = servers.iter().map(|server| server.options().url).collect::<Vec<_>>();
    let options = Options { url: urls.join(","), ..Options::default() };
    Connection::open(&options).await.expect("connect")
}

impl Place for Cluster {
    type Journal = Jetstream;

    async fn make() -> Self {
        let servers = Server::start_cluster();
        let connection = connect(&servers).await;
        eventually(async || Jetstream::create(&connection, &tenant(), 3).await).await;
        Self { servers, connection }
    }

    async fn open(&self) -> Jetstream {
        eventually(async || Jetstream::open(&self.connection, &tenant()).await).await
    }

    async fn restart(&mut self) {
        self.servers.iter_mut().for_each(Server::kill);
        self.servers.iter_mut().for_each(Server::start_again);
        self.connection = connect(&self.servers).await;
    }

    async fn make_anew(&mut self) {
        super::delete_stream(&self.connection).await;
        eventually(async || Jetstream::create(&self.connection, &tenant(), 3).await).await;
    }
}

conformance!(Cluster: race, compare_and_swap_in_a_batch, follow_live_and_resume);

/// One of three servers dies and comes back; what was acknowledged is there, once, in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_dies() {
    let mut place = Cluster::make().await;
    let journal = place.open().await;
    let mut acknowledged = Vec::new();
    for n in 1..=300 {
        match n {
            100 => place.servers[0].kill(),
            200 => place.servers[0].start_again(),
            _ => {}
        }
        let given = eventually(async || journal.append(vec![numbered(n)]).await).await;
        acknowledged.push((given[0], n));
    }
    let last = journal.state().await.unwrap().last;
    let mut all: Vec<Message> = Vec::new();
    while all.last().is_none_or(|message| message.seq < last) {
        let mut following = follow(&journal, all.last().map_or(1, |message| message.seq + 1));
        while all.last().is_none_or(|message| message.seq < last) {
            match timeout(DEADLINE, following.items.recv()).await.expect("in time") {
                Some(Followed::Messages(messages)) => all.extend(messages),
                Some(Followed::Connected(_)) => {}
                None => break,
            }
        }
    }
    assert!(all.iter().map(|message| message.seq).eq(1..=last), "no holes, no repetitions");
    for (seq, n) in acknowledged {
        let index = usize::try_from(seq).unwrap() - 1;
        assert_eq!(all[index].body, n.to_string().into_bytes());
    }
}
