use super::*;
use decider::decision::NotPaused;
use ledger::time::Nanos;

const RULES: &str = include_str!("../../../../proto/examples/rules.toml");
const PEOPLE: &str = include_str!("../../../../proto/examples/people.toml");

fn acme() -> Ident {
    Ident::new("acme").unwrap()
}

fn known() -> Connections {
    let connection = |name: &str, tenant: &str, chat| {
        (Ident::new(name).unwrap(), (Ident::new(tenant).unwrap(), chat))
    };
    BTreeMap::from([
        connection("acme-slack", "acme", ChatKind::Slack),
        connection("acme-teams", "acme", ChatKind::Teams),
        connection("acme-flow", "acme", ChatKind::Webhook),
        connection("other-slack", "other", ChatKind::Slack),
    ])
}

fn parse(rules: &str, people: &str) -> Result<Setup, Vec<String>> {
    Setup::parse(("rules.toml", rules), ("people.toml", people), &acme(), &known())
}

fn example() -> Setup {
    parse(RULES, PEOPLE).unwrap()
}

/// The examples with one change: the mistake must be in that line, and have these words.
fn check(change: (&str, &str), line: &str, words: &str) {
    let in_rules = RULES.contains(change.0);
    assert!(in_rules || PEOPLE.contains(change.0), "{} is in no example", change.0);
    let changed = |text: &str| text.replacen(change.0, change.1, 1);
    let (name, file) = if in_rules { ("rules.toml", RULES) } else { ("people.toml", PEOPLE) };
    let wrong =
        if in_rules { parse(&changed(RULES), PEOPLE) } else { parse(RULES, &changed(PEOPLE)) };
    let number = file[..file.find(line).unwrap()].matches('\n').count() + 1;
    let (begin, wrong) = (format!("{name}:{number}: "), wrong.unwrap_err());
    let found = wrong.iter().any(|told| told.starts_with(&begin) && told.contains(words));
    assert!(found, "{change:?} at {begin}: {wrong:#?}");
}

#[test]
fn the_examples_are_right() {
    let setup = example();
    let names: Vec<&str> = setup.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(
        names,
        ["transfers to Russia", "large transfers", "small transfers", "everything else"]
    );
    assert_eq!(setup.rules[1].approve_within, 4 * 3600);
    assert_eq!(setup.rules[1].step_up, Some(600));
    assert_eq!(setup.channels["finance"].to, "C0123456789");
    assert_eq!(setup.owners_of("payments-bot"), [Ident::new("p-ana").unwrap()]);
    assert!(setup.owners_of("nobody-knows-it").is_empty());
}

#[test]
fn one_by_one_is_a_part_of_the_rule_only_where_it_is_true() {
    let with = |value: &str| {
        let rules = RULES.replacen("owner = \"none\"", &format!("owner = \"none\"\n{value}"), 1);
        parse(&rules, PEOPLE).unwrap()
    };
    let (yes, no) = (with("one_by_one = true"), with("one_by_one = false"));
    assert_eq!(yes.rules.iter().filter(|rule| rule.one_by_one).count(), 1);
    assert_eq!(no.rules_digest(), example().rules_digest());
    assert_ne!(yes.rules_digest(), no.rules_digest());
}

#[test]
fn people_are_found_by_their_accounts() {
    let setup = example();
    let ana = &setup.people["p-ana".parse::<Ident>().as_ref().unwrap()];
    assert_eq!(setup.by_slack(ana.slack.as_ref().unwrap()), Some(ana));
    let mut upper = ana.teams.clone().unwrap();
    upper.object = upper.object.to_uppercase();
    assert_eq!(setup.by_teams(&upper), Some(ana));
    let stranger = SlackMember { workspace: "T0".into(), user: "U0".into() };
    assert_eq!(setup.by_slack(&stranger), None);
    let gone: Ident = "p-dan".parse().unwrap();
    assert!(setup.people[&gone].disabled && !setup.active().contains_key(&gone));
    assert_eq!(setup.active().len(), setup.people.len() - 1);
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    check(("[channels.finance]", "[channels.Finance]"), "[channels.finance]", "a channel's name");
    check(("deny = 2", "denny = 2"), "deny = 2", "\"denny\" is not known here");
    check(
        ("approve_within = \"4h\"", "approve_within = \"4 hours\""),
        "approve_within",
        "a time such as",
    );
    check(("owner = \"none\"", "owner = \"nobody\""), "owner =", "\"known\" or \"none\"");
    check(("owner = \"none\"", "one_by_one = \"yes\""), "owner =", "one_by_one must be true or");
    check(("owner = \"none\"", "one_by_one = 1"), "owner =", "one_by_one must be true or");
    check(("\"/to/country\" = \"RU\"", "\"/to/country\" = 1.5"), "params = ", "JSON Pointers");
    check(("EUR = 100000", "EURO = 100000"), "EUR = 100000", "ISO 4217");
    check(
        ("name = \"small transfers\"", "name = \"large transfers\""),
        "[[rule]]\nname = \"small",
        "rename one",
    );
    check(
        ("[[person]]\nid = \"p-bob\"", "[[person]]\nid = \"P Bob\""),
        "id = \"p-bob\"",
        "an opaque id",
    );
    check(("name = \"Bob", "nick = \"Bob"), "[[person]]\nid = \"p-bob\"", "add name");
}

