//! L1 to L12: laws that hold for every approval, for all commands and all logs.

use super::desk::{self, DIGEST, Desk, ident, seconds};
use crate::{approval::*, quorum::tests::met_by_trying};
use ledger::canonical;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

const RULES: [&str; 4] = [
    "{}",
    r#"{"quorum":{"at_least":1,"of":"finance"},"execute_within":300}"#,
    r#"{"quorum":{"all":[{"at_least":1,"of":"finance"},{"at_least":1,"of":"legal"}]},"deny":2,"step_up":300}"#,
    r#"{"quorum":{"any":[{"at_least":2,"of":"legal"},{"at_least":2,"of":"finance"}]},"escalate":[]}"#,
];

/// Lines for `Desk::say`, chosen so that most approvals get far.
fn line() -> impl Strategy<Value = String> {
    let who = select(vec!["ann", "ann", "bob", "cid", "dan", "owen", "zed", "nobody"]);
    let shown = select(
        &["", "", "", " dig=daHInlbk", " dig=other", " version=0", " via=slack", " age=301"][..],
    );
    let people = select(
        &[
            "ann:finance,legal bob:finance cid:finance dan:legal owen:finance",
            "ann:finance bob:finance,legal cid:finance dan:legal",
            "bob:finance dan:legal",
        ][..],
    );
    let (enforcer, jti) =
        (select(vec!["gw", "gw", "gw", "gw-2"]), select(vec!["j1", "j1", "j2", "j3"]));
    let (id, digest) = (select(vec!["r1", "r1", "r2"]), select(vec!["", "", " other"]));
    prop_oneof![
        8 => (who.clone(), shown.clone()).prop_map(|(who, shown)| format!("{who} approve{shown}")),
        1 => (who, shown).prop_map(|(who, shown)| format!("{who} deny{shown}")),
        3 => select(vec![1, 60, 119, 120, 299, 900, 1800]).prop_map(|n| format!("wait {n}")),
        1 => select(vec![250, 500, 750]).prop_map(|n| format!("wait ms {n}")),
        1 => select(vec!["rule same", "rule same", "rule other", "rule gone"]).prop_map(str::to_owned),
        1 => people.prop_map(|people| format!("people {people}")),
        1 => select(vec!["owners", "owners bob", "owners ann cid"]).prop_map(str::to_owned),
        1 => select(vec!["journal-ahead 1", "journal-ahead 1000"]).prop_map(str::to_owned),
        4 => (enforcer.clone(), jti.clone()).prop_map(|(gw, jti)| format!("mint {gw} {jti}")),
        5 => (enforcer.clone(), jti, id, digest)
            .prop_map(|(gw, jti, id, digest)| format!("redeem {gw} {jti} {id}{digest}")),
        2 => (enforcer, select(vec!["succeeded", "failed", "unknown"])).prop_map(|(gw, outcome)| format!("report {gw} {outcome}")),
        2 => select(vec!["tick", "tick undeliverable", "request", "request too_many"]).prop_map(str::to_owned),
        1 => select(vec!["cancel not_needed", "revoke mistake", "ann asks", "bob asks", "answer gw 1", "answer owen 2"]).prop_map(str::to_owned),
    ]
}

/// A successful life, with arbitrary lines put into it anywhere.
fn script() -> impl Strategy<Value = (Desk, Vec<String>)> {
    let well =
        ["request", "ann approve", "bob approve", "dan approve", "mint gw j1", "redeem gw j1 r1"];
    let outcome = select(vec!["succeeded", "failed", "not_started", "unknown"]);
    let strange = vec((any::<Index>(), line()), 0..25);
    (select(&RULES[..]), prop::bool::weighted(0.9), outcome, strange).prop_map(
        move |(rule, owned, outcome, strange)| {
            let mut desk = Desk::new(rule);
            if !owned {
                desk.requested.owners.clear();
            }
            let mut lines: Vec<_> = well.map(str::to_owned).into();
            lines.push(format!("report gw {outcome}"));
            for (place, line) in strange {
                lines.insert(place.index(lines.len() + 1), line);
            }
            (desk, lines)
        },
    )
}

