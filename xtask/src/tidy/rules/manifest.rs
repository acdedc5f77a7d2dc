//! The manifests of our packages, and where in them an entry stands.

use toml::{Table, Value};

use crate::tidy::tree::Tree;

/// A package of the repository, rivals left out.
pub(crate) struct Package {
    /// Its folder.
    pub(crate) dir: String,
    /// Path of its manifest.
    pub(crate) path: String,
    /// Its name.
    pub(crate) name: String,
    /// All that its manifest says.
    pub(crate) table: Table,
}

/// A dependency as a manifest states it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The name of the package, whatever it is called here.
    pub(crate) package: String,
    /// The key of the entry.
    pub(crate) key: String,
    /// Whether it is a dependency of tests and examples only.
    pub(crate) is_dev: bool,
    /// Whether version and place are left to the workspace.
    pub(crate) is_inherited: bool,
    /// Whether it is a folder of this repository.
    pub(crate) is_path: bool,
}

/// Every package but the rivals, by path.
pub(crate) fn packages(tree: &Tree) -> Vec<Package> {
    let manifests = tree
        .texts()
        .filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, path, text)));
    let ours = manifests.filter(|(dir, ..)| !dir.starts_with("peers"));
    ours.filter_map(|(dir, path, text)| {
        let table: Table = text.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        Some(Package { dir: dir.to_owned(), path: path.to_owned(), name, table })
    })
    .collect()
}

/// The innermost package that a file lies in.
pub(crate) fn owner<'a>(packages: &'a [Package], path: &str) -> Option<&'a Package> {
    let holds = |package: &&Package| {
        path.strip_prefix(&package.dir).is_some_and(|rest| rest.starts_with('/'))
    };
    packages.iter().filter(holds).max_by_key(|package| package.dir.len())
}

impl Package {
    /// Everything it depends on, on any platform.
    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        let mut all = sections(&self.table);
        let platforms = self.table.get("target").and_then(Value::as_table);
        for platform in platforms.into_iter().flat_map(Table::values).filter_map(Value::as_table) {
            all.extend(sections(platform));
        }
        all
    }
}

fn sections(table: &Table) -> Vec<Dependency> {
    let kinds =
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
    let mut all = Vec::new();
    for (section, is_dev) in kinds {
        let entries = table.get(section).and_then(Value::as_table);
        all.extend(entries.into_iter().flatten().map(|(key, value)| read(key, value, is_dev)));
    }
    all
}

/// Reads one entry of a table of dependencies.
pub(crate) fn read(key: &str, value: &Value, is_dev: bool) -> Dependency {
    let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
    Dependency {
        package: package.to_owned(),
        key: key.to_owned(),
        is_dev,
        is_inherited: value.get("workspace").and_then(Value::as_bool) == Some(true),
        is_path: value.get("path").is_some(),
    }
}

/// The line of a manifest on which an entry with this key starts, within `[section]`s of this name.
pub(crate) fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut within = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            if header.ends_with(&format!("{section}.{key}")) {
                return at + 1;
            }
            within = header.ends_with(section);
        } else if within && names_key(line, key) {
            return at + 1;
        }
    }
    0
}

/// Whether a line of a manifest gives this key a value.
fn names_key(line: &str, key: &str) -> bool {
    let rest = line.strip_prefix(key).or_else(|| line.strip_prefix(&format!("\"{key}\"")));
    rest.is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_in_every_section() {
        let tree = Tree::of(&[(
            "crates/x/Cargo.toml",
            "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb.workspace = true\n\
             [dev-dependencies]\nc = { package = \"d\", path = \"../d\" }\n\
             [target.'cfg(unix)'.dependencies]\ne = \"1\"",
        )]);
        let found = packages(&tree)[0].dependencies();
        let brief: Vec<_> = found.iter().map(|d| (d.package.as_str(), d.is_dev)).collect();
        assert_eq!(brief, [("a", false), ("b", false), ("d", true), ("e", false)]);
        assert!(found[1].is_inherited && !found[0].is_inherited && found[2].is_path);
    }

    #[test]
    fn an_entry_is_placed_on_its_line() {
        let text = "[package]\nlibc = 1\n[dependencies]\nlibc-x = 1\nlibc.workspace = true\n\
                    [dependencies.syn]\n";
        assert_eq!(line_of(text, "dependencies", "libc"), 5);
        assert_eq!(line_of(text, "dependencies", "syn"), 6);
        assert_eq!(line_of(text, "dependencies", "gone"), 0);
    }

    #[test]
    fn a_file_belongs_to_the_innermost_package() {
        let manifest = "[package]\nname = \"x\"";
        let tree = Tree::of(&[("a/Cargo.toml", manifest), ("a/b/Cargo.toml", manifest)]);
        let packages = packages(&tree);
        let dir = |path| owner(&packages, path).map(|package| package.dir.as_str());
        assert_eq!(dir("a/b/src/lib.rs"), Some("a/b"));
        assert_eq!(dir("a/bc.rs"), Some("a"));
        assert_eq!(dir("ab/c.rs"), None);
    }
}
