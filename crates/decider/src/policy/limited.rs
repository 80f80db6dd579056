//! What budgets and rates make of a call that the clauses permit (P18). Pure: what is booked already, and whether a rate
//! has a call left, are facts.

use super::{
    bundle::Bundle,
    facts::Facts,
    history::Past,
    limit::{Budget, Limit, Rate},
    request::Request,
    windows::Span,
};
use ledger::{
    budget::{ASKED_MAX, Asked, Booked},
    event::Verdict,
};

/// Code of a verdict because a budget has too little left.
pub const BUDGET_EXCEEDED: &str = "budget_exceeded";
/// Code of a denial because calls come too fast.
pub const RATE_LIMITED: &str = "rate_limited";

/// Where a decider reads what is booked, and takes calls of rates.
pub trait Stock: Past {
    /// What counts against the cap before this call. `asked.booked` and `asked.max` say nothing yet.
    fn counted(&mut self, asked: &Asked) -> Result<u64, Self::Error>;

    /// Takes a call of a rate. False if none is left.
    fn take(&mut self, rate: &RateOf<'_>) -> bool;
}

/// A rate, for the key of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOf<'b> {
    /// `<policy>/<rate>`
    pub name: &'b str,
    /// Whose calls are counted together.
    pub key: Option<&'b str>,
    /// How many may come at once.
    pub burst: u32,
    /// How many may come in each second.
    pub per_second: u32,
}

/// What budgets and rates say of a permitted call.
#[derive(Clone, Debug, PartialEq)]
pub struct Limited<'b> {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, and by which budget or rate. `None`: all have enough left.
    pub reason: Option<Why<'b>>,
    /// What is asked of budgets.
    pub asked: Vec<Asked>,
}

/// Why a budget or a rate decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Why<'b> {
    /// A stable code.
    pub code: &'static str,
    /// `<policy>/<id>`
    pub name: &'b str,
    /// Its words for the agent.
    pub message: Option<&'b str>,
    /// For an error: where, and what is wrong there.
    pub error: Option<(String, &'static str)>,
}

impl<'b> Why<'b> {
    fn of(limit: &'b Limit, code: &'static str, error: Option<(String, &'static str)>) -> Self {
        let message = limit.message.as_deref().filter(|_| error.is_none());
        Self { code, name: &limit.name, message, error }
    }
}

fn permits(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Allow | Verdict::Sanitize | Verdict::ApprovalNeeded)
}

impl Bundle {
    /// True if it has budgets or rates.
    pub fn has_limits(&self) -> bool {
        !self.budgets.is_empty() || !self.rates.is_empty()
    }

    /// The names of budgets, and of rates.
    pub(super) fn limit_names(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
        let budgets = self.budgets.iter().map(|budget| budget.limit.name.as_str());
        (budgets, self.rates.iter().map(|rate| rate.limit.name.as_str()))
    }

    /// The budgets for a call, in the order of their names.
    fn budgets_of<'b>(&'b self, request: &Request<'_>) -> Vec<&'b Budget> {
        let standing = self.agents.standing(&request.agent);
        self.budgets.iter().filter(|budget| budget.limit.is_for(&standing, request)).collect()
    }

    fn rates_of<'b>(&'b self, request: &Request<'_>) -> Vec<&'b Rate> {
        let standing = self.agents.standing(&request.agent);
        self.rates.iter().filter(|rate| rate.limit.is_for(&standing, request)).collect()
    }