/// A life that results from commands.
fn life() -> impl Strategy<Value = Desk> {
    script().prop_map(|(mut desk, lines)| {
        desk.run(&lines);
        desk
    })
}

pub(super) fn who() -> impl Strategy<Value = Ident> {
    select(vec!["ann", "bob", "dan", "owen"]).prop_map(ident)
}

pub(super) fn moment() -> impl Strategy<Value = Nanos> {
    select(vec![0, 1, 100, 220, 900, 1000, 3599, 3600, 5000])
        .prop_map(|second| seconds(desk::BEGIN + second))
}

fn reviewed() -> impl Strategy<Value = Event> {
    let decision = select(vec![Choice::Approve, Choice::Approve, Choice::Deny]);
    let groups = select(vec![&["finance"][..], &["finance", "legal"], &["legal"], &["x"], &[]]);
    let shown = select(vec![DIGEST, "daHInlbk", "short"]);
    (who(), decision, groups, shown, select(vec![Via::Web, Via::Slack]), moment()).prop_map(
        |(by, decision, groups, displayed_dig, via, at)| Event::Reviewed {
            by,
            decision,
            via,
            auth: Auth { method: Method::Key, at },
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            displayed_dig: displayed_dig.to_owned(),
            shown_at: at,
            evidence: None,
            reason: None,
            signed: None,
            together: None,
        },
    )
}

/// Any event that a log could contain; rarely an end.
pub(super) fn event() -> impl Strategy<Value = Event> {
    let people = || vec(who(), 0..3);
    let jti = || select(vec!["j1", "j2"]).prop_map(str::to_owned);
    let gw = || select(vec!["gw", "gw", "gw-2"]).prop_map(ident);
    let text = || "[a-z]{1,3}";
    prop_oneof![
        5 => select(&RULES[..])
            .prop_map(|rule| Event::Requested(Box::new(desk::requested(desk::rule(rule))))),
        40 => reviewed(),
        30 => (people(), moment()).prop_map(|(mut by, execution_deadline)| {
            by.sort();
            Event::Granted { by, execution_deadline }
        }),
        30 => (jti(), gw(), moment(), select(vec![0, 60, 120, 121])).prop_map(
            |(jti, enforcer, iat, life)| {
                let exp = Nanos(iat.0 + seconds(life).0);
                Event::TokenMinted { jti, kid: "key-1".to_owned(), enforcer, iat, exp }
            }
        ),
        30 => (jti(), gw(), text()).prop_map(|(jti, enforcer, redemption_id)| {
            Event::Redeemed { jti, redemption_id, enforcer }
        }),
        5 => jti().prop_map(|jti| Event::TokenLapsed { jti }),
        5 => (jti(), gw(), text()).prop_map(|(jti, enforcer, why)| {
            Event::RedeemRejected { jti, enforcer, why }
        }),
        20 => super::questions::event(),
        5 => text().prop_map(|why| Event::ReviewRejected { by: None, via: Via::Slack, why }),
        5 => select(vec![Event::Reminded, Event::Escalated]),
        2 => people().prop_map(|by| Event::Denied { by }),
        5 => select(vec![Outcome::Succeeded, Outcome::NotStarted, Outcome::Unknown]).prop_map(|outcome| Event::ExecutionReported { outcome }),
        1 => select(vec![Event::Lapsed, Event::ReportMissed, Event::Superseded { rule: None }]),
        1 => (6..12_u64).prop_map(|clock| Event::ClockReset { clock }),
        1 => select(vec![Reason::Deadline, Reason::Undeliverable]).prop_map(|reason| Event::Expired { reason }),
        1 => (text(), text()).prop_map(|(by, reason)| Event::Cancelled { by, reason }),
        1 => (text(), text()).prop_map(|(by, reason)| Event::Revoked { by, reason }),
    ]
}

