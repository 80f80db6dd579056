//! What a person typed beside an answer. It is carried on from page to page until it is recorded.

use super::Stop;
use decider::{
    approval::{Choice, DenyReason},
    words,
};
use serde::Deserialize;

/// Longest text, in characters.
pub const TEXT_MAX: usize = 2_000;

/// Fields of the confirming page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    /// For everybody who is asked.
    pub comment: String,
    /// Code of the reason to deny, or nothing.
    pub reason: String,
    /// For the agent that is denied.
    pub for_agent: String,
}

impl Typed {
    /// True if nothing was typed.
    pub fn is_empty(&self) -> bool {
        self.comment.is_empty() && self.reason.is_empty() && self.for_agent.is_empty()
    }

    /// At most the longest texts.
    pub fn cut(self) -> Self {
        let cut = |text: String| text.chars().take(TEXT_MAX).collect();
        let reason = self.reason.chars().take(64).collect();
        Self { comment: cut(self.comment), reason, for_agent: cut(self.for_agent) }
    }

    /// The texts with our line breaks, if they are not too long.
    pub fn checked(self) -> Result<Self, Stop> {
        let known = self.reason.is_empty() || self.reason().is_some();
        let lines = |text: String| text.replace("\r\n", "\n");
        let (comment, for_agent) = (lines(self.comment), lines(self.for_agent));
        let long = [&comment, &for_agent].into_iter().any(|text| text.chars().count() > TEXT_MAX);
        if long || !known {
            return Err(Stop::Unreadable);
        }
        Ok(Self { comment, reason: self.reason, for_agent })
    }

    /// The reason to deny.
    pub fn reason(&self) -> Option<DenyReason> {
        DenyReason::ALL.into_iter().find(|reason| reason.code() == self.reason)
    }

    /// Reasons to deny: code, words, and whether it was chosen before.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let chosen = self.reason();
        DenyReason::ALL
            .into_iter()
            .map(move |one| (one.code(), words::deny_reason(one), chosen == Some(one)))
    }

    /// The reason to deny, in words.
    pub fn reason_words(&self) -> Option<&'static str> {
        self.reason().map(words::deny_reason)
    }

    /// What is recorded with a choice: comment, reason and text for the agent.
    pub fn of(&self, decision: Choice) -> (Option<String>, Option<DenyReason>, Option<String>) {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        match decision {
            Choice::Approve => (text(&self.comment), None, None),
            Choice::Deny => (text(&self.comment), self.reason(), text(&self.for_agent)),
        }
    }
}
