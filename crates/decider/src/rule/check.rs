//! Checks the limits of a rule.

use super::{
    APPROVE_WITHIN_MAX, Amount, DENY_MAX, EXECUTE_WITHIN_MAX, LIST_MAX, Match, NAME_BYTES_MAX,
    REPORT_WITHIN_MAX, RULE_BYTES_MAX, Rule, STEP_UP_MAX, TEXT_BYTES_MAX, TOKEN_LIFE_MAX,
    VALUE_DEPTH_MAX,
};
use crate::quorum::QuorumError;
use ledger::{event::is_reserved_tool, json};
use serde_json::Value;

/// Why a rule can't be used. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The name is empty, too long, or has control characters.
    #[error("`name` must have 1 to {NAME_BYTES_MAX} bytes and no control characters")]
    Name,
    /// A number is outside its limits.
    #[error("`{member}` must be 1 to {max}, not {got}")]
    Range {
        /// Name of the member.
        member: &'static str,
        /// The limit.
        max: u64,
        /// The value it has.
        got: u64,
    },
    /// The quorum can't be used.
    #[error("`quorum`: {0}")]
    Quorum(#[from] QuorumError),
    /// A list has too many values, conditions, currencies or channels.
    #[error("`{0}` has more than {LIST_MAX} items: split the rule")]
    List(&'static str),
    /// A text is empty, too long, or has control characters.
    #[error("`{0}`: each text must have 1 to {TEXT_BYTES_MAX} bytes and no control characters")]
    Text(&'static str),
    /// Only changes of policies may go without review.
    #[error(
        "`unreviewed` needs a match on our own tool alone: [rule.match] tool = \"countersign\""
    )]
    Unreviewed,
    /// A text is not a JSON Pointer.
    #[error("`{0}` is not a JSON Pointer (RFC 6901): write it like `/payee/iban`")]
    Pointer(String),
    /// A value is not strict JSON.
    #[error(
        "`{0}`: the value must be what strict JSON can hold: integers up to 2^53-1, at most \
         {VALUE_DEPTH_MAX} levels; write anything else as text"
    )]
    Value(String),
    /// A currency is not three capital letters.
    #[error("`{0}` is not an ISO 4217 code: write it like `EUR`")]
    Currency(String),
    /// An `amount` has no limits by currency.
    #[error("`amount.over` names no currency: every amount would be over, so leave `amount` out")]
    NoCurrency,
    /// The rule as a whole is too big.
    #[error("the rule has {0} bytes as JSON, more than {RULE_BYTES_MAX}: split it")]
    Size(usize),
}

impl Rule {
    /// Checks the limits. Whether groups and channels exist is not known here.
    pub fn check(&self) -> Result<(), RuleError> {
        let name = 1..=NAME_BYTES_MAX;
        if !name.contains(&self.name.len()) || json::text_has_control(&self.name) {
            return Err(RuleError::Name);
        }
        in_range("deny", self.deny.into(), DENY_MAX.into())?;
        in_range("approve_within", self.approve_within, APPROVE_WITHIN_MAX)?;
        in_range("execute_within", self.execute_within, EXECUTE_WITHIN_MAX)?;
        in_range("report_within", self.report_within, REPORT_WITHIN_MAX)?;
        in_range("token_life", self.token_life, TOKEN_LIFE_MAX)?;
        in_range("step_up", self.step_up.unwrap_or(1), STEP_UP_MAX)?;
        self.quorum.check()?;
        texts("channels", &self.channels)?;
        texts("escalate", &self.escalate)?;
        self.matches.check()?;
        let ours = |tool: &String| is_reserved_tool(tool);
        if self.unreviewed && (self.matches.tool.is_empty() || !self.matches.tool.iter().all(ours))
        {
            return Err(RuleError::Unreviewed);
        }
        let size = serde_json::to_vec(self).map_or(usize::MAX, |text| text.len());
        if size > RULE_BYTES_MAX { Err(RuleError::Size(size)) } else { Ok(()) }
    }
}

impl Match {
    fn check(&self) -> Result<(), RuleError> {
        texts("match.tool", &self.tool)?;
        texts("match.clause", &self.clause)?;
        texts("match.action", &self.action)?;
        texts("match.labels", self.labels.keys())?;
        texts("match.labels", self.labels.values())?;
        if self.params.len() > LIST_MAX {
            return Err(RuleError::List("match.params"));
        }
        for (pointer, value) in &self.params {
            is_pointer(pointer)?;
            if !is_strict(value, VALUE_DEPTH_MAX) {
                return Err(RuleError::Value(pointer.clone()));
            }
        }
        self.amount.as_ref().map_or(Ok(()), Amount::check)
    }
}

impl Amount {
    fn check(&self) -> Result<(), RuleError> {
        is_pointer(&self.minor)?;
        is_pointer(&self.currency)?;
        if self.over.is_empty() {
            return Err(RuleError::NoCurrency);
        }
        if self.over.len() > LIST_MAX {
            return Err(RuleError::List("amount.over"));
        }
        for (currency, limit) in &self.over {
            if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(RuleError::Currency(currency.clone()));
            }
            if !is_strict(&Value::from(*limit), 0) {
                return Err(RuleError::Value(format!("amount.over.{currency}")));
            }
        }
        Ok(())
    }
}

fn in_range(member: &'static str, got: u64, max: u64) -> Result<(), RuleError> {
    if (1..=max).contains(&got) { Ok(()) } else { Err(RuleError::Range { member, max, got }) }
}

fn texts<'a>(
    member: &'static str,
    texts: impl IntoIterator<Item = &'a String, IntoIter: ExactSizeIterator>,
) -> Result<(), RuleError> {
    let mut texts = texts.into_iter();
    if texts.len() > LIST_MAX {
        return Err(RuleError::List(member));
    }
    let fits =
        |text: &String| (1..=TEXT_BYTES_MAX).contains(&text.len()) && !json::text_has_control(text);
    if texts.all(fits) { Ok(()) } else { Err(RuleError::Text(member)) }
}

/// RFC 6901 §3: empty, or `/` and reference tokens in which `~` is always `~0` or `~1`.
fn is_pointer(text: &str) -> Result<(), RuleError> {
    let begins = text.is_empty() || text.starts_with('/');
    let mut tails = text.split('~').skip(1);
    let escaped = tails.all(|tail| tail.starts_with(['0', '1']));
    if begins && escaped && text.len() <= TEXT_BYTES_MAX && !json::text_has_control(text) {
        Ok(())
    } else {
        Err(RuleError::Pointer(text.to_owned()))
    }
}

/// True if the strict reader accepts the value, nested at most `depth` levels deep.
fn is_strict(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_strict(item, depth - 1)),
        Value::Object(items) => depth > 0 && items.values().all(|item| is_strict(item, depth - 1)),
        Value::Number(number) => json::parse(number.to_string().as_bytes()).is_ok(),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}
