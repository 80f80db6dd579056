//! Makes what people read of a call from a display, or without one.

use super::{
    Call, Display, Displayed, Ends, MoneyAt, Release, Telling, claims, deeds,
    fields::{self, Drawing, Field, Kind},
    guess, money, natural,
    sentence::{Piece, Sentence, within_quotes},
    template::Title,
};
use decider::rule::resolve;
use ledger::{
    foreign::{self, pointer},
    json::Value,
};
use std::collections::BTreeSet;

/// What names with letters of another script, or hidden ones, mean.
const ESCAPED: &str = "\\u{…} stands for a letter that looks like another one, or is not seen.";
/// What an amount below zero is marked with: its sign is easily overlooked.
const NEGATIVE: &str = "The amount is negative: the money goes the other way.";
/// Longest text that is compared with those of earlier calls, in characters.
const NAME_CHARS_MAX: usize = 80;
/// Most texts that are compared.
const NAMES_MAX: usize = 8;

/// Fields of a display in the head of a page.
const HEAD_FIELDS: usize = 3;
/// Fields of a call without a display there. Nobody chose them, so one more is shown.
const HEAD_FIELDS_GUESSED: usize = 4;
/// Most ends of a call that are kept.
const ENDS_MAX: usize = 8;

impl Display {
    /// The label of a field: the author's, or the steps of its pointer.
    fn label(&self, pointer: &str, params: &Value<'_>) -> (String, bool) {
        match self.labels.get(pointer) {
            Some(label) => (foreign::harmless(label), true),
            None => (fields::capital(pointer, params), false),
        }
    }
}

impl Displayed {
    /// The call as people read it, by the display that is for it, if there is one.
    pub fn of(display: Option<&Display>, call: &Call<'_>) -> Self {
        let nothing = Display::default();
        let chosen = display.unwrap_or(&nothing);
        let at = chosen.amount.clone().or_else(|| call.amount.map(MoneyAt::from));
        let money = call.params.and_then(|params| money_at(at.as_ref()?, params));
        let amount = money.as_ref().and_then(|(minor, code)| money::format(*minor, code));
        let money = money.filter(|_| amount.is_some());
        let mut told = BTreeSet::new();
        if let Some(at) = at.as_ref().filter(|_| amount.is_some()) {
            told.extend([at.minor.clone(), at.currency.clone()]);
        }
        let code = call.params.and_then(|params| code_at(&at.as_ref()?.currency, params));
        let drawing = Drawing { kinds: &chosen.kinds, code: code.as_deref() };
        let titled = chosen.title.as_ref().zip(call.params);
        let titled =
            titled.and_then(|(title, params)| title.fill((params, drawing), amount.as_deref()));
        let authored = titled.is_some();
        let mut fields = Vec::new();
        if let Some(params) = call.params {
            fields = chosen.fields(params, drawing);
            if display.is_none_or(|chosen| chosen.title.is_none() && fields.is_empty()) {
                fields = guess::fields(params, &told);
            }
        }
        let sentence = titled.unwrap_or_else(|| guess::sentence(call, amount.as_deref(), &fields));
        if let (Some(title), true) = (&chosen.title, authored) {
            told.extend(title.pointers().map(str::to_owned));
        }
        told.extend(fields.iter().flat_map(|field| field.covers.iter().cloned()));
        let mut overlooked = 0;
        if let (Some(params), Some(_)) = (call.params, display) {
            let more = guess::overlooked(params, &told);
            overlooked = more.len();
            told.extend(more.iter().flat_map(|field| field.covers.iter().cloned()));
            fields.extend(more);
        }
        let leaves = call.params.map(fields::leaves).unwrap_or_default();
        let untold = leaves.iter().filter(|leaf| !told.contains(*leaf));
        let (left, untold) = (untold.clone().count(), untold.map(|at| pointer(at)).collect());
        let (account, whom) = (chosen.account(call.params), chosen.whom(call.params));
        let mut told = Self {
            amount,
            fields,
            account,
            whom,
            warnings: warnings(&sentence, money.as_ref(), call),
            names: Vec::new(),
            telling: Vec::new(),
            ends: call.params.map(ends).unwrap_or_default(),
            release: call.params.and_then(|params| Release::of((call.tool, call.action), params)),
            overlooked,
            reference: None,
            sentence,
            money,
            authored,
            untold,
            left,
            all: leaves.len(),
        };
        told.names = told.names(chosen, call.params);
        told.telling = told.telling(call.params);
        told.reference = told.reference();
        told
    }

