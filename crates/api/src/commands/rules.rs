//! `countersign rules …`: shows what the files of a tenant would do, and puts them in force.

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed, approved, load};
use crate::{
    cli::RulesCommand,
    client::Client,
    config::{Config, EXIT_CONFIG},
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use approvals::setup::{self, Named, Plan, Setup};
use ledger::{disclosure::Salt, ident::Ident, journal::BODY_BYTES_MAX};
use serde_json::{Value, json};
use std::{collections::BTreeSet, io::Read as _, path::Path};

/// Runs one of them.
pub fn run(command: &RulesCommand) -> Result<(), Failed> {
    match command {
        RulesCommand::Test { config, tenant, event, json } => {
            let config = load(&config.config)?;
            let tenant = tenant_of(&config, tenant.as_deref())?;
            let setup = files(&config, &tenant)?;
            let plan = Plan::of(&setup, &tenant, &read(event)?);
            let plan = plan.map_err(|why| Failed::new(EXIT_FAILED, why.to_string()))?;
            if *json { say_json(&json!(plan)) } else { tell(&plan) }
        }
        RulesCommand::Apply { remote, tenant, reason, approved, json: as_json } => {
            let config = load(&remote.config_path())?;
            let setup = files(&config, &tenant_of(&config, Some(tenant))?)?;
            let client = Client::new(remote)?;
            let path = format!("/v1/tenants/{tenant}/rules");
            let before = client.get_json(&path)?;
            let (rules_digest, people_sha256) = (setup.rules_digest(), setup.people_sha256());
            let wanted = json!({
                "rules_digest": rules_digest, "people_sha256": people_sha256, "reason": reason,
            });
            let answer = approved::post(&client, (tenant, &path), wanted, approved)?;
            if *as_json {
                say_json(&answer);
                return Ok(());
            }
            changes(&before["applied"]["rules"], &json!(setup.rules));
            let status = answer["status"].as_str().unwrap_or("unknown");
            say(&format!(
                "{}, recorded in entry {}",
                good(&harmless(status)),
                shown(&answer["index"])
            ));
        }
        RulesCommand::Digest {
            rules,
            people,
            salt,
            expect_rules,
            expect_people,
            json: as_json,
        } => {
            let setup = given(rules, people)?;
            let salt = salt.clone().map(Salt);
            let computed = [
                ("rules", Some(setup.rules_digest()), expect_rules.as_ref()),
                ("people", salt.map(|salt| setup.people_digest(&salt)), expect_people.as_ref()),
            ];
            digests(&computed, *as_json)?;
        }
        RulesCommand::Show { remote, tenant, json: as_json } => {
            let answer = Client::new(remote)?.get_json(&format!("/v1/tenants/{tenant}/rules"))?;
            if *as_json { say_json(&answer) } else { show(&answer) }
        }
    }
    Ok(())
}

/// The path of a file for its mistakes, and its text of at most `max` bytes.
pub(super) fn text(path: &Path, max: u64) -> Result<(String, String), Failed> {
    let mut text = String::new();
    let file =
        std::fs::File::open(path).and_then(|file| file.take(max + 1).read_to_string(&mut text));
    let read = file.map_err(|e| e.to_string()).and_then(|_| {
        let fits = text.len() as u64 <= max;
        if fits { Ok(()) } else { Err(format!("more than {max} bytes")) }
    });
    read.map_err(|e| Failed::new(EXIT_UNREADABLE, format!("{}: {e}", path.display())))?;
    Ok((path.display().to_string(), text))
}

/// Reads files without a server's configuration.
fn given(rules: &Path, people: &Path) -> Result<Setup, Failed> {
    let (rules, people) =
        (text(rules, setup::RULES_BYTES_MAX)?, text(people, setup::PEOPLE_BYTES_MAX)?);
    let setup = Setup::of_files((&rules.0, &rules.1), (&people.0, &people.1));
    setup.map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))
}

/// Prints digests. Fails if one differs from the expected one.
fn digests(
    computed: &[(&str, Option<String>, Option<&String>)],
    as_json: bool,
) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    let mut answer = serde_json::Map::new();
    for (name, digest, expected) in computed {
        let Some(digest) = digest else { continue };
        answer.insert(format!("{name}_digest"), json!(digest));
        let told = match expected {
            None => String::new(),
            Some(expected) if *expected == digest => good("as expected"),
            Some(_) => {
                wrong.push(*name);
                bad("not as expected")
            }
        };
        if !as_json {
            say(&format!("{name:<7} {digest}  {told}"));
        }
    }
    if as_json {
        say(&Value::Object(answer).to_string());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let files = wrong.join(" and ");
    let text = format!(
        "these files are not the ones that were applied: the digest of {files} is another one"
    );
    Err(Failed::new(EXIT_FAILED, text))
}

