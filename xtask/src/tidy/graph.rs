//! The modules of one crate: their parents, their order, and where names lead.
//!
//! Starts at a crate's root file and follows `mod` declarations. An import is resolved as the
//! compiler would, as far as modules go: down through children, and through `use` declarations, so
//! that a name which the root re-exports leads to the module that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use syn::{Item, ItemMod, UseTree};

use super::source::Source;
use super::tree::Tree;

/// Chains of re-exports longer than this are loops.
const CHAIN_LIMIT: usize = 8;

/// Names from the crate's root downwards; the root itself is the empty path.
pub(crate) type ModulePath = Vec<String>;

/// One module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Names of the children, in the order of declaration.
    pub(crate) children: Vec<String>,
    /// Where names lead that this module imports.
    imports: BTreeMap<String, ModulePath>,
}

/// The modules of one crate.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The modules by path.
    pub(crate) modules: BTreeMap<ModulePath, Module>,
    /// The module that each file holds.
    pub(crate) files: BTreeMap<String, ModulePath>,
    /// Declarations without a file: file, line, name.
    pub(crate) missing: Vec<(String, usize, String)>,
}

impl Graph {
    /// Follows the declarations from a root file.
    pub(crate) fn of(tree: &Tree, root: &Source) -> Self {
        let mut graph = Self::default();
        graph.add_file(tree, root, Vec::new());
        graph
    }

    /// The file that a module stands in.
    pub(crate) fn file_of(&self, module: &[String]) -> String {
        let holders = self.files.iter().filter(|(_, path)| module.starts_with(path));
        let innermost = holders.max_by_key(|(_, path)| path.len());
        innermost.map(|(file, _)| file.clone()).unwrap_or_default()
    }

    /// The modules that a path of names leads to: the one that it spells, then those that imports
    /// lead on to.
    pub(crate) fn resolve(&self, names: &[String]) -> Vec<ModulePath> {
        let mut stops = Vec::new();
        let mut next = Some(names.to_vec());
        while let Some(names) = next.take_if(|_| stops.len() < CHAIN_LIMIT) {
            let depth = self.depth_of(&names);
            let module = &names[..depth];
            let imports = self.modules.get(module).map(|module| &module.imports);
            let target = names.get(depth).and_then(|name| imports?.get(name));
            next = target.map(|target| [target, &names[depth + 1..]].concat());
            stops.push(module.to_vec());
        }
        stops
    }

    /// How many of these names are modules, each declared by the one before.
    fn depth_of(&self, names: &[String]) -> usize {
        let is_child = |depth: usize| {
            let parent = self.modules.get(&names[..depth]);
            parent.is_some_and(|parent| parent.children.contains(&names[depth]))
        };
        (0..names.len()).find(|&depth| !is_child(depth)).unwrap_or(names.len())
    }

    fn add_file(&mut self, tree: &Tree, source: &Source, path: ModulePath) {
        if self.files.insert(source.path.clone(), path.clone()).is_some() {
            return;
        }
        let Ok(syntax) = &source.syntax else { return };
        let place = Place { tree, source, dir: source.module_dir().to_owned() };
        self.add_items(&place, &syntax.items, path);
    }

    fn add_items(&mut self, place: &Place<'_>, items: &[Item], path: ModulePath) {
        let mut module = Module::default();
        for item in items {
            if let Item::Mod(item) = item {
                let name = item.ident.to_string();
                self.add_child(place, item, [path.as_slice(), slice::from_ref(&name)].concat());
                module.children.push(name);
            }
        }
        for item in items {
            if let Item::Use(item) = item {
                let mut imports = Imports { at: &path, module: &mut module };
                imports.add(&item.tree, Vec::new());
            }
        }
        self.modules.insert(path, module);
    }

    fn add_child(&mut self, place: &Place<'_>, item: &ItemMod, path: ModulePath) {
        let name = item.ident.to_string();
        if let Some((_, items)) = &item.content {
            let below = Place { dir: format!("{}/{name}", place.dir), ..*place };
            return self.add_items(&below, items, path);
        }
        match place.find(item) {
            Some(source) => self.add_file(place.tree, source, path),
            None => {
                let line = item.ident.span().start().line;
                self.missing.push((place.source.path.clone(), line, name));
            }
        }
    }
}

/// The file that is read, and the folder in which its children are looked for.
struct Place<'a> {
    tree: &'a Tree,
    source: &'a Source,
    dir: String,
}

impl<'a> Place<'a> {
    /// The file of a declared module.
    fn find(&self, item: &ItemMod) -> Option<&'a Source> {
        if let Some(path) = path_attribute(item) {
            let parent = self.source.path.rsplit_once('/').map_or("", |(dir, _)| dir);
            return self.tree.source(&super::tree::join(parent, &path)?);
        }
        let name = item.ident.to_string();
        let flat = self.tree.source(&format!("{}/{name}.rs", self.dir));
        flat.or_else(|| self.tree.source(&format!("{}/{name}/mod.rs", self.dir)))
    }
}

