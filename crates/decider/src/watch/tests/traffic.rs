//! Made traffic: days of calls with a daily rhythm, weekends and noise, from a seed.

use ledger::{canonical, time::Nanos};
use serde_json::{Value, json};

/// Random numbers: `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn share(&mut self) -> f64 {
        f64::from((self.next() >> 32) as u32) / 4_294_967_296.0
    }

    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + self.share() * (to - from)
    }

    pub fn whole(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// About normal.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

/// What happens at a second of a day.
pub struct Happening {
    pub at: u64,
    pub kind: &'static str,
    pub producer: Value,
    pub event: Value,
}

impl Happening {
    /// The bytes of its entry.
    pub fn entry(&self, begin: Nanos, seq: u64) -> Vec<u8> {
        let time = begin.plus_seconds(self.at);
        canonical::of(&json!({
            "commit": "c", "event": self.event, "kind": self.kind, "payload": [], "prior": {},
            "journal": {"epoch": 1, "seq": seq, "time": time}, "producer": self.producer,
            "tenant": "acme", "v": 1,
        }))
    }
}

/// An agent of the made company.
pub struct Agent {
    pub id: String,
    pub producer: &'static str,
    pub tools: Vec<&'static str>,
    pub chains: Vec<Vec<String>>,
    /// Calls an hour at its peak.
    pub rate: f64,
    /// True if it works by day alone.
    pub by_day: bool,
    /// Its shift of the day, in hours.
    pub shift: f64,
    pub amount: f64,
    pub spread: f64,
    pub denied: f64,
    pub asks: f64,
}

const TOOLS: [&str; 5] = ["payments", "mail", "crm", "http", "llm"];
pub const PRODUCERS: [&str; 3] = ["gw-eu-1", "gw-eu-2", "gw-us-1"];

pub fn company(random: &mut Random) -> Vec<Agent> {
    let agent = |n: usize, random: &mut Random| {
        let id = format!("agent-{n:02}");
        let first = TOOLS[n % 5];
        let second = TOOLS[random.whole(5) as usize];
        Agent {
            producer: PRODUCERS[n % 3],
            tools: if n.is_multiple_of(2) { vec![first] } else { vec![first, second] },
            chains: vec![vec![id.clone()], vec!["helpdesk-bot".into(), id.clone()]],
            rate: random.between(6.0, 24.0),
            by_day: n < 7,
            shift: random.between(-1.0, 1.0),
            amount: random.between(0.5, 50.0),
            spread: random.between(0.2, 0.6),
            denied: random.between(0.005, 0.05),
            asks: random.between(0.0, 0.05),
            id,
        }
    };
    (0..12).map(|n| agent(n, random)).collect()
}

/// The share of its peak rate at an hour.
fn rhythm(agent: &Agent, hour: f64, weekend: bool) -> f64 {
    let hour = (hour - agent.shift + 24.0) % 24.0;
    if agent.by_day {
        let day = if (7.0..19.0).contains(&hour) { 1.0 - (hour - 13.0).abs() / 8.0 } else { 0.0 };
        return if weekend { day * 0.3 } else { day };
    }
    0.35 + 0.65 * (1.0 - (hour - 14.0).abs() / 14.0).max(0.0)
}

/// A day of ordinary calls. `drift`: what amounts are multiplied by, by agent and time.
pub fn day(
    random: &mut Random,
    company: &[Agent],
    weekend: bool,
    drift: &dyn Fn(&Agent, u64) -> f64,
) -> Vec<Happening> {
    let mut all = Vec::new();
    let whole = 1.0 + 0.08 * random.normal();
    for agent in company {
        let good = (whole * (1.0 + 0.08 * random.normal())).clamp(0.6, 1.5);
        for minute in 0..1440_u32 {
            let hour = f64::from(minute) / 60.0;
            let mut expected = agent.rate * good * rhythm(agent, hour, weekend) / 60.0;
            // A few calls come as bursts.
            if random.share() < 0.002 {
                expected *= 5.0;
            }
            let mut left = random.share();
            while left < expected {
                let at = u64::from(minute) * 60 + random.whole(60);
                call(random, agent, at, drift(agent, at), &mut all);
                left += 1.0;
            }
        }
    }
    for _ in 0..2 {
        short_gap(random, &mut all);
    }
    if random.share() < 0.3 {
        let at = 3600 + random.whole(70_000);
        all.push(sink("stands_still", at));
        all.push(sink("delivers", at + 240));
    }
    all
}

fn call(random: &mut Random, agent: &Agent, at: u64, times: f64, all: &mut Vec<Happening>) {
    let tool = agent.tools[random.whole(agent.tools.len() as u64) as usize];
    let chain = usize::from(random.share() < 0.2);
    let amount = agent.amount * times * power(agent.spread * random.normal());
    let what = random.share();
    // Late in the day nobody is asked, so that the day ends with its answers.
    let verdict = if at > 84_600 {
        "allow"
    } else if what < agent.denied {
        "deny"
    } else if what < agent.denied + agent.asks {
        "approval_needed"
    } else {
        "allow"
    };
    all.push(judged(agent, (at, tool, verdict), &agent.chains[chain], amount));
    if verdict == "approval_needed" {
        let id = format!("apr-{:016x}", random.next());
        let granted = at + 120 + random.whole(1400);
        all.push(approval(&id, at, agent.producer, &requested(agent, tool)));
        let granted_event = json!({"type": "granted", "by": ["p-carla"]});
        all.push(approval(&id, granted, agent.producer, &granted_event));
        if random.share() < 0.03 {
            all.push(refused(&id, agent, granted + 20));
        }
    }
}

pub fn judged(
    agent: &Agent,
    (at, tool, verdict): (u64, &str, &str),
    chain: &[String],
    amount: f64,
) -> Happening {
    let data = json!({
        "agent": {"id": agent.id, "chain": chain},
        "tool": {"name": tool, "action": "call"}, "verdict": verdict, "mode": "enforce",
        "cost": {"amount": format!("{amount:.4}"), "currency": "EUR"},
    });
    let event = json!({"data": data, "source": "/gw", "id": format!("{at}")});
    Happening { at, kind: "decision", producer: json!(agent.producer), event }
}

pub fn requested(agent: &Agent, tool: &str) -> Value {
    json!({"type": "requested", "call": {"agent": agent.id, "tool": tool, "action": "call"}})
}

pub fn approval(id: &str, at: u64, producer: &str, event: &Value) -> Happening {
    let event = json!({"approval_id": id, "events": [event]});
    Happening { at, kind: "approval", producer: json!(producer), event }
}

pub fn refused(id: &str, agent: &Agent, at: u64) -> Happening {
    let event = json!({"type": "redeem_rejected", "enforcer": agent.producer, "jti": "j", "why": "expired"});
    approval(id, at, agent.producer, &event)
}

pub fn gap(opens: bool, at: u64, source: &str) -> Happening {
    let event = if opens {
        json!({"from": 7, "to": 7, "source": source})
    } else {
        json!({"sequence": 7, "source": source})
    };
    let kind = if opens { "gap_opened" } else { "gap_closed" };
    Happening { at, kind, producer: json!("gw-eu-1"), event }
}

fn short_gap(random: &mut Random, all: &mut Vec<Happening>) {
    let at = random.whole(86_000);
    all.push(gap(true, at, "/gw-short"));
    all.push(gap(false, at + 100 + random.whole(200), "/gw-short"));
}

pub fn sink(state: &str, at: u64) -> Happening {
    let event = json!({
        "v": 1, "sink": "siem", "state": state, "kind": "http", "format": "native", "filter": {},
        "payload": [], "level": "accepted", "from": 0, "to": 0, "count": 0, "refused": [],
        "by": {"server": "delivery"},
    });
    Happening { at, kind: "delivery", producer: Value::Null, event }
}

/// e to the power of `x`.
fn power(x: f64) -> f64 {
    x.exp()
}
