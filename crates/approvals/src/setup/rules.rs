//! Reads `rules.toml`: channels, displays, and the ordered rules.

use super::{
    Channel, Notify, displays,
    file::{File, Table, texts},
};
use crate::display::Display;
use decider::{
    quorum::Quorum,
    rule::{Amount, Match, Owner, Rule},
};
use iso_currency::Currency;
use ledger::ident::Ident;
use std::collections::BTreeMap;

/// Most rules of a tenant.
pub const RULES_MAX: usize = 100;
/// Most channels of a tenant.
pub const CHANNELS_MAX: usize = 100;
/// Longest conversation or channel id of a chat, in bytes.
pub const TO_BYTES_MAX: usize = 256;

/// Defaults for members that a rule leaves out.
mod default {
    /// Number of denials that end an approval.
    pub(super) const DENY: u32 = 1;
    /// Seconds from the decision to the approval deadline.
    pub(super) const APPROVE_WITHIN: u64 = 3600;
    /// Seconds from the grant to the execution deadline.
    pub(super) const EXECUTE_WITHIN: u64 = 15 * 60;
    /// Seconds from the redemption until a missing report counts as unknown.
    pub(super) const REPORT_WITHIN: u64 = 3600;
    /// Validity of a token in seconds.
    pub(super) const TOKEN_LIFE: u64 = 120;
}

const DURATION: &str = "a time such as \"90s\", \"15m\", \"1h\" or \"7d\"";

/// A rule, with the places of its quorum and channels in the file.
pub(super) struct Placed {
    pub(super) rule: Rule,
    pub(super) at: usize,
    pub(super) quorum_at: usize,
    pub(super) channels_at: usize,
}

/// Content of the file: rules in order, channels with their places.
pub(super) struct Read {
    pub(super) rules: Vec<Placed>,
    pub(super) channels: BTreeMap<String, (Channel, usize)>,
    pub(super) displays: Vec<Display>,
}

/// Reads the file and notes its mistakes. `None` if it is not TOML.
pub(super) fn read(file: &File<'_>) -> Option<Read> {
    let mut table = file.table()?;
    let channels = table.table("channels").map(channels).unwrap_or_default();
    let displays = displays::read(file, table.tables("display"));
    let tables = table.tables("rule");
    if tables.is_empty() || tables.len() > RULES_MAX {
        file.mistake(0, format!("write 1 to {RULES_MAX} rules, each as [[rule]]"));
    }
    let last = tables.len().saturating_sub(1);
    let mut rules: Vec<Placed> = Vec::new();
    for (position, table) in tables.into_iter().take(RULES_MAX).enumerate() {
        let at = table.at;
        let Some(placed) = rule(table) else { continue };
        if rules.iter().any(|other| other.rule.name == placed.rule.name) {
            file.mistake(at, format!("two rules are called {:?}: rename one", placed.rule.name));
        }
        let everything = placed.rule.matches.is_catch_all();
        if position == last && !everything {
            let what = "the last rule must match every call: add a [[rule]] without [rule.match] at the end";
            file.mistake(at, what);
        }
        if position < last && everything {
            let what = "this rule matches every call, so the ones after it never match: move it to the end";
            file.mistake(at, what);
        }
        rules.push(placed);
    }
    table.finish("channels, [[rule]] and [[display]]");
    Some(Read { rules, channels, displays })
}

fn channels(table: Table<'_>) -> BTreeMap<String, (Channel, usize)> {
    let mut channels = BTreeMap::new();
    for (name, mut table) in table.named_tables() {
        let at = table.at;
        if Ident::new(&name).is_err() {
            table.mistake(at, format!("{name:?}: a channel's name is made of a-z, 0-9 and -"));
        }
        if channels.len() == CHANNELS_MAX {
            table.mistake(at, format!("at most {CHANNELS_MAX} channels: remove some"));
            break;
        }
        let connection =
            table.must::<Ident>("connection", "the name of a Slack, Teams or webhook connection");
        let to = table.take::<String>("to", "the channel's id in the chat, as text");
        let fits = |to: &str| {
            (1..=TO_BYTES_MAX).contains(&to.len())
                && !to.contains(|c: char| c.is_control() || c == ' ')
        };
        if let Some((_, at)) = to.as_ref().filter(|(to, _)| !fits(to)) {
            table.mistake(*at, format!("to must have 1 to {TO_BYTES_MAX} bytes without blanks"));
        }
        let notify =
            table.take::<Notify>("notify", "\"short\": notifications say nothing of the call");
        let notify = notify.map(|(notify, _)| notify);
        table.finish("connection, to and notify");
        if let Some((connection, _)) = connection {
            let to = to.map(|(to, _)| to).unwrap_or_default();
            channels.insert(name, (Channel { connection, to, notify }, at));
        }
    }
    channels
}