fn path_attribute(item: &ItemMod) -> Option<String> {
    let attribute = item.attrs.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else {
        return None;
    };
    Some(text.value())
}

/// Collects what the `use` declarations of one module lead to.
struct Imports<'a> {
    at: &'a ModulePath,
    module: &'a mut Module,
}

impl Imports<'_> {
    fn add(&mut self, tree: &UseTree, mut names: Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                names.push(path.ident.to_string());
                self.add(&path.tree, names);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add(tree, names.clone());
                }
            }
            UseTree::Name(name) => {
                names.push(name.ident.to_string());
                self.note(&name.ident.to_string(), names);
            }
            UseTree::Rename(rename) => {
                names.push(rename.ident.to_string());
                self.note(&rename.rename.to_string(), names);
            }
            UseTree::Glob(_) => {}
        }
    }

    fn note(&mut self, name: &str, names: Vec<String>) {
        let is_child = names.first().is_some_and(|first| self.module.children.contains(first));
        let target = if is_child {
            Some([self.at.as_slice(), &names].concat())
        } else {
            absolute(self.at, &names)
        };
        if let Some(target) = target
            && target.strip_prefix(self.at.as_slice()) != Some(&[name.to_owned()])
        {
            self.module.imports.insert(name.to_owned(), target);
        }
    }
}

/// Turns names that start with `crate`, `self` or `super` into names from the root.
pub(crate) fn absolute(at: &[String], names: &[String]) -> Option<ModulePath> {
    let mut path = match names.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => at.to_vec(),
        "super" => at.split_last()?.1.to_vec(),
        _ => return None,
    };
    for name in &names[1..] {
        match name.as_str() {
            "super" => drop(path.pop()),
            "self" => {}
            _ => path.push(name.clone()),
        }
    }
    Some(path)
}

/// The root files of a package that lies in `dir`.
pub(crate) fn roots<'a>(tree: &'a Tree, dir: &str) -> Vec<&'a Source> {
    let is_within =
        |source: &&Source| source.path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    let within: Vec<&Source> = tree.sources().iter().filter(is_within).collect();
    // A file that another one declares is no root, wherever it lies.
    let named = named_targets(tree, dir);
    let declared: BTreeSet<String> = within
        .iter()
        .filter(|source| source.is_crate_root())
        .flat_map(|root| {
            Graph::of(tree, root).files.into_iter().filter(|(_, path)| !path.is_empty())
        })
        .map(|(file, _)| file)
        .collect();
    let is_root = |source: &&Source| {
        (source.is_crate_root() && !declared.contains(&source.path))
            || named.contains(&source.path)
            || source.path == format!("{dir}/build.rs")
    };
    within.into_iter().filter(is_root).collect()
}

/// Files that the manifest names with `path = "…"`.
fn named_targets(tree: &Tree, dir: &str) -> BTreeSet<String> {
    let text = tree.text(&format!("{dir}/Cargo.toml")).unwrap_or_default();
    let values = text.lines().filter_map(|line| line.trim().strip_prefix("path"));
    let values = values.filter_map(|rest| rest.trim_start().strip_prefix('='));
    values.map(|value| format!("{dir}/{}", value.trim().trim_matches('"'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let tree = Tree::of(&[
            ("crates/x/src/lib.rs", "mod a; pub mod b; pub use b::Thing; use crate::b::c as d;"),
            ("crates/x/src/a.rs", "#[path = \"odd.rs\"] mod e; mod gone;"),
            ("crates/x/src/odd.rs", ""),
            ("crates/x/src/b/mod.rs", "mod c; pub use self::c::Thing; mod inline { mod deep {} }"),
            ("crates/x/src/b/c.rs", ""),
        ]);
        Graph::of(&tree, tree.source("crates/x/src/lib.rs").expect("it is there"))
    }

    fn resolve(path: &str) -> String {
        let names: Vec<String> = path.split("::").map(str::to_owned).collect();
        let stops: Vec<_> = graph().resolve(&names).iter().map(|stop| stop.join("::")).collect();
        stops.join(" > ")
    }

    #[test]
    fn names_lead_down_to_modules_and_stop_at_items() {
        assert_eq!(resolve("b::c::Other"), "b::c");
        assert_eq!(resolve("b::inline::deep::X"), "b::inline::deep");
        assert_eq!(resolve("Unknown"), "");
    }

    #[test]
    fn a_re_exported_name_leads_to_the_module_that_defines_it() {
        assert_eq!(resolve("Thing"), " > b > b::c");
        assert_eq!(resolve("d::X"), " > b::c");
    }

    #[test]
    fn files_are_found_by_name_by_folder_and_by_attribute() {
        let graph = graph();
        assert_eq!(graph.files["crates/x/src/odd.rs"], ["a", "e"]);
        assert_eq!(graph.files["crates/x/src/b/c.rs"], ["b", "c"]);
        assert_eq!(graph.missing, [("crates/x/src/a.rs".into(), 1, "gone".into())]);
    }
}
