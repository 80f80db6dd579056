//! What is said in the thread of a card while people are asked: who answered, and that half of the time is over. A card that
//! changes makes no sound; a reply that mentions those who are still asked does.

use super::{
    Cards, Line,
    said::{self, alone, places},
};
use crate::{
    cards::{Notice, hour, page_url},
    history::Approval,
    setup::{Person, Setup},
};
use decider::approval::{Choice, Phase, State};
use ledger::foreign::harmless;

/// Most people who are mentioned in one reply.
const MENTIONS_MAX: usize = 10;
/// Kind of what is said at half of the time.
const REMIND: &str = "remind";

/// The replies that an approval should have under its cards. What was said once is not said again.
pub(crate) fn replies(
    approval: &Approval,
    setup: &Setup,
    (had, public_url): (&Cards, &str),
) -> Vec<Line> {
    let state = &approval.state;
    if state.phase != Phase::Pending {
        return Vec::new();
    }
    let mut said: Vec<(String, String)> = Vec::new();
    for review in &state.reviews {
        let who = harmless(&setup.name_of(&review.by));
        let (kind, word) = match review.decision {
            Choice::Approve => ("approve", "approved"),
            Choice::Deny => ("deny", "denied"),
        };
        said.push((format!("{kind}/{}", review.by), format!("{who} {word}")));
    }
    if state.reminded {
        said.push((REMIND.into(), "Half of the time is over".into()));
    }
    let rest = still_needed(state);
    let link = ("Open in browser", page_url(public_url, &approval.id));
    let mut lines = Vec::new();
    for (kind, title) in said {
        let notice = Notice {
            id: said::id(approval, &kind),
            title,
            lines: vec![rest.clone()],
            hint: "Answer on the card above, or in the browser.".into(),
            link: Some(link.clone()),
            mentions: still_asked(approval, setup),
        };
        for place in places(approval, had) {
            let notice = match &place.under {
                Some(_) => notice.clone(),
                // Who answered is for those who are asked.
                None if kind != REMIND => continue,
                None => {
                    let hint = "Answer in the browser.".into();
                    alone(approval, &notice.title, Notice { hint, ..notice.clone() })
                }
            };
            lines.extend(place.say(setup, &format!("said/{kind}"), notice));
        }
    }
    lines
}

/// Who is still needed, and until when.
fn still_needed(state: &State) -> String {
    let needed = state.needed();
    let needed = needed.iter().map(|(count, group)| format!("{count} of {}", harmless(group)));
    let needed = needed.collect::<Vec<_>>().join(" and ");
    let until = state.approval_deadline().map(hour).unwrap_or_default();
    format!("Still needed: {needed}, by {until}")
}

/// People whose yes would bring the approval nearer, by name: no owner, nobody who answered or is disabled.
fn still_asked(approval: &Approval, setup: &Setup) -> Vec<Person> {
    let Some(requested) = approval.state.requested.as_deref() else { return Vec::new() };
    let (quorum, approvers) = (&requested.rule.quorum, approval.state.approvers());
    let missing =
        |approvers: &_| quorum.needed(approvers).iter().map(|(count, _)| count).sum::<u32>();
    let before = missing(&approvers);
    let mut owners = setup.owners(&requested.call.agent, &[]);
    owners.extend(requested.owners.iter().cloned());
    let helps = |person: &&Person| {
        let mut with = approvers.clone();
        with.insert(person.id.clone(), person.groups.clone());
        !person.disabled
            && !owners.contains(&person.id)
            && approval.state.review_by(&person.id).is_none()
            && missing(&with) < before
    };
    let mut asked: Vec<Person> = setup.people.values().filter(helps).cloned().collect();
    asked.sort_by(|a, b| a.name.cmp(&b.name));
    asked.truncate(MENTIONS_MAX);
    asked
}
