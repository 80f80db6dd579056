//! The conformance suite on a store of its own, and what only this adapter can get wrong.

use super::*;
use crate::{
    chores, fsck,
    ident::Ident,
    journal::{
        Append, Error, Followed, Journal, State,
        conformance::{Place, Port, conformance, follow, message, subject},
    },
    ledger::{self, Journals, Ledger, Options},
    post::Outcome,
    store::{
        Family, LogNumber,
        rocks::{Compression, Opening, Rocks},
    },
    system,
};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct EmbeddedPlace {
    folder: TempDir,
    identity: String,
    journal: Option<Embedded>,
}

fn opening(folder: &TempDir) -> Opening {
    let path = folder.path().join("db");
    Opening { path, create: true, compression: Compression::Full, files_max: 64, record: None }
}

impl EmbeddedPlace {
    fn opened(&self) -> Embedded {
        let store = Arc::new(Rocks::open(&opening(&self.folder)).expect("a store"));
        Embedded::alone(store, LogNumber(7), 1, self.identity.clone())
    }

    fn new(identity: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut place = Self { folder, identity: identity.into(), journal: None };
        place.journal = Some(place.opened());
        place
    }
}

impl Place for EmbeddedPlace {
    type Journal = Embedded;

    async fn make() -> Self {
        Self::new("embedded:1")
    }

    async fn open(&self) -> Embedded {
        self.journal.clone().expect("open between calls")
    }

    async fn restart(&mut self) {
        // The last handle closes the store; RocksDB's lock notices another one.
        self.journal = None;
        self.journal = Some(self.opened());
    }

    async fn make_anew(&mut self) {
        self.journal = None;
        *self = Self::new("embedded:2");
    }
}

impl Port for Embedded {
    async fn state(&self) -> Result<State, Error> {
        self.state()
    }
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<u64>, Error> {
        self.append(&batch)
    }
    async fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        self.get(seq)
    }
    async fn last_on(&self, subject: &Subject) -> Result<Option<Message>, Error> {
        self.last_on(subject)
    }
    async fn read_subject(&self, subject: &Subject) -> Result<Vec<Message>, Error> {
        self.read_subject(subject)
    }
    async fn follow(&self, from: u64, sink: mpsc::Sender<Followed>) -> Result<(), Error> {
        self.follow(from, sink).await
    }
    async fn erase(&self, seq: u64) -> Result<bool, Error> {
        self.erase(seq)
    }
    async fn trim(&self, below: u64) -> Result<(), Error> {
        self.trim(below)
    }
}

conformance!(EmbeddedPlace);

#[test]
fn messages_read_back() {
    let headers = Headers { receipt_to: Some("x".into()), ..Headers::default() };
    let subject = subject("decisions.gw-1");
    let draft = Draft { subject: Some(&subject), headers: &headers, body: b"body", expected: None };
    let bytes = encode(Nanos(7), &draft);
    let body = b"body".to_vec();
    let expected = Message { seq: 3, time: Nanos(7), subject: Some(subject), headers, body };
    assert_eq!(decode(3, &bytes), Some(expected));
    assert_eq!(decode(3, &bytes[..9]), None);
}

fn keys(journal: &Embedded, family: Family) -> usize {
    let mut count = 0;
    journal
        .store
        .scan(family, &[], |_, _| {
            count += 1;
            true
        })
        .expect("a scan");
    count
}

#[test]
fn the_index_goes_with_its_messages() {
    let place = EmbeddedPlace::new("embedded:1");
    let journal = place.journal.clone().unwrap();
    let batch: Vec<Append> = ["approvals.a", "decisions.gw-1", "approvals.a", "system.access"]
        .map(|to| message(to, "x"))
        .into();
    journal.append(&batch).unwrap();
    assert_eq!(keys(&journal, Family::SubjectIndex), 3);
    journal.erase(1).unwrap();
    assert_eq!(keys(&journal, Family::SubjectIndex), 2);
    journal.trim(4).unwrap();
    assert_eq!((keys(&journal, Family::SubjectIndex), keys(&journal, Family::Journal)), (1, 1));
    let expecting = |expected| Append { expected: Some(expected), ..message("approvals.a", "y") };
    assert_eq!(journal.append(&[expecting(0)]), Err(Error::Conflict));
    assert_eq!(journal.append(&[expecting(3)]), Ok(vec![5]), "as the signature, which names 3");
}

