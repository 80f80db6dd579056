use super::*;
use crate::display::{Call, Display, Kind, MoneyAt, Title};
use ledger::json;

const DAY: u64 = 86_400_000_000_000;

fn display() -> Display {
    Display {
        title: Some(Title::new("{amount} to {/name}").unwrap()),
        amount: Some(MoneyAt { minor: "/amount".into(), currency: "/currency".into() }),
        lead: vec!["/iban".into(), "/ref".into()],
        kinds: BTreeMap::from([("/iban".into(), Kind::Account)]),
        ..Display::default()
    }
}

fn told(amount: i64, currency: &str, name: &str, iban: &str, reference: &str) -> Displayed {
    let params = serde_json::json!({
        "amount": amount, "currency": currency, "name": name, "iban": iban, "ref": reference,
    });
    let text = params.to_string();
    let params = json::parse_kept(text.as_bytes()).unwrap();
    let call = Call { tool: "pay", action: "out", params: Some(&params), amount: None };
    Displayed::of(Some(&display()), &call)
}

fn earlier(told: Displayed, phase: Phase, at: Nanos) -> Earlier {
    let id = Ident::new("apr-1").unwrap();
    Earlier {
        id,
        opening: 1,
        at,
        phase,
        action: "out".into(),
        money: told.money,
        account: told.account.map(|(_, account)| account),
        whom: told.whom,
        names: told.names,
        reference: told.reference,
        telling: told.telling,
        release: told.release,
    }
}

const NOW: Nanos = Nanos(100 * DAY);

/// All facts about a call, given earlier calls of its agent, as `w`arning, `t`elling, `o`wn or of the `a`gent.
fn facts(told: &Displayed, own: &[Earlier], others: &[Earlier]) -> Vec<String> {
    let (own, others): (Vec<_>, Vec<_>) = (own.iter().collect(), others.iter().collect());
    let before = Before { own: &own, others: &others, elsewhere: None };
    let facts = Facts::of(Asked { told, action: "out", at: NOW }, before);
    let letter = |weight| match weight {
        Weight::Warns => 'w',
        Weight::Tells => 't',
        Weight::Own => 'o',
        Weight::Agent => 'a',
    };
    let plain = |fact: &Fact| fact.plain();
    facts.lines.iter().map(|fact| format!("{} {}", letter(fact.weight), plain(fact))).collect()
}

fn paid(amount: i64, currency: &str, name: &str, iban: &str) -> Earlier {
    let told = told(amount, currency, name, iban, "R-1");
    earlier(told, Phase::Completed, Nanos(99 * DAY))
}

const IBAN: &str = "ES9228390566023694752093";
const OTHER: &str = "ES1100490001510200592093";

#[test]
fn p7_a_new_payee_that_looks_like_a_known_one_is_named() {
    let known: Vec<Earlier> =
        (0..12).map(|_| paid(5, "EUR", "Imprenta Núñez S.L.", IBAN)).collect();
    let call = told(7, "EUR", "lmprenta Núñez S.L.", OTHER, "R-2");
    assert_eq!(
        facts(&call, &known, &[])[0],
        "w Looks like “Imprenta Núñez S.L.”, paid 12 times, but is another name: small L in place of capital i."
    );
    // Calls of other agents count too, and what was only asked for is no payment.
    let asked = Earlier { phase: Phase::Pending, ..known[0].clone() };
    let said = facts(&call, &[], std::slice::from_ref(&asked));
    assert_eq!(
        said[0],
        "w Looks like “Imprenta Núñez S.L.”, in an earlier call, but is another name: small L in place of capital i."
    );
    // Itself, and what was approved before, look like nobody.
    let itself = told(5, "EUR", "Imprenta Núñez S.L.", IBAN, "R-2");
    assert!(!facts(&itself, &known, &[]).iter().any(|line| line.contains("Looks like")));
    let both = [known[0].clone(), earlier(call.clone(), Phase::Granted, NOW)];
    assert!(!facts(&call, &both, &[]).iter().any(|line| line.contains("Looks like")));
    let denied = [known[0].clone(), earlier(call.clone(), Phase::Denied, NOW)];
    assert!(facts(&call, &denied, &[]).iter().any(|line| line.contains("Looks like")));
}

