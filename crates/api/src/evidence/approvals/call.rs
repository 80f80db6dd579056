//! What a call was about, as far as its parameters are disclosed: how much, and to whom.

use crate::evidence::{Error, log::Log};
use decider::approval::Requested;
use ledger::entry::View;
use serde_json::Value;
use std::collections::BTreeSet;

/// Most characters of the parameters in a cell. `proof/disclosures/` has all.
const CHARS_MAX: usize = 2_000;
/// Where an amount and its currency are, if the rule that matched does not say it.
const AMOUNT: [&str; 2] = ["/amount", "/currency"];
/// Where tools name who gets it, the first one that is there.
const PAYEE: [&str; 7] =
    ["/payee", "/recipient", "/beneficiary", "/to", "/iban", "/account", "/email"];

/// What a call was about. Empty where it is not disclosed, or not named so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The amount, as the call has it.
    pub amount: String,
    /// Its currency.
    pub currency: String,
    /// Who gets it.
    pub payee: String,
    /// The parameters, in RFC 8785 form, cut.
    pub params: String,
}

/// Reads the call of an approval. `drawn`: leaf indexes of samples.
pub fn read(log: &Log<'_>, asked: &Requested, drawn: &BTreeSet<u64>) -> Result<Call, Error> {
    let index = asked.opening.index;
    let entry = log.entry(index)?;
    let Some(view) = View::parse(&entry) else { return Ok(Call::default()) };
    let fields = log.disclosed(index, &view, drawn.contains(&index))?.unwrap_or_default();
    let Some(params) = fields.get("params") else { return Ok(Call::default()) };
    let named = asked.rule.matches.amount.as_ref();
    let [amount, currency] = named.map_or(AMOUNT, |amount| [&amount.minor, &amount.currency]);
    Ok(of(params, amount, currency))
}

fn of(params: &[u8], amount: &str, currency: &str) -> Call {
    let read: Value = serde_json::from_slice(params).unwrap_or_default();
    let at = |pointer: &str| match read.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let payee = PAYEE.iter().map(|pointer| at(pointer)).find(|payee| !payee.is_empty());
    let whole = String::from_utf8_lossy(params);
    let mut params: String = whole.chars().take(CHARS_MAX).collect();
    if params.len() < whole.len() {
        params.push('…');
    }
    Call { amount: at(amount), currency: at(currency), payee: payee.unwrap_or_default(), params }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(params: &str, [amount, currency, payee]: [&str; 3]) {
        let call = of(params.as_bytes(), "/amount", "/currency");
        assert_eq!([&*call.amount, &*call.currency, &*call.payee], [amount, currency, payee]);
        assert_eq!(call.params, params);
    }

    #[test]
    fn p20_a_call_says_how_much_and_to_whom() {
        check(r#"{"amount":1250,"currency":"EUR","iban":"DE02"}"#, ["1250", "EUR", "DE02"]);
        check(r#"{"amount":"12.50","payee":"ACME","to":"x"}"#, ["12.50", "", "ACME"]);
        check(r#"{"amount":{"x":1},"payee":["a"],"to":"b"}"#, ["", "", "b"]);
        check("{}", ["", "", ""]);
        check("[1]", ["", "", ""]);
        check("null", ["", "", ""]);
    }

    #[test]
    fn a_long_call_is_cut() {
        let call = of(format!(r#"{{"x":"{}"}}"#, "é".repeat(3_000)).as_bytes(), "/a", "/c");
        assert_eq!(call.params.chars().count(), CHARS_MAX + 1);
    }
}
