//! Makes a card from an approval: cleans foreign strings, flattens params, names people.

use super::{Card, Reader};
use crate::{
    display::{self, Displayed},
    setup::Setup,
};
use decider::approval::{Choice, Phase, Requested, State};
use ledger::{
    foreign::{self, harmless},
    ident::Ident,
    json,
    time::Nanos,
};

/// The parts of the frozen call's payload that are not erased.
#[derive(Clone, Copy, Debug)]
pub struct FrozenCall<'a> {
    /// Params as RFC 8785 text.
    pub params: &'a str,
    /// `data.payload.reason`
    pub agent_says: Option<&'a str>,
}

/// The parts from which a card is made.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Tenant of the approval.
    pub tenant: &'a Ident,
    /// Id of the approval.
    pub approval: &'a Ident,
    /// State of the approval.
    pub state: &'a State,
    /// `None` if the params were erased.
    pub call: Option<FrozenCall<'a>>,
    /// Rules and people in force, for names.
    pub setup: Option<&'a Setup>,
    /// `public_url` of the configuration.
    pub public_url: &'a str,
    /// Time that the card shows as its own.
    pub now: Nanos,
    /// True if the call is frozen.
    pub frozen: bool,
}

impl Card {
    /// The card of an approval. `None` before the request.
    pub fn of(making: &Making<'_>) -> Option<Self> {
        let Making { tenant, approval, state, call, setup, public_url, now, frozen } = *making;
        let requested = state.requested.as_deref()?;
        let rows = call.map(|call| display::flatten(call.params));
        let params = call.and_then(|call| json::parse_kept(call.params.as_bytes()).ok());
        let told = displayed(requested, params.as_ref(), setup);
        let complete = !state.corrupt && rows.as_ref().is_some_and(|rows| rows.complete);
        let clean = |(pointer, value): (String, String)| {
            (foreign::pointer(&pointer), foreign::value(&value))
        };
        Some(Self {
            tenant: tenant.clone(),
            approval: approval.clone(),
            version: state.version,
            shown_at: now,
            phase: state.phase,
            end_reason: state.end_reason.as_deref().map(harmless),
            tool: foreign::name(&requested.call.tool),
            action: foreign::name(&requested.call.action),
            agent: foreign::name(&requested.call.agent),
            run: requested.call.run.as_deref().map(foreign::name),
            amount: told.amount.clone(),
            told,
            params: rows.map(|r| r.rows.into_iter().map(clean).collect()).unwrap_or_default(),
            complete,
            agent_says: call.and_then(|call| call.agent_says).map(one_line),
            digest: requested.call.digest.clone(),
            policy_now: None,
            rule: harmless(&requested.rule.name),
            reviews: reviews(state, setup),
            needed: still_needed(state),
            deadline: state.approval_deadline()?,
            execution_deadline: state.execution_deadline,
            url: page_url(public_url, approval),
            browser_only: requested.rule.step_up.is_some(),
            frozen,
            facts: Vec::new(),
            reader: Reader::Asked,
        })
    }
}

/// Where people find the page of an approval.
pub fn page_url(public_url: &str, approval: &Ident) -> String {
    format!("{}/approvals/{approval}", public_url.trim_end_matches('/'))
}

impl Setup {
    /// A person's name, cleaned. The id, if no such person is known.
    pub fn name_of(&self, person: &Ident) -> String {
        self.people.get(person).map_or_else(|| person.to_string(), |known| harmless(&known.name))
    }
}

/// Free text on one line. Its line breaks are shown, so that it can't look like a line of ours.
fn one_line(text: &str) -> String {
    harmless(&text.replace("\r\n", "\n").replace('\n', " ⏎ ").replace('\t', " "))
}

/// The call as people read it, by the displays in force. Where none says where the amount is, a rule does: the one of
/// this call, or another one for the same tool.
fn displayed(
    requested: &Requested,
    params: Option<&json::Value<'_>>,
    setup: Option<&Setup>,
) -> Displayed {
    let (tool, action) = (requested.call.tool.as_str(), requested.call.action.as_str());
    let other = || setup.and_then(|setup| setup.amount_of(tool));
    let amount = requested.rule.matches.amount.as_ref().or_else(other);
    let display = setup.and_then(|setup| setup.display_for(tool, action));
    Displayed::of(display, &display::Call { tool, action, params, amount })
}

fn reviews(state: &State, setup: Option<&Setup>) -> Vec<(String, Choice, Nanos)> {
    let name = |by: &Ident| setup.map_or_else(|| by.to_string(), |setup| setup.name_of(by));
    state.reviews.iter().map(|review| (name(&review.by), review.decision, review.at)).collect()
}

