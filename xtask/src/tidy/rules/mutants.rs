//! The rule that each defect of the list of mutants can still be put back.

use crate::defects::{Defect, PLACE};
use crate::tidy::finding::{Finding, Rule};
use crate::tidy::tree::Tree;

/// Defects can be put back.
pub(crate) const MUTANT: Rule = Rule {
    id: "mutant",
    says: "what a defect of tests/mutants.toml replaces occurs exactly once in its file",
    remedy: "make the defect anew in what took that place; see it red: cargo xtask mutants ID",
    check: check_defects,
    broken_by: &[
        ("tests/mutants.toml", LOST),
        ("crates/sys/src/lib.rs", "//! What this is.\nfn there() {}\n"),
    ],
};

const LOST: &str = "[[mutant]]\nid = \"D1\"\nfile = \"crates/sys/src/lib.rs\"\nfind = \"gone\"\n\
                    replace = \"\"\ntest = \"fiveways-sys::lib\"\nfilter = \"d1\"\n";

fn check_defects(tree: &Tree, found: &mut Vec<Finding>) {
    let Some(text) = tree.text(PLACE) else { return };
    let defects = match Defect::read(text) {
        Ok(defects) => defects,
        Err(why) => return found.push(Finding::error(PLACE, 0, why)),
    };
    for defect in defects {
        let made = match tree.text(&defect.file) {
            Some(file) => defect.put_into(file),
            None => Err(format!("{}: there is no {}", defect.id, defect.file)),
        };
        if let Err(why) = made {
            found.push(Finding::error(PLACE, 0, why));
        }
    }
}