fn rule(mut table: Table<'_>) -> Option<Placed> {
    let at = table.at;
    let name = table.must::<String>("name", "a short name for people, as text");
    let matches = table.table("match").map(matches).unwrap_or_default();
    if !table.has("quorum") {
        table.mistake(at, "add quorum: who must say yes, e.g. {at_least = 1, of = \"finance\"}");
    }
    let quorum_table = table.table("quorum");
    let quorum_at = quorum_table.as_ref().map_or(at, |table| table.at);
    let quorum = quorum_table.and_then(quorum);
    let number = "a number from 1 on";
    let deny = table.take("deny", number).map_or(default::DENY, |(deny, _)| deny);
    let approve_within = duration(&mut table, "approve_within", default::APPROVE_WITHIN);
    let execute_within = duration(&mut table, "execute_within", default::EXECUTE_WITHIN);
    let report_within = duration(&mut table, "report_within", default::REPORT_WITHIN);
    let token_life = duration(&mut table, "token_life", default::TOKEN_LIFE);
    let step_up = table.has("step_up").then(|| duration(&mut table, "step_up", 0));
    let yes_or_no = "true or false";
    let one_by_one = table.take("one_by_one", yes_or_no).is_some_and(|(yes, _)| yes);
    let names = "a list of names of [channels]";
    let channels = table.take::<Vec<String>>("channels", names);
    let channels_at = channels.as_ref().map_or(at, |(_, at)| *at);
    let channels = channels.map(|(names, _)| names).unwrap_or_default();
    let escalate = table.take("escalate", names).map(|(names, _)| names).unwrap_or_default();
    let owner =
        table.take("owner", "\"known\" or \"none\"").map_or(Owner::Known, |(owner, _)| owner);
    let unreviewed = table.take("unreviewed", yes_or_no).is_some_and(|(yes, _)| yes);
    table.finish(
        "name, match, quorum, deny, approve_within, execute_within, report_within, token_life, channels, escalate, \
         step_up, one_by_one, owner and unreviewed",
    );
    let rule = Rule {
        name: name?.0,
        matches,
        quorum: quorum?,
        deny,
        approve_within,
        execute_within,
        report_within,
        token_life,
        channels,
        escalate,
        step_up,
        one_by_one,
        owner,
        unreviewed,
    };
    Some(Placed { rule, at, quorum_at, channels_at })
}

/// The seconds of `name`. `otherwise` if it is absent or, with a mistake, is not a time.
fn duration(table: &mut Table<'_>, name: &str, otherwise: u64) -> u64 {
    let Some((text, at)) = table.take::<String>(name, DURATION) else { return otherwise };
    seconds(&text).unwrap_or_else(|| {
        table.mistake(at, format!("{name} must be {DURATION}"));
        otherwise
    })
}

/// `90s`, `15m`, `1h`, `7d`: digits and one unit.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok());
    number.flatten().map(|number| u64::from(number) * unit)
}

/// `at_least` with `of`, or `all`, or `any`; the last two hold quorums.
fn quorum(mut table: Table<'_>) -> Option<Quorum> {
    let at = table.at;
    let known = "at_least and of, or all, or any";
    let read = if table.has("all") {
        let parts = table.tables("all");
        Some(Quorum::All { all: parts.into_iter().filter_map(quorum).collect() })
    } else if table.has("any") {
        let parts = table.tables("any");
        Some(Quorum::Any { any: parts.into_iter().filter_map(quorum).collect() })
    } else if table.has("at_least") || table.has("of") {
        let at_least = table.must("at_least", "how many people");
        let of = table.must("of", "the group they are of, as text");
        at_least.zip(of).map(|((at_least, _), (of, _))| Quorum::AtLeast { at_least, of })
    } else {
        table.mistake(at, format!("a quorum has {known}"));
        None
    };
    table.finish(known);
    read
}

fn matches(mut table: Table<'_>) -> Match {
    let tool = texts(&mut table, "tool");
    let clause = texts(&mut table, "clause");
    let action = texts(&mut table, "action");
    let labels =
        table.take("labels", "a table of texts").map(|(labels, _)| labels).unwrap_or_default();
    let params = params(&mut table);
    let amount = table.table("amount").and_then(amount);
    table.finish("tool, clause, action, labels, params and amount");
    Match { tool, clause, action, labels, params, amount }
}

fn params(table: &mut Table<'_>) -> BTreeMap<String, serde_json::Value> {
    let expected =
        "a table: JSON Pointers into the params, each with a text, a whole number, true or false";
    let Some((values, at)) = table.take::<BTreeMap<String, toml::Value>>("params", expected) else {
        return BTreeMap::new();
    };
    let scalar = |value: toml::Value| match value {
        toml::Value::String(text) => Some(text.into()),
        toml::Value::Boolean(yes) => Some(yes.into()),
        toml::Value::Integer(number) => Some(number.into()),
        _ => None,
    };
    let mut params = BTreeMap::new();
    for (pointer, value) in values {
        match scalar(value) {
            Some(value) => drop(params.insert(pointer, value)),
            None => table.mistake(at, format!("params must be {expected}")),
        }
    }
    params
}

fn amount(mut table: Table<'_>) -> Option<Amount> {
    let minor = table.must("minor", "JSON Pointer to the amount in integer minor units");
    let currency = table.must("currency", "JSON Pointer to the ISO 4217 code");
    let expected = "limits by currency in minor units, e.g. {EUR = 100000} for EUR 1,000.00";
    let over = table.must::<BTreeMap<String, u64>>("over", expected);
    if let Some((over, at)) = &over {
        for code in over.keys() {
            if Currency::from_code(code).is_none() {
                table.mistake(*at, format!("{code:?} is not a code of ISO 4217"));
            }
        }
    }
    table.finish("minor, currency and over");
    Some(Amount { minor: minor?.0, currency: currency?.0, over: over?.0 })
}