    /// What budgets and rates make of a call that has this verdict by the clauses in force. `None` if it is denied anyway,
    /// or none is for it.
    pub fn limited<'b>(
        &'b self,
        verdict: Verdict,
        request: &Request<'_>,
        facts: &Facts,
    ) -> Option<Limited<'b>> {
        if !self.has_limits() || !permits(verdict) {
            return None;
        }
        let (budgets, rates) = (self.budgets_of(request), self.rates_of(request));
        if budgets.is_empty() && rates.is_empty() {
            return None;
        }
        let deny = |why| Limited { verdict: Verdict::Deny, reason: Some(why), asked: Vec::new() };
        let error = |limit, error| deny(Why::of(limit, "condition_error", Some(error)));
        if let Some(beyond) = budgets.get(ASKED_MAX) {
            let at = ("budgets".to_owned(), "more than 4 budgets are for the call");
            return Some(error(&beyond.limit, at));
        }
        let mut asked = Vec::new();
        for budget in &budgets {
            let unknown = || ("budgets".to_owned(), "what is booked is not known");
            let one = asked_of(budget, request, facts).and_then(|one| {
                facts.booked.get(&budget.limit.name).ok_or_else(unknown).map(|b| (one, *b))
            });
            match one {
                Err(at) => return Some(error(&budget.limit, at)),
                Ok((mut one, booked)) => {
                    let fits = booked.checked_add(one.sum).is_some_and(|sum| sum <= one.max);
                    one.booked = match (fits, budget.limit.asks_people) {
                        (true, _) => Booked::Within,
                        (false, true) => Booked::Over,
                        (false, false) => Booked::Refused,
                    };
                    asked.push(one);
                }
            }
        }
        let limit_of = |booked| {
            let at = asked.iter().position(|one: &Asked| one.booked == booked);
            at.map(|at| &budgets[at].limit)
        };
        if let Some(limit) = limit_of(Booked::Refused) {
            let reason = Some(Why::of(limit, BUDGET_EXCEEDED, None));
            asked.retain(|one| one.booked == Booked::Refused);
            return Some(Limited { verdict: Verdict::Deny, reason, asked });
        }
        for rate in &rates {
            let limit = &rate.limit;
            let left = match limit.key(request) {
                Err(why) => return Some(error(limit, (limit.per.as_str().to_owned(), why))),
                Ok(_) => facts.rates.get(&limit.name).copied(),
            };
            match left {
                Some(true) => {}
                Some(false) => return Some(deny(Why::of(limit, RATE_LIMITED, None))),
                None => {
                    let at = ("rates".to_owned(), "whether a call is left is not known");
                    return Some(error(limit, at));
                }
            }
        }
        let over = limit_of(Booked::Over).map(|limit| Why::of(limit, BUDGET_EXCEEDED, None));
        let verdict = if over.is_some() { Verdict::ApprovalNeeded } else { verdict };
        Some(Limited { verdict, reason: over, asked })
    }

    /// Adds to the facts what the verdict on a call depends on of earlier decisions, budgets and rates. A call that the clauses deny, or that
    /// does not fit into a budget, takes nothing of a rate.
    pub fn stock_up<S: Stock>(
        &self,
        request: &Request<'_>,
        facts: &mut Facts,
        stock: &mut S,
    ) -> Result<(), S::Error> {
        self.count_earlier(request, facts, stock)?;
        if !self.has_limits() || self.only_observes(&request.agent, facts.now) {
            return Ok(());
        }
        let judged = self.judge(request, facts);
        if !permits(judged.verdict) {
            return Ok(());
        }
        for budget in self.budgets_of(request).into_iter().take(ASKED_MAX) {
            let Ok(asked) = asked_of(budget, request, facts) else { return Ok(()) };
            let booked = stock.counted(&asked)?;
            facts.booked.insert(budget.limit.name.clone(), booked);
        }
        let rates = self.rates_of(request);
        if rates.is_empty() {
            return Ok(());
        }
        // Rates count as free here: what denies the call now denies it whatever they say.
        for rate in &rates {
            facts.rates.insert(rate.limit.name.clone(), true);
        }
        let limited = self.limited(judged.verdict, request, facts);
        let denied = limited.is_some_and(|limited| limited.verdict == Verdict::Deny);
        facts.rates.clear();
        for rate in rates {
            let Rate { limit, burst, per_second } = rate;
            let Ok(key) = limit.key(request) else { return Ok(()) };
            let (burst, per_second) = (*burst, *per_second);
            let of = RateOf { name: &limit.name, key: key.as_deref(), burst, per_second };
            let left = !denied && stock.take(&of);
            if denied {
                return Ok(());
            }
            facts.rates.insert(limit.name.clone(), left);
            if !left {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What a call asks of a budget: `booked` says nothing yet.
fn asked_of(
    budget: &Budget,
    request: &Request<'_>,
    facts: &Facts,
) -> Result<Asked, (String, &'static str)> {
    let (sum, currency) = budget.sum_of(request)?;
    let limit = &budget.limit;
    let key = limit.key(request).map_err(|why| (limit.per.as_str().to_owned(), why))?;
    let window = facts.windows.get(&budget.windows.name());
    let Span { from, to } =
        *window.ok_or_else(|| ("window".to_owned(), "its window is not known"))?;
    let max = budget.max.get(&currency).copied().unwrap_or(0);
    let (id, unit, warn) = (limit.name.clone(), budget.unit(), budget.warn(max));
    Ok(Asked { id, key, unit, currency, from, to, sum, max, warn, booked: Booked::Within })
}

#[cfg(test)]
mod tests;
