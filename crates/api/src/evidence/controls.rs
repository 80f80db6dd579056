//! Part 8, controls: which figure shows what, for which control. The controls are data (`proto/controls/controls.json`).

use super::{Error, Out, figures::Figure, table::Table};
use serde::{Deserialize, Serialize};
use serde_json::json;

const CONTROLS: &str = include_str!("../../../../proto/controls/controls.json");

#[derive(Deserialize)]
struct Document {
    controls: Vec<Control>,
}

/// One control.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Control {
    /// Who asks for it.
    pub framework: String,
    /// Its id there.
    pub id: String,
    /// Its title, in our words.
    pub title: String,
    /// What the evidence shows about it.
    pub shows: String,
    /// What stays the organisation's.
    pub stays: String,
    /// Names of figures.
    pub figures: Vec<String>,
    /// Files of the evidence.
    pub files: Vec<String>,
}

/// Every control.
pub fn all() -> Vec<Control> {
    let document: Document =
        serde_json::from_str(CONTROLS).expect("a test reads the controls of this build");
    document.controls
}

/// The figures of a control.
pub fn figures<'f>(control: &Control, all: &'f [Figure]) -> Vec<&'f Figure> {
    let named = |figure: &&Figure| control.figures.iter().any(|name| name == figure.name);
    all.iter().filter(named).collect()
}

/// Writes the controls with the figures of the period.
pub fn finish(out: &mut dyn Out, all_figures: &[Figure]) -> Result<(), Error> {
    const COLUMNS: &[&str] =
        &["framework", "control", "title", "shows", "stays_with_you", "figures", "files"];
    let mut table = Table::new("controls/controls.csv", COLUMNS);
    let mut items = Vec::new();
    for control in all() {
        let shown = figures(&control, all_figures);
        let values: Vec<String> =
            shown.iter().map(|figure| format!("{}: {}", figure.title, figure.value())).collect();
        let Control { framework, id, title, shows, stays, files, .. } = &control;
        let (values, paths) = (values.join("; "), files.join(" "));
        table.row(out, &[framework, id, title, shows, stays, &values, &paths])?;
        items.push(json!({
            "framework": framework, "id": id, "title": title, "shows": shows, "stays_with_you": stays,
            "figures": shown, "files": files,
        }));
    }
    table.finish(out)?;
    out.put("controls/controls.json", &super::pretty(&json!({"v": 1, "controls": items})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_can_be_read() {
        let controls = all();
        assert!(controls.len() >= 20);
        for control in controls {
            assert!(!control.figures.is_empty() && !control.files.is_empty(), "{}", control.id);
        }
    }
}
