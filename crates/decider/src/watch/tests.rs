//! The judge: a program that knows what was planted, and counts what was found. The constants of the watch were committed
//! before it ran.

mod traffic;

use super::{Settings, Watch};
use ledger::{
    entry::View,
    system::alert::{AlertBody, AlertRule, Alerts, Raise},
    time::Nanos,
};
use traffic::{
    Agent, Happening, Random, approval, company, day, gap, judged, refused, requested, sink,
};

const LEARNING_DAYS: u64 = 14;
const QUIET_DAYS: u64 = 7;
/// Seeds that nobody tried while the watch was written.
const SEEDS: std::ops::Range<u64> = 7_001..7_021;

/// A trouble that was planted: what must be found about whom.
type Planted = (&'static str, AlertRule, String);

/// A made log, and the watch that reads it.
struct Log {
    watch: Watch,
    begin: Nanos,
    index: u64,
    alerts: Alerts,
}

impl Log {
    fn day(&mut self, number: u64, mut happenings: Vec<Happening>) -> Vec<Raise> {
        happenings.sort_by_key(|one| one.at);
        let begin = self.begin.plus_seconds(number * 86_400);
        let mut found = Vec::new();
        for one in happenings {
            let bytes = one.entry(begin, self.index + 1);
            let view = View::parse(&bytes).expect("an entry");
            for raise in self.watch.take(self.index, &view) {
                // Posting takes each of them.
                let body = AlertBody::Raise(Box::new(raise.clone()));
                self.alerts.take(self.index + 1_000_000_000, &body).expect("an alert that fits");
                found.push(raise);
            }
            self.index += 1;
        }
        found
    }
}

fn begin(seed: u64) -> Nanos {
    Nanos::parse("2026-03-02T00:00:00Z").expect("a time").plus_seconds(seed % 7 * 86_400)
}

fn is_weekend(begin: Nanos, number: u64) -> bool {
    matches!((begin.seconds() / 86_400 + number + 4) % 7, 0 | 6)
}

/// Plants ten troubles. Agents of the last producer are left alone: it falls silent.
fn plant(random: &mut Random, company: &[Agent], all: &mut Vec<Happening>) -> Vec<Planted> {
    let mut planted = Vec::new();
    let mut note = |what, rule, id: &str| planted.push((what, rule, id.to_owned()));
    let by_day: Vec<_> = company.iter().filter(|a| a.by_day && a.producer != "gw-us-1").collect();
    let others: Vec<_> = company.iter().filter(|a| !a.by_day && a.producer != "gw-us-1").collect();

    let silent = 9 * 3600 + random.whole(5 * 3600);
    all.retain(|one| one.producer != "gw-us-1" || one.at < silent);
    note("silent producer", AlertRule::SilentProducer, "gw-us-1");

    let (agent, at) = (by_day[0], 9 * 3600 + random.whole(8 * 3600));
    for n in 0..60 {
        all.push(judged(agent, (at + n * 20, agent.tools[0], "deny"), &agent.chains[0], 1.0));
    }
    note("denial storm", AlertRule::Denials, &agent.id);

    note("slow drift of amounts", AlertRule::Amounts, &others[0].id);

    let (agent, at) = (by_day[1], 9 * 3600 + random.whole(8 * 3600));
    all.push(approval("apr-refused", at - 60, agent.producer, &requested(agent, agent.tools[0])));
    let granted = serde_json::json!({"type": "granted", "by": []});
    all.push(approval("apr-refused", at - 30, agent.producer, &granted));
    for n in 0..15 {
        all.push(refused("apr-refused", agent, at + n * 150));
    }
    note("refused redemptions", AlertRule::RedemptionsRefused, &agent.id);

    let (agent, at) = (by_day[2], 3600 + random.whole(2 * 3600));
    for n in 0..8 {
        all.push(judged(agent, (at + n * 120, agent.tools[0], "allow"), &agent.chains[0], 1.0));
    }
    note("night agent", AlertRule::NewHour, &agent.id);

    let (agent, at) = (others[1], 8 * 3600 + random.whole(10 * 3600));
    let calls = (0..1000_u32).take_while(|n| f64::from(*n) < agent.rate * 16.0).count() as u64;
    for n in 0..calls {
        let call = (at + n * 3600 / calls, agent.tools[0], "allow");
        all.push(judged(agent, call, &agent.chains[0], agent.amount));
    }
    note("budget burnt in an hour", AlertRule::Spending, &agent.id);

    let (agent, at) = (by_day[3], 10 * 3600 + random.whole(6 * 3600));
    let chain = ["planner-bot".to_owned(), agent.id.clone()];
    all.push(judged(agent, (at, agent.tools[0], "allow"), &chain, agent.amount));
    note("new chain", AlertRule::NewChain, &agent.id);

    planted.extend(plant_waits(random, agent, all));
    planted
}

/// Plants what waits for something.
fn plant_waits(random: &mut Random, agent: &Agent, all: &mut Vec<Happening>) -> Vec<Planted> {
    let mut planted = Vec::new();
    let mut note = |what, rule, id: &str| planted.push((what, rule, id.to_owned()));
    let at = 6 * 3600 + random.whole(12 * 3600);
    all.push(approval("apr-stuck", at, agent.producer, &requested(agent, agent.tools[0])));
    note("stuck approval", AlertRule::StuckApproval, "apr-stuck");

    all.push(gap(true, 3600 + random.whole(70_000), "/gw-lost"));
    note("gap", AlertRule::Gap, "/gw-lost");

    let at = 3600 + random.whole(60_000);
    // What an ordinary day may plant is taken away, so that it does not end this one.
    all.retain(|one| one.kind != "delivery");
    all.extend([sink("stands_still", at), sink("delivers", at + 7200)]);
    note("sink that stands still", AlertRule::Sink, "siem");
    planted
}

/// Runs a seed. Returns the alerts of the quiet days, and of each trouble whether it was found.
fn run(seed: u64) -> (Vec<Raise>, Vec<(Planted, bool)>, usize) {
    let mut random = Random(seed);
    let company = company(&mut random);
    let begin = begin(seed);
    let watch = Watch::new(Settings::default());
    let mut log = Log { watch, begin, index: 1, alerts: Alerts::default() };
    let mut quiet = Vec::new();
    for number in 0..LEARNING_DAYS + QUIET_DAYS {
        let all = day(&mut random, &company, is_weekend(begin, number), &|_, _| 1.0);
        quiet.extend(log.day(number, all));
    }
    let number = LEARNING_DAYS + QUIET_DAYS;
    let drifts = company.iter().find(|a| !a.by_day && a.producer != "gw-us-1").expect("one");
    let drift = |agent: &Agent, at: u64| {
        let part = f64::from(at as u32) / 86_400.0;
        if agent.id == drifts.id { 1.0 + 2.0 * part } else { 1.0 }
    };
    let mut all = day(&mut random, &company, is_weekend(begin, number), &drift);
    let planted = plant(&mut random, &company, &mut all);
    let found = log.day(number, all);
    let is_found = |(_, rule, id): &Planted| {
        found.iter().any(|raise| raise.rule == *rule && raise.about.id == *id)
    };
    let results: Vec<_> = planted.into_iter().map(|one| (one.clone(), is_found(&one))).collect();
    let of_plan = |raise: &&Raise| {
        results.iter().any(|((_, rule, id), _)| raise.rule == *rule && raise.about.id == *id)
    };
    let beside = found.iter().filter(|raise| !of_plan(raise)).count();
    (quiet, results, beside)
}

fn judge(seeds: impl Iterator<Item = u64>) {
    let mut wrong = Vec::new();
    for seed in seeds {
        let (quiet, results, beside) = run(seed);
        let found = results.iter().filter(|(_, found)| *found).count();
        let missed: Vec<_> =
            results.iter().filter(|(_, found)| !found).map(|((what, ..), _)| *what).collect();
        println!(
            "seed {seed}: {found} of {} found, {} alerts in {} quiet days, {beside} beside the plan; missed: {missed:?}",
            results.len(),
            quiet.len(),
            LEARNING_DAYS + QUIET_DAYS,
        );
        for raise in &quiet {
            println!("  quiet: {:?} {} {:?}", raise.rule, raise.about.id, raise.values);
        }
        if found < 9 || !quiet.is_empty() {
            wrong.push(seed);
        }
    }
    assert!(wrong.is_empty(), "these seeds fail: {wrong:?}");
}

#[test]
fn p19_ten_troubles_are_found_and_quiet_days_are_quiet() {
    judge(SEEDS);
}

/// Four days with troubles. After each `again` entries the state is saved, and another watch goes on from it.
fn watched(seed: u64, again: Option<u64>) -> (Vec<Raise>, Vec<u8>) {
    let settings = Settings { learn_days: 1, ..Settings::default() };
    let mut random = Random(seed);
    let company = company(&mut random);
    let watch = Watch::new(settings.clone());
    let mut log = Log { watch, begin: begin(seed), index: 1, alerts: Alerts::default() };
    let mut found = Vec::new();
    for number in 0..4 {
        let mut all = day(&mut random, &company, false, &|_, _| 1.0);
        plant(&mut random, &company, &mut all);
        all.sort_by_key(|one| one.at);
        while !all.is_empty() {
            let rest = all.split_off(again.map_or(all.len(), |n| all.len().min(n as usize)));
            found.extend(log.day(number, std::mem::replace(&mut all, rest)));
            if again.is_some() {
                let saved = log.watch.save();
                log.watch = Watch::restore(settings.clone(), &saved).expect("what was saved");
            }
        }
    }
    (found, log.watch.save())
}

#[test]
fn p19_the_same_log_gives_the_same_alerts() {
    let (one, two) = (watched(3, None).0, watched(3, None).0);
    assert!(one == two && one.len() > 5, "{} and {}", one.len(), two.len());
}

/// A start from the saved state is as good as reading everything: the same alerts, and the same state to the last bit.
#[test]
fn p19_a_watch_that_was_saved_finds_what_a_full_read_finds() {
    let full = watched(11, None);
    assert!(full.0.len() > 5 && full.1.len() > 10_000);
    for again in [1_009, 4_999] {
        let saved = watched(11, Some(again));
        assert_eq!(saved.0, full.0);
        assert!(saved.1 == full.1, "the states differ");
    }
}

#[test]
fn p19_a_saved_watch_is_of_one_version_and_settings() {
    let settings = Settings::default();
    let saved = Watch::new(settings.clone()).save();
    let check = |change: fn(&mut Settings), fits: bool| {
        let mut settings = settings.clone();
        change(&mut settings);
        assert_eq!(Watch::restore(settings, &saved).is_some(), fits);
    };
    check(|_| {}, true);
    check(|settings| settings.channels = vec!["security".into()], true);
    check(|settings| settings.learn_days = 8, false);
    check(|settings| settings.off = vec![AlertRule::NewHour], false);
    let text = String::from_utf8(saved).expect("JSON");
    for wrong in [text.replacen("\"v\":1", "\"v\":2", 1), text[1..].to_owned(), String::new()] {
        assert!(Watch::restore(settings.clone(), wrong.as_bytes()).is_none(), "{wrong}");
    }
}
