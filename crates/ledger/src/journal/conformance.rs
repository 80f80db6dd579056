//! The tests that every journal adapter must pass: `conformance!(TypeOfPlace)` makes them for one adapter.

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    Append, BATCH_MESSAGES_MAX, BODY_BYTES_MAX, Error, Followed, Headers, Message, State, Subject,
};

/// Longest wait of a test for anything.
const DEADLINE: Duration = Duration::from_secs(120);

/// The port as the tests use it.
pub(super) trait Port: Clone + Send + Sync + 'static {
    fn state(&self) -> impl Future<Output = Result<State, Error>> + Send;
    fn append(&self, batch: Vec<Append>) -> impl Future<Output = Result<Vec<u64>, Error>> + Send;
    fn get(&self, seq: u64) -> impl Future<Output = Result<Option<Message>, Error>> + Send;
    fn last_on(
        &self,
        subject: &Subject,
    ) -> impl Future<Output = Result<Option<Message>, Error>> + Send;
    fn read_subject(
        &self,
        subject: &Subject,
    ) -> impl Future<Output = Result<Vec<Message>, Error>> + Send;
    fn follow(
        &self,
        from: u64,
        sink: mpsc::Sender<Followed>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    fn erase(&self, seq: u64) -> impl Future<Output = Result<bool, Error>> + Send;
    fn trim(&self, below: u64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A place for a journal: made for each test, removed when dropped.
pub(super) trait Place: Sized {
    type Journal: Port;
    /// Makes a new, empty journal.
    async fn make() -> Self;
    /// Opens the journal.
    async fn open(&self) -> Self::Journal;
    /// Ends the process that holds the data without warning, and starts it again.
    async fn restart(&mut self);
    /// Deletes the journal, and makes an empty one with the same name.
    async fn make_anew(&mut self);
}

macro_rules! conformance {
    ($place:ty: $($test:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::journal::conformance::$test::<$place>().await;
            }
        )*
    };
    ($place:ty) => {
        $crate::journal::conformance::conformance!($place:
            append_and_read, batch, compare_and_swap, compare_and_swap_in_a_batch, race,
            limits, subjects, decisions_by_subject, follow_from_the_middle, follow_live_and_resume, follow_holes,
            identity, erase, trim, headers);
    };
}
pub(super) use conformance;

pub(super) fn subject(text: &str) -> Subject {
    Subject::parse(text).expect("a subject")
}

pub(super) fn message(to: &str, body: &str) -> Append {
    Append { subject: subject(to), headers: Headers::default(), body: body.into(), expected: None }
}

fn expecting(to: &str, body: &str, expected: u64) -> Append {
    Append { expected: Some(expected), ..message(to, body) }
}

fn numbered(count: usize) -> Vec<Append> {
    (1..=count).map(|n| message("decisions.gw-1", &n.to_string())).collect()
}

/// A follow in the background, and the messages that it delivers.
pub(super) struct Following {
    pub(super) items: mpsc::Receiver<Followed>,
    pub(super) task: JoinHandle<Result<(), Error>>,
}

pub(super) fn follow<J: Port>(journal: &J, from: u64) -> Following {
    let (sink, items) = mpsc::channel(4);
    let journal = journal.clone();
    Following { items, task: tokio::spawn(async move { journal.follow(from, sink).await }) }
}

impl Following {
    pub(super) async fn connected(&mut self) -> State {
        match timeout(DEADLINE, self.items.recv()).await.expect("in time") {
            Some(Followed::Connected(state)) => state,
            other => panic!("{other:?} where Connected comes first"),
        }
    }

    /// The next messages, at least `count` of them.
    pub(super) async fn messages(&mut self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < count {
            match timeout(DEADLINE, self.items.recv()).await.expect("in time") {
                Some(Followed::Messages(messages)) => all.extend(messages),
                Some(other) => panic!("{other:?} after {} of {count} messages", all.len()),
                None => {
                    let ended = (&mut self.task).await.expect("no panic");
                    panic!("{ended:?} after {} of {count} messages", all.len());
                }
            }
        }
        all
    }

    /// Stops listening. The follow must then end without an error.
    pub(super) async fn stop(self) {
        drop(self.items);
        let ended = timeout(DEADLINE, self.task).await.expect("in time").expect("no panic");
        assert_eq!(ended, Ok(()));
    }
}

fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq).collect()
}

