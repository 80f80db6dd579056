//! Plots as SVG, in the page itself.

use std::{collections::BTreeMap, fmt::Write as _};

const WIDTH: u64 = 960;
const HEIGHT: u64 = 180;
/// Room for the labels below.
const FOOT: u64 = 20;
/// Most bars. More days are put together.
const BARS_MAX: usize = 120;
/// Verdicts from the bottom of a bar upwards, with colours that differ in light and dark, and without colour sight.
const COLOURS: [(&str, &str); 5] = [
    ("allow", "#3f8f5f"),
    ("sanitize", "#7aa6d8"),
    ("approval_needed", "#d9a441"),
    ("deny", "#b5303a"),
    ("unspecified", "#8a8f98"),
];

/// Decisions by day and verdict, as stacked bars.
pub fn days(days: &BTreeMap<String, BTreeMap<String, u64>>) -> String {
    if days.is_empty() {
        return String::new();
    }
    let together = days.len().div_ceil(BARS_MAX);
    let in_order: Vec<_> = days.iter().collect();
    let bars: Vec<(&str, BTreeMap<&str, u64>)> = in_order
        .chunks(together)
        .map(|chunk| {
            let mut sums = BTreeMap::new();
            for (verdict, count) in chunk.iter().flat_map(|(_, counts)| counts.iter()) {
                *sums.entry(verdict.as_str()).or_default() += count;
            }
            (chunk[0].0.as_str(), sums)
        })
        .collect();
    let highest = bars.iter().map(|(_, sums)| sums.values().sum::<u64>()).max().unwrap_or(1).max(1);
    let step = (WIDTH / bars.len() as u64).min(60);
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-label="Decisions by day and verdict"><title>Decisions by day and verdict</title>"#,
        HEIGHT + FOOT + 18
    );
    for (n, (day, sums)) in (0..).zip(&bars) {
        let mut top = HEIGHT;
        for (verdict, colour) in COLOURS {
            let count = sums.get(verdict).copied().unwrap_or_default();
            let height = u128::from(count) * u128::from(HEIGHT - 10) / u128::from(highest);
            let height = u64::try_from(height).unwrap_or(0).max(u64::from(count > 0));
            top = top.saturating_sub(height);
            if count > 0 {
                let _ = write!(
                    svg,
                    r#"<rect x="{}" y="{top}" width="{}" height="{height}" fill="{colour}"><title>{day}: {count} {verdict}</title></rect>"#,
                    n * step,
                    step.saturating_sub(1).max(1)
                );
            }
        }
    }
    let last = bars.last().map_or("", |(day, _)| day);
    let _ = write!(svg, r#"<text x="0" y="{}">{}</text>"#, HEIGHT + 14, bars[0].0);
    if bars.len() > 1 {
        let x = (bars.len() as u64 * step).max(160);
        let _ = write!(svg, r#"<text x="{x}" y="{}" text-anchor="end">{last}</text>"#, HEIGHT + 14);
    }
    for (n, (verdict, colour)) in (0..).zip(COLOURS) {
        let (x, y) = (n * 150, HEIGHT + FOOT + 10);
        let _ = write!(
            svg,
            r#"<rect x="{x}" y="{}" width="10" height="10" fill="{colour}"/><text x="{}" y="{y}">{verdict}</text>"#,
            y - 9,
            x + 15
        );
    }
    svg.push_str("</svg>");
    svg
}
