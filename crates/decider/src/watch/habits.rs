//! The habits of an agent: at which hours it calls, and through which chains.

use super::{clock::hour_of, finding::Finding, seen::Call, settings::Settings};
use ledger::{
    system::alert::{About, AlertRule, SHOWN_MAX, Sort},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Fewest calls of an agent that must be known.
const CALLS_MIN: u64 = 50;
/// Most chains of an agent that are known. One with more is not judged by its chains.
const CHAINS_MAX: usize = 64;

/// The habits of an agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Habits {
    calls: u64,
    /// Hours of day at which it called: on days before, and today.
    hours: u32,
    today: u32,
    /// Calls at an hour never seen: the hour, and entries.
    odd: (u64, Vec<u64>),
    /// First bytes of the digests of chains.
    chains: BTreeSet<u64>,
    /// When a chain was learned without an alert. An agent whose chains keep changing is not judged by them.
    learned: Nanos,
    quiet_until: Nanos,
}

impl Habits {
    /// Takes a call. `age`: seconds for which the agent is known.
    pub fn call(
        &mut self,
        (index, time): (u64, Nanos),
        call: &Call,
        (age, settings): (u64, &Settings),
    ) -> Vec<Finding> {
        self.calls += 1;
        let learn = settings.learn_seconds();
        let known = age >= learn && self.calls > CALLS_MIN;
        let hour = self.hour((index, time), &call.agent, (known, settings));
        let steady = self.learned.plus_seconds(learn) <= time;
        let chain = self.chain((index, time), call, known && steady);
        hour.into_iter().chain(chain).collect()
    }

    fn hour(
        &mut self,
        (index, time): (u64, Nanos),
        agent: &str,
        (known, settings): (bool, &Settings),
    ) -> Option<Finding> {
        let hour = hour_of(time);
        self.today |= 1 << hour;
        let around = (1 << hour) | (1 << ((hour + 23) % 24)) | (1 << ((hour + 1) % 24));
        if !known || self.hours & around != 0 {
            return None;
        }
        let this = time.seconds() / 3600;
        if self.odd.0 != this {
            self.odd = (this, Vec::new());
        }
        self.odd.1.push(index);
        let count = self.odd.1.len();
        self.odd
            .1
            .drain(..count.saturating_sub(settings.new_hour_calls.max(SHOWN_MAX as u32) as usize));
        if count < settings.new_hour_calls as usize || time < self.quiet_until {
            return None;
        }
        self.quiet_until = settings.again(time);
        let since = Nanos::default().plus_seconds(this * 3600);
        let values = vec![("hour_utc", hour.to_string()), ("calls", count.to_string())];
        Some(Finding::new((AlertRule::NewHour, about(agent)), since, values, self.odd.1.clone()))
    }

    fn chain(&mut self, (index, time): (u64, Nanos), call: &Call, judged: bool) -> Option<Finding> {
        let chain = call.chain.as_ref()?;
        if self.chains.len() >= CHAINS_MAX || !self.chains.insert(short(chain)) {
            return None;
        }
        if !judged {
            self.learned = time;
            return None;
        }
        let values = vec![("chain", chain.clone()), ("tool", call.tool.clone())];
        Some(Finding::new((AlertRule::NewChain, about(&call.agent)), time, values, vec![index]))
    }

    /// Ends a day.
    pub fn day(&mut self) {
        self.hours |= std::mem::take(&mut self.today);
    }
}

fn about(agent: &str) -> About {
    About { what: Sort::Agent, id: agent.to_owned(), producer: None }
}

fn short(chain: &str) -> u64 {
    let digest = Sha256::digest(chain);
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
