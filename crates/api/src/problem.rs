//! Errors on the wire: RFC 9457 `application/problem+json` with stable codes (`proto/errors.md`).

use crate::routes::request;
use approvals::worker;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use decider::approval::Refusal;
use ledger::{journal, ledger::Error as LedgerError, store};
use serde::Serialize;

/// Seconds a caller shall wait before it tries again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An error answer.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:countersign:error:<code>`.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What the caller must do.
    detail: String,
    /// Stable code.
    code: &'static str,
    /// `unknown` when the request may have been carried out: repeating it is safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    outcome: Option<Unclear>,
    /// Of a refused command: how the approval stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    approval: Option<Box<serde_json::Value>>,
    /// The request, as the server's log names it; also in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_id: Option<Box<str>>,
    /// What of the database can't be.
    #[serde(skip)]
    damage: Option<Box<Damage>>,
    /// Whether the body's coding is the reason.
    #[serde(skip)]
    is_coding: bool,
}

/// What may have happened all the same.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unclear {
    /// It may have been carried out.
    Unknown,
}

/// What of the database can't be: goes with the answer to where it is noted for the tenant.
#[derive(Clone, Debug)]
pub struct Damage(pub String);

/// Every code, its status and title.
pub const CODES: &[(&str, u16, &str)] = &[
    ("bad_request", 400, "The request is not as documented"),
    ("body_syntax", 400, "The body can't be read as events"),
    ("unauthenticated", 401, "No valid API key"),
    ("role_missing", 403, "The key does not carry the role"),
    ("not_trusted", 403, "The token may not bring this"),
    ("not_found", 404, "Nothing here"),
    ("method_not_allowed", 405, "Not this method"),
    ("conflict", 409, "It exists already, or has moved on"),
    ("rules_wrong", 409, "The rules or people can't be applied"),
    ("rules_differ", 409, "Other rules or people than yours"),
    ("too_big", 413, "The body is too big"),
    ("too_many_events", 413, "Too many events in one request"),
    ("unsupported_media_type", 415, "This content type is not read"),
    ("internal", 500, "The server failed"),
    ("busy", 503, "Too much is waiting"),
    ("behind", 503, "Not all is posted here yet"),
    ("outcome_unknown", 503, "It is not known whether it was done"),
    ("log_halted", 503, "The log stands still"),
    ("journal_unavailable", 503, "The journal is not available"),
    ("shutting_down", 503, "The server is stopping"),
    ("not_opened", 422, "The decision opens no approval"),
    ("not_ready", 503, "Approvals are not decided here now"),
    ("malformed", 400, "A code or id is not well-formed"),
    ("not_linked", 403, "Nobody we know"),
    ("not_eligible", 403, "This person is not asked"),
    ("own_call", 403, "Nobody approves their own agent's call"),
    ("owner_unknown", 403, "Nobody knows whose agent it is"),
    ("step_up", 403, "A fresh sign-in on the web page is needed"),
    ("not_now", 409, "Not in this state"),
    ("too_late", 409, "Its time is over"),
    ("already_reviewed", 409, "This person answered differently before"),
    ("digest_mismatch", 409, "It is another call"),
    ("not_shown", 409, "Not all of it can be shown"),
    ("stale", 409, "Something newer happened"),
    ("rule_changed", 409, "Another rule is in force"),
    ("too_many_mints", 409, "No more tokens for this approval"),
    ("token_not_live", 409, "This token does not live"),
    ("already_redeemed", 409, "It was spent"),
    ("already_reported", 409, "Another report was given"),
    ("corrupt", 409, "Its history can't have happened"),
    ("token_too_big", 403, "The token is refused"),
    ("token_malformed", 403, "The token is refused"),
    ("token_header", 403, "The token is refused"),
    ("token_unknown_key", 403, "The token is refused"),
    ("token_signature", 403, "The token is refused"),
    ("token_claims", 403, "The token is refused"),
    ("token_issuer", 403, "The token is refused"),
    ("token_tenant", 403, "The token is refused"),
    ("token_audience", 403, "The token is refused"),
    ("token_not_yet_valid", 403, "The token is refused"),
    ("token_expired", 403, "The token is refused"),
];

