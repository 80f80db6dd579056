//! Three deciders on one log, driven by chance like the workers: appends are lost, late and doubled, servers restart,
//! clocks jump, and policies are changed and sessions frozen while questions are asked.
//!
//! Judged: no verdict stands by a bundle that is not in force at its place; nothing frozen is allowed from its freeze on; whatever was told is in the log; no question
//! got two verdicts; every verdict can be computed again; and that work still gets done.

use super::{
    STEPS,
    cluster::{Cluster, SERVERS},
    ident,
    replica::Replica,
};
use crate::{deciding::Proposal, log::Log as _, setup::Setup};
use decider::{
    approval::AuditAll,
    policy::{self, Bundle, CONTENDED, Inquiry},
};
use ledger::{
    canonical,
    entry::{Kind, Payload, View},
    event::Verdict,
    json,
    keyring::Keyring,
    log::merkle::leaf_hash,
    post::{Freezes, Policies, stands},
    system::{
        By, Command as ByCommand, KeyId,
        freeze::{Freeze, FreezeBody, FreezeScope},
        policy as on_wire,
    },
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const RULES: &str = r#"
[[rule]]
name = "policies"
unreviewed = true
quorum = {at_least = 1, of = "policy"}
[rule.match]
tool = "countersign"

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "policy"}
owner = "none"
"#;
const PEOPLE: &str = r#"
[[person]]
id = "p-ann"
name = "Ann"
groups = ["policy"]
[[person]]
id = "p-bob"
name = "Bob"
groups = ["policy"]
"#;
const AGENTS: &str = "language: 1\nagents:\n  - {id: bot, owners: [p-ann]}\n";
const TOOLS: &str =
    "language: 1\ntools:\n  - {name: bank, actions: [{name: transfer, effect: write}]}\n";
const QUESTIONS: u64 = 24;
const SCHEDULES: u64 = 60;

/// A policy whose allow ends at an amount.
fn payments(at_most: u32) -> String {
    format!(
        "language: 1\npolicy: payments\nclauses:\n  - id: small\n    agents: [bot]\n    tool: bank\n    actions: [transfer]\n    when: {{params: {{/amount: {{integer: {{at_most: {at_most}}}}}}}}}\n    then: allow\n"
    )
}

/// What a caller was told of a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    question: u64,
    index: u64,
    verdict: &'static str,
}

struct Simulation {
    cluster: Cluster<Told>,
    /// Leaf index, version and digest of each bundle.
    bundles: Vec<(u64, u64, String)>,
    told: Vec<Told>,
    /// The last question.
    asked: u64,
}

fn question(number: u64) -> serde_json::Value {
    json!({"id": format!("q-{number}"), "source": "/gw", "nonce": format!("nonce-{number}"),
        "agent": {"id": "bot", "session": format!("s-{number}")},
        "tool": {"name": "bank", "action": "transfer"}, "params": {"amount": 100 + number % 2 * 100}})
}

impl Simulation {
    fn new(seed: u64, keyring: &Arc<Keyring>) -> Self {
        let setup = Setup::of_files(("rules.toml", RULES), ("people.toml", PEOPLE)).unwrap();
        let cluster = Cluster::new(seed, keyring, setup);
        let mut bundles = Vec::new();
        for (version, at_most) in [(1, 150), (2, 250)] {
            let texts = [
                ("agents.yaml", AGENTS.to_owned()),
                ("policies/payments.yaml", payments(at_most)),
                ("tools.yaml", TOOLS.to_owned()),
            ];
            let (index, digest) = published(&cluster.replicas[0], &texts);
            bundles.push((index, version, digest));
        }
        Self { cluster, bundles, told: Vec::new(), asked: 0 }
    }

    /// A server reads what was posted since, opens what it finds, and carries out what is granted.
    fn follow(&mut self, at: usize) {
        follow(&mut self.cluster, at);
    }

