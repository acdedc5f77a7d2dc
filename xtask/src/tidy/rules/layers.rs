//! Rules on what a package may depend on: lower layers, and the kernel only through `sys`.

use super::manifest::{self, Package, packages};
use crate::tidy::finding::{Finding, Rule};
use crate::tidy::source::Source;
use crate::tidy::tree::Tree;

/// Our crates from the bottom up; those of one layer do not know each other.
const LAYERS: [&[&str]; 7] = [
    &["fiveways-sys"],
    &["fiveways-selector", "fiveways-coro"],
    &["fiveways-driver"],
    &["fiveways-runtime"],
    &["fiveways"],
    &["fiveways-lab", "fiveways-patch"],
    &["fiveways-cli"],
];

/// Packages through which one reaches the kernel or switches stacks, and the crates that may.
const KEYS: [(&str, &[&str]); 9] = [
    ("libc", &["sys"]),
    ("rustix", &["sys"]),
    ("io-uring", &["sys"]),
    ("linux-raw-sys", &["sys"]),
    ("nix", &["sys"]),
    ("mio", &["sys"]),
    ("socket2", &["sys"]),
    ("corosensei", &["coro"]),
    // Programs decide what a signal means, and so does a server that stops on one.
    ("signal-hook", &["fiveways", "cli"]),
];

/// Edges go down.
pub(crate) const LAYER: Rule = Rule {
    id: "layer",
    says: "a crate depends only on crates of lower layers; its tests may also use its own layer",
    remedy: "move what is needed to a lower layer, or state it there as a contract",
    check: check_layers,
    broken_by: &[(
        "crates/sys/Cargo.toml",
        "[package]\nname = \"fiveways-sys\"\n[dependencies]\nfiveways-coro.workspace = true",
    )],
};

/// One crate calls the kernel.
pub(crate) const KERNEL: Rule = Rule {
    id: "kernel",
    says: "only `sys` calls the kernel, only `coro` switches stacks (I1, I2)",
    remedy: "add a typed call to `sys` (or `coro`) and use that",
    check: check_kernel,
    broken_by: &[("crates/driver/src/lib.rs", "fn f() { libc::read(0) }")],
};

fn check_layers(tree: &Tree, found: &mut Vec<Finding>) {
    for package in packages(tree) {
        let is_crate = package.dir.starts_with("crates/");
        let layer = layer_of(&package.name);
        if is_crate && layer.is_none() {
            let message = format!("the crate `{}` has no layer", package.name);
            found.push(Finding::error(&package.path, 0, message));
        }
        if let Some(layer) = layer {
            check_edges(tree, &package, layer, found);
        }
    }
}

fn check_edges(tree: &Tree, package: &Package, layer: usize, found: &mut Vec<Finding>) {
    let text = tree.text(&package.path).unwrap_or_default();
    for dependency in package.dependencies() {
        let is_ours = dependency.package.starts_with("fiveways") || dependency.is_path;
        let Some(below) = layer_of(&dependency.package) else {
            if is_ours || dependency.package == "xtask" {
                let line = manifest::line_of(text, "dependencies", &dependency.key);
                let message = format!("`{}` has no layer", dependency.package);
                found.push(Finding::error(&package.path, line, message));
            }
            continue;
        };
        let is_down = if dependency.is_dev { below <= layer } else { below < layer };
        if !is_down {
            let line = manifest::line_of(text, "dependencies", &dependency.key);
            let message = format!(
                "`{}` (layer {layer}) depends on `{}` (layer {below})",
                package.name, dependency.package
            );
            found.push(Finding::error(&package.path, line, message));
        }
    }
}

fn layer_of(package: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&package))
}

fn check_kernel(tree: &Tree, found: &mut Vec<Finding>) {
    for package in packages(tree) {
        let Some(dir) = package.dir.strip_prefix("crates/") else { continue };
        let text = tree.text(&package.path).unwrap_or_default();
        for dependency in package.dependencies().iter().filter(|dependency| !dependency.is_dev) {
            if let Some((name, keepers)) = kept(&dependency.package, dir) {
                let line = manifest::line_of(text, "dependencies", &dependency.key);
                let message =
                    format!("`{dir}` depends on `{name}`, which is for `{keepers}` alone");
                found.push(Finding::error(&package.path, line, message));
            }
        }
    }
    for source in tree.sources().iter().filter(|source| !source.is_dev()) {
        check_paths(source, found);
    }
}

