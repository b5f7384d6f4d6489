//! The table of ratios.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::figures::{Figure, Part};

/// Rows as they are measured.
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    part: &'static Part,
    ours: Spread,
    theirs: Spread,
    ratio: Spread,
}

/// Of several rounds.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self { least: at(0), median: (at(last / 2) + at(values.len() / 2)) / 2.0, most: at(last) }
    }
}

impl Report {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Takes the rounds of a measurement: for each round, for each racer, a value for each part.
    pub fn add(&mut self, figure: &Figure, rounds: &[Vec<Vec<f64>>]) {
        for (index, part) in figure.parts.iter().enumerate() {
            let of = |racer: usize| rounds.iter().map(|round| round[racer][index]).collect::<Vec<_>>();
            let (ours, theirs) = (of(0), of(1));
            let ratio = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
            let row = Row {
                name: format!("{}: {}", figure.name, part.name),
                part,
                ours: Spread::of(ours),
                theirs: Spread::of(theirs),
                ratio: Spread::of(ratio),
            };
            eprintln!(
                "         {}: {:.1} and {:.1} {}, ratio {:.2}",
                part.name, row.ours.median, row.theirs.median, part.unit, row.ratio.median
            );
            self.rows.push(row);
        }
    }

    /// The table, as Markdown that reads well on a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "| {:width$} | {:>10} | {:>10} | {:10} | {:>18} | {:>7} |",
            "figure", "Lateen", "Envoy", "unit", "ratio (min – max)", "goal"
        );
        let _ =
            writeln!(text, "|{0:-<1$}|{0:->2$}:|{0:->2$}:|{0:-<3$}|{0:->4$}:|{0:->5$}:|", "", width + 2, 11, 12, 19, 8);
        for row in &self.rows {
            let goal =
                row.part.goal.map_or(String::new(), |goal| format!("{} {goal}", if row.part.more { "≥" } else { "≤" }));
            let ratio = format!("{:.2} ({:.2} – {:.2})", row.ratio.median, row.ratio.least, row.ratio.most);
            let _ = writeln!(
                text,
                "| {:width$} | {:>10} | {:>10} | {:10} | {ratio:>18} | {goal:>7} |",
                row.name,
                number(row.ours.median),
                number(row.theirs.median),
                row.part.unit
            );
        }
        text
    }

    /// Puts the table between the marks of a page, with the machine's name.
    ///
    /// # Errors
    /// When the page can't be read or written, or has no marks.
    pub fn write(&self, page: &Path, took: Duration) -> anyhow::Result<()> {
        const BEGIN: &str = "<!-- figures: begin -->\n";
        const END: &str = "<!-- figures: end -->";
        let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let (head, rest) = text.split_once(BEGIN).context("the page has no mark where the figures begin")?;
        let (_, tail) = rest.split_once(END).context("the page has no mark where the figures end")?;
        let figures = format!("{}\n{}\n", machine(took), self.text());
        std::fs::write(page, format!("{head}{BEGIN}{figures}{END}{tail}")).with_context(|| page.display().to_string())
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// One line about where the figures come from.
fn machine(took: Duration) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {model}, Linux {}, Envoy 1.40.0; the run took {} s.\n", kernel.trim(), took.as_secs())
}