    fn ask(&mut self, at: usize) {
        let number = self.cluster.chance(QUESTIONS);
        self.asked = number;
        let desk = Arc::clone(&self.cluster.processes[at].desk);
        self.cluster.processes[at].tasks.push(Box::pin(async move {
            let text = canonical::of(&question(number));
            let inquiry = Inquiry::read(json::parse(&text).unwrap()).unwrap();
            let told = desk.decide(&ident("gw"), &[inquiry]).await.ok()?.pop()?.ok()?;
            Some(Told {
                question: number,
                index: told.index()?,
                verdict: told.ruling.verdict.as_str(),
            })
        }));
    }

    fn propose(&mut self, at: usize) {
        let bundle = self.bundles[self.cluster.chance(2) as usize].clone();
        let replaces = self.cluster.replicas[at].policies().in_force.map(|bundle| bundle.digest);
        let proposal = proposal(bundle, replaces);
        let clerk = self.cluster.processes[at].clerk.clone();
        self.cluster.processes[at].tasks.push(Box::pin(async move {
            drop(clerk.propose(&proposal, &[ident("p-ann")], None).await);
            None
        }));
    }

    /// Somebody freezes the session of a question for good: of the last one, whose verdict may be on the way, or of another.
    fn freeze(&mut self, at: usize) {
        let key = KeyId::new("0123456789abcdef").unwrap();
        let by = By::Key { key, person: None, approval: None };
        let number =
            if self.cluster.chance(4) > 0 { self.asked } else { self.cluster.chance(QUESTIONS) };
        let id = format!("s-{number}");
        let scope = FreezeScope::Session;
        let freeze = Freeze { scope, id, producer: None, decision: None, by, reason: None };
        let body = canonical::of(&FreezeBody::Freeze(freeze));
        if !self.cluster.replicas[at].append_now("system.freeze", &body) {
            // Somebody asks again, as a client of the server would.
            self.cluster.replicas[at].post(u64::MAX >> 1);
        }
    }

    fn step(&mut self) {
        let at = self.cluster.chance(SERVERS) as usize;
        match self.cluster.chance(1_000) {
            0..=2 => self.cluster.restart(at),
            3..=5 => self.cluster.set_clock(at),
            6..=14 => self.cluster.pass(&[1, 5, 30, 70]),
            15..=60 => self.cluster.world.lock().unwrap().deliver_late(),
            61..=250 => self.cluster.post(at),
            251..=350 => self.follow(at),
            351..=365 => self.propose(at),
            366..=470 => self.ask(at),
            471..=478 => self.freeze(at),
            _ => self.told.extend(self.cluster.poll(at)),
        }
    }

    fn judge(&self) -> BTreeMap<String, u64> {
        let entries = self.cluster.entries();
        let (mut policies, mut audit) = (Policies::default(), AuditAll::default());
        let (mut freezes, mut frozen) = (Freezes::default(), BTreeSet::new());
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut count = |name: &str| *counts.entry(name.to_owned()).or_default() += 1;
        for (index, entry) in (0..).zip(&entries) {
            let view = View::parse(entry).unwrap();
            audit.take(index, entry, &view, |at| entries.get(at as usize).cloned()).unwrap();
            match view.kind {
                Kind::Policy => {
                    assert!(policies.note(index, &view));
                    if view.text(&["event", "op"]) == Some("activate") {
                        count("activated");
                    }
                }
                Kind::Void => count(view.text(&["event", "reason"]).unwrap()),
                Kind::Freeze => {
                    assert!(freezes.note(index, &view));
                    frozen.insert(view.text(&["event", "id"]).unwrap().to_owned());
                    count("a freeze");
                }
                Kind::Decision if view.is_ours() => {
                    let data = view.at(&["event", "data"]).unwrap();
                    let producer = view.text(&["producer"]).unwrap();
                    assert_eq!(
                        stands(producer, data, (&policies, &freezes)),
                        Ok(()),
                        "entry {index}"
                    );
                    if producer == "gw" {
                        let session = view.text(&["event", "data", "agent", "session"]).unwrap();
                        let allowed = view.text(&["event", "data", "verdict"]) == Some("allow");
                        assert!(!allowed || !frozen.contains(session), "entry {index}");
                        count(self.replayed(index, entry, &view, &policies));
                    }
                }
                _ => {}
            }
        }
        for told in &self.told {
            self.holds(told, &entries);
            count("told");
        }
        counts
    }

