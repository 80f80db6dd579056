//! All agents, all tools or all producers that are watched.

use super::{clock::Interval, finding::Finding, settings::Settings, subject::Subject};
use ledger::{
    system::alert::{About, Sort},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds without a call after which a subject gives its place to a new one: nobody drives out what is active by
/// calling with made-up names.
const PLACE_SECONDS: u64 = 86_400;

/// Everything of one sort.
#[derive(Serialize, Deserialize)]
pub struct Subjects {
    sort: Sort,
    max: usize,
    all: BTreeMap<String, Subject>,
}

impl Subjects {
    /// None yet.
    pub fn new(sort: Sort, max: usize) -> Self {
        Self { sort, max, all: BTreeMap::new() }
    }

    /// The one of this id, which is new if it is not known. `None` if there is no place for it: it is not watched.
    pub fn of(&mut self, id: &str, time: Nanos) -> Option<&mut Subject> {
        if !self.all.contains_key(id) {
            if self.all.len() >= self.max {
                let oldest = self.all.iter().min_by_key(|(_, subject)| subject.last)?;
                if oldest.1.last.plus_seconds(PLACE_SECONDS) > time {
                    return None;
                }
                let oldest = oldest.0.clone();
                self.all.remove(&oldest);
            }
            self.all.insert(id.to_owned(), Subject::new(time));
        }
        self.all.get_mut(id)
    }

    /// Ends an interval.
    pub fn interval(&mut self, at: &Interval, settings: &Settings, found: &mut Vec<Finding>) {
        let is_producer = self.sort == Sort::Producer;
        for (id, subject) in &mut self.all {
            let about = About { what: self.sort, id: id.clone(), producer: None };
            found.extend(subject.interval((&about, is_producer), at, settings));
        }
    }

    /// Nobody was there for a while.
    pub fn pause(&mut self) {
        self.all.values_mut().for_each(Subject::pause);
    }

    /// Ends a day.
    pub fn day(&mut self, class: usize) {
        for subject in self.all.values_mut() {
            subject.day(class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_drive_nobody_out() {
        let mut all = Subjects::new(Sort::Agent, 2);
        let at = |seconds| Nanos::default().plus_seconds(seconds);
        for (id, time) in [("a", 0), ("b", 10)] {
            all.of(id, at(time)).unwrap().last = at(time);
        }
        assert!(all.of("c", at(20)).is_none(), "no place");
        assert!(all.of("a", at(21)).is_some());
        assert!(all.of("c", at(PLACE_SECONDS + 1)).is_some(), "a was not seen for a day");
        assert!(all.all.contains_key("b") && !all.all.contains_key("a"));
    }
}
