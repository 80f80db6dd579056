//! `countersign evidence --every month`, and the same in the server: one folder for each tenant and month that is over. A
//! folder that is complete is never touched again; one that was stopped is finished.

use super::{Failed, LAST, Made, Source, make, usage};
use crate::{
    cli::{Disclosed, Every, Evidence, Remote},
    config::{Config, Monthly},
    terminal::{bad, dim, harmless, say, say_json},
};
use ledger::{atomic, time::Nanos, verify::period::Period};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often the server looks for a month that is over.
const AGAIN: Duration = Duration::from_secs(3_600);
/// The pause after a month that could not be made.
const AFTER_FAILURE: Duration = Duration::from_secs(300);

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Month {
    year: u32,
    month: u32,
}

impl Month {
    fn of(at: Nanos) -> Option<Self> {
        let text = at.to_string();
        let mut parts = text.split('-').map(str::parse);
        let (year, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self { year, month })
    }

    fn next(self) -> Self {
        match self {
            Self { year, month: 12 } => Self { year: year + 1, month: 1 },
            Self { year, month } => Self { year, month: month + 1 },
        }
    }

    fn name(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    /// Its first moment, and that of the next month. `None` at the end of time.
    fn period(self) -> Option<Period> {
        let begin = |month: Self| Nanos::parse(&format!("{}-01T00:00:00Z", month.name()));
        Some(Period { from: begin(self)?, to: begin(self.next())? })
    }
}

/// The months from the first entry to the last one that an entry shows to be over.
fn over(first: Nanos, last: Nanos) -> Vec<(Month, Period)> {
    let mut months = Vec::new();
    let mut at = Month::of(first);
    while let Some((month, period)) = at.and_then(|month| Some((month, month.period()?))) {
        if period.to > last {
            break;
        }
        months.push((month, period));
        at = Some(month.next());
    }
    months
}

/// Makes what is not there yet, and says so.
pub fn run(arguments: &Evidence) -> Result<(), Failed> {
    let to = arguments.to.as_deref().unwrap_or_default();
    let tenant = arguments.tenant.as_deref().ok_or_else(|| usage("name the log: --tenant"))?;
    let made = all(arguments, tenant, Path::new(to), |folder, made| {
        let Made { conclusion, manifest } = made;
        if arguments.json {
            say_json(&json!({
                "out": folder, "decisions": conclusion.decisions, "exceptions": conclusion.exceptions,
                "files": manifest.files.len(),
            }));
            return;
        }
        say(&format!("{} decisions in {}", conclusion.decisions, folder.display()));
        for text in &conclusion.exceptions {
            say(&bad(&format!("  exception: {}", harmless(text))));
        }
    })?;
    if made == 0 && !arguments.json {
        say(&dim("No month is over that was not made before."));
    }
    Ok(())
}

/// Makes the months that are not there yet. Returns how many.
fn all(
    arguments: &Evidence,
    tenant: &str,
    to: &Path,
    tell: impl Fn(&Path, &Made),
) -> Result<u64, Failed> {
    if !to.is_dir() {
        return Err(usage(&format!("{}: make this folder first", to.display())));
    }
    let mut made = 0;
    let source = Source::open(arguments)?;
    let (first, last) = source.times()?;
    for (month, period) in over(first, last) {
        let of_tenant = to.join(tenant);
        let folder = of_tenant.join(month.name());
        if folder.join(LAST).exists() {
            continue;
        }
        if !of_tenant.exists() {
            atomic::make_folder(&of_tenant)?;
        }
        // Each under its own checkpoint: the earliest one that shows that the month is over.
        let source = Source::open(arguments)?;
        let done = make(arguments, &source, period, &folder)?;
        tell(&folder, &done);
        made += 1;
    }
    Ok(made)
}

/// Makes it in the server, for each tenant that the configuration names, until the process ends. A folder that is being
/// written then is finished after the next start.
pub fn start(config: &Config) {
    for (tenant, monthly) in &config.file.evidence {
        let (tenant, path) = (tenant.clone(), config.path.clone());
        let arguments = arguments(&tenant, monthly, path);
        let to = monthly.to.clone();
        let work = move || loop {
            let told = |folder: &Path, made: &Made| {
                let (decisions, exceptions) =
                    (made.conclusion.decisions, made.conclusion.exceptions.len());
                tracing::info!(tenant, folder = %folder.display(), decisions, exceptions, "evidence of a month was made");
            };
            let done = all(&arguments, &tenant, &to, told);
            if let Err(failed) = &done {
                let why = harmless(&failed.text);
                tracing::warn!(tenant, why, "the evidence of a month could not be made");
            }
            thread::sleep(if done.is_ok() { AGAIN } else { AFTER_FAILURE });
        };
        let named = thread::Builder::new().name("evidence".into());
        if let Err(error) = named.spawn(work) {
            tracing::error!(%error, "no thread for the evidence of months");
        }
    }
}

fn arguments(tenant: &str, monthly: &Monthly, config: PathBuf) -> Evidence {
    let Monthly { to, api_key_file, signing_key_file, samples, witnessed, .. } = monthly.clone();
    Evidence {
        remote: Remote {
            server: None,
            config: Some(config),
            api_key_file: Some(api_key_file),
            ca: None,
            allow_http: false,
        },
        tenant: Some(tenant.to_owned()),
        export: None,
        from: None,
        to: Some(to.display().to_string()),
        every: Some(Every::Month),
        out: None,
        auditor_seed: None,
        samples,
        disclose: Disclosed::None,
        partial: false,
        witnessed,
        signing_key: signing_key_file,
        new_signing_key: None,
        json: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &str, last: &str, expected: &[&str]) {
        let at = |text: &str| Nanos::parse(text).unwrap();
        let found = over(at(first), at(last));
        let names: Vec<String> = found.iter().map(|(month, _)| month.name()).collect();
        assert_eq!(names, expected, "{first} {last}");
        assert!(found.windows(2).all(|pair| pair[0].1.to == pair[1].1.from), "without a hole");
    }

    #[test]
    fn months_that_are_over() {
        check("2026-01-15T00:00:00Z", "2026-01-31T23:59:59.999999999Z", &[]);
        check("2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z", &["2026-01"]);
        check("2025-11-30T23:59:59Z", "2026-02-28T00:00:00Z", &["2025-11", "2025-12", "2026-01"]);
        check("2026-03-01T00:00:00Z", "2026-01-01T00:00:00Z", &[]);
        let end = over(Nanos(u64::MAX), Nanos(u64::MAX));
        assert!(end.len() <= 1, "it ends at the end of time");
    }
}
