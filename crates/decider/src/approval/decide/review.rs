//! Records a person's answer.

use super::{Answer, Case, Refusal, refuse};
use crate::{
    approval::{
        REFUSALS_RECORDED_MAX, World,
        event::{Auth, Choice, Event, Method, Via},
        reason::DenyReason,
        state::Phase,
    },
    passkey::Signed,
    quorum::People,
};
use ledger::{ident::Ident, time::Nanos};

/// A review as it came in.
pub(super) struct Click<'a> {
    pub(super) world: &'a World,
    pub(super) by: Option<&'a Ident>,
    pub(super) decision: Choice,
    pub(super) via: Via,
    pub(super) auth: Auth,
    pub(super) displayed_dig: &'a str,
    pub(super) version: u64,
    pub(super) shown_at: Nanos,
    pub(super) evidence: Option<u64>,
    pub(super) reason: Option<DenyReason>,
    pub(super) signed: Option<&'a Signed>,
    pub(super) together: Option<u32>,
}

impl Case<'_> {
    /// A repetition of the same person's same answer changes nothing, whenever it comes. Otherwise these are
    /// checked in order: time, rule, person, what was shown, authentication.
    pub(super) fn review(&self, click: &Click<'_>) -> Answer {
        let before = click.by.and_then(|by| self.state.review_by(by));
        if before.is_some_and(|review| review.decision == click.decision) {
            return Answer::events([]);
        }
        if let Some(answer) = self.not_asking(click.world) {
            return answer;
        }
        match self.may_review(click) {
            Ok((by, groups)) => self.reviewed(click, by, groups),
            Err(why) => self.rejected(click, why),
        }
    }

    /// The answer if people are not asked any more: by time, by another rule, or by the policies in force.
    pub(super) fn not_asking(&self, world: &World) -> Option<Answer> {
        if let Some(answer) = self.not_in(&[Phase::Pending], world.now) {
            return Some(answer);
        }
        if self.rule_changed(world) {
            let rule = world.rule.clone();
            return Some(Answer::refused(Refusal::RuleChanged, [Event::Superseded { rule }]));
        }
        let ended = self.ended_by_policy(world)?;
        Some(Answer::refused(Refusal::PolicyDenies, [ended]))
    }

    /// Checks that the person may review. Returns the person and those of their groups that the rule asks.
    fn may_review<'c>(&self, click: &Click<'c>) -> Result<(&'c Ident, Vec<String>), Refusal> {
        let by = click.by.ok_or(Refusal::NotLinked)?;
        let groups = self.asked_groups(click.world, by);
        if groups.is_empty() {
            return Err(Refusal::NotEligible);
        }
        if self.owns(click.world, by) {
            return Err(Refusal::OwnCall);
        }
        if click.decision == Choice::Approve && self.requested.lacks_owner() {
            return Err(Refusal::OwnerUnknown);
        }
        if !self.requested.shows(click.displayed_dig) {
            return Err(Refusal::DigestMismatch);
        }
        let signed = click.signed.map_or(click.version, |signed| signed.version);
        if click.version != self.state.version || signed != click.version {
            return Err(Refusal::Stale);
        }
        if !self.strong_enough(click) {
            return Err(Refusal::StepUp);
        }
        // An approve may become a deny until the quorum is met. A deny is final.
        let before = self.state.review_by(by);
        if before.is_some_and(|review| review.decision == Choice::Deny) {
            return Err(Refusal::AlreadyReviewed);
        }
        Ok((by, groups))
    }

    pub(super) fn asked_groups(&self, world: &World, person: &Ident) -> Vec<String> {
        let asked = self.requested.rule.quorum.groups();
        let groups = world.people.get(person).into_iter().flatten();
        groups.filter(|group| asked.contains(group.as_str())).cloned().collect()
    }

    pub(super) fn owns(&self, world: &World, person: &Ident) -> bool {
        self.requested.owners.contains(person) || world.owners.contains(person)
    }

    fn strong_enough(&self, click: &Click<'_>) -> bool {
        let (passkey, signed) = (click.auth.method == Method::Passkey, click.signed.is_some());
        let of_the_page = matches!(click.auth.method, Method::Passkey | Method::Oidc);
        if passkey != signed || of_the_page && click.via != Via::Web {
            return false;
        }
        self.requested.rule.step_up.is_none_or(|age_max| {
            click.via == Via::Web
                && matches!(click.auth.method, Method::Passkey | Method::Key | Method::Oidc)
                && click.world.now <= click.auth.at.plus_seconds(age_max)
        })
    }

    fn rejected(&self, click: &Click<'_>, why: Refusal) -> Answer {
        if self.state.refusals >= REFUSALS_RECORDED_MAX {
            return refuse(why);
        }
        let (by, via) = (click.by.cloned(), click.via);
        Answer::refused(why, [Event::ReviewRejected { by, via, why: why.to_string() }])
    }

    fn reviewed(&self, click: &Click<'_>, by: &Ident, groups: Vec<String>) -> Answer {
        let mut events = vec![Event::Reviewed {
            by: by.clone(),
            decision: click.decision,
            via: click.via,
            auth: click.auth,
            groups: groups.clone(),
            displayed_dig: click.displayed_dig.to_owned(),
            shown_at: click.shown_at,
            evidence: click.evidence,
            reason: click.reason.filter(|_| click.decision == Choice::Deny),
            signed: click.signed.cloned().map(Box::new),
            together: click.together,
        }];
        events.extend(match click.decision {
            // If enough people have denied, grant nothing, whatever the log says.
            Choice::Approve => self.denial(None).or_else(|| self.grant(click.world, by, groups)),
            Choice::Deny => self.denial(Some(by)),
        });
        Answer::events(events)
    }

    /// Grants if the quorum is met by those who may still approve: they are active, do not own the agent, and
    /// were in a needed group at their review and are in it now.
    fn grant(&self, world: &World, by: &Ident, groups: Vec<String>) -> Option<Event> {
        let mut approvers: People = self.state.approvers();
        approvers.insert(by.clone(), groups.into_iter().collect());
        approvers.retain(|person, groups| {
            let now = world.people.get(person);
            groups.retain(|group| now.is_some_and(|now| now.contains(group)));
            !self.owns(world, person)
        });
        let by = self.requested.rule.quorum.met(&approvers)?;
        let execution_deadline = world.now.plus_seconds(self.requested.rule.execute_within);
        Some(Event::Granted { by, execution_deadline })
    }

    /// A deny counts for ever, even if the person later loses the right to review.
    fn denial(&self, by: Option<&Ident>) -> Option<Event> {
        let mut deniers = self.state.deniers();
        deniers.extend(by.cloned());
        deniers.sort();
        let enough = deniers.len() >= self.requested.rule.deny as usize;
        enough.then_some(Event::Denied { by: deniers })
    }
}
