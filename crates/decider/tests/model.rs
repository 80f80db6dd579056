//! Every order of events: three deciders race on one approval, with and without compare-and-swap.
//!
//! A decider decides on what it has read, and appends later. In between the others may append, the rule may
//! change and time may pass. With compare-and-swap, an append that is not based on the last message is
//! refused. The checker visits every reachable state. Without compare-and-swap it must find the double
//! redemption, or it would prove nothing.

use decider::{
    Decider,
    approval::{
        Approval, Auth, Choice, Command, Event, Message, Method, Opening, Outcome, Phase,
        PolicyNow, Requested, State, Summary, Via, World, fold,
    },
    quorum::People,
    rule::Rule,
};
use ledger::{ident::Ident, time::Nanos};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Number of deciders that may have a decision that is not appended yet.
const DECIDERS: usize = 3;
/// Seconds that can pass: enough for every time of [`RULE`], one after the other.
const TIME_MAX: u64 = 5;
/// Number of recorded refusals that are explored.
const REFUSALS_MAX: u32 = 1;
const DIGEST: &str = "daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4";
const RULE: &str = r#"{"name":"r","quorum":{"at_least":2,"of":"finance"},"deny":1,"approve_within":2,
    "execute_within":2,"report_within":1,"token_life":1}"#;

/// A command on the approval.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    Approve(&'static str),
    Deny,
    Tick,
    Cancel,
    Revoke,
    Mint,
    Redeem(&'static str),
    RedeemAnother,
    Report,
}

const WISHES: [Wish; 12] = [
    Wish::Approve("ann"),
    Wish::Approve("bob"),
    Wish::Approve("owen"),
    Wish::Deny,
    Wish::Tick,
    Wish::Cancel,
    Wish::Revoke,
    Wish::Mint,
    Wish::Redeem("r1"),
    Wish::Redeem("r2"),
    Wish::RedeemAnother,
    Wish::Report,
];

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Decide(Wish),
    Append(usize),
    TimePasses,
    RuleChanges,
}

/// Decided after `base` messages, not appended yet.
#[derive(Clone, Debug, PartialEq)]
struct Decided {
    base: u64,
    events: Vec<Event>,
    /// The same as text, for order and identity.
    text: String,
}

/// The journal, the decisions that wait to be appended, and the answers that callers got.
#[derive(Clone, Debug, PartialEq)]
struct Race {
    cas: bool,
    now: u64,
    rule_changed: bool,
    truth: State,
    decided: Vec<Decided>,
    redemptions: usize,
    /// `granted`, `denied`, and answers that must never occur: `late`, `after an end`.
    told: BTreeSet<&'static str>,
}

/// Two races are equal if the same can still happen. Numbers of messages do not count, nor times of reviews,
/// nor, with compare-and-swap, the content of stale decisions, because they are only refused.
impl Hash for Race {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let state = &self.truth;
        (self.now, self.rule_changed, state.phase, state.refusals, state.corrupt).hash(hasher);
        for review in &state.reviews {
            (&review.by, review.decision).hash(hasher);
        }
        let token = state.token.as_ref().map(|token| (&token.jti, token.exp));
        (state.execution_deadline, token, state.mints).hash(hasher);
        (&state.redeemed, state.report, state.reminded).hash(hasher);
        for decided in &self.decided {
            let fresh = !self.cas || decided.base == state.n;
            fresh.then_some((state.n - decided.base, &decided.text)).hash(hasher);
        }
        (self.redemptions, &self.told).hash(hasher);
    }
}

fn ident(text: &str) -> Ident {
    Ident::new(text).expect("a name")
}

fn seconds(seconds: u64) -> Nanos {
    Nanos((1_800_000_000 + seconds) * 1_000_000_000)
}

fn requested() -> Requested {
    let rule: Rule = serde_json::from_str(RULE).expect("a rule");
    let (agent, tool) = ("agt-1".to_owned(), "bank".to_owned());
    let (action, digest) = ("transfer".to_owned(), DIGEST.to_owned());
    let call = Summary { agent, run: None, tool, action, digest };
    let opening = Opening { producer: ident("gw"), index: 1 };
    Requested::new(opening, call, rule, vec![ident("owen")], seconds(0)).expect("keeps the limits")
}

