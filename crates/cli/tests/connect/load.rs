//! The load forms.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::server::{echo, read, send, serve, serve_udp_echo, serve_unix_echo};
use crate::support::{Talk, connect};

/// An echo that answers in upper case.
fn upper(mut stream: std::net::TcpStream) {
    use std::io::{Read, Write};
    let mut buf = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buf) {
        buf[..count].make_ascii_uppercase();
        if stream.write_all(&buf[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn one_message_shows_its_reply() {
    let finished = connect(&[&serve(echo), "--message", "hello"], b"");
    assert_eq!((finished.text(), finished.code), ("hello\n", Some(0)));
    let summary = "1 connection on threads: 1 succeeded, 0 failed\n1 exchange in ";
    assert!(finished.stderr.starts_with(summary), "{}", finished.stderr);
}

#[test]
fn placeholders_tell_process_connection_and_exchange() {
    let args = [&serve(echo), "--message", "{pid}/{c}/{n}", "--count", "2"];
    let finished = connect(&args, b"");
    let lines: Vec<_> = finished.text().lines().collect();
    let (pid, rest) = lines[0].split_once('/').expect("three parts");
    assert!(pid.parse::<u32>().is_ok(), "{pid}");
    assert_eq!((rest, lines[1]), ("1/1", format!("{pid}/1/2").as_str()));
}

#[test]
fn s000_40_send_first_makes_that_many_exchanges() {
    let args = [&serve(echo), "--mode", "send-first", "--count", "2000", "--check", "echo", "-q"];
    let finished = connect(&args, b"");
    assert_eq!((finished.text(), finished.code), ("", Some(0)), "{}", finished.stderr);
    assert!(finished.stderr.contains("\n2000 exchanges in "), "{}", finished.stderr);
    let bytes = "12000 bytes sent, 12000 bytes received";
    assert!(finished.stderr.contains(bytes), "{}", finished.stderr);
}

#[test]
fn s000_31_recv_first_waits_for_the_greeting() {
    let address = serve(|mut stream| {
        for _ in 0..50 {
            send(&mut stream, b"ok");
            assert_eq!(read(&mut stream, 5), b"hello");
        }
    });
    let args = [&address, "--mode", "recv-first", "--count", "50", "--message", "hello", "--raw"];
    let finished = connect(&args, b"");
    assert_eq!((finished.text(), finished.code), ("ok\n".repeat(50).as_str(), Some(0)));
}

#[test]
fn s001_66_twenty_clients_hold_their_connections_at_once() {
    // Nobody is answered before all are here: the connections must be open at the same time.
    let all = Arc::new(Barrier::new(20));
    let address = serve(move |mut stream| {
        let message = read(&mut stream, 6);
        all.wait();
        send(&mut stream, &message);
    });
    let finished = connect(&[&address, "--threads", "20", "--hold", "30ms"], b"");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let summary = "20 connections on threads: 20 succeeded, 0 failed\n20 exchanges in ";
    assert!(finished.stderr.starts_with(summary), "{}", finished.stderr);
}

#[test]
fn the_hold_comes_after_the_last_message_and_before_its_reply_and_the_end() {
    for mode in ["send-first", "recv-first"] {
        let address = serve(|mut stream| {
            send(&mut stream, b"hello\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let began = Instant::now();
        let finished = connect(&[&address, "--mode", mode, "--hold", "300ms"], b"");
        assert!(began.elapsed() >= Duration::from_millis(300), "{mode}");
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let shortest = finished.stderr.split("round trip: shortest ").nth(1).expect("it is told");
        let shortest: f64 = shortest.split(',').next().expect("a number").parse().expect("one");
        assert_eq!(shortest >= 300.0, mode == "send-first", "{mode}: {}", finished.stderr);
    }
}

#[test]
fn tasks_make_the_same_exchanges_on_every_model() {
    let address = serve(echo);
    for model in ["nonblocking", "select", "poll", "epoll", "epoll-et", "signal", "uring", "auto"] {
        let args =
            [&address, "--tasks", "30", "--model", model, "--count", "20", "--check", "echo"];
        let finished = connect(&args, b"");
        assert_eq!(finished.code, Some(0), "{model}: {}", finished.stderr);
        let summary = "30 connections in tasks on ";
        assert!(finished.stderr.starts_with(summary), "{}", finished.stderr);
        assert!(finished.stderr.contains("30 succeeded"), "{}", finished.stderr);
        assert!(finished.stderr.contains("600 exchanges"), "{}", finished.stderr);
    }
}

#[test]
fn udp_and_unix_have_loads_too() {
    let finished = connect(&[&serve_udp_echo(), "--udp", "--count", "20", "--check", "echo"], b"");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let path = serve_unix_echo();
    let unix = path.to_str().expect("it is text");
    let args = ["--unix", unix, "--tasks", "5", "--count", "20", "--check", "echo"];
    let finished = connect(&args, b"");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    std::fs::remove_file(path).expect("it is there");
}

#[test]
fn replies_are_checked_byte_by_byte() {
    let address = serve(upper);
    let args = [&address, "--message", "aß!", "--check", "upper", "--count", "3"];
    assert_eq!(connect(&args, b"").code, Some(0));
    let args = [&address, "--message", "Ab", "--check", "echo"];
    let finished = connect(&args, b"");
    assert_eq!(finished.code, Some(1));
    let error = "error: reply 1 is wrong at byte 1: 'B' instead of 'b'";
    assert!(finished.stderr.ends_with(&format!("{error}\n")), "{}", finished.stderr);
}

#[test]
fn d23_a_reply_ends_where_it_is_told_to_end_and_not_where_a_read_does() {
    let address = serve(|mut stream| {
        for _ in 0..2 {
            read(&mut stream, 6);
            send(&mut stream, &b"A".repeat(2_000));
            send(&mut stream, &b"B".repeat(999));
            send(&mut stream, b"\n");
        }
    });
    for how in [&["--reply-size", "3000"][..], &["--reply-line"]] {
        let args = [&[address.as_str(), "--count", "2"][..], how].concat();
        let finished = connect(&args, b"");
        let reply = format!("{}{}\n", "A".repeat(2_000), "B".repeat(999));
        assert_eq!((finished.text(), finished.code), (reply.repeat(2).as_str(), Some(0)));
    }
}

#[test]
fn s001_65_ping_goes_on_until_ctrl_c_and_tells_what_it_did() {
    for mode in ["ping", "polling"] {
        let mut talk = Talk::start(&[&serve(echo), "--mode", mode, "--message", "hello world"]);
        for _ in 0..100 {
            talk.expect("hello world\n");
        }
        talk.interrupt();
        let finished = talk.finish();
        assert_eq!(finished.code, Some(130), "{}", finished.stderr);
        assert!(finished.stderr.contains("1 interrupted"), "{}", finished.stderr);
        assert!(finished.stderr.contains("round trip: shortest "), "{}", finished.stderr);
    }
}

#[test]
fn s003_16_polling_counts_how_often_it_asked_in_vain() {
    let address = serve(|mut stream| {
        let message = read(&mut stream, 6);
        std::thread::sleep(Duration::from_millis(50));
        send(&mut stream, &message);
    });
    let finished = connect(&[&address, "--mode", "polling", "--count", "1"], b"");
    assert_eq!((finished.text(), finished.code), ("hello\n", Some(0)), "{}", finished.stderr);
    let vain =
        finished.stderr.lines().find(|line| line.starts_with("polled ")).expect("it is told");
    let times: u64 = vain.split(' ').nth(1).expect("a number").parse().expect("a number");
    assert!(times > 10, "{vain}");
}

#[test]
fn d57_every_failure_is_told_with_its_reason_and_the_status_is_1() {
    // Every third client is sent away without an answer.
    let next = Arc::new(AtomicUsize::new(0));
    let address = serve(move |mut stream| {
        let message = read(&mut stream, 6);
        if next.fetch_add(1, Ordering::SeqCst) % 3 != 2 {
            send(&mut stream, &message);
        }
    });
    let finished = connect(&[&address, "--threads", "9"], b"");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let told = finished.stderr.as_str();
    assert!(told.starts_with("9 connections on threads: 6 succeeded, 3 failed\n  3 × "), "{told}");
    assert!(told.contains("× the server closed the connection before reply 1 was there (conn"));
    assert!(told.ends_with("error: 3 of 9 connections failed\n"), "{told}");
}

#[test]
fn a_reply_that_does_not_come_is_a_failure_after_the_reply_timeout() {
    let address = serve(|mut stream| {
        read(&mut stream, 6);
        send(&mut stream, b"hel");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    for mode in ["send-first", "polling"] {
        let args = [&address, "--mode", mode, "--count", "1", "--reply-timeout", "50ms"];
        let finished = connect(&args, b"");
        assert_eq!(finished.code, Some(1));
        let error = "error: no reply within 50 ms\n";
        assert!(finished.stderr.ends_with(error), "{}", finished.stderr);
    }
}
