//! The saved state of a watch: what follows from the entries so far, so that a start does not read all of them again.

use super::{Settings, State, Watch};
use serde::{Deserialize, Serialize};

/// Version of the saved form, and of what follows from entries. Whoever changes either gives it another number: then the
/// log is read again.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    v: u32,
    settings: Settings,
    state: State,
}

#[derive(Serialize)]
struct Saving<'w> {
    v: u32,
    settings: &'w Settings,
    state: &'w State,
}

impl Watch {
    /// The state, to be restored by the same version and with the same settings.
    pub fn save(&self) -> Vec<u8> {
        let saving = Saving { v: VERSION, settings: &judging(&self.settings), state: &self.state };
        serde_json::to_vec(&saving).unwrap_or_default()
    }

    /// The watch that was saved. `None` if another version saved it, or with settings by which it would be another one.
    pub fn restore(settings: Settings, saved: &[u8]) -> Option<Self> {
        let saved: Saved = serde_json::from_slice(saved).ok()?;
        let same = saved.v == VERSION && saved.settings == judging(&settings);
        same.then_some(Self { settings, state: saved.state })
    }
}

/// The settings on which the state rests.
fn judging(settings: &Settings) -> Settings {
    Settings { channels: Vec::new(), ..settings.clone() }
}

/// A map whose keys are no texts, as a list of pairs.
pub(super) mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Vec::<(K, V)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}
