//! A worker for tests, driven by text: commands go in as text, and their results come out as text.

use super::super::*;
use crate::{quorum::People, rule::Rule};
use ledger::ident::Ident;
use std::sync::Arc;

pub(super) const DIGEST: &str = "daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4";
/// Time at which every approval in these tests begins, in seconds.
pub(super) const BEGIN: u64 = 1_800_000_000;

pub(super) fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

pub(super) fn seconds(seconds: u64) -> Nanos {
    Nanos(seconds * 1_000_000_000)
}

/// Two of finance, one of them also legal by this rule; an hour to approve, 15 minutes to execute, tokens of 2 minutes.
pub(super) const RULE: &str = r#"{"name":"large","quorum":{"at_least":2,"of":"finance"},"deny":1,
    "approve_within":3600,"execute_within":900,"report_within":600,"token_life":120,
    "channels":["payments"],"escalate":["boss"]}"#;

/// [`RULE`] with some members changed.
pub(super) fn rule(members: &str) -> Rule {
    let mut rule: serde_json::Value = serde_json::from_str(RULE).unwrap();
    let changed: serde_json::Map<_, _> = serde_json::from_str(members).unwrap();
    rule.as_object_mut().unwrap().extend(changed);
    serde_json::from_value(rule).unwrap()
}

/// `"ann:finance,legal bob:legal"`
pub(super) fn people(text: &str) -> People {
    let person = |text: &str| {
        let (name, groups) = text.split_once(':').unwrap();
        (ident(name), groups.split(',').map(str::to_owned).collect())
    };
    text.split_whitespace().map(person).collect()
}

pub(super) fn requested(rule: Rule) -> Requested {
    let opening = Opening { producer: ident("gw"), index: 7 };
    let (agent, tool) = ("agt-1".to_owned(), "bank".to_owned());
    let (action, digest) = ("transfer".to_owned(), DIGEST.to_owned());
    let call = Summary { agent, run: None, tool, action, digest };
    Requested::new(opening, call, rule, vec![ident("owen")], seconds(BEGIN)).unwrap()
}

/// One worker, with its world.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) state: State,
    pub(super) world: World,
    pub(super) requested: Requested,
    /// Messages in the journal, with leaf and time.
    pub(super) log: Vec<(Message, String, Nanos)>,
    /// How far the journal's clock is ahead of the worker's.
    pub(super) journal_ahead: Nanos,
}

impl Desk {
    pub(super) fn new(members: &str) -> Self {
        let requested = requested(rule(members));
        let world = World {
            now: seconds(BEGIN),
            rule: Some(requested.rule_digest.clone()),
            people: Arc::new(people(
                "ann:finance,legal bob:finance cid:finance dan:legal owen:finance",
            )),
            owners: vec![],
            policy: PolicyNow::Stands,
            clock: None,
        };
        let (log, journal_ahead) = (vec![], Nanos(1_000_000));
        Self { state: State::begin("opening"), world, requested, log, journal_ahead }
    }

    /// Appends one message to the journal.
    pub(super) fn post(&mut self, events: Vec<Event>) {
        let at = Nanos(self.world.now.0 + self.journal_ahead.0);
        let approval_id = ident("apr-1");
        let (n, prev) = (self.state.n + 1, self.state.leaf.clone());
        let message = Message { approval_id, n, prev, events, activates: None, decision: None };
        let leaf = format!("leaf-{}", message.n);
        self.state = fold(self.state.clone(), &message, &leaf, at);
        self.log.push((message, leaf, at));
    }

    /// Decides, appends, folds. Returns for example `"reviewed granted"`, `"review_rejected !stale"`, or `""`
    /// if it had no effect.
    pub(super) fn obey(&mut self, command: &Command) -> String {
        let answer = Approval::decide(&self.state, command);
        let mut said: Vec<_> = answer.events.iter().map(name).collect();
        said.extend(answer.refused.map(|why| format!("!{why}")));
        if !answer.events.is_empty() {
            let was_corrupt = self.state.corrupt;
            self.post(answer.events);
            assert_eq!(self.state.corrupt, was_corrupt, "L7: {command:?}");
        }
        said.join(" ")
    }