impl Race {
    fn begin(cas: bool) -> Self {
        let mut race = Self {
            cas,
            now: 0,
            rule_changed: false,
            truth: State::begin("leaf-0"),
            decided: vec![],
            redemptions: 0,
            told: BTreeSet::new(),
        };
        let command = Command::Request { requested: Box::new(requested()), cancel: None };
        race.append(0, Approval::decide(&race.truth, &command).events);
        race
    }

    fn world(&self) -> World {
        let requested = self.truth.requested.as_ref().expect("it has begun");
        let rule = if self.rule_changed { "other" } else { &requested.rule_digest };
        let person = |name| (ident(name), ["finance".to_owned()].into());
        World {
            now: seconds(self.now),
            rule: Some(rule.to_owned()),
            people: Arc::new(People::from(["ann", "bob", "cid", "owen"].map(person))),
            owners: vec![],
            policy: PolicyNow::Stands,
            clock: None,
        }
    }

    fn command(&self, wish: Wish) -> Command {
        let (world, enforcer, reason) = (self.world(), ident("gw"), "x".to_owned());
        match wish {
            Wish::Approve(by) => self.review(by, Choice::Approve),
            Wish::Deny => self.review("cid", Choice::Deny),
            Wish::Tick => Command::Tick { world, undeliverable: false },
            Wish::Cancel => Command::Cancel { world, by: "producer:gw".to_owned(), reason },
            Wish::Revoke => Command::Revoke { world, by: "ann".to_owned(), reason },
            Wish::Mint => {
                let jti = format!("j{}", self.truth.mints + 1);
                Command::Mint { world, enforcer, jti, kid: "key".to_owned() }
            }
            Wish::Redeem(id) => self.redeem(DIGEST, id),
            Wish::RedeemAnother => self.redeem("of another call", "r1"),
            Wish::Report => Command::Report { world, enforcer, outcome: Outcome::Succeeded },
        }
    }

    fn review(&self, by: &str, decision: Choice) -> Command {
        Command::Review {
            world: self.world(),
            by: Some(ident(by)),
            decision,
            via: Via::Web,
            auth: Auth { method: Method::Key, at: seconds(0) },
            displayed_dig: DIGEST.to_owned(),
            version: self.truth.version,
            shown_at: seconds(0),
            evidence: None,
            reason: None,
            signed: None,
            together: None,
        }
    }

    fn redeem(&self, digest: &str, redemption_id: &str) -> Command {
        Command::Redeem {
            world: self.world(),
            enforcer: ident("gw"),
            jti: self.truth.token.as_ref().map_or("none", |token| &token.jti).to_owned(),
            digest: digest.to_owned(),
            redemption_id: redemption_id.to_owned(),
        }
    }

    /// The journal accepts or refuses the message; the caller gets the result.
    fn append(&mut self, base: u64, events: Vec<Event>) {
        if self.cas && base != self.truth.n {
            return; // refused: whoever it was reads again and decides anew
        }
        let (before, at) = (self.truth.clone(), seconds(self.now));
        let (n, prev) = (base + 1, format!("leaf-{base}"));
        let message = Message {
            approval_id: ident("apr-1"),
            n,
            prev,
            events,
            activates: None,
            decision: None,
        };
        self.truth = fold(before.clone(), &message, &format!("leaf-{n}"), at);
        for event in &message.events {
            self.tell(event, &before, at);
        }
    }

