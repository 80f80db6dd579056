//! Figures that are collected when metrics are requested, and how those of disks are read.

use crate::counts::Share;
use ledger::{post::OfDay, timing::Reading};
use std::{path::Path, time::UNIX_EPOCH};

/// The label of what came after the first 100 values of a day.
pub(super) const OTHER: &str = "(other)";

/// All figures of a moment.
pub struct Figures {
    /// Of each tenant.
    pub tenants: Vec<OfTenant>,
    /// What each tenant's log says.
    pub logs: Vec<OfLog>,
    /// Of the disks.
    pub disks: Disks,
    /// When the first certificate of the server's chain ends, in seconds since 1970. 0 without TLS.
    pub tls_ends: u64,
}

/// What the log of one tenant says.
#[derive(Clone, Debug, Default)]
pub struct OfLog {
    /// The tenant.
    pub tenant: String,
    /// The counts over all days.
    pub all: OfDay,
    /// The counts of the present UTC day, and of the one before.
    pub days: [(&'static str, OfDay); 2],
    /// The whole minutes of these days that are over.
    pub minutes: [u64; 2],
    /// Entries of declared sources, of these and the numbers of theirs that are known to be missing.
    pub entries: Share,
    /// The version of the policies in force, and the digest of its bundle.
    pub policy: Option<(u64, String)>,
    /// The budgets that are used most.
    pub budgets: Vec<OfBudget>,
    /// How long approvals waited for people since the start, by how that ended.
    pub waits: Vec<(&'static str, Reading)>,
}

/// A budget in its window of now, in its own unit.
#[derive(Clone, Debug)]
pub struct OfBudget {
    /// Budget, key, unit and currency.
    pub labels: [String; 4],
    /// The cap.
    pub cap: u64,
    /// What counts against it.
    pub used: u64,
    /// The part that may still become smaller.
    pub reserved: u64,
}

/// Figures of one tenant.
pub struct OfTenant {
    /// Its name.
    pub name: String,
    /// True if its requests are served here.
    pub ready: bool,
    /// Codes of its troubles, alarms included.
    pub troubles: Vec<&'static str>,
    /// Published entries.
    pub entries: u64,
    /// Last journal sequence that is posted.
    pub posted: u64,
    /// True if its log is halted.
    pub halted: bool,
    /// Messages without our signature.
    pub unsigned: u64,
    /// Messages that may still be queued.
    pub queue_room: u64,
    /// Receipts by message that were not sent.
    pub receipts_dropped: u64,
    /// Seconds since the scrub has read everything.
    pub scrub_age: u64,
    /// What the scrub found damaged.
    pub scrub_findings: u64,
    /// Messages of the journal that wait to be posted.
    pub lag: u64,
    /// Its sources, by state.
    pub sources: Vec<(&'static str, u64)>,
    /// Its freezes in force, by scope.
    pub freezes: Vec<(&'static str, u64)>,
    /// Its open alerts, and all that were raised.
    pub alerts: [u64; 2],
    /// Its channels that are told of alerts.
    pub channels: Vec<OfChannel>,
    /// Its sinks.
    pub sinks: Vec<OfSink>,
    /// Its witnesses.
    pub witnesses: Vec<crate::witness::Figures>,
    /// Its replicas: how many, how many answer, entries not shown here, entries by which the slowest is behind. Zeros if this
    /// server signs alone.
    pub replicas: [u64; 4],
    /// Values of the register that were ignored.
    pub register_ignored: u64,
    /// Its approvals, if they are set up.
    pub approvals: Option<OfApprovals>,
}

/// Figures of one channel that is told of alerts.
pub struct OfChannel {
    /// Its name.
    pub name: String,
    /// Messages, by what came of them.
    pub messages: [(&'static str, u64); 3],
    /// True if a person must act.
    pub refuses: bool,
}

/// Figures of one sink.
pub struct OfSink {
    /// Its name.
    pub name: String,
    /// One for each metric of `metrics::sinks`, in its order.
    pub values: [u64; 10],
}

/// Figures of a tenant's approvals.
pub struct OfApprovals {
    /// Approvals whose cards are due.
    pub cards_due: u64,
    /// Approvals that wait for people.
    pub pending: u64,
    /// True if approvals are decided here.
    pub ready: bool,
    /// Showings of approvals to people that could not be noted since the start.
    pub shown_lost: u64,
    /// Decisions that opened no approval since the start, by reason.
    pub not_opened: Vec<(&'static str, u64)>,
    /// What allowed calls cost at most since the start, in millionths: by tool, agent and currency.
    pub costs: approvals::deciding::Costs,
    /// Verdicts that were told before they were recorded, since the start: `later`, `unavailable`, `void`, `waiting`.
    pub told_early: Vec<(&'static str, u64)>,
}

/// Figures of the disks.
pub struct Disks {
    /// Bytes that may still be written, by place.
    pub free: Vec<(&'static str, u64)>,
    /// Bytes of the database's files.
    pub database: u64,
    /// True if the guard's path names the file that is advanced.
    pub guard_in_place: bool,
    /// When the newest backup was written, in seconds since 1970. 0 if there is none.
    pub newest_backup: i64,
}

/// Every value of a name with its count, those that have none of their own last.
pub(super) fn values<'c>(day: &'c OfDay, name: &str) -> Vec<(&'c str, u64)> {
    let Some(counts) = day.get(name) else { return Vec::new() };
    let mut all: Vec<_> = counts.values.iter().map(|(value, n)| (value.as_str(), *n)).collect();
    if counts.other > 0 {
        all.push((OTHER, counts.other));
    }
    all
}

/// Bytes that may still be written where `path` is. `None` if that is unknown.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let free = rustix::fs::statvfs(path).ok()?;
    Some(free.f_bavail.saturating_mul(free.f_frsize))
}

/// Time of the newest folder in `dir`, in seconds since 1970. 0 if there is none.
pub fn newest_backup(dir: &Path) -> i64 {
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let written = folders.filter_map(|folder| {
        let metadata = folder.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()
    });
    written.max().map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
