//! The list of defects that `cargo xtask mutants` puts back: `tests/mutants.toml`, as data.

/// Where the list is, from the repository's root.
pub(crate) const PLACE: &str = "tests/mutants.toml";

/// A defect as a replacement of text, and the test that must see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) id: String,
    /// From the repository's root.
    pub(crate) file: String,
    /// Occurs exactly once in the file.
    pub(crate) find: String,
    pub(crate) replace: String,
    /// `package::binary`; the binary is `lib` for the tests of the library itself, `doc` for the
    /// examples of its documentation.
    pub(crate) test: String,
    /// Words of which the test's name has one.
    pub(crate) filter: String,
}

impl Defect {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// With what is wrong with it, and where.
    pub(crate) fn read(text: &str) -> Result<Vec<Defect>, String> {
        let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        let none = Vec::new();
        let entries = table.get("mutant").and_then(toml::Value::as_array).unwrap_or(&none);
        entries.iter().enumerate().map(|(at, entry)| Defect::of(at, entry)).collect()
    }

    fn of(at: usize, entry: &toml::Value) -> Result<Defect, String> {
        let word = |key: &str| {
            let found = entry.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            found.ok_or_else(|| format!("entry {} has no `{key}`", at + 1))
        };
        let defect = Defect {
            id: word("id")?,
            file: word("file")?,
            find: word("find")?,
            replace: word("replace")?,
            test: word("test")?,
            filter: word("filter")?,
        };
        match defect.test.split_once("::") {
            Some(_) => Ok(defect),
            None => Err(format!("{}: `{}` is no `package::binary`", defect.id, defect.test)),
        }
    }

    /// The package, and the binary of its tests.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.test.split_once("::").unwrap_or((&self.test, "lib"))
    }

    /// The file's text with the defect in it.
    ///
    /// # Errors
    ///
    /// When what is to be replaced does not occur exactly once.
    pub(crate) fn put_into(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!("{}: occurs {count} times in {}, not once", self.id, self.file)),
        }
    }

    /// Is it one of those asked for? By the beginning of its id; all when none is.
    pub(crate) fn is_asked(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.id.starts_with(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "[[mutant]]\nid = \"D1\"\nfile = \"a.rs\"\nfind = \"x\"\nreplace = \"y\"\n\
                         test = \"p::t\"\nfilter = \"d1\"\n";

    #[test]
    fn a_defect_is_put_in_where_its_text_occurs_once() {
        let defects = Defect::read(ENTRY).expect("it is well formed");
        assert_eq!(defects[0].put_into("a x b"), Ok("a y b".to_owned()));
        for text in ["a b", "x x"] {
            assert!(defects[0].put_into(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_entry_that_lacks_something_is_named() {
        let error = Defect::read("[[mutant]]\nid = \"D1\"\n").expect_err("it lacks a file");
        assert_eq!(error, "entry 1 has no `file`");
        assert!(Defect::read(&ENTRY.replace("p::t", "t")).is_err());
    }

    #[test]
    fn some_can_be_asked_for_by_the_beginnings_of_their_ids() {
        let defect = &Defect::read(ENTRY).expect("it is well formed")[0];
        assert!(defect.is_asked(&[]) && defect.is_asked(&["D".into()]));
        assert!(!defect.is_asked(&["D2".into()]));
    }
}
