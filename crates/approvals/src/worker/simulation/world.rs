//! What all servers share: one journal that loses, delays and doubles what is appended, its clock, and chance.

use ledger::{
    journal::{Headers, Subject},
    time::Nanos,
};
use std::collections::BTreeMap;

/// Random numbers that follow from a seed (`SplitMix64`).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone)]
pub struct Message {
    pub subject: Subject,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub time: Nanos,
    pub expected: Option<u64>,
}

/// What all servers share: the journal, its clock, and chance.
pub struct World {
    pub random: Random,
    /// The true time, which is the journal's.
    pub time: Nanos,
    /// False once everything is to work again.
    pub faults: bool,
    pub messages: Vec<Message>,
    pub last: BTreeMap<String, u64>,
    /// Appends that the network still holds.
    pub late: Vec<Message>,
    /// How often each fault happened.
    pub counts: BTreeMap<&'static str, u64>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let time = Nanos(1_800_000_000_000_000_000);
        let (messages, late) = (Vec::new(), Vec::new());
        let (last, counts) = (BTreeMap::new(), BTreeMap::new());
        Self { random: Random(seed), time, faults: true, messages, last, late, counts }
    }

    pub fn happens(&mut self, fault: &'static str, n: u64) -> bool {
        let happens = self.faults && self.random.once_in(n);
        *self.counts.entry(fault).or_default() += u64::from(happens);
        happens
    }

    /// Stores a message. `None` if it lost compare-and-swap.
    pub fn store(&mut self, mut message: Message) -> Option<u64> {
        let name = message.subject.to_string();
        let last = self.last.get(&name).copied().unwrap_or(0);
        if message.expected.is_some_and(|expected| expected != last) {
            return None;
        }
        message.time = self.time;
        self.messages.push(message);
        let seq = self.messages.len() as u64;
        self.last.insert(name, seq);
        Some(seq)
    }

    /// Publishes an event of a gateway.
    pub fn publish(&mut self, body: Vec<u8>) {
        let subject = Subject::parse("decisions.gw").expect("a subject");
        let (headers, time) = (Headers::default(), self.time);
        self.store(Message { subject, headers, body, time, expected: None });
    }

    /// One of the late appends arrives, if there is one.
    pub fn deliver_late(&mut self) {
        if !self.late.is_empty() {
            let at = self.random.below(self.late.len() as u64) as usize;
            let message = self.late.swap_remove(at);
            self.store(message);
        }
    }

    pub fn len(&self) -> u64 {
        self.messages.len() as u64
    }
}
