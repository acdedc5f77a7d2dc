//! The list, the help, the sources; wrong usage and a reader that has gone.

use std::fs;
use std::io::pipe;
use std::path::Path;

use crate::support::{demo, output, said, stderr, stdout};

const NAMES: [&str; 17] = [
    "local",
    "order",
    "generator",
    "greenlet",
    "eat-play",
    "asyncio-hello",
    "coro",
    "deadlock",
    "rlock",
    "semaphore",
    "event",
    "queues",
    "pool",
    "mutex",
    "producer-consumer",
    "sticky",
    "spawn-styles",
];

#[test]
fn without_a_name_all_demos_are_listed_with_a_line_each() {
    let output = output(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "\
local              Data of which each thread, or task, has its own
order              Two functions: serial or concurrent, synchronous or not
generator          Two functions that alternate by yield: it saves no waiting
greenlet           Two functions that switch to each other explicitly
eat-play           Two tasks of one thread: one runs while the other waits
asyncio-hello      Two hello tasks of one thread, asleep at the same time
coro               Any number of waiting tasks on one thread
deadlock           Two locks in opposite order: detected, reported, and two ways out
rlock              A lock that its holder can take again, and no other can
semaphore          Many visitors, few places: never too many inside
event              Cars wait for the green light, as threads or processes
queues             First in first out, last in first out, and by priority
pool               A pool of threads, or processes, with a callback for each result
mutex              Many users, one ticket: sold once, or often without a mutex
producer-consumer  Cooks make buns, guests eat them, and all go home in good order
sticky             TCP has no message boundaries; a length prefix adds them
spawn-styles       Processes and threads from a function, and from a type
"
    );
}

#[test]
fn the_source_of_each_demo_is_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo");
    for name in NAMES {
        let file = folder.join(format!("{}.rs", name.replace('-', "_")));
        let source = fs::read_to_string(file).expect("there is a file for each demo");
        assert_eq!(said(&[name, "--source"]), source);
    }
    let files = fs::read_dir(folder).expect("it is there").count();
    assert_eq!(files, NAMES.len() + 1, "each file is a demo, but for the stage of all");
}

#[test]
fn each_demo_has_a_help_of_its_own() {
    for name in NAMES {
        let help = said(&[name, "--help"]);
        assert!(help.contains(&format!("Usage: fiveways demo {name} [OPTIONS]\n")), "{help}");
        assert!(help.contains("--source") && help.contains("--scale <FACTOR>"), "{help}");
    }
}

#[test]
fn an_unknown_demo_is_wrong_usage() {
    let output = output(&["x", "--y"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    let hint = "hint: `fiveways demo` lists the demos there are";
    assert_eq!(stderr(&output), format!("error: unknown demo 'x'\n\n{hint}\n"));
}

#[test]
fn a_scale_that_is_none_is_wrong_usage() {
    for (scale, why) in [("0", "not between"), ("-1", "not between"), ("NaN", "not between")] {
        let output = output(&["order", &format!("--scale={scale}")]);
        assert_eq!(output.status.code(), Some(2), "{scale}");
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
    let output = output(&["order", "--scale", "fast"]);
    assert!(stderr(&output).contains("not a number"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let fast = ["--scale", "0.01"];
    let demos: [&[&str]; 6] = [
        &[],
        &["order", "--source"],
        &["order", "--coro"],
        &["pool", "--processes"],
        &["event", "--processes"],
        &["spawn-styles"],
    ];
    for args in demos {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let output = demo(&[args, &fast].concat()).stdout(writer).output();
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{args:?}");
    }
}
