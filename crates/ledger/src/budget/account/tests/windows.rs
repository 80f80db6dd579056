//! Windows: which one it is, what other ones of the same budget count in it, and sums larger than JSON counts.

use super::*;

/// Asks in the window of the `hour`, at `seconds` after its begin.
fn asking(hour: u64, sum: u64, booked: Booked) -> Asking {
    let (from, to) = (at(hour * HOUR), at((hour + 1) * HOUR));
    let (id, key, unit, currency) = ("p/b".to_owned(), None, Unit::Calls, None);
    let asked = vec![Asked { id, key, unit, currency, from, to, sum, max: 10, warn: None, booked }];
    Asking { report_within: REPORT_WITHIN, asked }
}

#[test]
fn p18_a_window_is_that_of_the_journals_time_and_is_found_again_after_a_clock_was_set_back() {
    let mut model = Model::new(1);
    let mut check = |hour: u64, seconds: u64, sum, booked, expected: Option<Misfit>| {
        let asking = asking(hour, sum, booked);
        let time = at(seconds);
        let found = model.with(|account| account.judge(&asking, time).unwrap());
        assert_eq!(found, expected, "hour {hour} at {seconds}");
        if found.is_none() {
            let index = model.next;
            model.next += 1;
            model.with(|account| account.book(&asking, (index, time), ("gw", None)).unwrap());
        }
    };
    check(5, 5 * HOUR, 10, Booked::Within, None);
    check(5, 6 * HOUR - 1, 1, Booked::Refused, None);
    check(5, 6 * HOUR, 1, Booked::Refused, Some(Misfit::Window));
    check(6, 6 * HOUR - 1, 1, Booked::Within, Some(Misfit::Window));
    check(6, 6 * HOUR, 4, Booked::Within, None);
    check(9, 9 * HOUR, 10, Booked::Within, None);
    // Time was set back: what was booked in those hours still counts.
    check(5, 5 * HOUR, 1, Booked::Within, Some(Misfit::Sum));
    check(6, 6 * HOUR, 7, Booked::Within, Some(Misfit::Sum));
    check(6, 6 * HOUR, 6, Booked::Within, None);
    check(10, 10 * HOUR, 1, Booked::Within, None);
    check(11, 11 * HOUR, 1, Booked::Within, None);
    // Nobody knows any more what was booked before the five windows that are kept.
    check(4, 4 * HOUR, 1, Booked::Within, Some(Misfit::Window));
    check(7, 7 * HOUR, 1, Booked::Within, None);
    check(5, 5 * HOUR, 1, Booked::Within, Some(Misfit::Window));
}

/// In seconds of a day: a policy had the window `first`, in which a call was booked at `booked`. Then it has `then`, and
/// at `now` a call asks for 5 of 10. What was booked, so that it just fits.
fn check(first: (u64, u64), booked: u64, then: (u64, u64), now: u64, counts: bool) {
    for (sum, fits) in [(5, true), (6, !counts)] {
        let mut model = Model::new(1);
        let asking = |(from, to): (u64, u64), sum, booked| {
            let mut asking = asking(0, sum, booked);
            (asking.asked[0].from, asking.asked[0].to) = (at(from), at(to));
            asking
        };
        let one = asking(first, sum, Booked::Within);
        model.with(|account| account.book(&one, (1, at(booked)), ("gw", None)).unwrap());
        for (as_what, expected) in [(Booked::Within, fits), (Booked::Refused, !fits)] {
            let two = asking(then, 5, as_what);
            let found = model.with(|account| account.judge(&two, at(now)).unwrap());
            assert_eq!(found, (!expected).then_some(Misfit::Sum), "{sum} before, {as_what:?}");
        }
    }
}

#[test]
fn p18_a_policy_that_changes_the_windows_frees_nothing_and_stops_nothing_for_long() {
    let day = (0, 24 * HOUR);
    let hour = |n: u64| (n * HOUR, (n + 1) * HOUR);
    // From days to hours: what was booked in this hour counts in it, with all of its day, and in no later hour.
    check(day, 9 * HOUR + 60, hour(9), 9 * HOUR + 120, true);
    check(day, 9 * HOUR + 60, hour(10), 10 * HOUR + 120, false);
    // From hours to days: it counts all day.
    check(hour(9), 9 * HOUR + 60, day, 20 * HOUR, true);
    // Another zone: it counts in the day that began an hour before.
    check(day, 30 * 60, (23 * HOUR, 47 * HOUR), 23 * HOUR + 60, false);
    check(day, 23 * HOUR + 30, (23 * HOUR, 47 * HOUR), 23 * HOUR + 60, true);
    // And windows of one kind have nothing to do with each other.
    check(hour(9), 9 * HOUR + 60, hour(10), 10 * HOUR + 60, false);
}