#[test]
fn journals_do_not_meet() {
    let place = EmbeddedPlace::new("embedded:1");
    let journal = place.journal.clone().unwrap();
    let store = Arc::clone(&journal.store);
    let other = Embedded::alone(store, LogNumber(8), 1, "embedded:2".into());
    let next = journal.in_epoch(2);
    for journal in [&journal, &other, &next] {
        assert_eq!(journal.append(&[message("system.access", "x")]), Ok(vec![1]));
    }
    other.append(&[message("decisions.gw-1", "x")]).unwrap();
    journal.trim(9).unwrap();
    let reach = |journal: &Embedded| journal.state().map(|state| (state.first, state.last));
    assert_eq!(
        (reach(&journal), reach(&next), reach(&other)),
        (Ok((2, 1)), Ok((1, 1)), Ok((1, 2)))
    );
    assert_eq!(journal.last_on(&subject("decisions.gw-1")), Ok(None));
    assert_eq!(next.read_subject(&subject("system.access")).unwrap().len(), 1);
}

#[test]
fn a_logs_journal_is_appended_to_by_its_writer_only() {
    let place = EmbeddedPlace::new("embedded:1");
    let store = Arc::clone(&place.journal.as_ref().unwrap().store);
    let journal = Embedded::of_log(store, LogNumber(7), 1, "embedded:1".into());
    assert!(matches!(journal.append(&[message("system.access", "x")]), Err(Error::Halt(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_writer_commits_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        store: opening(&folder),
        keys_dir: folder.path().join("keys"),
        guard_path: folder.path().join("guard"),
        public_host: "log.example.com".into(),
        commit_messages_max: 1000,
        clock: crate::clock::wall_clock,
        one_signer: true,
        replicas: None,
    };
    let ledger = Ledger::open(options, &Journals::Embedded).await.unwrap();
    let name = Ident::new("acme").unwrap();
    let by = system::By::Command { command: system::Command::Init };
    let (tenant, genesis) = ledger.create_tenant(&name, None, "embedded:1", by).unwrap();
    let Journal::Embedded(journal) = tenant.journal().clone() else { panic!("not embedded") };
    let mut following = follow(&journal, 1);
    assert_eq!(following.connected().await.last, 0);
    let genesis = ledger.genesis_message(&tenant, &genesis).unwrap();
    ledger.publish(&tenant, vec![genesis]).await.unwrap();
    assert_eq!(following.messages(1).await[0].subject, Some(subject("system.genesis")));

    let evidence = subject("evidence.apr-1");
    let publish = || ledger.publish_signed(&tenant, &evidence, b"{}");
    assert_eq!(publish().await.unwrap().outcomes, [Outcome::Posted { index: 1 }]);
    assert_eq!(following.messages(1).await[0], journal.last_on(&evidence).unwrap().unwrap());
    // The signature names the last posted one, which need not be there any more; so does compare-and-swap.
    journal.trim(3).unwrap();
    assert_eq!(journal.state().map(|state| (state.first, state.last)), Ok((3, 2)));
    assert_eq!(publish().await.unwrap().outcomes, [Outcome::Posted { index: 2 }]);
    assert_eq!(following.messages(1).await[0].seq, 3);
    let stale = Append { expected: Some(2), ..message("evidence.apr-1", "{}") };
    let refused = ledger.publish(&tenant, vec![stale]).await.map(|batch| batch.ids);
    assert!(matches!(refused, Err(ledger::Error::Journal(Error::Conflict))));
    following.stop().await;
    for _ in 0..5 {
        publish().await.unwrap();
    }
    journal.erase(5).unwrap();
    // Each time an entry says so first: its message is the last one, which stays.
    for (hours, first, last) in [(1, 3, 8), (0, 8, 9), (0, 9, 10)] {
        let retention = Duration::from_secs(3600 * hours);
        assert_eq!(chores::trim(&ledger, &tenant, retention, None).await.unwrap(), first);
        assert_eq!(journal.state().map(|state| (state.first, state.last)), Ok((first, last)));
    }
    let log =
        ledger::load_log(ledger.store(), &name, tenant.number, tenant.origin.clone()).unwrap();
    assert_eq!(fsck::check(ledger.store(), &log, None, |_| {}).unwrap().findings, [""; 0]);
}
