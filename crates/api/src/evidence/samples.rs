//! Draws samples by a public function, so that an auditor draws the same ones with any program
//! (`proto/formats/evidence.md`).

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Prefix of what is hashed. Another version of the function gives other samples.
const DOMAIN: &str = "countersign-samples-v1";

/// What decides every draw: SHA-256 of the domain, the checkpoint and the auditor's text, each ended by U+000A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// `checkpoint`: the three lines that are signed, each ended by U+000A. `text`: the auditor's, empty without one.
    pub fn new(checkpoint: &str, text: &str) -> Self {
        Self(Sha256::digest(format!("{DOMAIN}\n{checkpoint}{text}\n")).into())
    }

    /// In hex.
    pub fn text(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// The rank of a leaf in the draw of one control: SHA-256 of seed, control's name and leaf index in decimal, these two
    /// each ended by U+000A. The lowest ranks are drawn.
    fn rank(&self, control: &str, index: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(format!("{control}\n{index}\n"));
        hash.finalize().into()
    }
}

/// The draw of one control. Keeps the lowest ranks only.
#[derive(Clone, Debug)]
pub struct Draw {
    control: &'static str,
    seed: Seed,
    count: usize,
    /// Number of entries to draw from.
    pub population: u64,
    lowest: BTreeSet<([u8; 32], u64)>,
}

impl Draw {
    /// To draw `count` entries.
    pub fn new(control: &'static str, seed: Seed, count: usize) -> Self {
        Self { control, seed, count, population: 0, lowest: BTreeSet::new() }
    }

    /// Name of the control.
    pub fn control(&self) -> &'static str {
        self.control
    }

    /// Adds an entry to the population.
    pub fn take(&mut self, index: u64) {
        self.population += 1;
        self.lowest.insert((self.seed.rank(self.control, index), index));
        if self.lowest.len() > self.count {
            self.lowest.pop_last();
        }
    }

    /// Leaf indexes of the drawn entries, in the order of the draw.
    pub fn drawn(&self) -> impl Iterator<Item = u64> {
        self.lowest.iter().map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, count: usize, population: u64, expected: usize) -> Vec<u64> {
        let mut draw = Draw::new("denied", Seed::new("log.example\n5\nroot\n", text), count);
        (0..population).for_each(|index| draw.take(index));
        let drawn: Vec<_> = draw.drawn().collect();
        assert_eq!((drawn.len(), draw.population), (expected, population), "{text}");
        drawn
    }

    #[test]
    fn p20_a_draw_is_a_function_of_its_seed() {
        assert_eq!(check("a", 25, 1_000, 25), check("a", 25, 1_000, 25));
        assert_ne!(check("a", 25, 1_000, 25), check("b", 25, 1_000, 25));
        check("a", 25, 7, 7);
        check("a", 25, 0, 0);
        check("a", 0, 9, 0);
    }

    #[test]
    fn p20_the_vectors_are_drawn() {
        let vectors = include_str!("../../../../proto/vectors/samples.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let draws = vectors["draws"].as_array().unwrap();
        for vector in draws {
            let text = |name: &str| vector[name].as_str().unwrap();
            let number = |name: &str| vector[name].as_u64().unwrap();
            let seed = Seed::new(text("checkpoint"), text("text"));
            assert_eq!(seed.text(), text("seed"));
            let control: &str = text("control").to_owned().leak();
            let mut draw = Draw::new(control, seed, usize::try_from(number("count")).unwrap());
            (0..number("population")).for_each(|index| draw.take(index));
            assert_eq!(serde_json::json!(draw.drawn().collect::<Vec<_>>()), vector["drawn"]);
        }
        assert!(draws.len() > 3);
    }

    /// Each of 40 entries is drawn about as often as every other one: 10,000 draws of 4, each entry 1,000 times on average
    /// with a standard deviation of 30.
    #[test]
    fn p20_no_entry_is_preferred() {
        let mut hits = [0_u32; 40];
        for n in 0..10_000 {
            for index in check(&n.to_string(), 4, 40, 4) {
                hits[usize::try_from(index).unwrap()] += 1;
            }
        }
        assert!(hits.iter().all(|hits| (850..1_150).contains(hits)), "{hits:?}");
    }
}