pub(super) async fn append_and_read<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let empty = journal.state().await.unwrap();
    assert_eq!((empty.first, empty.last), (1, 0));
    assert_eq!(journal.get(0).await, Ok(None));
    assert_eq!(journal.get(1).await, Ok(None));
    assert_eq!(journal.append(vec![]).await, Ok(vec![]));

    assert_eq!(journal.append(vec![message("decisions.gw-1", "one")]).await, Ok(vec![1]));
    assert_eq!(journal.append(vec![message("system.genesis", "")]).await, Ok(vec![2]));
    let one = journal.get(1).await.unwrap().unwrap();
    assert_eq!((one.seq, &one.body[..]), (1, &b"one"[..]));
    assert_eq!(one.subject, Some(subject("decisions.gw-1")));
    let two = journal.get(2).await.unwrap().unwrap();
    assert!(two.body.is_empty());
    assert!(two.time >= one.time && one.time.seconds() > 1_700_000_000);
    assert_eq!(journal.get(3).await, Ok(None));
    assert_eq!(journal.get(u64::MAX).await, Ok(None));
    let state = journal.state().await.unwrap();
    assert_eq!((state.first, state.last), (1, 2));
    assert_eq!(state.identity, empty.identity);
}

pub(super) async fn batch<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    journal.append(numbered(1)).await.unwrap();
    let given = journal.append(numbered(BATCH_MESSAGES_MAX)).await.unwrap();
    assert_eq!(given, (2..=1001).collect::<Vec<u64>>());
    let last = journal.get(1001).await.unwrap().unwrap();
    assert_eq!(last.body, b"1000");
}

pub(super) async fn compare_and_swap<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let to = "approvals.apr-1";
    assert_eq!(journal.append(vec![expecting(to, "a", 0)]).await, Ok(vec![1]));
    assert_eq!(journal.append(vec![expecting(to, "b", 0)]).await, Err(Error::Conflict));
    journal.append(vec![message("approvals.apr-2", "x")]).await.unwrap();
    assert_eq!(journal.append(vec![expecting(to, "b", 2)]).await, Err(Error::Conflict));
    assert_eq!(journal.append(vec![expecting(to, "b", 1)]).await, Ok(vec![3]));
    assert_eq!(journal.append(vec![expecting(to, "c", 1)]).await, Err(Error::Conflict));
    assert_eq!(journal.state().await.unwrap().last, 3, "a lost swap writes nothing");
}

pub(super) async fn compare_and_swap_in_a_batch<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let won = vec![expecting("approvals.a", "1", 0), message("decisions.gw-1", "2")];
    assert_eq!(journal.append(won.clone()).await, Ok(vec![1, 2]));
    assert_eq!(journal.append(won).await, Err(Error::Conflict));
    let lost_at_the_end = vec![message("decisions.gw-1", "3"), expecting("approvals.a", "4", 0)];
    assert_eq!(journal.append(lost_at_the_end).await, Err(Error::Conflict));
    let lost_in_the_middle = vec![
        expecting("approvals.b", "3", 0),
        expecting("approvals.a", "4", 0),
        message("decisions.gw-1", "5"),
    ];
    assert_eq!(journal.append(lost_in_the_middle).await, Err(Error::Conflict));
    assert_eq!(journal.state().await.unwrap().last, 2, "a batch is all or nothing");
}

pub(super) async fn race<P: Place>() {
    const RACERS: usize = 8;
    const ROUNDS: usize = 50;
    let place = P::make().await;
    let journal = place.open().await;
    let to = "approvals.race";
    let (mut last, mut winners, mut unknown) = (0, Vec::new(), false);
    for round in 0..ROUNDS {
        let racers = (0..RACERS).map(|_| {
            let journal = journal.clone();
            let append = expecting(to, &last.to_string(), last);
            tokio::spawn(async move { journal.append(vec![append]).await })
        });
        let before = winners.len();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.expect("no panic") {
                Ok(given) => winners.extend(given),
                // If a cluster chose another leader meanwhile, one of these may have won, or none.
                Err(Error::Unknown(_)) => unknown = true,
                Err(error) => assert_eq!(error, Error::Conflict),
            }
        }
        let won = winners.len() - before;
        assert!(won == 1 || (won == 0 && unknown), "{won} winners in round {round}");
        last = match winners.get(before) {
            Some(seq) => *seq,
            None => journal.last_on(&subject(to)).await.unwrap().map_or(0, |message| message.seq),
        };
    }
    let stored = journal.read_subject(&subject(to)).await.unwrap();
    let mut before = 0;
    for message in &stored {
        assert_eq!(message.body, before.to_string().as_bytes(), "follows what it expected");
        before = message.seq;
    }
    assert!(winners.iter().all(|seq| stored.iter().any(|message| message.seq == *seq)));
    assert!(unknown || stored.len() == ROUNDS);
}