fn check_paths(source: &Source, found: &mut Vec<Finding>) {
    let Some(dir) = source.crate_dir() else { return };
    let tokens = &source.tokens;
    for (at, token) in tokens.iter().enumerate() {
        let follows_path = at > 1 && tokens[at - 1].is("::") && !is_absolute(tokens, at);
        let opens_path = tokens.get(at + 1).is_some_and(|next| next.is("::"));
        let is_import =
            at > 0 && (tokens[at - 1].is_word("use") || tokens[at - 1].is_word("crate"));
        if token.test || follows_path || !(opens_path || is_import) {
            continue;
        }
        if let Some((name, keepers)) = kept(&token.text.replace('_', "-"), dir) {
            let message = format!("`{dir}` names `{name}`, which is for `{keepers}` alone");
            found.push(Finding::error(&source.path, token.line, message));
        }
    }
}

/// Whether the `::` before this token starts a path, as in `::libc::read`.
fn is_absolute(tokens: &[crate::tidy::source::Token], at: usize) -> bool {
    let before = &tokens[at - 2];
    let is_keyword = ["use", "return", "in", "as"].iter().any(|word| before.is_word(word));
    is_keyword || !(before.kind == crate::tidy::source::Kind::Word || before.is(">"))
}

/// The package, and the crates that may use it, where this crate is none of them.
fn kept(package: &str, dir: &str) -> Option<(&'static str, String)> {
    let (name, keepers) = KEYS.into_iter().find(|&(name, _)| name == package)?;
    (!keepers.contains(&dir)).then(|| (name, keepers.join("` and `")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::{findings, lines};

    fn edge(from: &str, section: &str, to: &str) -> Vec<usize> {
        let dir = from.strip_prefix("fiveways-").unwrap_or(from);
        let path = format!("crates/{dir}/Cargo.toml");
        let text = format!("[package]\nname = \"{from}\"\n[{section}]\n{to}.workspace = true");
        lines(&LAYER, &path, &text)
    }

    #[test]
    fn edges_go_down_and_never_sideways() {
        assert_eq!(edge("fiveways-driver", "dependencies", "fiveways-sys"), [0; 0]);
        assert_eq!(edge("fiveways-cli", "dependencies", "fiveways-lab"), [0; 0]);
        assert_eq!(edge("fiveways-driver", "dependencies", "fiveways-runtime"), [4]);
        assert_eq!(edge("fiveways-coro", "dependencies", "fiveways-selector"), [4]);
        assert_eq!(edge("fiveways-coro", "build-dependencies", "fiveways"), [4]);
    }

    #[test]
    fn tests_may_use_their_own_layer_but_none_above() {
        assert_eq!(edge("fiveways-coro", "dev-dependencies", "fiveways-selector"), [0; 0]);
        assert_eq!(edge("fiveways-coro", "dev-dependencies", "fiveways-driver"), [4]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found_from_both_sides() {
        assert_eq!(edge("fiveways-odd", "dependencies", "fiveways-sys"), [0]);
        assert_eq!(edge("fiveways", "dependencies", "fiveways-odd"), [4]);
        assert_eq!(edge("fiveways", "dependencies", "xtask"), [4]);
    }

    #[test]
    fn only_the_keeper_may_depend_on_the_key() {
        let manifest = |dir: &str, section: &str, key: &str| {
            let text = format!("[package]\nname = \"x\"\n[{section}]\n{key} = \"1\"");
            findings(&KERNEL, &[(&format!("crates/{dir}/Cargo.toml"), &text)]).len()
        };
        assert_eq!(manifest("driver", "dependencies", "rustix"), 1);
        assert_eq!(manifest("runtime", "dependencies", "corosensei"), 1);
        assert_eq!(manifest("coro", "dependencies", "corosensei"), 0);
        assert_eq!(manifest("fiveways", "dependencies", "signal-hook"), 0);
        assert_eq!(manifest("lab", "dependencies", "signal-hook"), 1);
        assert_eq!(manifest("driver", "dev-dependencies", "libc"), 0);
    }

    #[test]
    fn kernel_paths_are_found_in_code_and_not_in_tests_or_in_sys() {
        let path = "crates/driver/src/a.rs";
        for bad in
            ["use libc;", "use io_uring::opcode;", "fn f() { ::libc::g() }", "use ::rustix::fs;"]
        {
            assert_eq!(lines(&KERNEL, path, bad), [1], "{bad}");
            assert_eq!(lines(&KERNEL, "crates/sys/src/a.rs", bad), [0; 0]);
            assert_eq!(lines(&KERNEL, "crates/driver/tests/a.rs", bad), [0; 0]);
        }
        for good in
            ["use fiveways_sys::libc::x;", "mod libc;", "#[cfg(test)]\nmod t { use libc::x; }"]
        {
            assert_eq!(lines(&KERNEL, path, good), [0; 0], "{good}");
        }
    }
}
