//! Errors on the wire: RFC 9457 `application/problem+json` with stable codes (`proto/errors.md`).

mod of_ledger;

use crate::request;
use approvals::{token, worker};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use decider::{approval::Refusal, words};
use serde::Serialize;

/// Seconds a caller shall wait before it tries again.
const RETRY_AFTER_SECONDS: u64 = 1;
/// An error answer.
// Its texts are boxed: every function that may fail returns one.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:countersign:error:<code>`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: Box<str>,
    /// Title of the error.
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
    /// For a refused command: the approval as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    approval: Option<Box<serde_json::Value>>,
    /// For a pruned entry: the first leaf index from which every entry is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    kept_from: Option<Box<u64>>,
    /// For a feed: the cursor of the page that begins there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Box<serde_json::Value>>,
    /// The request, as the server's log names it; also in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_id: Option<Box<serde_json::Value>>,
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

macro_rules! codes {
    ($($variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong: stable (`proto/errors.md`). The one table of codes, HTTP statuses and titles.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The code in words, for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", 400, "Request not valid";
    BodySyntax = "body_syntax", 400, "Body not readable";
    Unauthenticated = "unauthenticated", 401, "API key missing or not valid";
    RoleMissing = "role_missing", 403, "API key lacks the role";
    NotTrusted = "not_trusted", 403, "Token not allowed for this connection";
    NotFound = "not_found", 404, "Not found";
    NotWitnessed = "not_witnessed", 404, "Not cosigned by a witness yet";
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    Conflict = "conflict", 409, "Conflict with the present state";
    Pruned = "pruned", 410, "Entry pruned";
    TenantDeleted = "tenant_deleted", 410, "Tenant deleted";
    LegalHold = "legal_hold", 409, "Legal hold in force";
    RulesWrong = "rules_wrong", 409, "Rules or people have mistakes";
    DecisionStale = "decision_stale", 409, "Verdict no longer counts";
    Frozen = "frozen", 409, "Call frozen";
    AgentToken = "agent_token", 422, "Token can't be issued";
    PolicyWrong = "policy_wrong", 422, "Policies have mistakes, or a test fails";
    ListWrong = "list_wrong", 422, "Change of a list has mistakes";
    PolicyUnreadable = "policy_unreadable", 503, "Policies in force not usable";
    RulesDiffer = "rules_differ", 409, "Rules or people differ";
    TooBig = "too_big", 413, "Body too big";
    TooManyEvents = "too_many_events", 413, "Too many events in one request";
    UnsupportedMediaType = "unsupported_media_type", 415, "Content type not supported";
    Internal = "internal", 500, "Internal error";
    NotTaken = "not_taken", 424, "Receiver does not take it";
    Busy = "busy", 503, "Server busy";
    Behind = "behind", 503, "Server behind its journal";
    OutcomeUnknown = "outcome_unknown", 503, "Outcome unknown";
    LogHalted = "log_halted", 503, "Log halted";
    JournalUnavailable = "journal_unavailable", 503, "Journal not available";
    NoQuorum = "no_quorum", 503, "No majority of the replicas";
    NotOpened = "not_opened", 422, "Decision opens no approval";
    NotReady = "not_ready", 503, "Approvals not ready";
    Malformed = "malformed", 400, "Code or id not well-formed";
    NotLinked = "not_linked", 403, "Account not linked to a person";
    NotEligible = "not_eligible", 403, "Person not asked";
    OwnCall = "own_call", 403, "Person owns the agent";
    OwnerUnknown = "owner_unknown", 403, "Owner of the agent unknown";
    StepUp = "step_up", 403, "Recent sign-in on the web page required";
    NotNow = "not_now", 409, "Not possible in this state";
    TooLate = "too_late", 409, "Deadline passed";
    AlreadyReviewed = "already_reviewed", 409, "Already reviewed with another choice";
    DigestMismatch = "digest_mismatch", 409, "Digest of another call";
    NotShown = "not_shown", 409, "Call not shown whole";
    Stale = "stale", 409, "Approval has changed since";
    RuleChanged = "rule_changed", 409, "Another rule in force";
    TooManyQuestions = "too_many_questions", 409, "No more questions now";
    NoQuestion = "no_question", 409, "No such question";
    AlreadyAnswered = "already_answered", 409, "Question already answered";
    PolicyDenies = "policy_denies", 409, "Policies in force deny the call";
    TooManyMints = "too_many_mints", 409, "No more tokens for this approval";
    TokenNotLive = "token_not_live", 409, "Token is not the current one";
    AlreadyRedeemed = "already_redeemed", 409, "Token already redeemed";
    AlreadyReported = "already_reported", 409, "Outcome already reported";
    Corrupt = "corrupt", 409, "History of the approval impossible";
    TokenTooBig = "token_too_big", 403, "Token refused";
    TokenMalformed = "token_malformed", 403, "Token refused";
    TokenHeader = "token_header", 403, "Token refused";
    TokenUnknownKey = "token_unknown_key", 403, "Token refused";
    TokenSignature = "token_signature", 403, "Token refused";
    TokenClaims = "token_claims", 403, "Token refused";
    TokenIssuer = "token_issuer", 403, "Token refused";
    TokenTenant = "token_tenant", 403, "Token refused";
    TokenAudience = "token_audience", 403, "Token refused";
    TokenNotYetValid = "token_not_yet_valid", 403, "Token refused";
    TokenExpired = "token_expired", 403, "Token refused";
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // Whoever may not know of an approval is told what everybody is told.
            Refusal::NotFound | Refusal::NotYours => Self::NotFound,
            Refusal::Malformed => Self::Malformed,
            Refusal::Corrupt => Self::Corrupt,
            Refusal::NotNow => Self::NotNow,
            Refusal::TooLate => Self::TooLate,
            Refusal::NotLinked => Self::NotLinked,
            Refusal::NotEligible => Self::NotEligible,
            Refusal::OwnCall => Self::OwnCall,
            Refusal::OwnerUnknown => Self::OwnerUnknown,
            Refusal::AlreadyReviewed => Self::AlreadyReviewed,
            Refusal::DigestMismatch => Self::DigestMismatch,
            Refusal::NotShown => Self::NotShown,
            Refusal::Stale => Self::Stale,
            Refusal::StepUp => Self::StepUp,
            Refusal::RuleChanged => Self::RuleChanged,
            Refusal::TooManyQuestions => Self::TooManyQuestions,
            Refusal::NoQuestion => Self::NoQuestion,
            Refusal::AlreadyAnswered => Self::AlreadyAnswered,
            Refusal::PolicyDenies => Self::PolicyDenies,
            Refusal::PolicyUnreadable => Self::PolicyUnreadable,
            Refusal::TooManyMints => Self::TooManyMints,
            Refusal::TokenNotLive => Self::TokenNotLive,
            Refusal::AlreadyRedeemed => Self::AlreadyRedeemed,
            Refusal::AlreadyReported => Self::AlreadyReported,
        }
    }
}