/// What is wrong with a tenant's `watch.toml`: it names a channel that its rules do not have.
fn channels_of_watch(config: &Config, tenant: &Ident, setup: &Setup) -> Vec<String> {
    let settings = match config.watch(tenant) {
        Ok(settings) => settings,
        Err(mistake) => return vec![mistake],
    };
    let unknown = settings.channels.iter().filter(|name| !setup.channels.contains_key(*name));
    let told = |name: &String| {
        format!("{tenant}/watch.toml: channels: there is no [channels.{name}] in rules.toml")
    };
    unknown.map(told).collect()
}

/// Checks the files of every tenant, for `check-config`. A tenant that a connection names must have files.
pub fn check_all(config: &Config) -> Result<(), Failed> {
    let Some(approvals) = &config.file.approvals else { return Ok(()) };
    let connections = config.connections();
    let with_files = folders(&approvals.dir);
    let connected: BTreeSet<Ident> =
        connections.values().map(|(tenant, _)| tenant.clone()).collect();
    let mut wrong = Vec::new();
    for tenant in with_files.union(&connected) {
        match Setup::load(&approvals.dir, tenant, &connections) {
            Ok(setup) => {
                say(&format!(
                    "{tenant}: {} rules, {} people, {} channels",
                    setup.rules.len(),
                    setup.people.len(),
                    setup.channels.len()
                ));
                wrong.extend(channels_of_watch(config, tenant, &setup));
                warn_undisplayed(tenant, &setup);
            }
            Err(mistakes) => wrong.extend(mistakes),
        }
    }
    for tenant in folders(&config.file.keys_dir).difference(&with_files) {
        let folder = setup::folder(&approvals.dir, tenant);
        warn(&format!(
            "warning: {tenant} has no folder {}: its calls that need approval stay paused",
            folder.display()
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(mistakes(&approvals.dir, &wrong)) }
}

/// Warns of rules that ask people about calls that no display is for.
fn warn_undisplayed(tenant: &Ident, setup: &Setup) {
    for (rule, tool) in setup.undisplayed() {
        warn(&format!(
            "warning: {tenant}: rule {rule:?} asks people about calls of {tool:?}, and no [[display]] is for all of \
             them: add one, so that people read a sentence"
        ));
    }
}

/// Folders whose names can be tenants.
fn folders(dir: &Path) -> BTreeSet<Ident> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.filter_map(|entry| Ident::new(entry.file_name().to_str()?).ok()).collect()
}

fn mistakes(dir: &Path, wrong: &[String]) -> Failed {
    let lines: Vec<String> = wrong.iter().map(|line| format!("\n  {line}")).collect();
    Failed::new(EXIT_CONFIG, format!("in {}:{}", dir.display(), lines.concat()))
}

/// The tenant that is meant: the named one, or the only one with files.
fn tenant_of(config: &Config, named: Option<&str>) -> Result<Ident, Failed> {
    if let Some(name) = named {
        let wrong =
            |e: ledger::ident::NotAnIdent| Failed::new(EXIT_CONFIG, format!("--tenant: {e}"));
        return Ident::new(name).map_err(wrong);
    }
    let dir = config.file.approvals.as_ref().map(|approvals| folders(&approvals.dir));
    let mut tenants = dir.unwrap_or_default().into_iter();
    match (tenants.next(), tenants.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Failed::new(EXIT_CONFIG, "say which one with --tenant NAME")),
    }
}

/// The tenant's files, or every mistake in them.
fn files(config: &Config, tenant: &Ident) -> Result<Setup, Failed> {
    let Some(approvals) = &config.file.approvals else {
        return Err(Failed::new(EXIT_CONFIG, "add [approvals] with `dir` to the configuration"));
    };
    let setup = Setup::load(&approvals.dir, tenant, &config.connections());
    setup.map_err(|wrong| mistakes(&approvals.dir, &wrong))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    // One byte more than an event may have, so that the reader reports the excess.
    let limit = BODY_BYTES_MAX as u64 + 1;
    let done = if path.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    done.map_err(|e| Failed::new(EXIT_UNREADABLE, format!("{}: {e}", path.display())))?;
    Ok(bytes)
}

