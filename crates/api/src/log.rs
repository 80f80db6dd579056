//! The server's log: one line for each thing that happened, on standard error. Its level changes without a
//! restart, and a line that keeps repeating is counted instead of printed.

use crate::{config::Log, request};
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt,
    layer::{Context, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

/// How often the counts of unprinted lines are printed.
pub const TELL_EVERY: Duration = Duration::from_secs(10);
/// Most warnings of one kind and tenant that are printed in that time.
const PRINTED_MAX: u64 = 5;
/// Most kinds of warnings that are counted apart. Further kinds are printed.
const KINDS_MAX: usize = 4096;
/// Target of the lines that give counts.
const COUNTED: &str = "countersign::counted";

static REPEATS: Mutex<Option<HashMap<(Identifier, String), Repeats>>> = Mutex::new(None);

/// Lines of one kind and tenant since the last count was printed.
#[derive(Debug)]
struct Repeats {
    since: Instant,
    count: u64,
    message: String,
}

/// Handle that changes the level of the running log.
pub struct Handle(reload::Handle<EnvFilter, Registry>);

impl Handle {
    /// Sets another level.
    pub fn set(&self, log: &Log) {
        if let Err(error) = self.0.reload(filter(log)) {
            tracing::warn!(%error, "the log's level could not be changed");
        }
    }
}

fn filter(log: &Log) -> EnvFilter {
    EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Starts the log of this process.
pub fn start(log: &Log) -> Handle {
    let (filter, handle) = reload::Layer::new(filter(log));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if log.format == "json" {
        lines.json().boxed()
    } else {
        use std::io::IsTerminal as _;
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    // A second start in one process has no effect.
    let _ = Registry::default().with(filter).with(Counting).with(lines).try_init();
    Handle(handle)
}

/// Prints the first few warnings of a kind, and counts the others.
struct Counting;

impl<S: Subscriber> Layer<S> for Counting {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target() == COUNTED {
            return true;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let known = request::current().and_then(|request| request.tenant.clone());
        let tenant = words.tenant.or(known.map(|tenant| tenant.to_string())).unwrap_or_default();
        is_printed((metadata.callsite(), tenant), words.message)
    }
}

fn is_printed(key: (Identifier, String), message: String) -> bool {
    let mut repeats = REPEATS.lock().unwrap_or_else(PoisonError::into_inner);
    let repeats = repeats.get_or_insert_default();
    if repeats.len() >= KINDS_MAX && !repeats.contains_key(&key) {
        return true;
    }
    let begin = || Repeats { since: Instant::now(), count: 0, message };
    let kind = repeats.entry(key).or_insert_with(begin);
    kind.count += 1;
    kind.count <= PRINTED_MAX
}

/// Prints the count of each kind whose time is over. `all`: of every kind.
pub fn tell(all: bool) {
    let mut counted = Vec::new();
    if let Some(repeats) = REPEATS.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        repeats.retain(|(_, tenant), kind| {
            let over = all || kind.since.elapsed() >= TELL_EVERY;
            if over && kind.count > PRINTED_MAX {
                counted.push((tenant.clone(), kind.message.clone(), kind.count - PRINTED_MAX));
            }
            !over
        });
    }
    for (tenant, line, times) in counted {
        let tenant = (!tenant.is_empty()).then_some(tenant);
        tracing::warn!(target: COUNTED, line, tenant, times, "this line was repeated; the repetitions were not printed");
    }
}

/// The parts of an event that identify its kind.
#[derive(Default)]
struct Words {
    message: String,
    tenant: Option<String>,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "tenant" => self.tenant = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{Metadata, callsite::Callsite, subscriber::Interest};

    /// Stands for a line of code that logs.
    struct Site;

    impl Callsite for Site {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    static SITE: Site = Site;

    #[test]
    fn repeated_lines_are_counted_for_each_tenant() {
        let key = |tenant: &str| (Identifier(&SITE), tenant.to_owned());
        let printed = |tenant| (0..250).filter(|_| is_printed(key(tenant), "lost".into())).count();
        assert_eq!(printed("acme"), PRINTED_MAX as usize);
        assert_eq!(printed("globex"), PRINTED_MAX as usize);
        let count = |tenant| REPEATS.lock().unwrap().as_ref().unwrap()[&key(tenant)].count;
        assert_eq!(count("acme"), 250);
        tell(true);
        assert_eq!(printed("acme"), PRINTED_MAX as usize, "a new time begins");
    }
}
