//! What a mode hands back: the same findings for a terminal, for a page and for a program.

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::Summary;
use crate::table::Table;

pub struct Report {
    pub text: String,
    pub markdown: String,
    pub json: String,
}

/// Tables under captions, beside the data they were made from.
pub struct Draft<'a, T: Serialize> {
    pub seed: u64,
    pub rounds: usize,
    pub notes: &'a str,
    pub tables: Vec<(String, Table)>,
    pub data: T,
}

#[derive(Serialize)]
struct Envelope<'a, T: Serialize> {
    machine: &'a Machine,
    seed: u64,
    rounds: usize,
    notes: &'a str,
    results: &'a T,
}

impl<T: Serialize> Draft<'_, T> {
    pub fn finish(self) -> Result<Report, String> {
        let machine = Machine::new();
        let (line, notes) = (machine.line(), self.notes);
        let (mut text, mut markdown) = (String::new(), format!("`{line}`\n\n{notes}\n"));
        for (caption, table) in &self.tables {
            text.push_str(&format!("{caption}\n{}\n", table.text()));
            markdown.push_str(&format!("\n**{caption}**\n\n{}", table.markdown()));
        }
        text.push_str(&format!("{notes}\n{line}"));
        let envelope = Envelope {
            machine: &machine,
            seed: self.seed,
            rounds: self.rounds,
            notes,
            results: &self.data,
        };
        let json = serde_json::to_string_pretty(&envelope).map_err(|error| error.to_string())?;
        Ok(Report { text, markdown, json })
    }
}

/// A median, or a dash.
pub fn median(summary: Option<Summary>, digits: usize) -> String {
    summary.map_or_else(|| "-".into(), |summary| format!("{:.digits$}", summary.median))
}

/// A ratio with the lowest and the highest round behind it.
pub fn ratio(summary: Option<Summary>) -> String {
    summary.map_or_else(
        || "-".into(),
        |Summary { median, min, max }| format!("{median:.2} [{min:.2}-{max:.2}]"),
    )
}
