//! The account against a naive model: every sum counted anew from a list of all that happened.

use super::*;
use crate::{
    budget::{Open, row_key},
    store::Memory,
};
use std::collections::BTreeMap;

const HOUR: u64 = 3_600;
const REPORT_WITHIN: u64 = 900;
const MAX: u64 = 100;
const LOG: LogNumber = LogNumber(3);

/// Random numbers that follow from a seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Windows that a policy may have: their length, and when they begin, in seconds after the hour.
const KINDS: [(u64, u64); 4] = [(HOUR, 0), (3 * HOUR, 0), (HOUR, HOUR / 2), (24 * HOUR, 0)];

/// One reservation, as the model remembers it.
#[derive(Clone, Debug)]
struct Made {
    key: String,
    window: (Nanos, Nanos),
    at: Nanos,
    over: bool,
    producer: String,
    approval: Option<Ident>,
    reserved: u64,
    /// What counts of it now.
    counts: u64,
    excess: u64,
    deadline: Option<Nanos>,
    done: bool,
}

struct Model {
    memory: Memory,
    random: Random,
    time: Nanos,
    /// The windows that the policy has: their length, and when they begin, in seconds after the hour.
    windows: (u64, u64),
    made: BTreeMap<u64, Made>,
    next: u64,
    counts: BTreeMap<&'static str, u64>,
    /// Warned and exceeded, by key and window.
    notices: BTreeMap<(&'static str, String, (Nanos, Nanos)), u64>,
}

fn at(seconds: u64) -> Nanos {
    Nanos::default().plus_seconds(seconds)
}

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            memory: Memory::default(),
            random: Random(seed),
            time: at(500_000 * HOUR),
            windows: (HOUR, 0),
            made: BTreeMap::new(),
            next: 10,
            counts: BTreeMap::new(),
            notices: BTreeMap::new(),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Account<'_, '_>) -> T) -> T {
        let mut changes = Changes::new(&self.memory);
        let done = act(&mut Account::new(&mut changes, LOG));
        let writes: Vec<_> = changes.into_writes().collect();
        self.memory.apply(writes.into_iter());
        done
    }

    /// The window of now, of this kind.
    fn window(&self, (length, begin): (u64, u64)) -> (Nanos, Nanos) {
        let from = at((self.time.seconds() - begin) / length * length + begin);
        (from, from.plus_seconds(length))
    }

    fn row(&self, key: &str) -> Option<Row> {
        let row = LOG.key(&row_key("p/b", Some(key), Unit::Cost, Some("EUR")));
        let row = self.memory.get(Family::Budgets, &row).unwrap();
        row.map(|row| store::read_json(&row, "budgets").unwrap())
    }

    /// What counts: of other windows the four that end last, if they overlap and something was booked there since this one
    /// began.
    fn counted(&self, key: &str, (from, to): (Nanos, Nanos)) -> u64 {
        let mut all: BTreeMap<(Nanos, Nanos), (u64, Nanos)> = BTreeMap::new();
        for made in self.made.values().filter(|made| made.key == key) {
            let (sum, last) = all.entry(made.window).or_default();
            *sum += if made.over { made.excess } else { made.counts + made.excess };
            *last = made.at.max(*last);
        }
        let own = all.remove(&(from, to)).map_or(0, |(sum, _)| sum);
        let mut others: Vec<_> =
            all.into_iter().map(|(of, booked)| ((of.1, of.0), booked)).collect();
        others.sort_unstable();
        let last_four = others.iter().rev().take(4);
        let counts = last_four
            .filter(|((end, begin), (_, last))| *begin < to && from < *end && *last >= from);
        own + counts.map(|(_, (sum, _))| sum).sum::<u64>()
    }

    /// What counts in the windows of now that was booked in others.
    fn carried(&mut self) -> u64 {
        let asked = self.asked();
        let row = self.row(asked.key.as_deref().unwrap());
        row.map_or(0, |row| row.carried((asked.from, asked.to)))
    }

    fn asked(&mut self) -> Asked {
        let key = ["bot", "other"][self.random.below(2) as usize].to_owned();
        let (from, to) = self.window(self.windows);
        Asked {
            id: "p/b".into(),
            key: Some(key),
            unit: Unit::Cost,
            currency: Some("EUR".into()),
            from,
            to,
            sum: self.random.below(30),
            max: MAX,
            warn: Some(80),
            booked: Booked::Within,
        }
    }

    fn book(&mut self) {
        let mut asked = self.asked();
        let key = asked.key.clone().unwrap();
        let window = (asked.from, asked.to);
        let fits = self.counted(&key, window) + asked.sum <= MAX;
        let people = self.random.below(3) == 0;
        // Whatever is wrong does not stand.
        for booked in [Booked::Within, Booked::Over, Booked::Refused] {
            let wrong = Asked { booked, ..asked.clone() };
            let asking = Asking { report_within: REPORT_WITHIN, asked: vec![wrong] };
            let time = self.time;
            let found = self.with(|account| account.judge(&asking, time).unwrap());
            let expected = ((booked == Booked::Within) != fits).then_some(Misfit::Sum);
            assert_eq!(found, expected, "{booked:?} of {}", asked.sum);
        }
        asked.booked = match (fits, people) {
            (true, _) => Booked::Within,
            (false, true) => Booked::Over,
            (false, false) => Booked::Refused,
        };
        let (index, time) = (self.next, self.time);
        self.next += 1 + self.random.below(3);
        let approval = people.then(|| Ident::new(&format!("apr-{index}")).unwrap());
        let producer = format!("gw-{}", self.random.below(2));
        let asking = Asking { report_within: REPORT_WITHIN, asked: vec![asked.clone()] };
        let who = (producer.as_str(), approval.as_ref());
        let notice = self.with(|account| account.book(&asking, (index, time), who).unwrap());
        for (name, told) in [("warned", &notice.warned), ("exceeded", &notice.exceeded)] {
            let place = (name, key.clone(), window);
            let times = self.notices.entry(place).or_default();
            *times += told.len() as u64;
            assert!(*times <= 1, "{name} twice in a window");
        }
        *self.counts.entry(asked.booked.as_str()).or_default() += 1;
        if asked.booked == Booked::Refused {
            return;
        }
        let deadline = (!people).then(|| time.plus_seconds(REPORT_WITHIN));
        let over = asked.booked == Booked::Over;
        let (reserved, counts, excess, done, at) = (asked.sum, asked.sum, 0, false, time);
        let made = Made {
            key,
            window,
            at,
            over,
            producer,
            approval,
            reserved,
            counts,
            excess,
            deadline,
            done,
        };
        self.made.insert(index, made);
    }

    /// A decision, mostly one that there is.
    fn some(&mut self) -> u64 {
        let known: Vec<u64> = self.made.keys().rev().take(8).copied().collect();
        match self.random.below(10) {
            0 => self.next + 5,
            n => known.get(n as usize % known.len().max(1)).copied().unwrap_or(0),
        }
    }

    fn report(&mut self) {
        let (index, time) = (self.some(), self.time);
        let cost = match self.random.below(4) {
            0 => None,
            1 => Some((self.random.below(40), "USD".to_owned())),
            _ => Some((self.random.below(40), "EUR".to_owned())),
        };
        let producer = format!("gw-{}", self.random.below(2));
        let report = Report { index, cost: cost.clone() };
        self.with(|account| account.report(&report, &producer, time).unwrap());
        let Some(made) = self.made.get_mut(&index) else { return };
        let in_time = made.deadline.is_some_and(|deadline| time <= deadline);
        if made.done || !in_time || made.producer != producer {
            *self.counts.entry("report without effect").or_default() += 1;
            return;
        }
        made.done = true;
        *self.counts.entry("report").or_default() += 1;
        if let Some((cost, currency)) = cost
            && currency == "EUR"
        {
            made.counts = made.reserved.min(cost);
            made.excess = cost.saturating_sub(made.reserved);
        }
    }

    fn turn(&mut self) {
        let (index, time) = (self.some(), self.time);
        let turn = [Turn::Ends, Turn::Redeemed, Turn::Reported][self.random.below(3) as usize];
        let Some(id) = self.made.get(&index).and_then(|made| made.approval.clone()) else { return };
        self.with(|account| account.turn(&id, turn, time).unwrap());
        let made = self.made.get_mut(&index).unwrap();
        match turn {
            Turn::Redeemed if made.deadline.is_none() && !made.done => {
                made.deadline = Some(time.plus_seconds(REPORT_WITHIN));
                *self.counts.entry("redeemed").or_default() += 1;
            }
            Turn::Redeemed => {}
            Turn::Reported => made.approval = None,
            Turn::Ends => {
                made.approval = None;
                if made.done || made.deadline.is_some_and(|deadline| time > deadline) {
                    return;
                }
                (made.counts, made.done) = (0, true);
                *self.counts.entry("released").or_default() += 1;
            }
        }
    }

    fn check(&self) {
        let (mut open, mut rows) = (BTreeMap::new(), BTreeMap::<_, [u64; 3]>::new());
        for made in self.made.values() {
            let place = (made.key.clone(), made.window);
            let sums = rows.entry(place.clone()).or_default();
            sums[usize::from(made.over)] += made.counts;
            sums[2] += made.excess;
            if !made.done && made.deadline.is_none_or(|deadline| self.time <= deadline) {
                *open.entry(place).or_default() += made.reserved;
            }
        }
        for ((key, (from, to)), sums) in &rows {
            let row = self.row(key).unwrap();
            let is_of = |window: &&Window| window.is(*from, *to);
            let Some(window) = row.windows.iter().find(is_of) else { continue };
            assert_eq!([window.within, window.over, window.excess], *sums, "{key} {from}");
            assert!(window.within <= MAX, "more than the cap");
        }
        // Whichever windows the policy has next, whether a decision was there already or not, and booked or was refused.
        for key in ["bot", "other"] {
            let Some(row) = self.row(key) else { continue };
            let (from, to) = self.window(KINDS[self.next as usize % KINDS.len()]);
            let counted = self.counted(key, (from, to));
            assert_eq!(row.counted((from, to)), counted, "{key} from {from} to {to}: {row:?}");
        }
        let mut found = BTreeMap::<_, u64>::new();
        for index in 0..self.next {
            let key = LOG.key(&reservation_key(index));
            let Some(row) = self.memory.get(Family::Budgets, &key).unwrap() else { continue };
            let reservation: Reservation = store::read_json(&row, "budgets").unwrap();
            for Open { row, window, sum, .. } in reservation.open(self.time) {
                let key = ["bot", "other"]
                    .into_iter()
                    .find(|key| row == row_key("p/b", Some(key), Unit::Cost, Some("EUR")));
                *found.entry((key.unwrap().to_owned(), window)).or_default() += sum;
            }
        }
        let nonzero = |sums: BTreeMap<(String, (Nanos, Nanos)), u64>| -> Vec<_> {
            sums.into_iter().filter(|(_, sum)| *sum > 0).collect()
        };
        assert_eq!(nonzero(found), nonzero(open), "what is open");
    }
}

