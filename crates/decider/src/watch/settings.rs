//! The settings of a watch: the file `watch.toml`, with its defaults.

use ledger::{system::alert::AlertRule, time::Nanos};
use serde::{Deserialize, Serialize};

/// Most channels that are told of alerts.
pub const TOLD_CHANNELS_MAX: usize = 8;

/// When the watch of a log raises an alert. The defaults are meant to be quiet on ordinary data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names of channels in `rules.toml` that are told of alerts: at most 8.
    pub channels: Vec<String>,
    /// Rules that are not watched.
    pub off: Vec<AlertRule>,
    /// Days for which an agent, a tool or a producer must be known before it is judged: 1 to 90.
    pub learn_days: u32,
    /// Hours for which the same alert about the same thing is not raised again: 1 to 720.
    pub again_hours: u32,
    /// How many standard deviations of its smoothed value (EWMA) a rate may be above what is usual: 3 to 50.
    pub ewma_limit: f64,
    /// How much evidence (CUSUM of log likelihood ratios) a rate may gather: 5 to 1000.
    pub cusum_limit: f64,
    /// How far rates may grow in percent before growth counts at all: 0 to 1000.
    pub slack_percent: u32,
    /// How much evidence the amounts of an agent's calls may gather: 5 to 1000.
    pub amounts_limit: f64,
    /// How many calls a silent producer would usually have sent: 5 to 1000.
    pub silence_calls: f64,
    /// Minutes for which an approval may wait for people: 1 to 100000.
    pub stuck_minutes: u32,
    /// Minutes for which numbers of a source may be missing: 1 to 100000.
    pub gap_minutes: u32,
    /// Minutes for which a sink may stand still, after its entry says so: 0 to 100000.
    pub sink_minutes: u32,
    /// Minutes for which a declared source may be silent, beyond its own time: 0 to 100000.
    pub source_minutes: u32,
    /// Calls within one hour that was never seen of an agent: 1 to 1000.
    pub new_hour_calls: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            off: Vec::new(),
            learn_days: 7,
            again_hours: 24,
            ewma_limit: 5.5,
            cusum_limit: 16.0,
            slack_percent: 30,
            amounts_limit: 20.0,
            silence_calls: 25.0,
            stuck_minutes: 60,
            gap_minutes: 15,
            sink_minutes: 10,
            source_minutes: 10,
            new_hour_calls: 3,
        }
    }
}

impl Settings {
    /// Seconds for which something must be known before it is judged.
    pub fn learn_seconds(&self) -> u64 {
        u64::from(self.learn_days) * 86_400
    }

    /// Until when the same alert is not raised again, after one at `time`.
    pub fn again(&self, time: Nanos) -> Nanos {
        time.plus_seconds(u64::from(self.again_hours) * 3600)
    }

    /// The first thing that is wrong, in words.
    pub fn mistake(&self) -> Option<String> {
        let whole = [
            ("learn_days", self.learn_days, 1, 90),
            ("again_hours", self.again_hours, 1, 720),
            ("slack_percent", self.slack_percent, 0, 1000),
            ("stuck_minutes", self.stuck_minutes, 1, 100_000),
            ("gap_minutes", self.gap_minutes, 1, 100_000),
            ("sink_minutes", self.sink_minutes, 0, 100_000),
            ("source_minutes", self.source_minutes, 0, 100_000),
            ("new_hour_calls", self.new_hour_calls, 1, 1000),
        ];
        let broken = [
            ("ewma_limit", self.ewma_limit, 3.0, 50.0),
            ("cusum_limit", self.cusum_limit, 5.0, 1000.0),
            ("amounts_limit", self.amounts_limit, 5.0, 1000.0),
            ("silence_calls", self.silence_calls, 5.0, 1000.0),
        ];
        let whole = whole.iter().find(|(_, value, min, max)| !(min..=max).contains(&value));
        let broken = broken.iter().find(|(_, value, min, max)| !(min..=max).contains(&value));
        if self.channels.len() > TOLD_CHANNELS_MAX {
            return Some(format!("channels: at most {TOLD_CHANNELS_MAX}"));
        }
        if self.off.contains(&AlertRule::Clause) {
            return Some("off: what a clause raises can't be switched off here".into());
        }
        let whole =
            whole.map(|(name, value, min, max)| format!("{name}: {value} is not {min} to {max}"));
        whole.or_else(|| {
            broken.map(|(name, value, min, max)| format!("{name}: {value} is not {min} to {max}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_bounded() {
        let check = |change: fn(&mut Settings), wrong: Option<&str>| {
            let mut settings = Settings::default();
            change(&mut settings);
            let found = settings.mistake();
            assert_eq!(found.is_some(), wrong.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(wrong.unwrap_or_default()));
        };
        check(|_| {}, None);
        check(|settings| settings.learn_days = 0, Some("learn_days: 0 is not 1 to 90"));
        check(|settings| settings.ewma_limit = f64::NAN, Some("ewma_limit"));
        check(|settings| settings.cusum_limit = 4.9, Some("cusum_limit"));
        check(|settings| settings.off = vec![AlertRule::Clause], Some("off"));
        check(|settings| settings.off = vec![AlertRule::NewChain], None);
        check(|settings| settings.channels = vec!["a".into(); 8], None);
        check(|settings| settings.channels = vec!["a".into(); 9], Some("channels"));
    }
}
