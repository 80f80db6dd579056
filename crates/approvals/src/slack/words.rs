//! What a card or a dialog carries to Slack and a click brings back: written by `blocks`, read by `inbound`.

/// `action_id` of the button that approves.
pub(super) const APPROVE: &str = "approve";
/// `action_id` of the button that denies.
pub(super) const DENY: &str = "deny";
/// `action_id` of the button that opens the dialog for a denial with its reason.
pub(super) const DENY_WITH_COMMENT: &str = "deny_with_comment";
/// `action_id` of the button that opens the dialog for a question.
pub(super) const ASK: &str = "ask";
/// `callback_id` of the dialog for a denial, and block and action of its comment.
pub const COMMENT: &str = "comment";
/// Block and action of the choice of a reason.
pub(super) const REASON: &str = "reason";
/// Block and action of the text for the agent.
pub(super) const FOR_AGENT: &str = "for_agent";
/// `callback_id` of the dialog for a question, and block and action of its text.
pub const QUESTION: &str = "question";
/// Most characters kept of a text; the dialogs allow as many.
pub(super) const TEXT_CHARS_MAX: usize = 1000;