    /// `"ann approve via=slack"`, `"mint gw j1"`, `"at 1800"`, `"people ann:finance"`, `"phase"` …
    pub(super) fn say(&mut self, line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["at", second] => self.world.now = seconds(BEGIN + second.parse::<u64>().unwrap()),
            ["wait", second] => {
                self.world.now.0 += seconds(second.parse().unwrap()).0;
            }
            ["wait", "ms", millis] => {
                self.world.now.0 += millis.parse::<u64>().unwrap() * 1_000_000;
            }
            ["rule", "same"] => self.world.rule = Some(self.requested.rule_digest.clone()),
            ["rule", "gone"] => self.world.rule = None,
            ["rule", other] => self.world.rule = Some(other.to_owned()),
            ["policy", "stands"] => self.world.policy = PolicyNow::Stands,
            ["policy", "denies"] => self.world.policy = PolicyNow::Denies,
            ["policy", "unreadable"] => self.world.policy = PolicyNow::Unreadable,
            ["clock", index] => self.world.clock = Some(index.parse().unwrap()),
            ["people", ..] => self.world.people = Arc::new(people(&line["people".len()..])),
            ["owners", ref names @ ..] => {
                self.world.owners = names.iter().copied().map(ident).collect();
            }
            ["journal-ahead", millis] => {
                self.journal_ahead = Nanos(millis.parse::<u64>().unwrap() * 1_000_000);
            }
            ["phase"] => return format!("{} v{}", word(&self.state.phase), self.state.version),
            ["why"] => return self.state.end_reason.clone().unwrap_or_default(),
            ["next"] => {
                let next = next_tick(&self.state);
                return next.map_or("never".into(), |t| (t.0 / 1_000_000_000 - BEGIN).to_string());
            }
            _ => {
                let command = self.command(&words);
                return self.obey(&command);
            }
        }
        String::new()
    }

    /// Runs the lines one after the other.
    pub(super) fn run(&mut self, lines: &[impl AsRef<str>]) {
        for line in lines {
            self.say(line.as_ref());
        }
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let world = self.world.clone();
        match *words {
            ["request", ref cancel @ ..] => Command::Request {
                requested: Box::new(self.requested.clone()),
                cancel: cancel.first().map(|&code| code.to_owned()),
            },
            ["tick"] => Command::Tick { world, undeliverable: false },
            ["tick", "undeliverable"] => Command::Tick { world, undeliverable: true },
            ["cancel", reason] => {
                Command::Cancel { world, by: "producer:gw".into(), reason: reason.into() }
            }
            ["revoke", ref reason @ ..] => {
                Command::Revoke { world, by: "ann".into(), reason: reason.join(" ") }
            }
            ["mint", enforcer, ref jti @ ..] => Command::Mint {
                world,
                enforcer: ident(enforcer),
                jti: jti.concat(),
                kid: "key-1".into(),
            },
            ["redeem", enforcer, jti] => self.redeem(enforcer, jti, "", DIGEST),
            ["redeem", enforcer, jti, id] => self.redeem(enforcer, jti, id, DIGEST),
            ["redeem", enforcer, jti, id, digest] => self.redeem(enforcer, jti, id, digest),
            ["report", enforcer, outcome] => Command::Report {
                world,
                enforcer: ident(enforcer),
                outcome: serde_json::from_value(outcome.into()).unwrap(),
            },
            [who, "asks", ref digest @ ..] => Command::Ask {
                world,
                by: ident(who),
                via: Via::Web,
                auth: Auth { method: Method::Key, at: self.world.now },
                displayed_dig: digest.first().map_or(DIGEST, |digest| digest).to_owned(),
                evidence: 7,
            },
            ["answer", "gw" | "gw-2", number] => Command::Reply {
                world,
                question: number.parse().unwrap(),
                by: Replier::Gateway(ident(words[1])),
                evidence: 8,
            },
            ["answer", who, number] => Command::Reply {
                world,
                question: number.parse().unwrap(),
                by: Replier::Owner(ident(who)),
                evidence: 8,
            },
            [who, "approve" | "deny", ..] => self.review(who, words[1], &words[2..]),
            _ => panic!("no such command: {words:?}"),
        }
    }

    fn redeem(&self, enforcer: &str, jti: &str, redemption_id: &str, digest: &str) -> Command {
        Command::Redeem {
            world: self.world.clone(),
            enforcer: ident(enforcer),
            jti: jti.to_owned(),
            digest: digest.to_owned(),
            redemption_id: redemption_id.to_owned(),
        }
    }

    /// A review on the page after a sign-in one minute ago, with what is true now, unless options say
    /// otherwise.
    fn review(&self, who: &str, decision: &str, options: &[&str]) -> Command {
        let parse = |text: &str| serde_json::from_value(text.into()).unwrap();
        let (mut via, mut method) = (Via::Web, Method::Key);
        let (mut displayed_dig, mut version, mut age) = (DIGEST, self.state.version, 60);
        for option in options {
            let (name, value) = option.split_once('=').unwrap();
            match name {
                "via" => via = serde_json::from_value(value.into()).unwrap(),
                "method" => method = serde_json::from_value(value.into()).unwrap(),
                "dig" => displayed_dig = value,
                "version" => version = value.parse().unwrap(),
                "age" => age = value.parse().unwrap(),
                _ => panic!("no such option: {option}"),
            }
        }
        let now = self.world.now;
        Command::Review {
            world: self.world.clone(),
            by: (who != "nobody").then(|| ident(who)),
            decision: parse(decision),
            via,
            auth: Auth { method, at: Nanos(now.0 - seconds(age).0) },
            displayed_dig: displayed_dig.to_owned(),
            version,
            shown_at: now,
            evidence: None,
            reason: None,
            signed: None,
            together: None,
        }
    }
}

/// Output of a failing law. The commands beside it show the rest.
impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = String::from_utf8(ledger::canonical::of(&self.requested.rule)).unwrap();
        write!(f, "owners {:?}, rule {rule}, log", self.requested.owners)?;
        for (message, _, at) in &self.log {
            let events = String::from_utf8(ledger::canonical::of(&message.events)).unwrap();
            write!(f, "\n  {} {at} {events}", message.n)?;
        }
        Ok(())
    }
}

/// Name of the event on the wire, with its reason codes.
pub(super) fn name(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap();
    let why = value.get("why").or(value.get("reason")).and_then(|why| why.as_str());
    let name = value["type"].as_str().unwrap();
    why.map_or(name.to_owned(), |why| format!("{name}({why})"))
}

fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}