    /// Texts of the sentence and of short fields that are compared with those of earlier calls.
    fn names(&self, chosen: &Display, params: Option<&Value<'_>>) -> Vec<(String, String)> {
        let titled = chosen.title.iter().filter(|_| self.authored).flat_map(Title::pointers);
        let kind = |pointer: &str| chosen.kinds.get(pointer).copied().unwrap_or_default();
        let text = |pointer: &str| {
            let text = resolve(params?, pointer)?.as_str()?;
            let short = (2..=NAME_CHARS_MAX).contains(&text.chars().count());
            (short && is_name(kind(pointer))).then(|| (pointer.to_owned(), text.to_owned()))
        };
        let mut names: Vec<(String, String)> = titled.filter_map(text).collect();
        for field in self.fields.iter().filter(|field| is_name(field.kind)) {
            if let [pointer] = &field.covers[..]
                && field.raw.is_some()
                && !names.iter().any(|(known, _)| known == pointer)
            {
                names.extend(text(pointer));
            }
        }
        names.truncate(NAMES_MAX);
        names
    }

    /// What is shown beside amount and account: fields, and names in the sentence that no field shows.
    fn telling(&self, params: Option<&Value<'_>>) -> Vec<Telling> {
        let account = self.account.as_ref().map(|(pointer, _)| pointer);
        let is_account =
            |field: &&Field| account.is_some_and(|account| field.covers.contains(account));
        let fields = self.fields.iter().filter(|field| !is_account(field)).map(|field| Telling {
            label: field.label.clone(),
            text: field.text(),
            is_time: matches!(field.kind, Kind::Time | Kind::Due),
        });
        let shown = |pointer: &String| self.fields.iter().any(|one| one.covers.contains(pointer));
        let named =
            self.names.iter().filter(|(pointer, _)| !shown(pointer) && account != Some(pointer));
        let named = named.filter_map(|(pointer, text)| {
            Some(Telling {
                label: fields::capital(pointer, params?),
                text: foreign::value(text),
                is_time: false,
            })
        });
        fields.chain(named).collect()
    }

    /// The first short field that is neither the account nor who gets it.
    fn reference(&self) -> Option<String> {
        let is = |field: &&Field| {
            let whom = self.whom.is_some() && field.raw == self.whom;
            field.is_short()
                && matches!(field.kind, Kind::Plain | Kind::Digest)
                && !whom
                && field.raw.is_some()
        };
        let field = self.fields.iter().find(is)?;
        let text = field.folded().unwrap_or_else(|| field.text());
        Some(format!("{} {text}", field.label))
    }

    /// The sentence for a place that shows the amount by itself.
    pub fn rest(&self) -> Vec<Piece> {
        self.sentence.without_amount(self.authored)
    }

    /// The number of values that are not repeated.
    pub fn left_words(&self) -> String {
        money::grouped(&self.left.to_string())
    }

    /// The number of all values.
    pub fn all_words(&self) -> String {
        money::grouped(&self.all.to_string())
    }

    /// The first fields that are short, and those that the display leaves out: for the head of a page.
    pub fn first(&self) -> impl Iterator<Item = &Field> {
        let (lead, overlooked) = self.fields.split_at(self.fields.len() - self.overlooked);
        let most = if self.authored { HEAD_FIELDS } else { HEAD_FIELDS_GUESSED };
        lead.iter().filter(|field| field.is_short()).take(most).chain(overlooked)
    }
}

