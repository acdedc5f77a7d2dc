//! The repository as rules see it: every path, the text of what is text, the syntax of what is
//! Rust.
//!
//! Built from the disk or, in tests, from pairs of path and text; a rule cannot tell which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::source::Source;

/// Larger files are data, not text that someone wrote.
const TEXT_LIMIT: u64 = 2 << 20;

const TEXT_ENDINGS: [&str; 16] = [
    "rs", "md", "toml", "sh", "py", "c", "h", "html", "css", "js", "json", "txt", "yml", "yaml",
    "svg", "supp",
];

/// All files of the repository, by path from its root.
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    paths: BTreeSet<String>,
    sources: Vec<Source>,
}

impl Tree {
    /// Reads a checkout, without what was built or fetched.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut texts = BTreeMap::new();
        let mut paths = BTreeSet::new();
        read_dir(root, "", &mut texts, &mut paths)?;
        Ok(Self::assemble(texts, paths))
    }

    /// Builds a tree out of thin air.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let own = |&(path, text): &(&str, &str)| (path.to_owned(), text.to_owned());
        let texts: BTreeMap<_, _> = files.iter().map(own).collect();
        let mut paths = BTreeSet::new();
        for path in texts.keys() {
            for (at, _) in path.match_indices('/') {
                paths.insert(path[..at].to_owned());
            }
            paths.insert(path.clone());
        }
        Self::assemble(texts, paths)
    }

    fn assemble(texts: BTreeMap<String, String>, paths: BTreeSet<String>) -> Self {
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let mut sources: Vec<Source> = rust.map(|(path, text)| Source::new(path, text)).collect();
        let test_roots: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
            let is_below = |root: &String| {
                stem.strip_prefix(root.as_str())
                    .is_some_and(|rest| matches!(rest.chars().next(), None | Some('/')))
            };
            if test_roots.iter().any(is_below) {
                source.make_test();
            }
        }
        Self { texts, paths, sources }
    }

    /// Every Rust file.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The Rust file at a path.
    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        let at = self.sources.binary_search_by(|source| source.path.as_str().cmp(path)).ok()?;
        self.sources.get(at)
    }

    /// Rust that we answer for in full: all but the rivals.
    pub(crate) fn own_sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| !source.is_peer())
    }

    /// Every file that holds text, by path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text at a path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether a file or folder is at a path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }
}

fn read_dir(
    root: &Path,
    prefix: &str,
    texts: &mut BTreeMap<String, String>,
    paths: &mut BTreeSet<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(root.join(prefix))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_foreign(&name) {
            paths.insert(path.clone());
            read_dir(root, &path, texts, paths)?;
        } else if kind.is_file() {
            if is_text(&path) && entry.metadata()?.len() <= TEXT_LIMIT {
                texts
                    .insert(path.clone(), String::from_utf8_lossy(&fs::read(entry.path())?).into());
            }
            paths.insert(path);
        }
    }
    Ok(())
}

/// Whether a folder holds what nobody wrote.
fn is_foreign(name: &str) -> bool {
    name == ".git" || name.starts_with("target") || name == "node_modules"
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some(("", _)) | None => path.starts_with(".ci/") || name.starts_with("LICENSE"),
        Some((_, ending)) => TEXT_ENDINGS.contains(&ending),
    }
}

/// Follows a relative path from a folder; `None` where it leaves the repository.
pub(crate) fn join(dir: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_stays_in_the_repository() {
        assert_eq!(join("a/b", "../c.md").as_deref(), Some("a/c.md"));
        assert_eq!(join("a", "./b/").as_deref(), Some("a/b"));
        assert_eq!(join("a", "../../b"), None);
    }

    #[test]
    fn text_is_what_people_write() {
        assert!(is_text(".ci/run") && is_text("a/b.rs") && is_text("LICENSE-MIT"));
        assert!(!is_text("Cargo.lock") && !is_text("a.png") && !is_text(".gitignore"));
    }

    #[test]
    fn folders_of_a_made_up_tree_exist() {
        let tree = Tree::of(&[("a/b/c.md", "")]);
        assert!(tree.exists("a") && tree.exists("a/b") && tree.exists("a/b/c.md"));
        assert!(!tree.exists("b"));
    }

    #[test]
    fn a_file_declared_under_cfg_test_is_test_code_and_so_is_what_it_declares() {
        let tree = Tree::of(&[
            ("crates/x/src/lib.rs", "mod a;\n#[cfg(test)]\nmod suite;"),
            ("crates/x/src/a.rs", "fn f() {}"),
            ("crates/x/src/suite.rs", "mod deep; fn f() {}"),
            ("crates/x/src/suite/deep.rs", "fn f() {}"),
            ("crates/x/src/suitemate.rs", "fn f() {}"),
        ]);
        let test: Vec<_> = tree.sources().iter().filter(|s| s.is_test_line(1)).collect();
        let paths: Vec<_> = test.iter().map(|source| source.path.as_str()).collect();
        assert_eq!(paths, ["crates/x/src/suite.rs", "crates/x/src/suite/deep.rs"]);
    }
}
