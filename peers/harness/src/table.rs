//! Tables, as aligned text and as Markdown.

/// Rows of cells under a head. The first column is aligned left, the others right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| self.pad(column, cell));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    pub fn markdown(&self) -> String {
        let line = |row: &[String]| format!("| {} |\n", row.join(" | "));
        let columns = self.rows[0].len();
        let rule = (0..columns).map(|column| if column == 0 { "---" } else { "---:" }.to_owned());
        let mut text = line(&self.rows[0]) + &line(&rule.collect::<Vec<_>>());
        self.rows[1..].iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    fn pad(&self, column: usize, cell: &str) -> String {
        // A row cut short, such as one with a reason, may be as long as it likes.
        let full = self.rows.iter().filter(|row| row.len() == self.rows[0].len());
        let width = full.map(|row| row[column].chars().count()).max().unwrap_or(0);
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_a_short_row_does_not_widen_them() {
        let mut table = Table::new(&["server", "krps"]);
        table.push(vec!["a".into(), "1.0".into()]);
        table.push(vec!["a long name: with its reason".into()]);
        let lines: Vec<_> = table.text().lines().map(str::to_owned).collect();
        assert_eq!(lines, ["server  krps", "a        1.0", "a long name: with its reason"]);
        assert!(table.markdown().starts_with("| server | krps |\n| --- | ---: |\n| a | 1.0 |"));
    }
}