#[test]
fn p7_an_id_that_looks_like_a_known_one_is_named() {
    let known = earlier(told(5, "EUR", "A", IBAN, "cus_k5medpyg"), Phase::Denied, Nanos(99 * DAY));
    let call = told(7, "EUR", "A", IBAN, "cus_k5rnedpyg");
    assert_eq!(
        facts(&call, &[known], &[])[0],
        "w Looks like “cus_k5medpyg”, in an earlier call, but is another one: r and n in place of “m”."
    );
}

#[test]
fn p7_another_currency_than_before_warns() {
    let six: Vec<Earlier> = (0..6).map(|_| paid(5, "EUR", "Harbor LLC", IBAN)).collect();
    let call = told(7, "USD", "Harbor LLC", IBAN, "R-2");
    let said = facts(&call, &six, &[]);
    assert_eq!(said[0], "w Paid 6 times before, always in EUR; this is USD.");
    assert!(
        said.contains(&"a Its last 6 calls with this tool, at most EUR 0.05: 6 approved.".into())
    );
    let two = [paid(5, "EUR", "Harbor LLC", IBAN), paid(9, "GBP", "Harbor LLC", IBAN)];
    let said = facts(&call, &two, &[]);
    assert_eq!(said[0], "w Paid 2 times before, in EUR and GBP; this is USD.");
    let asked = Earlier { phase: Phase::Pending, ..six[0].clone() };
    assert_eq!(
        facts(&call, &[asked], &[])[0],
        "w An earlier call to this payee was in EUR; this is USD."
    );
    // The same currency once is enough, and so is another payee.
    let said = facts(&told(7, "GBP", "Harbor LLC", IBAN, "R-2"), &two, &[]);
    assert!(!said.iter().any(|line| line.starts_with('w')), "{said:?}");
    let most = "a Its last 2 calls with this tool, at most GBP 0.09 and EUR 0.05: 2 approved.";
    assert!(said.contains(&most.into()), "{said:?}");
    let said = facts(&told(7, "USD", "Another", OTHER, "R-2"), &two, &[]);
    assert!(!said.iter().any(|line| line.starts_with('w')), "{said:?}");
}

#[test]
fn p7_a_first_payment_is_told_where_it_tells_something() {
    let (mine, theirs) = (paid(5, "EUR", "A", IBAN), paid(6, "EUR", "B", OTHER));
    let call = told(7, "EUR", "A", OTHER, "R-2");
    // The name is known with another account.
    let grouped = "ES92 2839 0566 0236 9475 2093";
    let said = facts(&call, std::slice::from_ref(&mine), &[]);
    assert_eq!(said[0], format!("w An earlier call to this name had another account: {grouped}."));
    assert!(!said.iter().any(|line| line.contains("New payee")), "{said:?}");
    // Name and account are new.
    let call = told(7, "EUR", "C", "DE12500105170648489890", "R-2");
    let said = facts(&call, std::slice::from_ref(&mine), &[]);
    assert_eq!(said[0], "o New payee: its other call went elsewhere.");
    let said = facts(&call, &[mine.clone(), mine.clone(), theirs.clone()], &[]);
    assert_eq!(said[0], "t New payee: none of its last 3 calls went there.");
    // Where an agent pays new ones alone, it tells nothing.
    let third = paid(6, "EUR", "D", "DE44500105175407324931");
    let said = facts(&call, &[mine.clone(), theirs.clone(), third], &[]);
    assert_eq!(
        said,
        [
            "o New payee: none of its last 3 calls went there.",
            "a Each of its last 3 calls to an account went to another one.",
            "a Its last 3 calls with this tool, at most EUR 0.06: 3 approved.",
        ]
    );
    // Other agents paid it.
    let said = facts(&told(7, "EUR", "B", OTHER, "R-2"), &[mine], &[theirs]);
    assert_eq!(
        said[0],
        "o First payment to this account by this agent; 1 call of other agents went there."
    );
}

