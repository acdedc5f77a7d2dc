//! The line client.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::server::{echo, read, send, serve, serve_udp_echo, serve_unix_echo};
use crate::support::{Talk, connect};

#[test]
fn lines_are_trimmed_and_empty_ones_skipped_and_the_end_of_input_brings_the_last_answers() {
    let address = serve(echo);
    let input = "  one \n\n \t\n\u{3000}zwei 中\u{3000}\r\nlast";
    let finished = connect(&[&address], input.as_bytes());
    assert_eq!(finished.text(), "one\nzwei 中\nlast\n");
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
}

#[test]
fn raw_lines_have_no_line_feed() {
    let finished = connect(&[&serve(echo), "--raw"], b"ab\n cd \n");
    assert_eq!((finished.text(), finished.code), ("abcd", Some(0)));
}

#[test]
fn answers_are_shown_when_they_arrive_and_not_when_a_line_is_sent() {
    let address = serve(|mut stream| {
        send(&mut stream, b"welcome\n");
        assert_eq!(read(&mut stream, 3), b"hi\n");
        // More than one answer, and longer ones than a single read of 1024 bytes (D23).
        send(&mut stream, &[b"A".repeat(3_000).as_slice(), b"\nB\n"].concat());
        assert_eq!(read(&mut stream, 4), b"bye\n");
    });
    let mut talk = Talk::start(&[&address]);
    talk.expect("welcome\n");
    talk.say("hi\n");
    talk.expect(&format!("{}\nB\n", "A".repeat(3_000)));
    talk.say("bye\n");
    assert_eq!(talk.finish().code, Some(1));
}

#[test]
fn d17_a_character_that_is_cut_by_a_read_is_shown_whole() {
    let (tell, told) = channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let address = serve(move |mut stream| {
        let text = format!("{}中{}", "a".repeat(1023), "b".repeat(10));
        let (first, second) = text.as_bytes().split_at(1024);
        send(&mut stream, first);
        // The first piece has been shown before the second is sent.
        told.lock().expect("nobody panics with it").recv().expect("the test says so");
        send(&mut stream, second);
        send(&mut stream, b"\xff!\xe4\xb8");
    });
    let mut talk = Talk::start(&[&address]);
    talk.expect(&"a".repeat(1023));
    tell.send(()).expect("the server waits");
    talk.expect(&format!("中{}\u{fffd}!", "b".repeat(10)));
    let finished = talk.finish();
    assert_eq!(finished.text(), "\u{fffd}", "the incomplete end is shown as such");
}

#[test]
fn binary_output_is_left_as_it_is() {
    let address = serve(|mut stream| {
        send(&mut stream, b"\xff\x00\xe4\xb8");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let finished = connect(&[&address, "--binary"], b"");
    assert_eq!((finished.stdout.as_slice(), finished.code), (&b"\xff\x00\xe4\xb8"[..], Some(0)));
}

#[test]
fn d24_the_servers_end_is_told_with_a_message_and_status_1() {
    let address = serve(|mut stream| {
        let line = read(&mut stream, 2);
        send(&mut stream, &line);
    });
    let mut talk = Talk::start(&[&address]);
    talk.say("x\n");
    let finished = talk.finish();
    assert_eq!(finished.text(), "x\n");
    assert_eq!(finished.stderr, "error: the server closed the connection\n");
    assert_eq!(finished.code, Some(1));
}

#[test]
fn d24_a_reset_is_told_with_a_message_and_status_1() {
    // Closing with unread bytes resets the connection.
    let address = serve(|mut stream| {
        read(&mut stream, 1);
    });
    let mut talk = Talk::start(&[&address]);
    talk.say("unread\n");
    let finished = talk.finish();
    assert_eq!(finished.stderr, "error: the server reset the connection\n");
    assert_eq!(finished.code, Some(1));
}

#[test]
fn d24_ctrl_c_ends_with_status_130() {
    let mut talk = Talk::start(&[&serve(echo)]);
    talk.say("x\n");
    talk.expect("x\n");
    talk.interrupt();
    let finished = talk.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(130), "interrupted\n"));
}

#[test]
fn a_file_larger_than_all_buffers_passes_an_echo_in_full() {
    let line = format!("{}\n", "0123456789".repeat(100));
    let input = line.repeat(16_000);
    let finished = connect(&[&serve(echo)], input.as_bytes());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout == input.as_bytes(), "{} bytes came back", finished.stdout.len());
}

#[test]
fn a_server_that_reads_nothing_is_still_heard_and_can_still_be_left() {
    let (tell, told) = channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let address = serve(move |mut stream| {
        told.lock().expect("nobody panics with it").recv().expect("the test says so");
        send(&mut stream, b"still here\n");
        std::thread::park();
    });
    let mut talk = Talk::start(&[&address]);
    let fed = talk.flood("a line of a long file\n");
    // Until nothing more fits anywhere. Looking too early would make the test milder, not wrong.
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = fed.load(Ordering::SeqCst);
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    tell.send(()).expect("the server waits");
    talk.expect("still here\n");
    talk.interrupt();
    assert_eq!(talk.finish().code, Some(130));
}

#[test]
fn a_server_that_never_ends_is_left_after_the_wait() {
    let address = serve(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        send(&mut stream, b"bye\n");
        std::thread::park();
    });
    let finished = connect(&[&address, "--wait", "50ms"], b"x\n");
    assert_eq!((finished.text(), finished.code), ("bye\n", Some(0)));
    assert!(finished.stderr.starts_with("note: nothing arrived for 50 ms"), "{}", finished.stderr);
}

#[test]
fn udp_sends_a_datagram_for_each_line_and_ends_with_the_last_answer() {
    let finished = connect(&[&serve_udp_echo(), "--udp", "--wait", "30s"], b"one\ntwo\n");
    assert_eq!((finished.text(), finished.code), ("one\ntwo\n", Some(0)));
}

#[test]
fn a_unix_socket_is_talked_to_by_its_path() {
    let path = serve_unix_echo();
    let finished = connect(&["--unix", path.to_str().expect("it is text")], b"one\n");
    assert_eq!((finished.text(), finished.code), ("one\n", Some(0)));
    std::fs::remove_file(path).expect("it is there");
}