#[test]
fn channels_lead_to_connections_of_this_tenant() {
    for foreign in ["other-slack", "unknown"] {
        let change = format!("connection = \"{foreign}\"");
        let words = format!("channel finance: {foreign:?} is not a connection of this tenant");
        check(("connection = \"acme-slack\"", &change), "[channels.finance]", &words);
    }
    check(("to = \"C0123456789\"", "to = \"#finance\""), "[channels.finance]", "C…, G… or D…");
    check(
        ("channels = [\"finance\", \"security\"]", "channels = [\"finanse\"]"),
        "channels = [\"fin",
        "has no \"finanse\"",
    );
}

#[test]
fn the_last_rule_matches_everything_and_no_other_does() {
    let last = "[[rule]]\nname = \"everything else\"";
    check((last, &format!("{last}\nmatch = {{tool = \"x\"}}")), last, "must match every call");
    let first = "[rule.match]\ntool = \"payments\"\naction = \"transfer\"\nparams = {\"/to/country\" = \"RU\"}\n";
    check((first, ""), "[[rule]]\nname = \"transfers to", "never match");
}

#[test]
fn p10_a_quorum_must_be_met_without_any_one_owner() {
    let line = "quorum = {at_least = 2, of = \"finance\"}";
    check((line, "quorum = {at_least = 3, of = \"finance\"}"), line, "without p-ana");
    check((line, "quorum = {at_least = 9, of = \"finance\"}"), line, "fills one place");
    check(
        (line, "quorum = {at_least = 1, of = \"legal\"}"),
        line,
        "nobody who is not disabled is in group \"legal\"",
    );
    check((line, "quorum = {at_least = 0, of = \"finance\"}"), line, "at_least");
}

#[test]
fn p10_one_account_is_one_person() {
    check(
        ("user = \"U0000000BOB\"", "user = \"U0000000ANA\""),
        "[[person]]\nid = \"p-bob\"",
        "the same Slack account",
    );
    check(("id = \"p-bob\"", "id = \"p-ana\""), "[[person]]\nid = \"p-bob\"", "is here twice");
}

#[test]
fn all_mistakes_of_both_files_at_once() {
    let rules = RULES.replace("deny = 2", "denny = 2").replace("EUR = 100000", "EURO = 1");
    let people = PEOPLE.replace("groups", "group");
    let wrong = parse(&rules, &people).unwrap_err();
    assert!(wrong.iter().filter(|line| line.starts_with("rules.toml:")).count() >= 2, "{wrong:?}");
    assert!(wrong.iter().filter(|line| line.starts_with("people.toml:")).count() >= 4, "{wrong:?}");
    assert_eq!(parse("[[rule", PEOPLE).unwrap_err().len(), 1);
}

#[test]
fn durations() {
    let seconds = rules::seconds;
    assert_eq!(seconds("90s"), Some(90));
    assert_eq!(seconds("15m"), Some(900));
    assert_eq!(seconds("7d"), Some(604_800));
    for wrong in ["", "s", "90", "-1s", "+1s", "1.5h", "1h30m", "1 h", "9999999999d", "1ü"] {
        assert_eq!(seconds(wrong), None, "{wrong}");
    }
}