#[test]
fn p7_the_same_payment_names_the_other_call() {
    let other = earlier(told(7, "EUR", "A", IBAN, "F-26-1183"), Phase::Pending, Nanos(99 * DAY));
    let call = told(7, "EUR", "A", IBAN, "F-26-1183");
    let known = "“Ref F-26-1183”, asked 10 Apr, 00:00 UTC.";
    let tail = " The same too: “Ref”.";
    let said = format!(
        "w The same amount to the same account as an earlier call (waiting): {known}{tail}"
    );
    assert_eq!(facts(&call, std::slice::from_ref(&other), &[])[0], said);
    let said = format!(
        "w The same amount to the same account as 2 earlier calls of other agents (2 waiting), the last one {known}{tail}"
    );
    assert_eq!(facts(&call, &[], &[other.clone(), other.clone()])[0], said);
    let before = Before::default();
    let mut first = Facts::of(Asked { told: &call, action: "out", at: NOW }, before);
    first.note_later(&[paid(8, "EUR", "A", IBAN), paid(7, "EUR", "A", OTHER)]);
    assert_eq!(first.warnings(), 0);
    first.note_later(&[other]);
    let plain = first.lines[0].plain();
    assert_eq!(
        plain,
        format!("A later call that waits too has the same amount and account: {known}{tail}")
    );
    assert_eq!((first.warnings(), first.own(), first.at_once()), (1, 1, 1));
}

#[test]
fn p7_a_planned_repeat_is_told_without_a_warning() {
    let other = earlier(told(7, "EUR", "A", IBAN, "F-26-1184"), Phase::Pending, Nanos(99 * DAY));
    let call = told(7, "EUR", "A", IBAN, "F-26-1183");
    let known = "“Ref F-26-1184”, asked 10 Apr, 00:00 UTC.";
    let said = facts(&call, std::slice::from_ref(&other), &[]);
    let same = "Same amount and account as an earlier call (waiting), but another “Ref”";
    assert_eq!(said[0], format!("t {same}: {known}"));
    assert!(!said.iter().any(|line| line.starts_with('w')), "{said:?}");
    let many =
        "Same amount and account as 2 earlier calls of other agents (2 waiting), but another “Ref”";
    let said = facts(&call, &[], &[other.clone(), other.clone()]);
    assert_eq!(said[0], format!("t {many}, the last one {known}"));
    let mut first = Facts::of(Asked { told: &call, action: "out", at: NOW }, Before::default());
    first.note_later(std::slice::from_ref(&other));
    let later = "Same amount and account as a later call that waits too, but another “Ref”";
    assert_eq!(first.lines[0].plain(), format!("{later}: {known}"));
    assert_eq!((first.warnings(), first.at_once()), (0, 1));
    // The same call among them warns, and so does a reference in other signs.
    let again = earlier(call.clone(), Phase::Pending, Nanos(99 * DAY));
    assert!(facts(&call, &[other.clone(), again], &[])[0].starts_with("w The same amount"));
    let sign = earlier(told(7, "EUR", "A", IBAN, "F/26/1183"), Phase::Pending, Nanos(99 * DAY));
    let said = facts(&call, &[sign], &[]);
    assert!(said[0].starts_with("w The same amount"), "{said:?}");
    assert!(
        said[0].ends_with("asked 10 Apr, 00:00 UTC."),
        "the link shows the other reference: {said:?}"
    );
}