    /// Computes a verdict again. Returns it.
    fn replayed(
        &self,
        index: u64,
        entry: &[u8],
        view: &View<'_>,
        policies: &Policies,
    ) -> &'static str {
        if view.text(&["event", "data", "reason", "code"]) == Some(CONTENDED) {
            return CONTENDED;
        }
        if view.text(&["event", "data", "reason", "code"]) == Some("frozen") {
            return "frozen";
        }
        let payload: Payload = self.cluster.replicas[0].payload(index, entry).unwrap();
        let loaded = policies.in_force.as_ref().map(|bundle| {
            crate::deciding::load(&*self.cluster.replicas[0], bundle.bundle, &policies.lists)
                .unwrap()
        });
        let bundle = loaded.as_ref().map(|loaded| (&loaded.bundle, loaded.version));
        let ruling = policy::replay(view, &payload.values(), bundle).unwrap();
        match ruling.verdict {
            Verdict::Allow => "allow",
            _ => "deny",
        }
    }

    /// What was told stands in the log, and is all that was told of its question.
    fn holds(&self, told: &Told, entries: &[Vec<u8>]) {
        let entry = View::parse(&entries[told.index as usize]).unwrap();
        let stands = entry.text(&["event", "id"]) == Some(&format!("q-{}", told.question))
            && entry.text(&["event", "data", "verdict"]) == Some(told.verdict)
            && entry.is_ours();
        assert!(stands, "{told:?}");
        let other = self.told.iter().find(|t| t.question == told.question && t.index != told.index);
        assert_eq!(other, None, "two verdicts of one question: {told:?}");
    }
}

/// Publishes the files of a bundle, and the bundle. Returns its leaf index and digest.
pub fn published(replica: &Replica, texts: &[(&str, String)]) -> (u64, String) {
    let by = By::Command { command: ByCommand::Init };
    let source = |(path, text): &'_ (&'_ str, String)| ((*path).to_owned(), text.clone());
    let files: Vec<(String, String)> = texts.iter().map(source).collect();
    let bundle = Bundle::read_again(&files).unwrap();
    let parts = bundle.parts().iter().zip(texts).map(|(part, (path, text))| {
        let index = replica.extent().size;
        let (sha256, content) = (part.sha256.clone(), text.clone());
        let body = on_wire::PolicyBody::Part { sha256, content, by: by.clone() };
        replica.begin("system.policy", &canonical::of(&body));
        let (path, sha256, bytes) = ((*path).to_owned(), part.sha256.clone(), part.bytes);
        on_wire::PartAt { path, sha256, bytes, index }
    });
    let (parts, digest) = (parts.collect(), bundle.digest().to_owned());
    let index = replica.extent().size;
    let (contributors, reason, language) = (Vec::new(), None, policy::LANGUAGE);
    let (by, named) = (by.clone(), digest.clone());
    let form = on_wire::BundleForm { digest: named, language, parts, by, contributors, reason };
    replica.begin("system.policy", &canonical::of(&on_wire::PolicyBody::Bundle(form)));
    (index, digest)
}

/// The question about a bundle: its leaf index, version and digest.
pub fn proposal(
    (bundle, version, digest): (u64, u64, String),
    replaces: Option<String>,
) -> Proposal {
    let (changes, tests, simulation) = (Vec::new(), String::new(), None);
    Proposal { bundle, version, digest, replaces, widens: true, changes, tests, simulation }
}

