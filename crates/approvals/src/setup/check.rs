//! Checks that need several tables: groups without members, quorums that nobody can meet, channels that lead
//! nowhere.

use super::{
    ChatKind, Connections, Setup,
    file::File,
    rules::{Placed, Read},
};
use decider::{quorum::Quorum, rule::RuleError};
use ledger::{canonical, ident::Ident, system};
use std::collections::{BTreeMap, BTreeSet};

/// Space in a `rules` entry for everything but the rules, in bytes.
const FRAME_BYTES: usize = 1024;

/// Channels must name connections of this tenant. Another tenant's connection is as unknown as none (P12).
pub(super) fn connections(file: &File<'_>, read: &Read, tenant: &Ident, known: &Connections) {
    for (name, (channel, at)) in &read.channels {
        let connection = known.get(&channel.connection).filter(|(owner, _)| owner == tenant);
        let to = channel.to.as_str();
        let wrong = match connection.map(|(_, chat)| chat) {
            None => Some(
                "is not a connection of this tenant in the server's configuration: add [slack.…], [teams.…] or \
                 [webhook.…] there, or write its name as there",
            ),
            Some(ChatKind::Slack) if !is_slack_channel(to) => {
                Some("leads to Slack: to must be a channel's id, C…, G… or D…")
            }
            Some(ChatKind::Teams) if to.is_empty() => {
                Some("leads to Teams: to must be the conversation's id, e.g. \"19:…@thread.tacv2\"")
            }
            Some(ChatKind::Webhook) if !to.is_empty() => {
                Some("is a webhook, which has its own place: leave to out")
            }
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            file.mistake(*at, format!("channel {name}: {:?} {wrong}", channel.connection.as_str()));
        }
    }
}

fn is_slack_channel(to: &str) -> bool {
    to.starts_with(['C', 'G', 'D'])
        && (2..=32).contains(&to.len())
        && to.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Checks each rule by itself, and against the people and channels of `setup`.
pub(super) fn rules(file: &File<'_>, rules: &[Placed], setup: &Setup) {
    let mut sound = true;
    for Placed { rule, at, quorum_at, channels_at } in rules {
        let told =
            |at: usize, what: &str| file.mistake(at, format!("rule {:?}: {what}", rule.name));
        for channel in rule.channels.iter().chain(&rule.escalate) {
            if !setup.channels.contains_key(channel) {
                told(*channels_at, &format!("[channels] has no {channel:?}: add it there"));
            }
        }
        if let Err(error) = rule.check() {
            let at = if let RuleError::Quorum(_) = error { *quorum_at } else { *at };
            told(at, &error.to_string());
            sound = false;
        } else if let Some(wrong) = cannot_be_met(&rule.quorum, setup) {
            told(*quorum_at, &wrong);
        }
    }
    let whole: Vec<_> = rules.iter().map(|placed| &placed.rule).collect();
    // Only a rule that keeps its limits has an RFC 8785 form.
    let bytes = if sound { canonical::of(&whole).len() } else { 0 };
    let max = system::BODY_BYTES_MAX - FRAME_BYTES;
    if bytes > max {
        let what = format!(
            "the rules have {bytes} bytes as they are recorded, at most {max} fit into an entry: write fewer or \
             shorter ones"
        );
        file.mistake(0, what);
    }
}

/// Why the members of its groups can't meet a quorum if any one of them owns the agent (P10).
fn cannot_be_met(quorum: &Quorum, setup: &Setup) -> Option<String> {
    let groups = quorum.groups();
    let active = setup.active();
    let asked: BTreeMap<Ident, BTreeSet<String>> = active
        .iter()
        .filter(|(_, member)| groups.iter().any(|group| member.contains(*group)))
        .map(|(id, member)| (id.clone(), member.clone()))
        .collect();
    let empty = groups.iter().find(|group| !asked.values().any(|member| member.contains(**group)));
    if let Some(empty) = empty {
        return Some(format!("nobody who is not disabled is in group {empty:?}: add people to it"));
    }
    match quorum.indispensable(&asked) {
        None => Some(
            "the members of its groups can't meet the quorum, because each person fills one place: add people, or \
             ask for fewer"
                .into(),
        ),
        Some(people) if people.is_empty() => None,
        Some(people) => {
            let names: Vec<&str> = people.iter().map(Ident::as_str).collect();
            Some(format!(
                "without {} the quorum can't be met, and nobody approves a call of an agent they own: add somebody \
                 else to its groups",
                names.join(" or without ")
            ))
        }
    }
}
