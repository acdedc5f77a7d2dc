//! The rules, and the order in which a report lists them.

pub(super) mod layers;
pub(super) mod order;
pub(super) mod reasons;
pub(super) mod manifest;
pub(super) mod sizes;
pub(super) mod functions;
pub(super) mod unsafety;
pub(super) mod leftovers;
pub(super) mod pages;
pub(super) mod mutants;
pub(super) mod spelling;
pub(super) mod words;
pub(super) mod labels;
pub(super) mod seams;

use super::finding::Rule;

/// Every rule, in the order of the report.
pub(super) static RULES: [Rule; 27] = [
    layers::LAYER,
    layers::KERNEL,
    seams::CLOCK,
    seams::RANDOM,
    order::ORDER,
    order::ORPHANS,
    order::NAMES,
    reasons::REASON,
    reasons::INHERIT,
    sizes::HEADER,
    sizes::FILE_SIZE,
    sizes::LINE_LENGTH,
    functions::FUNCTION_SIZE,
    unsafety::OPENED,
    unsafety::SAFETY,
    leftovers::LEFTOVER,
    leftovers::IGNORED,
    leftovers::UNCODED,
    leftovers::GLOB,
    pages::LINK,
    pages::CHANGELOG,
    mutants::MUTANT,
    spelling::MODEL,
    spelling::WORDS,
    words::PRIVATE_NAME,
    words::HEADLESS,
    labels::LABEL,
];
