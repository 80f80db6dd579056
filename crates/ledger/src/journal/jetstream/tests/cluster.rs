//! Tests of consensus, on three servers with three replicas, and of the loss of one server.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::poll;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{numbered, tenant};
use crate::journal::{
    Append, Error, Followed, Message, State, Subject,
    conformance::{Place, Port, conformance, follow, message, subject},
    jetstream::{
        Connection, Jetstream, Options,
        testserver::{DEADLINE, PAUSE, Server},
        wire::Found,
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
        sleep(PAUSE).await;
    }
}

async fn connect(servers: &[Server]) -> Connection {
    let urls = servers.iter().map(|server| server.options().url).collect::<Vec<_>>();
    // Servers that have no leader yet do not answer: ask again soon.
    let request_timeout = Duration::from_secs(5);
    let options = Options { url: urls.join(","), request_timeout, ..Options::default() };
    eventually(async || Connection::open(&options).await).await
}

/// Makes the stream. If its creation was not answered in time, the next attempt finds it.
async fn create(connection: &Connection) {
    let made = async || match Jetstream::create(connection, &tenant(), 3).await {
        Err(Error::Halt(why)) if why.contains("exists already") => Ok(()),
        other => other.map(drop),
    };
    eventually(made).await;
}

/// A journal that asks again for what the servers could not do while they chose a leader.
#[derive(Clone)]
struct Patient(Jetstream);

/// Asks again as long as it is known that nothing was done.
async fn patiently<T, F>(attempt: impl Fn() -> F + Send) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    let started = Instant::now();
    loop {
        match attempt().await {
            Err(Error::Unavailable(_)) if started.elapsed() < DEADLINE => {}
            other => return other,
        }
        sleep(PAUSE).await;
    }
}

impl Port for Patient {
    async fn state(&self) -> Result<State, Error> {
        patiently(|| self.0.state()).await
    }
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<u64>, Error> {
        patiently(|| self.0.append(batch.clone())).await
    }
    async fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        patiently(|| self.0.get(seq)).await
    }
    async fn last_on(&self, subject: &Subject) -> Result<Option<Message>, Error> {
        patiently(|| self.0.last_on(subject)).await
    }
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<Message>, Error> {
        patiently(|| self.0.read_subject(subject)).await
    }
    /// Continues after what was delivered, as `ledger::follow` does. The state is delivered once.
    async fn follow(&self, from: u64, sink: mpsc::Sender<Followed>) -> Result<(), Error> {
        let (started, mut next, mut greeted) = (Instant::now(), from, false);
        loop {
            let (relay, mut items) = mpsc::channel(1);
            let following = self.0.follow(next, relay);
            let passing = async {
                loop {
                    let item = tokio::select! {
                        item = items.recv() => item,
                        () = sink.closed() => break,
                    };
                    match &item {
                        None => break,
                        Some(Followed::Connected(_)) if greeted => continue,
                        Some(Followed::Connected(_)) => greeted = true,
                        Some(Followed::Messages(all)) => {
                            next = all.last().map_or(next, |message| message.seq + 1);
                        }
                    }
                    if let Some(item) = item
                        && sink.send(item).await.is_err()
                    {
                        break;
                    }
                }
                drop(items);
            };
            let (ended, ()) = tokio::join!(following, passing);
            match ended {
                Err(Error::Unavailable(why)) if started.elapsed() < DEADLINE => println!("{why}"),
                other => return other,
            }
            sleep(PAUSE).await;
        }
    }
    async fn erase(&self, seq: u64) -> Result<bool, Error> {
        patiently(|| self.0.erase(seq)).await
    }
    async fn trim(&self, below: u64) -> Result<(), Error> {
        patiently(|| self.0.trim(below)).await
    }
}

impl Cluster {
    /// A connection to the stream's leader, and the other servers.
    async fn roles(&self) -> (Connection, Vec<&Server>) {
        let ask = json!({});
        let info = eventually(async || {
            let found = self.connection.api("STREAM.INFO.COUNTERSIGN_acme", &ask).await?;
            let Found::Answer(info) = found else { panic!("there is a stream") };
            let info: Value = serde_json::from_slice(&info).unwrap();
            let leader = info["cluster"]["leader"].as_str().map(str::to_owned);
            leader.ok_or_else(|| Error::Unavailable("no leader".into()))
        });
        let name = info.await;
        let (mut leader, mut followers) = (None, Vec::new());
        for server in &self.servers {
            let connection = connect(std::slice::from_ref(server)).await;
            if connection.client().server_info().server_name == name {
                leader = Some(connection);
            } else {
                followers.push(server);
            }
        }
        (leader.expect("one of ours"), followers)
    }
}

impl Place for Cluster {
    type Journal = Patient;

    async fn make() -> Self {
        let servers = Server::start_cluster();
        let connection = connect(&servers).await;
        create(&connection).await;
        Self { servers, connection }
    }

    async fn open(&self) -> Patient {
        Patient(eventually(async || Jetstream::open(&self.connection, &tenant()).await).await)
    }

    async fn restart(&mut self) {
        self.servers.iter_mut().for_each(Server::kill);
        self.servers.iter_mut().for_each(Server::start_again);
        self.connection = connect(&self.servers).await;
    }

    async fn make_anew(&mut self) {
        super::delete_stream(&self.connection).await;
        create(&self.connection).await;
    }
}

conformance!(Cluster: race, compare_and_swap_in_a_batch, follow_live_and_resume);

/// A writer that gets a conflict finds the winner's message: nobody gets the answer while the winner is
/// unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_waited_for() {
    let place = Cluster::make().await;
    for nth in 1..=5 {
        let (leader, followers) = place.roles().await;
        let outcome = in_flight(&leader, &followers, &format!("approvals.apr-{nth}")).await;
        for server in followers {
            server.resume();
        }
        match outcome {
            Ok(()) => return,
            // Another leader was chosen meanwhile.
            Err(Error::Unavailable(why) | Error::Unknown(why)) => println!("{why}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no leader stays");
}

async fn in_flight(leader: &Connection, followers: &[&Server], to: &str) -> Result<(), Error> {
    let journal = Jetstream::open(leader, &tenant()).await?;
    let append = |body| vec![Append { expected: Some(0), ..message(to, body) }];
    for server in followers {
        server.pause();
    }
    let (mut first, mut second) =
        (pin!(journal.append(append("1"))), pin!(journal.append(append("2"))));
    assert!(poll!(first.as_mut()).is_pending(), "two of three do not answer");
    assert!(poll!(second.as_mut()).is_pending());
    // Answered behind the two on the same subject.
    assert_eq!(journal.attempt(append("3")).await?, None);
    assert!(poll!(second.as_mut()).is_pending(), "it is open who wins");
    for server in followers {
        server.resume();
    }
    let (first, second) = tokio::join!(first, second);
    let stored = journal.last_on(&subject(to)).await?.expect("a message");
    assert_eq!(first?, [stored.seq]);
    assert_eq!((stored.body, second), (b"1".to_vec(), Err(Error::Conflict)));
    Ok(())
}

/// One of three servers dies and comes back. What was acknowledged is there once, in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_dies() {
    let mut place = Cluster::make().await;
    let Patient(journal) = place.open().await;
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
    let last = eventually(async || journal.state().await).await.last;
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