#[test]
fn p18_a_long_window_is_not_dropped_for_short_ones() {
    let mut model = Model::new(1);
    let mut book = |(from, to): (u64, u64), sum, booked, time, expected| {
        let mut asking = asking(0, sum, booked);
        (asking.asked[0].from, asking.asked[0].to) = (at(from * HOUR), at(to * HOUR));
        let found = model.with(|account| account.judge(&asking, at(time)).unwrap());
        assert_eq!(found, expected, "{from} to {to} at {time}");
        if found.is_none() {
            let index = model.next;
            model.next += 1;
            model.with(|account| account.book(&asking, (index, at(time)), ("gw", None)).unwrap());
        }
    };
    book((0, 24), 6, Booked::Within, HOUR, None);
    for hour in 2..12 {
        book((hour, hour + 1), 1, Booked::Within, hour * HOUR, None);
    }
    // The day again: its own 6, and 4 of the hours that are still known.
    book((0, 24), 1, Booked::Within, 12 * HOUR, Some(Misfit::Sum));
    book((0, 24), 0, Booked::Within, 12 * HOUR, None);
}

#[test]
fn p18_what_was_refused_is_refused_again_where_the_windows_changed() {
    let mut model = Model::new(1);
    let mut book = |(from, to): (u64, u64), sum, booked, expected| {
        let mut asking = asking(0, sum, booked);
        (asking.asked[0].from, asking.asked[0].to) = (at(from * HOUR), at(to * HOUR));
        asking.asked[0].max = 100;
        let now = at(if to - from == 1 { from } else { 3 } * HOUR);
        let found = model.with(|account| account.judge(&asking, now).unwrap());
        assert_eq!(found, expected, "{sum} in {from} to {to}");
        if found.is_none() {
            let index = model.next;
            model.next += 1;
            model.with(|account| account.book(&asking, (index, now), ("gw", None)).unwrap());
        }
    };
    // An attacker's input: four hours, and then a policy that caps the day.
    for (hour, sum) in [60, 20, 10, 5].into_iter().enumerate() {
        book((hour as u64, hour as u64 + 1), sum, Booked::Within, None);
    }
    for _ in 0..3 {
        book((0, 24), 10, Booked::Within, Some(Misfit::Sum));
        book((0, 24), 10, Booked::Refused, None);
    }
    book((0, 24), 5, Booked::Within, None);
    book((0, 24), 1, Booked::Within, Some(Misfit::Sum));
    // Back to hours: refusals in other windows pushed nothing out of what was spent in this one.
    for to in 30..40 {
        book((0, to), 61, Booked::Refused, None);
    }
    book((3, 4), 91, Booked::Within, Some(Misfit::Sum));
    book((3, 4), 90, Booked::Within, None);
}

#[test]
fn p18_sums_of_different_units_are_never_added() {
    let mut model = Model::new(1);
    let mut book = |unit, (sum, max): (u64, u64), booked, expected| {
        let mut asking = asking(5, sum, booked);
        asking.asked[0].max = max;
        (asking.asked[0].unit, asking.asked[0].currency) = (unit, Some("USD".into()));
        let time = at(5 * HOUR);
        let found = model.with(|account| account.judge(&asking, time).unwrap());
        assert_eq!(found, expected, "{sum} {unit:?} of {max}");
        if found.is_none() {
            let index = model.next;
            model.next += 1;
            model.with(|account| account.book(&asking, (index, time), ("gw", None)).unwrap());
        }
    };
    // USD 900.00 of 1,000.00; then the same budget sums up millionths: a sum of its own, which is spent to the last one.
    book(Unit::Minor, (90_000, 100_000), Booked::Within, None);
    book(Unit::Cost, (1_000_000_000, 1_000_000_000), Booked::Within, None);
    book(Unit::Cost, (1, 1_000_000_000), Booked::Within, Some(Misfit::Sum));
    // And back: what was booked in minor units is there, and nothing else.
    book(Unit::Minor, (10_001, 100_000), Booked::Within, Some(Misfit::Sum));
    book(Unit::Minor, (10_000, 100_000), Booked::Within, None);
    for (unit, sum) in [(Unit::Minor, 100_000), (Unit::Cost, 1_000_000_000)] {
        let row = LOG.key(&row_key("p/b", None, unit, Some("USD")));
        let row = model.memory.get(Family::Budgets, &row).unwrap().unwrap();
        let row: Row = store::read_json(&row, "budgets").unwrap();
        assert_eq!((row.unit, row.windows[0].within), (unit, sum));
    }
}

#[test]
fn p18_more_over_the_cap_than_json_counts_is_released_exactly() {
    let mut model = Model::new(1);
    let most = (1 << 53) - 1;
    let ids = ["apr-1", "apr-2"].map(|id| Ident::new(id).unwrap());
    for (index, id) in (1..).zip(&ids) {
        let over = asking(5, most, Booked::Over);
        let who = ("gw", Some(id));
        model.with(|account| account.book(&over, (index, at(5 * HOUR)), who).unwrap());
    }
    model.with(|account| account.turn(&ids[0], Turn::Ends, at(5 * HOUR)).unwrap());
    let row = LOG.key(&row_key("p/b", None, Unit::Calls, None));
    let row = model.memory.get(Family::Budgets, &row).unwrap().unwrap();
    let row: Row = store::read_json(&row, "budgets").unwrap();
    assert_eq!(row.windows[0].over, most);
}