pub(super) async fn limits<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let body = |bytes| Append { body: vec![b'x'; bytes], ..message("decisions.gw-1", "") };
    assert_eq!(journal.append(vec![body(BODY_BYTES_MAX)]).await, Ok(vec![1]));
    assert_eq!(journal.get(1).await.unwrap().unwrap().body.len(), BODY_BYTES_MAX);
    let what = "bytes per message";
    let too_big = Error::TooBig { what, got: BODY_BYTES_MAX + 1, max: BODY_BYTES_MAX };
    assert_eq!(journal.append(vec![body(BODY_BYTES_MAX + 1)]).await, Err(too_big.clone()));
    assert_eq!(journal.append(vec![body(1), body(BODY_BYTES_MAX + 1)]).await, Err(too_big));
    let (what, got) = ("messages per batch", BATCH_MESSAGES_MAX + 1);
    let too_many = Error::TooBig { what, got, max: BATCH_MESSAGES_MAX };
    assert_eq!(journal.append(numbered(got)).await, Err(too_many));
    assert_eq!(journal.state().await.unwrap().last, 1);
}

pub(super) async fn subjects<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let (a, b) = ("approvals.apr-1", "evidence.apr-1");
    for (to, body) in [(a, "1"), (b, "2"), (a, "3"), ("approvals.apr-10", "4"), (a, "5")] {
        journal.append(vec![message(to, body)]).await.unwrap();
    }
    assert_eq!(seqs(&journal.read_subject(&subject(a)).await.unwrap()), [1, 3, 5]);
    assert_eq!(seqs(&journal.read_subject(&subject(b)).await.unwrap()), [2]);
    assert_eq!(journal.read_subject(&subject("approvals.none")).await, Ok(vec![]));
    assert_eq!(journal.last_on(&subject(a)).await.unwrap().unwrap().body, b"5");
    assert_eq!(journal.last_on(&subject("approvals.none")).await, Ok(None));
    journal.erase(5).await.unwrap();
    assert_eq!(journal.last_on(&subject(a)).await.unwrap().map(|message| message.seq), Some(3));
    journal.trim(2).await.unwrap();
    assert_eq!(seqs(&journal.read_subject(&subject(a)).await.unwrap()), [3]);
    journal.trim(6).await.unwrap();
    assert_eq!(journal.last_on(&subject(a)).await, Ok(None));
}

pub(super) async fn decisions_by_subject<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let to = subject("decisions.gw-1");
    for (to, expected, given) in [
        ("decisions.gw-1", 0, Ok(vec![1])),
        ("decisions.gw-1", 0, Err(Error::Conflict)),
        ("decisions.gw-2", 0, Ok(vec![2])),
        ("decisions.gw-1", 2, Err(Error::Conflict)),
        ("decisions.gw-1", 1, Ok(vec![3])),
        ("decisions.gw-1", 9, Err(Error::Conflict)),
    ] {
        let append = expecting(to, "x", expected);
        assert_eq!(journal.append(vec![append]).await, given, "{to} at {expected}");
    }
    assert_eq!(seqs(&journal.read_subject(&to).await.unwrap()), [1, 3]);
    assert_eq!(journal.last_on(&to).await.unwrap().map(|message| message.seq), Some(3));
    assert_eq!(journal.last_on(&subject("decisions.gw-3")).await, Ok(None));
}

pub(super) async fn headers<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let headers = Headers {
        salt: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
        signature: Some("c2lnbmF0dXJl".into()),
        receipt_to: Some("countersign-out.acme.gw-1.receipts".into()),
        refused: Some("json_depth".into()),
    };
    let append = Append { headers: headers.clone(), ..message("decisions.gw-1", "x") };
    journal.append(vec![append.clone()]).await.unwrap();
    journal.append(vec![append.clone(), message("decisions.gw-1", "y"), append]).await.unwrap();
    assert_eq!(journal.get(1).await.unwrap().unwrap().headers, headers);
    let mut following = follow(&journal, 1);
    following.connected().await;
    let all = following.messages(4).await;
    let found = all.iter().map(|message| message.headers == headers).collect::<Vec<_>>();
    assert_eq!(found, [true, true, false, true]);
    assert_eq!(all[2].headers, Headers::default());
    following.stop().await;
}