impl Problem {
    /// A problem with one of [`CODES`].
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let known = CODES.iter().find(|(known, _, _)| *known == code);
        let (_, status, title) = known.expect("a code of the table");
        let outcome = (code == "outcome_unknown").then_some(Unclear::Unknown);
        let kind = format!("urn:countersign:error:{code}");
        let detail = detail.into();
        Self {
            kind,
            title,
            status: *status,
            detail,
            code,
            outcome,
            approval: None,
            request_id: None,
            damage: None,
            is_coding: false,
        }
    }

    /// The problem for a refused command on an approval.
    pub fn refusal(refusal: Refusal) -> Self {
        let word = refusal.to_string();
        let code = CODES.iter().map(|(code, ..)| *code).find(|code| *code == word);
        match refusal {
            // A caller who may not know of an approval gets the same answer as for one that does not exist.
            Refusal::NotFound | Refusal::NotYours => Self::not_found(),
            _ => Self::new(code.expect("every refusal is in the table"), refusal.advice()),
        }
    }

    /// Adds a sentence.
    #[must_use]
    pub fn also(mut self, sentence: &str) -> Self {
        self.detail = format!("{} {sentence}", self.detail);
        self
    }

    /// Adds the approval as it is now.
    #[must_use]
    pub fn with_approval<T: Serialize>(mut self, approval: &T) -> Self {
        self.approval = serde_json::to_value(approval).ok().map(Box::new);
        self
    }

    /// For a problem with the coding of a body: names the accepted ones (RFC 9110 §15.5.16).
    #[must_use]
    pub fn with_accept_encoding(mut self) -> Self {
        self.is_coding = true;
        self
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What the caller must do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The only answer both for what does not exist and for what belongs to somebody else.
    pub fn not_found() -> Self {
        Self::new("not_found", "There is nothing at this address for this key.")
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.status();
        self.request_id = request::current().map(|request| request.id.as_str().into());
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        if let Some(damage) = self.damage {
            response.extensions_mut().insert(*damage);
        }
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if self.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.is_coding {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, identity"));
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<worker::Error> for Problem {
    fn from(error: worker::Error) -> Self {
        match error {
            worker::Error::NotFound => Self::not_found(),
            worker::Error::NotReady(text) => Self::new("not_ready", text),
            worker::Error::Contended => Self::new("busy", error.to_string()),
            worker::Error::Unknown => Self::new(
                "outcome_unknown",
                "It is not known whether it was done. Repeat the same request.",
            ),
            worker::Error::Ledger(error) => error.into(),
            worker::Error::Store(error) => error.into(),
            worker::Error::Token(error) => Self::new(error.code(), error.to_string()),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Journal(error) => error.into(),
            LedgerError::Store(error) => error.into(),
            LedgerError::Halted(_) => Self::new(
                "log_halted",
                "This log was stopped because its integrity is in doubt. Its operator must act; nothing was written.",
            ),
            LedgerError::Busy => Self::new(
                "busy",
                "Too much is waiting for this tenant. Nothing was written; try again.",
            ),
            LedgerError::Behind => Self::new(
                "behind",
                "This server has not posted yet what the journal holds, so it can't say what there is. Nothing was done; \
                 try again.",
            ),
            LedgerError::Unknown => Self::new(
                "outcome_unknown",
                "No answer in time. Repeat the same request: events are posted once, whatever happened.",
            ),
            LedgerError::Setup(text) => Self::new("conflict", text),
            LedgerError::Guard(_) | LedgerError::Keys(_) => {
                tracing::error!(%error, "request failed");
                Self::new(
                    "internal",
                    "The server failed; its operator finds the reason in the log.",
                )
            }
        }
    }
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Conflict => {
                Self::new("conflict", "Another change came first. Read again and decide anew.")
            }
            journal::Error::TooBig { .. } => Self::new("too_big", error.to_string()),
            journal::Error::Unavailable(_) => {
                tracing::warn!(%error, "journal unavailable");
                Self::new(
                    "journal_unavailable",
                    "The journal is not available. Nothing was written; try again.",
                )
            }
            journal::Error::Unknown(_) => Self::new(
                "outcome_unknown",
                "The journal did not answer in time. Repeat the same request: events are posted once.",
            ),
            journal::Error::Halt(_) => {
                tracing::error!(%error, "journal refused");
                Self::new("log_halted", "The journal is not as it must be; its operator must act.")
            }
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        tracing::error!(%error, "reading failed");
        let problem = Self::new(
            "internal",
            "The server could not read its store; its operator finds the reason in the log.",
        );
        let damage = match &error {
            store::Error::Corrupt { .. } => Some(Box::new(Damage(error.to_string()))),
            store::Error::Io(_) | store::Error::Place(_) | store::Error::Held => None,
        };
        Self { damage, ..problem }
    }
}