/// People still needed while people are asked, for example `1 of finance`.
fn still_needed(state: &State) -> Vec<String> {
    let asked = state.phase == Phase::Pending;
    let needed = if asked { state.needed() } else { Vec::new() };
    needed.iter().map(|(count, group)| format!("{count} of {}", harmless(group))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Person;
    use decider::approval::{Opening, Review, Summary};
    use std::collections::{BTreeMap, BTreeSet};

    const PARAMS: &str = r#"{"amount":125000,"currency":"EUR","to":"\u202eACME"}"#;

    /// One hour after the request.
    const DEADLINE: Nanos = Nanos(3_600_000_000_000);

    fn state() -> State {
        let rule = r#"{"name":"big","match":{"amount":{"minor":"/amount","currency":"/currency","over":{}}},
            "quorum":{"at_least":2,"of":"finance"},"deny":1,"approve_within":3600,"execute_within":900,
            "report_within":900,"token_life":120}"#;
        let requested = Requested {
            v: 1,
            opening: Opening { producer: Ident::new("gw-1").unwrap(), index: 7 },
            call: Summary {
                agent: "bot\u{202e}".into(),
                run: None,
                tool: "payments".into(),
                action: "transfer".into(),
                digest: "x".repeat(43),
            },
            rule: serde_json::from_str(rule).unwrap(),
            rule_digest: String::new(),
            owners: Vec::new(),
            requested_at: Nanos(0),
            approval_deadline: DEADLINE,
        };
        let (by, groups) = (Ident::new("ann").unwrap(), vec!["finance".into()]);
        State {
            phase: Phase::Pending,
            requested: Some(Box::new(requested)),
            reviews: vec![Review {
                by,
                decision: Choice::Approve,
                at: Nanos(5),
                groups,
                reason: None,
                evidence: None,
                together: None,
            }],
            version: 2,
            ..State::default()
        }
    }

    fn setup() -> Setup {
        let id = Ident::new("ann").unwrap();
        let person = Person {
            id: id.clone(),
            name: "Ann\u{200b} Example".into(),
            groups: BTreeSet::from(["finance".to_owned()]),
            owns: BTreeSet::new(),
            slack: None,
            teams: None,
            disabled: false,
        };
        let people = BTreeMap::from([(id, person)]);
        Setup::new(Vec::new(), people, BTreeMap::new())
    }

    fn card(state: &State, params: Option<&str>, now: u64) -> Card {
        let (tenant, approval) = (Ident::new("acme").unwrap(), Ident::new("apr-1").unwrap());
        Card::of(&Making {
            tenant: &tenant,
            approval: &approval,
            state,
            call: params.map(|params| FrozenCall { params, agent_says: Some("trust\nme") }),
            setup: Some(&setup()),
            public_url: "https://log.example.com/",
            now: Nanos(now),
            frozen: false,
        })
        .unwrap()
    }

    #[test]
    fn p7_a_card_shows_the_call_as_it_was_hashed() {
        let params = PARAMS.replace("\\u202e", "\u{202e}");
        let card = card(&state(), Some(&params), 10);
        assert_eq!(card.amount.as_deref(), Some("EUR 1,250.00"));
        let to = ("/to".to_owned(), "\"\\u{202e}ACME\"".to_owned());
        assert_eq!(card.params[2], to);
        assert_eq!(card.agent, "bot\\u{202e}");
        assert_eq!(card.agent_says.as_deref(), Some("trust ⏎ me"));
        assert_eq!(card.reviews[0].0, "Ann\\u{200b} Example");
        assert_eq!(card.needed, ["1 of finance"]);
        assert_eq!(card.url, "https://log.example.com/approvals/apr-1");
        assert!(card.decidable());
    }

    #[test]
    fn p7_names_are_shown_as_they_are_compared() {
        let mut state = state();
        let call = &mut state.requested.as_mut().unwrap().call;
        call.tool = "payments ".into();
        call.action = "tr\u{430}nsfer".into();
        call.run = Some("run  1".into());
        let card = card(&state, Some("{\"\u{a0}to\":\"\u{410}CME\"}"), 10);
        assert_eq!(
            (card.tool.as_str(), card.action.as_str()),
            ("payments\\u{20}", "tr\\u{430}nsfer")
        );
        assert_eq!(card.run.as_deref(), Some("run \\u{20}1"));
        assert_eq!(card.params, [("/\\u{a0}to".to_owned(), "\"\\u{410}CME\"".to_owned())]);
    }

    #[test]
    fn p9_no_buttons_without_params_after_the_deadline_or_in_doubt() {
        assert!(!card(&state(), None, 10).decidable());
        assert!(!card(&state(), Some(PARAMS), DEADLINE.0).decidable_on_page());
        let corrupt = State { corrupt: true, ..state() };
        assert!(!card(&corrupt, Some(PARAMS), 10).decidable());
        let mut stepped = state();
        stepped.requested.as_mut().unwrap().rule.step_up = Some(60);
        let stepped = card(&stepped, Some(PARAMS), 10);
        assert!(!stepped.decidable() && stepped.decidable_on_page());
    }
}