#[test]
fn p7_another_day_is_another_rent_and_the_same_invoice() {
    let on = |day: &str, reference: &str| {
        let mut told = told(7, "EUR", "A", IBAN, reference);
        told.telling.push(Telling { label: "Due".into(), text: day.into(), is_time: true });
        told
    };
    let said = |reference: &str| {
        let other = earlier(on("1 Nov 2026", reference), Phase::Completed, Nanos(60 * DAY));
        facts(&on("1 Dec 2026", reference), &[other], &[])
    };
    let same = "Same amount and account as an earlier call (approved), but another “Due”: ";
    assert!(said("Rent").contains(&format!("t {same}“Ref Rent”, asked 2 Mar, 00:00 UTC.")));
    let invoice = &said("F-26-1183")[0];
    assert!(invoice.starts_with("w The same amount to the same account"), "{invoice}");
    assert!(invoice.ends_with(" Not the same: “Due”."), "{invoice}");
}

/// A call that no display is for.
fn bare(tool: &str, action: &str, params: &serde_json::Value) -> Displayed {
    let text = params.to_string();
    let params = json::parse_kept(text.as_bytes()).unwrap();
    Displayed::of(None, &Call { tool, action, params: Some(&params), amount: None })
}

#[test]
fn p7_an_end_about_a_year_away_warns() {
    // The calls here are asked for on 11 April 1970.
    let said = |end: &str| {
        let call = bare("access", "grant", &serde_json::json!({"user": "kim", "expires": end}));
        let said = facts(&call, &[], &[]);
        said.into_iter().filter(|line| line.starts_with('w')).collect::<Vec<_>>()
    };
    assert_eq!(said("1971-04-11"), ["w “Expires” is 365 days away: 11 Apr 1971."]);
    assert_eq!(
        said("1971-12-31T00:00:00Z"),
        ["w “Expires” is 629 days away: 31 Dec 1971, 00:00 UTC."]
    );
    assert_eq!(said("1971-03-01"), Vec::<String>::new());
    assert_eq!(said("soon"), Vec::<String>::new());
}

fn release(version: &str, place: &str) -> Displayed {
    let params =
        serde_json::json!({"service": "consent", "version": version, "environment": place});
    bare("deploy", "release", &params)
}

#[test]
fn p7_a_version_behind_the_one_that_was_released_last_warns() {
    let ran = |version: &str, place: &str, phase| {
        earlier(release(version, place), phase, Nanos(99 * DAY))
    };
    let last = ran("3.10.2", "staging", Phase::Completed);
    let call = release("3.9.12", "staging");
    let warns = |own: &[Earlier], others: &[Earlier]| {
        facts(&call, own, others).into_iter().find(|line| line.starts_with('w'))
    };
    let said = "w The version is behind “3.10.2”, which was released last: “service consent”, asked 10 Apr, 00:00 UTC.";
    assert_eq!(warns(std::slice::from_ref(&last), &[]).as_deref(), Some(said));
    assert_eq!(warns(&[], std::slice::from_ref(&last)).as_deref(), Some(said));
    // What did not run, runs elsewhere, or is lower says nothing.
    assert_eq!(warns(&[ran("3.10.2", "staging", Phase::Pending)], &[]), None);
    assert_eq!(warns(&[ran("3.10.2", "staging", Phase::Denied)], &[]), None);
    assert_eq!(warns(&[ran("3.10.2", "production", Phase::Completed)], &[]), None);
    assert_eq!(warns(&[ran("3.9.11", "staging", Phase::Completed)], &[]), None);
    // The last one counts, whoever asked for it.
    let newer = Earlier { opening: 2, ..ran("3.9.11", "staging", Phase::Completed) };
    assert_eq!(warns(&[last], &[newer]), None);
}