pub(super) async fn follow_from_the_middle<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    for _ in 0..5 {
        journal.append(numbered(BATCH_MESSAGES_MAX)).await.unwrap();
    }
    let mut following = follow(&journal, 1234);
    assert_eq!(following.connected().await, journal.state().await.unwrap());
    let all = following.messages(5000 - 1233).await;
    assert_eq!(seqs(&all), (1234..=5000).collect::<Vec<u64>>());
    for message in all.iter().step_by(97).chain(all.last()) {
        assert_eq!(journal.get(message.seq).await.unwrap().as_ref(), Some(message));
    }
    following.stop().await;
}

pub(super) async fn follow_live_and_resume<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    let mut following = follow(&journal, 1);
    assert_eq!(following.connected().await.last, 0);
    for n in 1..=3 {
        journal.append(vec![message("decisions.gw-1", "live")]).await.unwrap();
        assert_eq!(seqs(&following.messages(1).await), [n]);
    }
    following.stop().await;
    journal.append(numbered(7)).await.unwrap();
    let mut following = follow(&journal, 4);
    assert_eq!(following.connected().await.last, 10);
    assert_eq!(seqs(&following.messages(7).await), [4, 5, 6, 7, 8, 9, 10]);
    journal.append(numbered(1)).await.unwrap();
    assert_eq!(seqs(&following.messages(1).await), [11]);
    following.stop().await;
}

pub(super) async fn follow_holes<P: Place>() {
    let place = P::make().await;
    let journal = place.open().await;
    journal.append(numbered(200)).await.unwrap();
    for hole in [3, 4, 150] {
        assert_eq!(journal.erase(hole).await, Ok(true));
    }
    let mut following = follow(&journal, 1);
    following.connected().await;
    let expected = (1..=200).filter(|seq| ![3, 4, 150].contains(seq)).collect::<Vec<u64>>();
    assert_eq!(seqs(&following.messages(197).await), expected);
    following.stop().await;
}

pub(super) async fn identity<P: Place>() {
    let mut place = P::make().await;
    let journal = place.open().await;
    journal.append(numbered(3)).await.unwrap();
    let before = journal.state().await.unwrap();
    drop(journal);
    place.restart().await;
    let journal = place.open().await;
    assert_eq!(journal.state().await.unwrap(), before);
    assert_eq!(journal.get(3).await.unwrap().unwrap().body, b"3");
    drop(journal);
    place.make_anew().await;
    let after = place.open().await.state().await.unwrap();
    assert_ne!(after.identity, before.identity);
    assert_eq!((after.first, after.last), (1, 0));
}

pub(super) async fn erase<P: Place>() {
    let mut place = P::make().await;
    let journal = place.open().await;
    journal.append(numbered(4)).await.unwrap();
    assert_eq!(journal.erase(2).await, Ok(true));
    assert_eq!(journal.erase(2).await, Ok(false));
    assert_eq!(journal.erase(9).await, Ok(false));
    assert_eq!(journal.erase(0).await, Ok(false));
    assert_eq!(journal.get(2).await, Ok(None));
    assert_eq!(journal.erase(4).await, Ok(true));
    let state = journal.state().await.unwrap();
    assert_eq!((state.first, state.last), (1, 4), "the last sequence is never given again");
    drop(journal);
    place.restart().await;
    let journal = place.open().await;
    assert_eq!(journal.state().await.unwrap(), state);
    assert_eq!(journal.append(numbered(1)).await, Ok(vec![5]));
}

pub(super) async fn trim<P: Place>() {
    let mut place = P::make().await;
    let journal = place.open().await;
    journal.append(numbered(5)).await.unwrap();
    let reach = async |journal: &P::Journal| {
        let state = journal.state().await.unwrap();
        (state.first, state.last)
    };
    for (below, expected) in [(0, (1, 5)), (1, (1, 5)), (3, (3, 5)), (2, (3, 5)), (3, (3, 5))] {
        journal.trim(below).await.unwrap();
        assert_eq!(reach(&journal).await, expected, "below {below}");
    }
    assert_eq!(journal.get(2).await, Ok(None));
    assert_eq!(journal.get(3).await.unwrap().unwrap().body, b"3");
    journal.trim(1000).await.unwrap();
    assert_eq!(reach(&journal).await, (6, 5), "trimming beyond the end takes no sequences away");
    drop(journal);
    place.restart().await;
    let journal = place.open().await;
    assert_eq!(reach(&journal).await, (6, 5));
    assert_eq!(journal.append(numbered(1)).await, Ok(vec![6]));
}
