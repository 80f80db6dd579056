//! What a card or a dialog carries to Slack and a click brings back: written by `blocks`, read by `inbound`.

/// `action_id` of the button that approves.
pub(super) const APPROVE: &str = "approve";
/// `action_id` of the button that denies.
pub(super) const DENY: &str = "deny";
/// `action_id` of the button that opens the dialog for a comment.
pub(super) const DENY_WITH_COMMENT: &str = "deny_with_comment";
/// `callback_id` of the dialog, and block and action of its input.
pub const COMMENT: &str = "comment";
/// Most characters kept of a comment; the dialog allows as many.
pub(super) const COMMENT_CHARS_MAX: usize = 1000;