    fn tell(&mut self, event: &Event, before: &State, at: Nanos) {
        // With compare-and-swap the log is read again first: by the journal's time the message may have come
        // too late.
        let became = |phase| !self.cas || (self.truth.phase == phase && before.phase != phase);
        let late = |deadline| (at >= deadline).then_some("late");
        match event {
            Event::Redeemed { .. } if became(Phase::Redeemed) => {
                self.redemptions += 1;
                self.told.extend(before.execution_deadline.and_then(late));
                self.told.extend((!before.phase.is_open()).then_some("after an end"));
            }
            Event::Granted { .. } if became(Phase::Granted) => {
                self.told.insert("granted");
                self.told.extend(late(requested().approval_deadline));
            }
            Event::Denied { .. } if became(Phase::Denied) => {
                self.told.insert("denied");
            }
            _ => {}
        }
    }
}

struct Races {
    cas: bool,
}

impl Model for Races {
    type State = Race;
    type Action = Step;

    fn init_states(&self) -> Vec<Race> {
        vec![Race::begin(self.cas)]
    }

    fn actions(&self, race: &Race, steps: &mut Vec<Step>) {
        steps.extend((0..race.decided.len()).map(Step::Append));
        if race.decided.len() < DECIDERS {
            steps.extend(WISHES.map(Step::Decide));
        }
        if race.now < TIME_MAX {
            steps.push(Step::TimePasses);
        }
        if !race.rule_changed {
            steps.push(Step::RuleChanges);
        }
    }

    fn next_state(&self, race: &Race, step: Step) -> Option<Race> {
        let mut race = race.clone();
        match step {
            Step::TimePasses => race.now += 1,
            Step::RuleChanges => race.rule_changed = true,
            Step::Append(at) => {
                let Decided { base, events, .. } = race.decided.remove(at);
                race.append(base, events);
            }
            Step::Decide(wish) => {
                let events = Approval::decide(&race.truth, &race.command(wish)).events;
                if events.is_empty() {
                    return None;
                }
                let text = format!("{events:?}");
                race.decided.push(Decided { base: race.truth.n, events, text });
                race.decided.sort_by(|a, b| (a.base, &a.text).cmp(&(b.base, &b.text)));
            }
        }
        Some(race)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn phase(race: &Race) -> Phase {
            race.truth.phase
        }
        fn told(race: &Race, what: &str) -> bool {
            race.told.contains(what)
        }
        let mut properties = vec![
            Property::always(TWICE, |_, race: &Race| race.redemptions <= 1),
            Property::always("L2 nothing is spent after an end", |_, race| {
                !told(race, "after an end")
            }),
            Property::always("granted or denied", |_, race| {
                !(told(race, "granted") && told(race, "denied"))
            }),
            Property::always("L9 nothing after a deadline", |_, race| !told(race, "late")),
        ];
        if self.cas {
            properties.extend([
                Property::always("L7 what is decided is accepted", |_, r: &Race| !r.truth.corrupt),
                Property::sometimes("denied", |_, race| told(race, "denied")),
                Property::sometimes("completed", |_, race| phase(race) == Phase::Completed),
                Property::sometimes("unknown", |_, race| phase(race) == Phase::Unknown),
                Property::sometimes("lapsed", |_, race| phase(race) == Phase::Lapsed),
                Property::sometimes("revoked", |_, race| phase(race) == Phase::Revoked),
                Property::sometimes("superseded", |_, race| phase(race) == Phase::Superseded),
                Property::sometimes("a second token is spent", |_, race: &Race| {
                    race.truth.redeemed.is_some() && race.truth.mints == 2
                }),
            ]);
        }
        properties
    }

    fn within_boundary(&self, race: &Race) -> bool {
        race.truth.refusals <= REFUSALS_MAX
    }
}

const TWICE: &str = "L1 spent at most once";

#[test]
fn p8_with_compare_and_swap_no_order_of_events_breaks_a_law() {
    let checker = Races { cas: true }.checker().threads(2).spawn_bfs().join();
    println!("{} states, {} of them distinct", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn p8_without_compare_and_swap_the_checker_finds_the_double_redemption() {
    let found = HasDiscoveries::AnyOf([TWICE].into());
    let checker = Races { cas: false }.checker().threads(2).finish_when(found).spawn_bfs().join();
    let path = checker.discovery(TWICE).expect("a double redemption");
    println!("{} states until it was found: {:?}", checker.state_count(), path.into_actions());
}