/// A value that is cleaned already, cut to at most `max` characters, in quotes that none of its own ends.
pub(crate) fn quoted(clean: &str, max: usize) -> String {
    format!("\u{201c}{}\u{201d}", within_quotes(&fields::cut(clean, max)))
}

/// True for kinds of text that people know something by.
fn is_name(kind: Kind) -> bool {
    matches!(kind, Kind::Plain | Kind::Account)
}

/// What in a call itself warns.
fn warnings(sentence: &Sentence, money: Option<&(i64, String)>, call: &Call<'_>) -> Vec<String> {
    let params = call.params;
    let escaped = sentence.plain().contains("\\u{").then(|| ESCAPED.to_owned());
    let negative = money.is_some_and(|(minor, _)| *minor < 0).then(|| NEGATIVE.to_owned());
    let contradiction = params.and_then(claims::contradiction);
    let turned = params.and_then(claims::turned);
    // The title warns of its own letters.
    let disguised = params.filter(|_| escaped.is_none()).and_then(claims::disguised);
    let in_it = escaped.into_iter().chain(negative);
    let deeds = params.map(|params| deeds::warnings((call.tool, call.action), params));
    let in_it = in_it.chain(turned).chain(disguised).chain(contradiction);
    in_it.chain(deeds.into_iter().flatten()).collect()
}

/// Label and time of what is due or ends.
fn ends(params: &Value<'_>) -> Vec<(String, Ends)> {
    let end = |leaf: &String| {
        let at = resolve(params, leaf)?.as_str().and_then(Ends::of)?;
        Some((fields::capital(leaf, params), at))
    };
    let leaves = fields::leaves(params);
    leaves.iter().filter(|leaf| natural::is_due(leaf)).filter_map(end).take(ENDS_MAX).collect()
}

impl Display {
    fn fields(&self, params: &Value<'_>, drawing: Drawing<'_>) -> Vec<Field> {
        let lead = self.lead.iter().filter_map(|pointer| {
            Field::new(pointer, self.label(pointer, params), params, drawing)
        });
        let counted = self.count.iter().filter_map(|pointer| {
            Field::count(self.label(pointer, params), resolve(params, pointer)?)
        });
        lead.chain(counted).collect()
    }

    /// The first field of kind `account`: among the leading ones, then elsewhere.
    fn account(&self, params: Option<&Value<'_>>) -> Option<(String, String)> {
        let is_account = |pointer: &&String| self.kinds.get(*pointer) == Some(&Kind::Account);
        let pointer = self.lead.iter().chain(self.kinds.keys()).find(is_account)?;
        let text = resolve(params?, pointer)?.as_str()?;
        Some((pointer.clone(), text.to_owned()))
    }
}

impl Display {
    /// The first text in the sentence that can be a name.
    fn whom(&self, params: Option<&Value<'_>>) -> Option<String> {
        let can_name = |pointer: &&str| {
            let kind = self.kinds.get(*pointer).copied().unwrap_or_default();
            matches!(kind, Kind::Plain | Kind::Text)
        };
        let pointer = self.title.as_ref()?.pointers().find(can_name)?;
        resolve(params?, pointer)?.as_str().map(str::to_owned)
    }
}

fn money_at(at: &MoneyAt, params: &Value<'_>) -> Option<(i64, String)> {
    let minor = match resolve(params, &at.minor)? {
        Value::Number(number) if number.fract() == 0.0 => fields::integer(*number)?,
        _ => return None,
    };
    Some((minor, code_at(&at.currency, params)?))
}

fn code_at(currency: &str, params: &Value<'_>) -> Option<String> {
    if currency.starts_with('/') {
        resolve(params, currency)?.as_str().map(str::to_owned)
    } else {
        Some(currency.to_owned())
    }
}
