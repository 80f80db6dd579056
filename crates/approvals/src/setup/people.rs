//! Reads `people.toml`: the people who may be asked.

use super::{
    Person, SlackMember, TeamsMember,
    file::{File, Table},
};
use decider::quorum::GROUP_BYTES_MAX;
use ledger::{ident::Ident, json::text_has_control};
use std::collections::{BTreeMap, BTreeSet};

/// Most people of a tenant.
pub const PEOPLE_MAX: usize = 10_000;
/// Longest name of a person, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most groups of one person.
pub const GROUPS_MAX: usize = 64;
/// Most agents of one person.
pub const AGENTS_MAX: usize = 1000;
/// Longest `agent.id`, in bytes: the limit of an event.
const AGENT_BYTES_MAX: usize = ledger::event::TEXT_BYTES_MAX;
/// Longest id of a member or workspace in Slack, in bytes.
const SLACK_BYTES_MAX: usize = 32;

/// Reads the file and notes its mistakes. `None` if it is not TOML.
pub(super) fn read(file: &File<'_>) -> Option<BTreeMap<Ident, Person>> {
    let mut table = file.table()?;
    let tables = table.tables("person");
    if tables.len() > PEOPLE_MAX {
        file.mistake(0, format!("at most {PEOPLE_MAX} people: remove some"));
    }
    table.finish("[[person]]");
    let mut people = BTreeMap::new();
    let (mut slack, mut teams) = (BTreeMap::new(), BTreeMap::new());
    for table in tables.into_iter().take(PEOPLE_MAX) {
        let at = table.at;
        let Some(person) = person(table) else { continue };
        // Two people with the same account could count twice in a quorum (P10).
        let linked = |other: Option<Ident>, chat: &str| {
            if let Some(other) = other {
                let id = &person.id;
                let what = format!("{id} and {other} have the same {chat} account: remove one");
                file.mistake(at, what);
            }
        };
        if let Some(member) = &person.slack {
            linked(slack.insert(member.clone(), person.id.clone()), "Slack");
        }
        if let Some(member) = &person.teams {
            linked(teams.insert(member.clone(), person.id.clone()), "Teams");
        }
        if let Some(other) = people.insert(person.id.clone(), person) {
            let what = format!("{} is here twice: give one another id, or merge them", other.id);
            file.mistake(at, what);
        }
    }
    Some(people)
}

fn person(mut table: Table<'_>) -> Option<Person> {
    let id = table.must::<Ident>("id", "an opaque id of a-z, 0-9 and -, e.g. \"p-7f3a\"");
    let name = table.must::<String>("name", "the name on pages and cards");
    let fits = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && !text_has_control(name);
    if let Some((_, at)) = name.as_ref().filter(|(name, _)| !fits(name)) {
        let what = format!("name must have 1 to {NAME_BYTES_MAX} bytes and no control characters");
        table.mistake(*at, what);
    }
    let groups = names(&mut table, "groups", (GROUPS_MAX, GROUP_BYTES_MAX));
    let owns = names(&mut table, "owns", (AGENTS_MAX, AGENT_BYTES_MAX));
    let slack = table.table("slack").and_then(slack);
    let teams = table.table("teams").and_then(teams);
    let disabled = table.take("disabled", "true or false").is_some_and(|(disabled, _)| disabled);
    table.finish("id, name, groups, owns, slack, teams and disabled");
    let (id, name) = (id?.0, name?.0);
    Some(Person { id, name, groups, owns, slack, teams, disabled })
}

/// A list of distinct texts, limited in number and length.
fn names(table: &mut Table<'_>, name: &str, (count, bytes): (usize, usize)) -> BTreeSet<String> {
    let Some((list, at)) = table.take::<Vec<String>>(name, "a list of texts") else {
        return BTreeSet::new();
    };
    let fits = |text: &String| (1..=bytes).contains(&text.len()) && !text_has_control(text);
    if list.len() > count || !list.iter().all(fits) {
        let what = format!(
            "{name}: at most {count}, each of 1 to {bytes} bytes without control characters"
        );
        table.mistake(at, what);
    }
    list.into_iter().collect()
}

fn slack(mut table: Table<'_>) -> Option<SlackMember> {
    let mut id = |name: &str, first: &[char], expected: &str| {
        let (text, at) = table.must::<String>(name, expected)?;
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        let fits = (2..=SLACK_BYTES_MAX).contains(&text.len())
            && text.starts_with(first)
            && text.bytes().all(upper);
        if !fits {
            table.mistake(at, format!("{name} must be {expected}"));
        }
        fits.then_some(text)
    };
    let workspace = id("workspace", &['T', 'E'], "the workspace's or organisation's id: T… or E…");
    let user = id("user", &['U', 'W'], "the member's id: U… or W…");
    table.finish("workspace and user");
    Some(SlackMember { workspace: workspace?, user: user? })
}

fn teams(mut table: Table<'_>) -> Option<TeamsMember> {
    let mut id = |name: &str, expected: &str| {
        let (text, at) = table.must::<String>(name, expected)?;
        let guid = is_guid(&text);
        if !guid {
            table.mistake(at, format!("{name} must be {expected}"));
        }
        guid.then(|| text.to_ascii_lowercase())
    };
    let directory = id("directory", "the directory (tenant) id: 8-4-4-4-12 hex digits");
    let object = id("object", "the user's object id in the directory: 8-4-4-4-12 hex digits");
    table.finish("directory and object");
    Some(TeamsMember { directory: directory?, object: object? })
}

fn is_guid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
}