/// A server reads what was posted since, opens what it finds, and carries out what is granted.
pub fn follow<T: 'static>(cluster: &mut Cluster<T>, at: usize) {
    cluster.follow(at);
    let server = &mut cluster.processes[at];
    while let Some(id) = server.commands.reader.registry.take_own() {
        let clerk = server.clerk.clone();
        server.tasks.push(Box::pin(async move {
            if clerk.carry_out(&id).await.is_err() {
                clerk.commands.reader.registry.add_own(id);
            }
            None
        }));
    }
}

/// A cluster in which these policies are in force, and from then on everything may fail.
pub fn cluster_with<T: 'static>(
    seed: u64,
    keyring: &Arc<Keyring>,
    texts: &[(&str, String)],
) -> Cluster<T> {
    let setup = Setup::of_files(("rules.toml", RULES), ("people.toml", PEOPLE)).unwrap();
    let mut cluster = Cluster::new(seed, keyring, setup);
    let (bundle, digest) = published(&cluster.replicas[0], texts);
    cluster.world.lock().unwrap().faults = false;
    let clerk = cluster.processes[0].clerk.clone();
    let proposal = proposal((bundle, 1, digest), None);
    cluster.processes[0].tasks.push(Box::pin(async move {
        drop(clerk.propose(&proposal, &[ident("p-ann")], None).await);
        None
    }));
    for _ in 0..400 {
        cluster.post(0);
        follow(&mut cluster, 0);
        assert!(cluster.poll(0).is_none(), "nobody asked yet");
    }
    assert!(cluster.replicas[0].policies().in_force.is_some(), "the bundle is in force");
    cluster.world.lock().unwrap().faults = true;
    cluster
}

/// Everything works from now on, and the servers go on until nothing is left to do. Returns what callers were told.
pub fn settled<T: 'static>(cluster: &mut Cluster<T>) -> Vec<T> {
    let mut told = Vec::new();
    for _ in 0..200 {
        for at in 0..SERVERS as usize {
            cluster.repair(at);
            follow(cluster, at);
            for _ in 0..8 {
                told.extend(cluster.poll(at));
            }
        }
    }
    told
}

/// A gateway reports what came of a decision: `rest` beside the decision. `false`: no server has it now.
pub fn reported<T: 'static>(
    cluster: &Cluster<T>,
    (index, id): (u64, String),
    rest: &serde_json::Value,
) -> bool {
    let found = cluster.replicas.iter().find_map(|replica| replica.entry(index).unwrap());
    let Some(entry) = found else { return false };
    let mut data = rest.clone();
    data["decision"] = json!({"index": index, "leaf_hash": leaf_hash(&entry).to_string()});
    let event = json!({"specversion": "1.0", "id": id, "source": "/gw",
        "type": "dev.countersign.execution.v1", "time": "2027-01-15T08:00:00Z", "data": data});
    cluster.world.lock().unwrap().publish(event.to_string().into_bytes());
    true
}

fn schedule(seed: u64, keyring: &Arc<Keyring>) -> BTreeMap<String, u64> {
    let mut simulation = Simulation::new(seed, keyring);
    for _ in 0..STEPS {
        simulation.step();
    }
    let told = settled(&mut simulation.cluster);
    simulation.told.extend(told);
    let mut counts = simulation.judge();
    simulation.cluster.count_faults(&mut counts);
    counts
}

#[test]
fn p14_p15_p17_three_deciders_on_a_bad_network() {
    let counts = super::all_schedules(SCHEDULES, schedule);
    if super::seeds(SCHEDULES).len() > 1 {
        let enough = |name: &str, least: u64| {
            assert!(counts.get(name).is_some_and(|count| *count >= least), "{name}: {counts:?}");
        };
        for name in ["lost", "late", "doubled", "answer lost", "told", "allow", "deny", "activated"]
        {
            enough(name, 50);
        }
        // Rarer, and what this is about: a bundle that changed between judging and posting.
        enough("bundle", 3);
        enough("frozen", 20);
        enough("freeze", 1);
    }
}