/// Every state of a log that nobody decided: a life with arbitrary events put into it, those that can follow.
fn states() -> impl Strategy<Value = Vec<State>> {
    (life(), vec((any::<Index>(), event()), 0..40)).prop_map(|(desk, strange)| {
        let said = |(message, _, at): &(Message, String, Nanos)| {
            message.events.iter().map(|event| (event.clone(), *at)).collect::<Vec<_>>()
        };
        let mut events: Vec<_> = desk.log.iter().flat_map(said).collect();
        for (place, event) in strange {
            let place = place.index(events.len());
            events.insert(place, (event, events[place].1));
        }
        let mut states = vec![State::begin("opening")];
        for (event, at) in events {
            let next = Approval::evolve(states[states.len() - 1].clone(), &event, at);
            if !next.corrupt && next != states[states.len() - 1] {
                states.push(next);
            }
        }
        states
    })
}

/// Every state on the way of a life.
fn history(desk: &Desk) -> Vec<State> {
    let mut states = vec![State::begin("opening")];
    for (message, leaf, at) in &desk.log {
        states.push(fold(states[states.len() - 1].clone(), message, leaf, *at));
    }
    states
}

pub(super) fn any_history() -> impl Strategy<Value = Vec<State>> {
    prop_oneof![life().prop_map(|desk| history(&desk)), states()]
}

fn begun(phase: Phase) -> impl Fn(&&[State]) -> bool {
    move |pair| pair[0].phase != phase && pair[1].phase == phase
}

/// The part of a state that decides: everything but the number of messages and of refused attempts.
fn decisive(state: &State) -> State {
    State { n: 0, leaf: String::new(), refusals: 0, ..state.clone() }
}

