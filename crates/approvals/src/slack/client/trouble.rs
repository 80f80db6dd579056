//! Errors of a call, reduced to what must be done. The library's own error texts repeat bodies.

use crate::cards::SendError;
use slack_morphism::errors::SlackClientError;
use std::{io, time::Duration};

/// Longest error code of Slack that is repeated, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Too many calls. Slack may say how long to wait.
    Limited(Option<Duration>),
    /// Slack refused with this code. Nothing was done.
    Code(String),
    /// Slack failed, sent an unreadable answer, or did not answer. The outcome is unknown.
    Unknown(&'static str),
    /// Slack was not reached. Nothing was done.
    Unreached,
}

impl Trouble {
    /// What to do after a call that makes a message. Repeating it could show the message twice.
    pub(super) fn of_post(self) -> SendError {
        match self {
            Self::Unknown(_) => SendError::Unknown,
            // Slack: some of the operation may have succeeded.
            Self::Code(code) if ["internal_error", "fatal_error"].contains(&code.as_str()) => {
                SendError::Unknown
            }
            other => other.of_change(),
        }
    }

    /// What to do after any other call. Repeating it does no harm.
    pub(super) fn of_change(self) -> SendError {
        match self {
            Self::Limited(after) => SendError::Later("ratelimited".into(), after),
            Self::Unreached => SendError::Later("can't be reached".into(), None),
            Self::Unknown(why) => SendError::Later(why.into(), None),
            Self::Code(code) => match code.as_str() {
                "internal_error"
                | "fatal_error"
                | "service_unavailable"
                | "request_timeout"
                | "ratelimited"
                | "rate_limited"
                | "team_added_to_org"
                | "http_408" => SendError::Later(code, None),
                "message_not_found" => SendError::Gone(code),
                "cant_update_message" | "edit_window_closed" => SendError::Locked(code),
                _ => SendError::Refused(code),
            },
        }
    }
}

impl From<SlackClientError> for Trouble {
    /// Drops the error's text, because it repeats bodies.
    fn from(error: SlackClientError) -> Self {
        match error {
            SlackClientError::RateLimitError(limit) => Self::Limited(limit.retry_after),
            SlackClientError::ApiError(error) => Self::Code(code(&error.code)),
            SlackClientError::HttpError(error) if error.status_code.is_client_error() => {
                Self::Code(format!("http_{}", error.status_code.as_u16()))
            }
            SlackClientError::HttpError(_) => Self::Unknown("Slack failed"),
            SlackClientError::HttpProtocolError(error) => {
                let cause = error.cause.as_deref();
                if cause.is_some_and(|cause| was_not_reached(cause)) {
                    Self::Unreached
                } else {
                    Self::Unknown("the connection broke")
                }
            }
            SlackClientError::ProtocolError(_) => Self::Unknown("the answer can't be read"),
            SlackClientError::EndOfStream(_)
            | SlackClientError::SystemError(_)
            | SlackClientError::SocketModeProtocolError(_) => Self::Unknown("the connection broke"),
        }
    }
}

/// True if Slack refuses the content of the message, not the channel or the app. A smaller message may be
/// accepted.
pub(super) fn is_about_content(code: &str) -> bool {
    [
        "block_mismatch",
        "invalid_attachments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
    ]
    .contains(&code)
}

/// Errors that can only happen before a byte is sent.
fn was_not_reached(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        ) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Slack's error code, if it looks like one.
fn code(text: &str) -> String {
    let is_code = (1..=CODE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if is_code { text.to_owned() } else { "error".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trouble: &Trouble, post: &SendError, update: &SendError) {
        assert_eq!(&trouble.clone().of_post(), post, "{trouble:?}");
        assert_eq!(&trouble.clone().of_change(), update, "{trouble:?}");
    }

    #[test]
    fn every_trouble_says_what_to_do() {
        let later = |why: &str| SendError::Later(why.into(), None);
        let code = |code: &str| Trouble::Code(code.into());
        let wait = Some(Duration::from_secs(7));
        let limited = SendError::Later("ratelimited".into(), wait);
        check(&Trouble::Limited(wait), &limited, &limited);
        check(&Trouble::Unknown("no answer"), &SendError::Unknown, &later("no answer"));
        check(&Trouble::Unreached, &later("can't be reached"), &later("can't be reached"));
        check(&code("internal_error"), &SendError::Unknown, &later("internal_error"));
        let gone = SendError::Gone("message_not_found".into());
        check(&code("message_not_found"), &gone, &gone);
        let locked = SendError::Locked("cant_update_message".into());
        check(&code("cant_update_message"), &locked, &locked);
        for refused in ["channel_not_found", "is_archived", "not_in_channel", "invalid_auth"] {
            let error = SendError::Refused(refused.into());
            check(&code(refused), &error, &error);
        }
    }

    #[test]
    fn codes_are_codes() {
        assert_eq!(code("not_in_channel"), "not_in_channel");
        assert_eq!(code("xoxb-secret \u{202e}"), "error");
        assert_eq!(code(""), "error");
    }
}