/// Prints what the rules would do, for people.
fn tell(plan: &Plan) {
    let rule = &plan.rule;
    for over in &plan.passed_over {
        say(&dim(&format!("not     {}: {}", harmless(&over.rule), over.why)));
    }
    say(&format!("rule    {}  {}", strong(&harmless(&rule.name)), dim(&plan.rule_digest)));
    say(&format!("call    digest {}", plan.call_digest));
    say(&format!("shown   {}", strong(&plan.sentence)));
    for (label, value) in &plan.fields {
        say(&format!("shown   {}: {}", harmless(label), harmless(value)));
    }
    if !plan.displayed {
        say(&dim(
            "shown   as a default: no [[display]] is for this call, or a value of its title is absent",
        ));
    }
    if plan.owner_unknown {
        let why = "nobody is known to own the agent: the approval is cancelled at once (owner_unknown). Put the \
                   agent in somebody's `owns`, or set owner = \"none\" in the rule";
        say(&format!("owner   {}", bad(why)));
    }
    for owner in &plan.owners {
        say(&format!("owner   {}: owns the agent, and so is not asked", person(owner)));
    }
    say(&format!("quorum  {}", json!(rule.quorum)));
    for (group, people) in &plan.asked {
        let names: Vec<String> = people.iter().map(person).collect();
        let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        say(&format!("asked   {}: {names}", harmless(group)));
    }
    for (count, group) in &plan.lacking {
        let lacking = format!("{count} more of {} needed than can be asked", harmless(group));
        say(&format!("asked   {}", bad(&lacking)));
    }
    say("where   the web page");
    for place in &plan.places {
        let when = if place.on_escalation { ", on escalation" } else { "" };
        say(&format!(
            "where   {}: {} {}{when}",
            place.channel,
            place.connection,
            harmless(&place.to)
        ));
    }
    if let Some(seconds) = rule.step_up {
        say(&format!("where   only on the web page, with a sign-in of the last {seconds} s"));
    }
    if rule.one_by_one {
        say("where   one by one: never answered together with like calls");
    }
    let times = &plan.times;
    say(&format!("when    {} asked (the event's own time)", times.asked));
    say(&format!("when    {} reminder", times.reminder));
    if let Some(at) = times.escalation {
        say(&format!("when    {at} escalation"));
    }
    say(&format!(
        "when    {} approval deadline; {} denials end it before",
        times.approval_deadline, rule.deny
    ));
    say(&format!(
        "then    {} s to redeem after the grant, a token is valid for {} s, {} s to report",
        rule.execute_within, rule.token_life, rule.report_within
    ));
}

fn person(person: &Named) -> String {
    format!("{} ({})", harmless(&person.name), person.id)
}

/// Prints what is in force, for people.
fn show(answer: &Value) {
    let applied = &answer["applied"];
    if applied.is_null() {
        say("No rules were applied yet: nobody is asked. Run `countersign rules apply`.");
    } else {
        let by = super::who(&applied["by"]);
        say(&format!("in force since entry {}, applied by {by}", shown(&applied["index"])));
        say(&format!("rules   {}", harmless(applied["rules_digest"].as_str().unwrap_or(""))));
        say(&format!("people  {}", harmless(applied["people_digest"].as_str().unwrap_or(""))));
    }
    for rule in applied["rules"].as_array().into_iter().flatten() {
        let name = strong(&harmless(rule["name"].as_str().unwrap_or("")));
        say(&format!("{name}  match {}  quorum {}", shown(&rule["match"]), shown(&rule["quorum"])));
    }
    match answer["files"]["status"].as_str() {
        Some("applied") => say(&good("The server's files are the ones in force.")),
        Some("different") => say(&bad(
            "The server's files are different: run `countersign rules apply`, or put the applied ones back.",
        )),
        _ => say(&bad("The server's files have mistakes:")),
    }
    for mistake in answer["files"]["mistakes"].as_array().into_iter().flatten() {
        say(&format!("  {}", harmless(mistake.as_str().unwrap_or(""))));
    }
}

fn shown(value: &Value) -> String {
    harmless(&value.to_string())
}

/// Lists rules that are new, changed or gone, by name.
fn changes(before: &Value, after: &Value) {
    let list = |rules: &Value| rules.as_array().cloned().unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let named = |rules: &[Value], name: &Value| rules.iter().find(|r| r["name"] == *name).cloned();
    let mut same = 0;
    for rule in &after {
        match named(&before, &rule["name"]) {
            None => say(&format!("new      {}", shown(&rule["name"]))),
            Some(old) if old != *rule => say(&format!("changed  {}", shown(&rule["name"]))),
            Some(_) => same += 1,
        }
    }
    for rule in before.iter().filter(|rule| named(&after, &rule["name"]).is_none()) {
        say(&format!("gone     {}", shown(&rule["name"])));
    }
    say(&dim(&format!("{same} rules stay as they are")));
}
