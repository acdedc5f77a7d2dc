//! Reads a page of Markdown: its headings as anchors, its links with their lines.
//!
//! Code, in fences or between backticks, holds neither. What is read is what GitHub shows: an
//! anchor is the heading in lower case, spaces as hyphens, punctuation dropped, repetitions
//! numbered.

use std::collections::{BTreeMap, BTreeSet};

/// A link as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The line it stands on, from 1.
    pub(crate) line: usize,
    /// Where it leads.
    pub(crate) target: String,
}

/// The page's links, images and reference definitions.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        let text = without_code(text);
        let mut rest = text.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            found.extend(target(rest, ')').map(|target| Link { line, target }));
        }
        if let Some((label, definition)) = text.trim_start().split_once("]: ")
            && label.starts_with('[')
            && !label.starts_with("[^")
        {
            found.extend(target(definition, ' ').map(|target| Link { line, target }));
        }
    }
    found
}

/// The page's anchors: of its headings, and those set by hand.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        for mark in ["id=\"", "name=\""] {
            let ids = line.split(mark).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(ids.map(str::to_owned));
        }
        let title = line.trim_start_matches('#');
        let depth = line.len() - title.len();
        if !(1..=6).contains(&depth) || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title);
        let count = seen.entry(slug.clone()).or_default();
        found.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    found
}

/// Lines outside of code fences.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, Some(mark)) => fence = Some(mark),
            (None, None) => return Some((at + 1, line)),
            _ => {}
        }
        None
    })
}

/// The line with what stands between backticks left out.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return line.to_owned();
    }
    parts.iter().step_by(2).copied().collect()
}

/// The target of a link: what stands before its end, without a title or angle brackets.
fn target(text: &str, end: char) -> Option<String> {
    let text = if end == ')' { text.split(end).next()? } else { text };
    let target = text.split_whitespace().next()?;
    Some(target.trim_start_matches('<').trim_end_matches('>').to_owned())
}

fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in link_text(title).trim().chars() {
        match c {
            ' ' => slug.push('-'),
            '-' | '_' => slug.push(c),
            _ if c.is_alphanumeric() => slug.extend(c.to_lowercase()),
            _ => {}
        }
    }
    slug
}

/// A heading with its links replaced by their texts.
fn link_text(title: &str) -> String {
    let mut text = String::new();
    let mut rest = title;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Vec<String> {
        links(text).into_iter().map(|link| link.target).collect()
    }

    #[test]
    fn links_images_and_definitions_are_found() {
        assert_eq!(targets("see [a](b.md) and ![c](d.png \"title\")"), ["b.md", "d.png"]);
        assert_eq!(targets("[a]: b.md#c"), ["b.md#c"]);
        assert_eq!(targets("[a](<b.md>)"), ["b.md"]);
        assert_eq!(targets("[^1]: a note"), [""; 0]);
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(targets("```\n[a](b)\n```\n`[a](b)` and [c](d)"), ["d"]);
        assert_eq!(links("~~~text\n```\n~~~\n[a](b)")[0].line, 4);
    }

    #[test]
    fn anchors_are_those_that_the_page_shows() {
        let text = "# The `epoll-et` model, told\n## Why?\n## Why?\n<a id=\"here\"></a>\n\
                    ```\n# no\n```\n### [Link](x.md) text";
        let anchors = anchors(text);
        let expected = ["here", "link-text", "the-epoll-et-model-told", "why", "why-1"];
        assert_eq!(anchors.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }
}