impl From<token::Error> for Code {
    fn from(error: token::Error) -> Self {
        match error {
            token::Error::TooBig => Self::TokenTooBig,
            token::Error::Malformed => Self::TokenMalformed,
            token::Error::Header => Self::TokenHeader,
            token::Error::UnknownKey => Self::TokenUnknownKey,
            token::Error::Signature => Self::TokenSignature,
            token::Error::Claims => Self::TokenClaims,
            token::Error::Issuer => Self::TokenIssuer,
            token::Error::Tenant => Self::TokenTenant,
            token::Error::Audience => Self::TokenAudience,
            token::Error::NotYetValid => Self::TokenNotYetValid,
            token::Error::Expired => Self::TokenExpired,
        }
    }
}

impl Problem {
    /// A problem, and what the caller must do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:countersign:error:{}", code.name()).into(),
            title: code.title(),
            status: code.status(),
            detail: detail.into(),
            code: code.name(),
            outcome: (code == Code::OutcomeUnknown).then_some(Unclear::Unknown),
            approval: None,
            kept_from: None,
            next: None,
            request_id: None,
            damage: None,
            is_coding: false,
        }
    }

    /// The problem for a refused command on an approval.
    pub fn refusal(refusal: Refusal) -> Self {
        match Code::from(refusal) {
            Code::NotFound => Self::not_found(),
            code => Self::new(code, words::refusal(refusal)),
        }
    }

    /// The server failed, for a reason that is none of the caller's business: it goes to the log, never into an answer.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        let detail =
            "The request failed. The reason is in the server's log, under the request's id.";
        Self::new(Code::Internal, detail)
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

    /// For a feed of which entries were pruned: adds the cursor of the page that begins behind them.
    #[must_use]
    pub fn with_next(mut self, cursor: impl FnOnce(u64) -> String) -> Self {
        self.next = self.kept_from.as_deref().map(|index| Box::new(cursor(*index).into()));
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
        Self::new(Code::NotFound, "Nothing is at this address for this key.")
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.status();
        self.request_id = request::current().map(|request| Box::new(request.id.as_str().into()));
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
            worker::Error::NotReady(text) => Self::new(Code::NotReady, text),
            worker::Error::Frozen(_) => Self::new(Code::Frozen, error.to_string()),
            worker::Error::Contended => Self::new(Code::Busy, error.to_string()),
            worker::Error::Unknown => Self::new(Code::OutcomeUnknown, error.to_string()),
            worker::Error::Ledger(error) => error.into(),
            worker::Error::Store(error) => error.into(),
            worker::Error::Token(error) => Self::new(error.into(), error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
