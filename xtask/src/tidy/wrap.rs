//! Wraps comments that are longer than a line may be.
//!
//! What overflows goes to the start of the next line when that continues the same paragraph, else
//! to a line of its own. Pictures, tables, code in fences and literals stay as they are: there a
//! line break has a meaning, and a person must choose.

use super::rules::sizes::LINE_COLUMNS;
use super::source::Source;

/// The text of a file with its long comments wrapped.
pub(crate) fn wrap(source: &Source) -> String {
    let mut lines: Vec<String> = source.text.lines().map(str::to_owned).collect();
    let mut literal: Vec<bool> = source.lines().map(|(n, _)| source.is_literal_line(n)).collect();
    let mut in_fence = false;
    let mut at = 0;
    while at < lines.len() {
        let Some(comment) = Comment::read(&lines[at]).filter(|_| !literal[at]) else {
            in_fence = false;
            at += 1;
            continue;
        };
        in_fence ^= comment.body.starts_with("```");
        if !in_fence && let Some((kept, rest)) = comment.split() {
            let (kept, rest, lead) = (comment.with(kept), rest.to_owned(), comment.continuation());
            let next = lines.get(at + 1).and_then(|line| Comment::read(line));
            let joined = next.filter(|next| next.continues(&lead)).map(|next| next.body.to_owned());
            if let Some(body) = joined {
                lines[at + 1] = format!("{lead}{rest} {body}");
            } else {
                lines.insert(at + 1, format!("{lead}{rest}"));
                literal.insert(at + 1, false);
            }
            lines[at] = kept;
        }
        at += 1;
    }
    lines.join("\n") + if source.text.ends_with('\n') { "\n" } else { "" }
}

/// A line that holds a comment and nothing else.
struct Comment<'a> {
    /// Indentation, slashes and the spaces after them.
    lead: &'a str,
    /// The mark of a list item, with its space.
    mark: &'a str,
    /// The text.
    body: &'a str,
}

impl<'a> Comment<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let start = line.len() - line.trim_start().len();
        let slashes =
            ["//!", "///", "//"].into_iter().find(|mark| line[start..].starts_with(mark))?;
        let text = &line[start + slashes.len()..];
        let lead = line.len() - text.trim_start().len();
        let body = &line[lead..];
        let mark = ["- ", "* "].into_iter().find(|mark| body.starts_with(mark)).map_or(0, str::len);
        let number = body.find(". ").filter(|&end| body[..end].parse::<u8>().is_ok());
        let mark = number.map_or(mark, |end| end + 2);
        Some(Self { lead: &line[..lead], mark: &body[..mark], body: &body[mark..] })
    }

    /// Splits the text where the line ends, if it is too long and may be split.
    fn split(&self) -> Option<(&'a str, &'a str)> {
        let room = LINE_COLUMNS.checked_sub(self.with("").chars().count())?;
        let is_picture = self.body.contains(['|', '│', '─', '┌', '└', '├', '▶', '◀']);
        let is_spaced = self.body.contains("  ");
        if self.body.chars().count() <= room || is_picture || is_spaced {
            return None;
        }
        let limit = self.body.char_indices().nth(room + 1).map_or(self.body.len(), |(at, _)| at);
        let end = self.body[..limit].rfind(' ')?;
        // A part of a code span is no code span.
        let is_whole = self.body[..end].matches('`').count().is_multiple_of(2);
        let end = if is_whole { end } else { self.body[..end].rfind('`')? };
        let kept = self.body[..end].trim_end();
        (!kept.is_empty()).then(|| (kept, self.body[end..].trim_start()))
    }

    fn with(&self, body: &str) -> String {
        format!("{}{}{body}", self.lead, self.mark)
    }

    /// What the next line of the same paragraph starts with.
    fn continuation(&self) -> String {
        format!("{}{}", self.lead, " ".repeat(self.mark.len()))
    }

    /// Whether this goes on with a paragraph whose lines start like that.
    fn continues(&self, lead: &str) -> bool {
        let starts_new = self.body.is_empty() || self.body.starts_with(['#', '`', '[', '<', '|']);
        self.lead == lead && self.mark.is_empty() && !starts_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str) -> Vec<String> {
        let out = wrap(&Source::new("crates/x/src/a.rs", text));
        out.lines().map(str::to_owned).collect()
    }

    /// Text of so many columns, in words of five.
    fn words(columns: usize) -> String {
        "word ".repeat(columns / 5).trim_end().to_owned()
    }

    #[test]
    fn what_overflows_goes_on_in_the_same_paragraph() {
        let text = format!("//! {}\n//! and more.\n//!\n//! Next.\n", words(105));
        let lines = wrapped(&text);
        assert_eq!(lines[0], format!("//! {}", words(95)));
        assert_eq!(lines[1..], ["//! word word and more.", "//!", "//! Next."]);
    }

    #[test]
    fn a_last_line_and_a_list_item_get_a_line_of_their_own() {
        assert_eq!(wrapped(&format!("    // {}", words(100)))[1], "    // word word");
        let item = wrapped(&format!("/// - {}\n/// - second", words(100)));
        assert_eq!(item[1..], ["///   word", "/// - second"]);
        let item = wrapped(&format!("/// 1. {}\n///    tail", words(100)));
        assert_eq!(item[1], "///    word word tail");
    }

    #[test]
    fn pictures_code_and_literals_stay() {
        for good in ["//! │ {}", "//! ```\n//! {}\n//! ```", "const A: &str = \"\n// {}\n\";", "{}"]
        {
            let text = good.replace("{}", &words(120));
            assert_eq!(wrapped(&text).join("\n"), text, "{good}");
        }
    }

    #[test]
    fn a_code_span_is_not_split() {
        let text = format!("// {} `a b c d e f` end", words(92));
        assert_eq!(wrapped(&text)[1], "// `a b c d e f` end");
    }

    #[test]
    fn columns_are_characters() {
        let text = format!("// {} µµµµµ end", words(95));
        assert_eq!(wrapped(&text), [format!("// {}", words(95)), "// µµµµµ end".to_owned()]);
        let text = format!("// {} µ end", words(95));
        assert_eq!(wrapped(&text), [format!("// {} µ", words(95)), "// end".to_owned()]);
    }

    #[test]
    fn a_wrapped_file_is_left_as_it_is() {
        let text = format!("//! {}\n//! {}\n", words(300), words(250));
        let once = wrap(&Source::new("a.rs", &text));
        assert!(once.lines().all(|line| line.len() <= LINE_COLUMNS));
        assert_eq!(wrap(&Source::new("a.rs", &once)), once);
    }
}