#[test]
fn digests_follow_meaning_not_spelling() {
    let (setup, key) = (example(), [7; 32]);
    let by = || ledger::system::By::Command { command: ledger::system::Command::Init };
    let nonce = || "9xmY_jY7nCkRbIC17s8zog".to_owned();
    let of =
        |rules: &str, people: &str| parse(rules, people).unwrap().body(&key, nonce(), by(), None);
    let applied = of(RULES, PEOPLE);
    assert!(setup.is_applied(&applied, &key));
    assert_eq!(applied, of(&format!("# a comment\n{}", RULES.replace("4h", "240m")), PEOPLE));
    let other_rule = of(&RULES.replace("4h", "5h"), PEOPLE);
    assert_ne!(applied.rules_digest, other_rule.rules_digest);
    assert_eq!(applied.people_digest, other_rule.people_digest);
    let other_person = of(RULES, &PEOPLE.replace("Bob", "Rob"));
    assert_eq!(applied.rules_digest, other_person.rules_digest);
    assert_ne!(applied.people_digest, other_person.people_digest);
    // The digest also covers the destinations of cards.
    let other_channel = of(&RULES.replace("C0123456789", "C0123456788"), PEOPLE);
    assert_ne!(applied.people_digest, other_channel.people_digest);
    for other in [&other_rule, &other_person, &other_channel] {
        assert!(!setup.is_applied(other, &key));
    }
    // P11: without the key, or the salt of exactly this version, guesses of people can't be tested.
    assert_ne!(applied.people_digest, setup.body(&[8; 32], nonce(), by(), None).people_digest);
    let again = setup.body(&key, nonce().replace('9', "8"), by(), None);
    assert_ne!(applied.people_digest, again.people_digest);
    assert_ne!(applied.people_digest, setup.people_sha256());
    // With files and salt they can, without a server's configuration.
    let read = Setup::of_files(("rules.toml", RULES), ("people.toml", PEOPLE)).unwrap();
    let salt = people_salt(&key, &applied.people_nonce);
    assert_eq!(read.people_digest(&salt), applied.people_digest);
    assert_eq!(read.rules_digest(), applied.rules_digest);
}

#[test]
fn files_are_read_from_the_tenants_folder() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = Setup::load(dir.path(), &acme(), &known()).unwrap_err();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    let folder = dir.path().join("acme");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(RULES_FILE), RULES).unwrap();
    std::fs::write(folder.join(PEOPLE_FILE), PEOPLE).unwrap();
    assert_eq!(Setup::load(dir.path(), &acme(), &known()).unwrap(), example());
    let big = "#".repeat(RULES_BYTES_MAX as usize + 1);
    std::fs::write(folder.join(RULES_FILE), big).unwrap();
    assert!(Setup::load(dir.path(), &acme(), &known()).unwrap_err()[0].contains("at most 1048576"));
}

/// What the example event is planned as, after a change of its text.
fn plan(change: (&str, &str)) -> Result<Plan, NotPlanned> {
    let event = include_str!("../../../../proto/examples/approval-needed.json");
    assert!(event.contains(change.0), "{} is not in the example", change.0);
    Plan::of(&example(), &acme(), event.replacen(change.0, change.1, 1).as_bytes())
}

#[test]
fn the_example_event_is_planned() {
    let plan = plan(("", "")).unwrap();
    assert_eq!(plan.rule.name, "large transfers");
    assert_eq!(plan.passed_over.len(), 1);
    assert_eq!(plan.passed_over[0].rule, "transfers to Russia");
    // P10: Ana owns the agent; Dan is disabled.
    let asked: Vec<&str> = plan.asked["finance"].iter().map(|person| person.id.as_str()).collect();
    assert_eq!(asked, ["p-bob", "p-cem"]);
    assert!(plan.lacking.is_empty() && !plan.owner_unknown);
    let places: Vec<_> =
        plan.places.iter().map(|p| (p.channel.as_str(), p.on_escalation)).collect();
    assert_eq!(places, [("finance", false), ("security", true)]);
    let hours = |n: u64| Nanos(plan.times.asked.0 + n * 3_600_000_000_000);
    assert_eq!(plan.times.reminder, hours(2));
    assert_eq!(plan.times.approval_deadline, hours(4));
    assert_eq!(plan.times.escalation, Some(Nanos(plan.times.asked.0 + 9_600_000_000_000)));
}

#[test]
fn p10_the_owner_that_the_data_plane_names_is_not_asked_either() {
    let setup = example();
    let ids = |ids: &[&str]| ids.iter().map(|id| Ident::new(id).unwrap()).collect::<Vec<_>>();
    assert_eq!(setup.owners("payments-bot", &["p-bob".to_owned()]), ids(&["p-ana", "p-bob"]));
    assert_eq!(setup.owners("payments-bot", &["p-ana".to_owned()]), ids(&["p-ana"]));
    assert_eq!(setup.owners("another-bot", &["somebody@example.com".to_owned()]), ids(&[]));
    let plan = plan(("\"owner\": \"p-ana\"", "\"owner\": \"p-cem\"")).unwrap();
    assert_eq!(plan.lacking, [(1, "finance".to_owned())]);
}