#[test]
fn p7_a_release_to_production_is_told_where_it_is_not_usual() {
    let line = |weight: char| format!("{weight} It releases to production.");
    let call = release("1.0.0", "production");
    let ran = |place| earlier(release("0.9.0", place), Phase::Completed, Nanos(99 * DAY));
    assert!(facts(&call, &[], &[]).contains(&line('t')));
    let three = |place| [ran(place), ran("production"), ran("production")];
    assert!(facts(&call, &three("staging"), &[]).contains(&line('t')));
    assert!(facts(&call, &three("production"), &[]).contains(&line('o')));
    let staging = facts(&release("1.0.0", "staging"), &[], &[]);
    assert!(!staging.iter().any(|line| line.contains("production")), "{staging:?}");
}

#[test]
fn p7_what_is_usual_is_not_shown_at_once() {
    let shown = |call: &Displayed, own: &[Earlier]| {
        let own: Vec<&Earlier> = own.iter().collect();
        let before = Before { own: &own, ..Before::default() };
        let facts = Facts::of(Asked { told: call, action: "out", at: NOW }, before);
        facts.lines[..facts.at_once()].iter().map(Fact::plain).collect::<Vec<_>>()
    };
    let call = told(7, "EUR", "New", OTHER, "R-2");
    let nothing = Vec::<String>::new();
    assert_eq!(shown(&call, &[]), nothing);
    let known: Vec<Earlier> = (0..4).map(|_| paid(5, "EUR", "Known", IBAN)).collect();
    assert_eq!(shown(&call, &known), ["New payee: none of its last 4 calls went there."]);
    let known_again = told(7, "EUR", "Known", IBAN, "R-2");
    assert_eq!(shown(&known_again, &known), nothing);
    let account = |n: usize| format!("DE125001051706484898{n:02}");
    let new: Vec<Earlier> = (0..4).map(|n| paid(5, "EUR", "Other", &account(n))).collect();
    assert_eq!(shown(&call, &new), nothing);
}

#[test]
fn p7_what_an_agent_never_did_is_told() {
    let call = told(7, "EUR", "A", IBAN, "R-2");
    assert_eq!(facts(&call, &[], &[]), ["a Its first call with this tool."]);
    let elsewhere = BTreeMap::from([("mail".to_owned(), 13), ("sms".to_owned(), 1)]);
    let before = Before { elsewhere: Some(&elsewhere), ..Before::default() };
    let plain = |before: Before<'_>| {
        let facts = Facts::of(Asked { told: &call, action: "out", at: NOW }, before);
        facts.lines[0].plain()
    };
    assert_eq!(
        plain(before),
        "Its first call with this tool: its 14 other calls were with “mail”, “sms”."
    );
    let old = Earlier { at: Nanos(60 * DAY), ..paid(5, "EUR", "A", IBAN) };
    assert_eq!(
        plain(Before { own: &[&old], ..Before::default() }),
        "Its first call with this tool in 40 days."
    );
    let other = Earlier { action: "back".into(), ..paid(5, "EUR", "A", IBAN) };
    let three = [&other, &other, &other];
    assert_eq!(
        plain(Before { own: &three, ..Before::default() }),
        "Its first “out” with this tool: its last 3 calls were “back”."
    );
    let said = plain(Before { own: &three[..2], ..Before::default() });
    assert!(!said.contains("first"), "{said}");
}

#[test]
fn facts_are_sentences_for_one_and_for_many() {
    for (before, count, said) in [
        (1, 1, "Its last call went to this account."),
        (1, 7, "One of its last 7 calls went to this account."),
        (3, 7, "3 of its last 7 calls went to this account."),
        (7, 7, "All of its last 7 calls went to this account."),
    ] {
        assert_eq!(words::went(before, count), said);
    }
    for (count, said) in [
        (1, "First payment to this account by this agent, after 1 other call."),
        (29, "First payment to this account by this agent, after 29 other calls."),
        (30, "First payment to this account in the last 30 calls of this agent."),
    ] {
        assert_eq!(words::first(count, true), said);
    }
    assert!(words::first(2, false).starts_with("First call to this account"));
}