proptest! {
    /// An approval has at most one redemption.
    #[test]
    fn l1_spent_at_most_once(states in any_history()) {
        prop_assert!(states.windows(2).filter(begun(Phase::Redeemed)).count() <= 1);
        for pair in states.windows(2).filter(|pair| pair[0].redeemed.is_some()) {
            prop_assert_eq!(&pair[0].redeemed, &pair[1].redeemed);
        }
    }

    /// A redemption needs a valid token, so there is none after an end.
    #[test]
    fn l2_redeemed_only_from_a_live_token(states in any_history()) {
        for pair in states.windows(2).filter(begun(Phase::Redeemed)) {
            prop_assert_eq!(pair[0].phase, Phase::Minted);
        }
        for pair in states.windows(2).filter(begun(Phase::Minted)) {
            prop_assert_eq!(pair[0].phase, Phase::Granted);
        }
        for pair in states.windows(2).filter(begun(Phase::Granted)) {
            prop_assert!([Phase::Pending, Phase::Minted].contains(&pair[0].phase));
        }
    }

    /// A grant has a quorum of distinct people who approved, were asked, and own nothing.
    #[test]
    fn l3_granted_by_a_quorum(states in any_history()) {
        for state in states.iter().filter(|state| !state.granted_by.is_empty()) {
            let requested = state.requested.as_ref().unwrap();
            let mut by = state.approvers();
            by.retain(|person, _| state.granted_by.contains(person));
            prop_assert!(by.keys().eq(&state.granted_by));
            prop_assert!(met_by_trying(&requested.rule.quorum, &by));
            prop_assert!(!requested.lacks_owner());
            prop_assert!(state.granted_by.iter().all(|person| !requested.owners.contains(person)));
        }
    }

    /// An approval that is over never changes, whatever comes.
    #[test]
    fn l4_the_end_is_the_end(states in any_history(), events in vec((event(), moment()), 1..20)) {
        for state in states.iter().filter(|state| Approval::is_terminal(state)) {
            let mut after = state.clone();
            for (event, at) in &events {
                after = Approval::evolve(after, event, *at);
            }
            prop_assert!(after.corrupt);
            prop_assert_eq!(&State { corrupt: state.corrupt, ..after }, state);
        }
    }

    /// After an end there are no more events.
    #[test]
    fn l4_nothing_is_decided_after_the_end((mut desk, lines) in script(), more in vec(line(), 1..10)) {
        desk.run(&lines);
        if Approval::is_terminal(&desk.state) {
            let end = desk.state.clone();
            desk.run(&more);
            prop_assert_eq!(desk.state, end);
        }
    }

    /// `evolve` and `fold` take anything, at any time, and never panic.
    #[test]
    fn l5_evolve_is_total(
        events in vec((event(), any::<u64>()), 0..50),
        messages in vec((vec(event(), 0..4), 0..4_u64, any::<u64>()), 0..20),
    ) {
        let mut state = State::default();
        for (event, at) in &events {
            let before = state.clone();
            state = Approval::evolve(state, event, Nanos(*at));
            if state.corrupt {
                prop_assert_eq!(&State { corrupt: before.corrupt, ..state.clone() }, &before);
            }
            next_tick(&state);
        }
        let mut state = State::begin("leaf");
        for (events, n, at) in messages {
            let message = Message { approval_id: ident("apr-1"), n, prev: "leaf".to_owned(), events, activates: None, decision: None };
            state = fold(state, &message, "leaf", Nanos(at));
        }
    }

    /// The same input gives the same bytes everywhere, also after it was stored and read again.
    #[test]
    fn l6_deciding_is_pure((mut desk, lines) in script()) {
        for line in &lines {
            let words: Vec<_> = line.split_whitespace().collect();
            if !["wait", "rule", "people", "owners", "journal-ahead"].contains(&words[0]) {
                let command = desk.command(&words);
                let text = serde_json::to_string(&desk.state).unwrap();
                let read: State = serde_json::from_str(&text).unwrap();
                let (one, two) = (Approval::decide(&desk.state, &command), Approval::decide(&read, &command));
                prop_assert_eq!(canonical::of(&one.events), canonical::of(&two.events));
                prop_assert_eq!(one.refused, two.refused);
            }
            desk.say(line);
        }
    }

    /// Every decided event is accepted, in any state of a log. (`Desk::obey` checks it in every other test.)
    #[test]
    fn l7_what_decide_gives_evolve_accepts(states in states(), at: Index, lines in vec(line(), 1..30)) {
        let mut desk = Desk::new(RULES[0]);
        desk.state = at.get(&states).clone();
        if let Some(requested) = &desk.state.requested {
            desk.requested = (**requested).clone();
            desk.world.rule = Some(desk.requested.rule_digest.clone());
        }
        desk.run(&lines);
        prop_assert!(!desk.state.corrupt);
    }

    /// Another call is never redeemed: where the right call would be redeemed, the wrong one changes nothing.
    #[test]
    fn l8_a_wrong_digest_changes_nothing((mut desk, lines) in script()) {
        for line in &lines {
            desk.say(line);
            for jti in ["j1", "j2", "j3"] {
                let right = Approval::decide(&desk.state, &desk.command(&["redeem", "gw", jti, "r1"]));
                let wrong = Approval::decide(&desk.state, &desk.command(&["redeem", "gw", jti, "r1", "other"]));
                if right.refused.is_some() {
                    prop_assert_eq!(right, wrong);
                } else {
                    prop_assert_eq!(wrong.refused, Some(Refusal::DigestMismatch));
                    let mut tried = Desk::new("{}");
                    tried.state = desk.state.clone();
                    tried.world = desk.world.clone();
                    if !wrong.events.is_empty() {
                        tried.post(wrong.events);
                    }
                    prop_assert_eq!(decisive(&tried.state), decisive(&desk.state));
                }
            }
        }
    }

    /// From the deadlines on nothing is granted, minted or redeemed: by the worker's clock, and by the journal's.
    #[test]
    fn l9_nothing_after_a_deadline(states in any_history(), late in 0..10_000_u64, line in line(), event in event()) {
        for state in states {
            let Some(requested) = &state.requested else { continue };
            let deadline = state.execution_deadline.or(state.approval_deadline()).unwrap();
            let at = Nanos(deadline.0 + late * 1_000_000_000);
            let evolved = Approval::evolve(state.clone(), &event, at);
            let mut desk = Desk::new("{}");
            desk.requested = (**requested).clone();
            desk.world.rule = Some(desk.requested.rule_digest.clone());
            desk.world.now = at;
            desk.journal_ahead = Nanos(0);
            desk.state = state.clone();
            if !line.starts_with("wait") {
                desk.say(&line);
            }
            for after in [evolved, desk.state] {
                for phase in [Phase::Granted, Phase::Minted, Phase::Redeemed] {
                    prop_assert!(after.phase != phase || state.phase == phase);
                }
                prop_assert_eq!(after.granted_at, state.granted_at);
                prop_assert_eq!(after.mints, state.mints);
                prop_assert_eq!(&after.redeemed, &state.redeemed);
            }
        }
    }

    /// Nothing is done twice. A question again is refused: the state has no words, so it may be another one.
    #[test]
    fn l10_a_second_time_nothing_happens((mut desk, lines) in script()) {
        for line in lines.iter().filter(|line| !line.starts_with("journal-ahead")) {
            let first = desk.say(line);
            if !first.contains('!') && !line.starts_with("wait") {
                let state = desk.state.clone();
                let again = desk.say(line);
                prop_assert!(matches!(&*again, "" | "!too_many_questions" | "!already_answered"));
                prop_assert_eq!(&desk.state, &state);
            }
        }
    }

    /// A snapshot with the later messages gives the same as all messages from the beginning.
    #[test]
    fn l11_snapshot_and_tail(desk in life()) {
        for (cut, snapshot) in history(&desk).iter().enumerate() {
            let text = serde_json::to_string(snapshot).unwrap();
            let mut state: State = serde_json::from_str(&text).unwrap();
            for (message, leaf, at) in &desk.log[cut..] {
                let read = Message::read(&canonical::of(message)).unwrap();
                state = fold(state, &read, leaf, *at);
            }
            prop_assert_eq!(&state, &desk.state);
        }
    }

    /// A refused command changes nothing itself. Its events record the refusal, or are caused by time and rules.
    #[test]
    fn l12_a_refused_command_changes_nothing((mut desk, lines) in script()) {
        for line in &lines {
            let before = desk.state.clone();
            let said = desk.say(line);
            let Some((events, _)) = said.split_once('!') else { continue };
            let event = events.trim();
            let overdue = before.overdue(Nanos(desk.world.now.0 + desk.journal_ahead.0));
            if event.contains("rejected") && overdue.is_some() {
                prop_assert!(matches!(desk.state.phase, Phase::Expired | Phase::Lapsed));
            } else if event.is_empty() || event.contains("rejected") {
                prop_assert_eq!(decisive(&desk.state), decisive(&before), "{}: {}", line, said);
            } else {
                let forced = ["expired(deadline)", "lapsed", "token_lapsed", "superseded", "revoked(rule_changed)"];
                prop_assert!(forced.contains(&event), "{}: {}", line, said);
            }
        }
    }
}

/// The generators reach every phase. Otherwise the laws above would prove little.
#[test]
fn the_generators_reach_every_phase() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut by_commands = std::collections::BTreeSet::new();
    let mut by_events = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        let desk = life().new_tree(&mut runner).unwrap().current();
        by_commands.extend(history(&desk).iter().map(|state| format!("{:?}", state.phase)));
        let states = states().new_tree(&mut runner).unwrap().current();
        by_events.extend(states.iter().map(|state| format!("{:?}", state.phase)));
    }
    assert_eq!(by_commands.len(), 14, "{by_commands:?}");
    assert_eq!(by_events.len(), 14, "{by_events:?}");
}