#[test]
fn p7_events_that_pause_nothing_say_why() {
    let why = |from: &str, to: &str| plan((from, to)).unwrap_err();
    let check = |from: &str, to: &str, expected: NotPaused| {
        assert_eq!(why(from, to), NotPlanned::NotPaused(expected));
    };
    check("approval_needed", "allow", NotPaused::Verdict("allow".into()));
    check("enforce", "shadow", NotPaused::Shadow);
    check("\"params\"", "\"parameters\"", NotPaused::Absent("params"));
    check("\"nonce\"", "\"once\"", NotPaused::Absent("nonce"));
    check("decision.v1", "execution.v1", NotPaused::NotADecision);
    let digest = |why| matches!(why, NotPlanned::NotPaused(NotPaused::Digest { .. }));
    assert!(digest(why("125000", "125001")));
    assert!(matches!(why("\"1.0\"", "\"0.3\""), NotPlanned::Refused(_)));
    let no_digest = |why| matches!(why, NotPlanned::NotPaused(NotPaused::NoDigest { .. }));
    assert!(no_digest(why("\"digest\"", "\"hash\"")));
}

/// The same limits as where the server opens: `p7_nonces` of `decider::decision`.
#[test]
fn p7_a_nonce_that_the_server_refuses_is_refused_here() {
    let nonce = |length: usize| plan(("jTpoYW8Bq-YAcKlaQG6vrw", &"n".repeat(length))).unwrap_err();
    let refused = NotPlanned::NotPaused(NotPaused::Nonce);
    for length in [0, 65, 1000] {
        assert_eq!(nonce(length), refused, "{length} bytes");
    }
    // It is read; only the digest in the example is that of another nonce.
    for length in [1, 64] {
        let why = nonce(length);
        assert!(matches!(why, NotPlanned::NotPaused(NotPaused::Digest { .. })), "{length} bytes");
    }
}

/// The `rules` entry of the vectors was made by other code, from the same people, channel and rule.
#[test]
fn p5_digests_agree_with_the_vectors() {
    let vectors = include_str!("../../../../proto/vectors/entry/system.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let messages = vectors["messages"].as_array().unwrap();
    let message = messages.iter().find(|m| m["subject"] == "system.rules").unwrap();
    let body: ledger::system::Rules =
        serde_json::from_str(message["body_text"].as_str().unwrap()).unwrap();
    let key = vectors["salt_key"].as_str().unwrap().as_bytes();
    let key = data_encoding::HEXLOWER.decode(key).unwrap().try_into().unwrap();
    let rules = "[channels.finance]\nconnection = \"acme-slack\"\nto = \"C0123456789\"\n[[rule]]\n\
                 name = \"everything\"\nquorum = {at_least = 2, of = \"finance\"}\nchannels = [\"finance\"]\n";
    let person = |id: &str, name: &str| {
        format!("[[person]]\nid = \"{id}\"\nname = \"{name}\"\ngroups = [\"finance\"]\n")
    };
    let people = [person("p-ana", "Ana"), person("p-bob", "Bob"), person("p-cem", "Cem")].concat();
    let setup = parse(rules, &people).unwrap();
    let nonce = body.people_nonce.clone();
    assert_eq!(setup.body(&key, nonce, body.by.clone(), body.reason.clone()), body);
    assert!(setup.is_applied(&body, &key));
}

#[test]
fn displays_are_read_strictly_and_change_no_digest_of_rules() {
    let setup = example();
    assert!(setup.display_for("payments", "transfer").is_some());
    let plain = RULES.split("[[display]]").next().unwrap();
    let rules_alone = &RULES[RULES.find("[[rule]]").unwrap()..];
    let without =
        parse(&format!("{}{rules_alone}", &plain[..RULES.find("[[").unwrap()]), PEOPLE).unwrap();
    assert!(without.displays.is_empty());
    assert_eq!(setup.rules_digest(), without.rules_digest());
    let salt = ledger::disclosure::Salt("x".into());
    assert_ne!(
        setup.people_digest(&salt),
        without.people_digest(&salt),
        "a changed sentence must be applied"
    );
    assert_eq!(setup.undisplayed(), []);
    let tool = |(_, tool): (String, String)| tool;
    assert_eq!(without.undisplayed().into_iter().map(tool).collect::<Vec<_>>(), ["payments"; 3]);
    let title = "title = \"{amount} to {/to/name}, {/to/country}\"";
    check((title, "title = \"{amount} to {name}\""), title, "is no place");
    check((title, "title = \"{/a}{/b}\""), title, "put a word");
    check((title, "titel = \"x\""), title, "not known here");
    let labels = "labels = {\"/to/iban\" = \"Account\"}";
    check((labels, "labels = {\"iban\" = \"Account\"}"), labels, "no JSON Pointer");
    let kinds = "kinds = {\"/to/iban\" = \"account\"";
    check((kinds, "kinds = {\"/to/iban\" = \"iban\""), kinds, "kinds must be");
    let amount = "amount = {minor = \"/amount\", currency = \"/currency\"}\nlead";
    check(
        (amount, "amount = {minor = \"/amount\", currency = \"BTC\"}\nlead"),
        amount,
        "no code of ISO 4217",
    );
    check((amount, "lead"), "[[display]]", "the title has {amount}");
}
