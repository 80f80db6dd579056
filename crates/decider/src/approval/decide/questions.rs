//! Records a question of a person who is asked, and its answer. Neither moves a deadline or permits anything.

use super::{Answer, Case, Refusal, refuse};
use crate::approval::{
    QUESTIONS_MAX, World,
    command::Replier,
    event::{Auth, Event, Via},
    producer,
};
use ledger::ident::Ident;

/// A question as it came in. Words that were not written, because the command was refused as things were, have the leaf
/// index 0, where none can be: then whoever sent them repeats.
pub(super) struct Asking<'a> {
    pub(super) world: &'a World,
    pub(super) by: &'a Ident,
    pub(super) via: Via,
    pub(super) auth: Auth,
    pub(super) displayed_dig: &'a str,
}

impl Case<'_> {
    /// Whoever may review may ask. The version does not count, because a question decides nothing.
    pub(super) fn ask(&self, asking: &Asking<'_>, evidence: u64) -> Answer {
        if let Some(answer) = self.not_asking(asking.world) {
            return answer;
        }
        let by = asking.by;
        if self.asked_groups(asking.world, by).is_empty() {
            return refuse(Refusal::NotEligible);
        }
        if self.owns(asking.world, by) {
            return refuse(Refusal::OwnCall);
        }
        if !self.requested.shows(asking.displayed_dig) {
            return refuse(Refusal::DigestMismatch);
        }
        let questions = &self.state.questions;
        let waits = questions.iter().any(|other| other.by == *by && other.reply.is_none());
        let number = u32::try_from(questions.len() + 1).unwrap_or(u32::MAX);
        if waits || number > QUESTIONS_MAX {
            return refuse(Refusal::TooManyQuestions);
        }
        if evidence == 0 {
            return refuse(Refusal::Stale);
        }
        Answer::events([Event::Asked {
            question: number,
            by: by.clone(),
            via: asking.via,
            auth: asking.auth,
            evidence,
        }])
    }

    /// The gateway that paused the call, or an owner of the agent, may answer each question once.
    pub(super) fn reply(&self, world: &World, number: u32, by: &Replier, evidence: u64) -> Answer {
        let name = match by {
            Replier::Gateway(name) if self.is_enforcer(name) => producer(name),
            Replier::Owner(person)
                if self.owns(world, person) && world.people.contains_key(person) =>
            {
                person.to_string()
            }
            Replier::Gateway(_) | Replier::Owner(_) => return refuse(Refusal::NotYours),
        };
        let Some(place) = self.state.place(number) else { return refuse(Refusal::NoQuestion) };
        if let Some(answer) = self.not_asking(world) {
            return answer;
        }
        let question = &self.state.questions[place];
        if question.reply.is_some() {
            return refuse(Refusal::AlreadyAnswered);
        }
        // Somebody who asked and owns the agent now answers nothing to themselves.
        if matches!(by, Replier::Owner(person) if *person == question.by) {
            return refuse(Refusal::NotYours);
        }
        if evidence == 0 {
            return refuse(Refusal::Stale);
        }
        Answer::events([Event::Answered { question: number, by: name, evidence }])
    }
}