#[test]
fn p18_sums_are_what_a_naive_count_gives_in_any_order_of_events() {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..64 {
        let mut model = Model::new(seed);
        // Once, a policy changes the windows: of every change each kind.
        let (before, after) = (KINDS[seed as usize % 4], KINDS[seed as usize / 4 % 4]);
        model.windows = before;
        for step in 0..400 {
            if step == 200 {
                model.windows = after;
            }
            let carried = model.carried();
            *model.counts.entry("carried").or_default() += u64::from(carried > 0);
            match model.random.below(12) {
                0..=4 => model.book(),
                5..=7 => model.report(),
                8..=9 => model.turn(),
                _ => {
                    let seconds = [1, 60, 400, 2_000][model.random.below(4) as usize];
                    model.time = model.time.plus_seconds(seconds);
                }
            }
            model.check();
        }
        for (name, count) in &model.counts {
            *all.entry(name).or_default() += count;
        }
        // What no report may change any more does not stay.
        model.time = model.time.plus_seconds(10 * HOUR);
        for _ in 0..200 {
            model.book();
            model.time = model.time.plus_seconds(REPORT_WITHIN);
        }
        let waiting = |made: &&Made| made.approval.is_some();
        let waiting = model.made.values().filter(waiting).count();
        assert!(model.memory.len() <= 2 * waiting + 16, "{} rows are kept", model.memory.len());
    }
    for name in [
        "within",
        "over",
        "refused",
        "report",
        "report without effect",
        "redeemed",
        "released",
        "carried",
    ] {
        assert!(all.get(name).is_some_and(|count| *count > 50), "{name}: {all:?}");
    }
}

mod windows;
