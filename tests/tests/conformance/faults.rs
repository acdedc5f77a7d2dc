//! One client's trouble stays its own.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::service::Service;
use fiveways_tests::arena::{Arena, echo_by_read};
use fiveways_tests::client::{self, ask, expect_end, expect_eof, noise};
use fiveways_tests::patience::{LONG, eventually};

fn echo(stream: TcpStream) -> io::Result<()> {
    Service::Echo.serve(stream)
}

/// A client resets in the middle of a stream, with bytes under way in both directions [D03].
pub(crate) fn a_reset_in_mid_stream_harms_nobody(model: Model) {
    for handler in [echo, echo_by_read] {
        let arena = Arena::new(model, handler);
        let mut bystander = (!arena.is_serial()).then(|| arena.connect());
        for round in 0..20 {
            let mut client = arena.connect();
            client.write_all(noise(0, 200_000)).expect("taken");
            if round % 2 == 0 {
                client.read_exact(&mut [0; 1000]).expect("the echo has begun");
            }
            client::reset(client);
            if let Some(bystander) = &mut bystander {
                ask(bystander, noise(round, 500));
            }
        }
        drop(bystander);
        ask(&mut arena.connect(), b"and new ones are served");
        let report = arena.stop();
        assert_eq!(report.stats.panicked, 0);
    }
}

/// Clients that say nothing delay nobody; under `blocking` they are served one by one, in order
/// [D01, D22].
pub(crate) fn silent_peers_delay_nobody(model: Model) {
    if model == Model::Blocking {
        return one_at_a_time_in_order(model);
    }
    let arena = Arena::with(model, |server| server.pool_size(24), echo);
    let silent: Vec<_> = (0..20).map(|_| arena.connect()).collect();
    arena.wait_for_connections(20);
    let started = Instant::now();
    for round in 0..50 {
        ask(&mut arena.connect(), noise(round, 100));
    }
    assert!(started.elapsed() < LONG / 4, "fifty requests took {:?}", started.elapsed());
    for mut late in silent {
        ask(&mut late, b"not silent any more");
    }
    arena.stop();
}

/// What `blocking` promises: each connection is served to its end, in the order of arrival.
fn one_at_a_time_in_order(model: Model) {
    let arena = Arena::new(model, echo);
    let mut clients: Vec<_> = (0..5).map(|_| arena.connect()).collect();
    arena.wait_for_connections(1);
    for client in &mut clients {
        client.write_all(b"me").expect("taken");
    }
    for (number, mut client) in clients.into_iter().enumerate() {
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("its turn comes when those before have left");
        assert!(arena.stats().connections <= 1, "two at a time");
        assert!(arena.stats().accepted as usize <= number + 1, "out of turn");
    }
    arena.stop();
}

/// The server of a pool serves as many as it has threads; the next one waits for a leaver.
pub(crate) fn a_pool_smaller_than_its_clients_serves_all_in_the_end(model: Model) {
    let arena = Arena::with(model, |server| server.pool_size(2), echo);
    let clients: Vec<_> = (0..10).map(|_| arena.connect()).collect();
    for client in &clients {
        (&mut &*client).write_all(b"me").expect("taken");
    }
    for mut client in clients {
        client.read_exact(&mut [0; 2]).expect("its turn comes");
    }
    let report = arena.stop();
    assert_eq!(report.stats.accepted, 10);
}

/// A panic ends its connection, is counted, and harms nobody [D28].
pub(crate) fn a_panic_in_a_handler_harms_nobody(model: Model) {
    quietly_panicking();
    let arena = Arena::new(model, |mut stream: TcpStream| -> io::Result<()> {
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            assert!(byte != *b"!", "as the client wished");
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let mut bystander = (!arena.is_serial()).then(|| arena.connect());
    for _ in 0..10 {
        let mut client = arena.connect();
        ask(&mut client, b"a");
        client.write_all(b"!").expect("taken");
        expect_end(&client);
        if let Some(bystander) = &mut bystander {
            ask(bystander, b"unharmed");
        }
    }
    drop(bystander);
    ask(&mut arena.connect(), b"alive");
    let report = arena.stop();
    assert_eq!(report.stats.panicked, 10);
}

/// Keeps the wished-for panics off the terminal.
fn quietly_panicking() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let wished = info.payload_as_str().is_some_and(|text| text.contains("client wished"));
        if !wished {
            usual(info);
        }
    }));
}

/// An error of a handler ends its connection and is counted.
pub(crate) fn an_error_of_a_handler_is_counted(model: Model) {
    let arena = Arena::new(model, |_: TcpStream| Err(io::Error::other("no")));
    for _ in 0..5 {
        expect_end(arena.connect());
    }
    eventually("all are counted", || arena.stats().failed == 5);
    arena.stop();
}

/// Connections that come and go as fast as they can do not starve one that is there.
pub(crate) fn a_storm_of_connections_starves_nobody(model: Model) {
    let arena = Arena::new(model, echo);
    let mut steady = arena.connect();
    ask(&mut steady, b"here first");
    let (over, answered) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut times = Vec::new();
    thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&arena, &over, &answered));
        let began = Instant::now();
        // On a busy machine the storm lasts longer, until there are answers enough to judge by.
        let mut end = began + Duration::from_secs(20);
        while Instant::now() < end && !storm.is_finished() {
            let asked = Instant::now();
            ask(&mut steady, b"are you there?");
            times.push(asked.elapsed());
            if times.len() == ENOUGH {
                answered.store(true, Ordering::Relaxed);
                end = began + Duration::from_millis(1_200);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    drop(steady);
    times.sort();
    let late = times[times.len() * 99 / 100];
    // A starved client is answered when the storm is over. The bounds leave room for a busy
    // machine.
    assert!(times.len() >= ENOUGH, "only {} answers during the storm", times.len());
    assert!(late < Duration::from_secs(1), "99 of 100 answers came within {late:?}");
    ask(&mut arena.connect(), b"served after the storm");
    arena.stop();
}

/// Answers that a judgement needs.
const ENOUGH: usize = 20;

/// Connects and leaves in several ways, over and over.
fn storm(arena: &Arena, over: &AtomicBool, answered: &AtomicBool) {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) && (count < 3_000 || !answered.load(Ordering::Relaxed)) {
        let stream = arena.connect();
        count += 1;
        match count % 3 {
            0 => client::reset(stream),
            1 => drop(stream),
            _ => {
                let _ = (&stream).write_all(b"never mind the answer");
            }
        }
    }
    assert!(count > 50, "that was no storm: {count}");
}

/// Clients that send and leave without reading [D03]: their bytes are in the receive queue when the
/// answers meet a reset.
pub(crate) fn clients_that_never_read_harm_nobody(model: Model) {
    let arena = Arena::new(model, echo);
    for _ in 0..30 {
        let mut rude = arena.connect();
        rude.write_all(noise(0, 100_000)).expect("taken");
        drop(rude);
    }
    let mut polite = arena.connect();
    ask(&mut polite, b"still served");
    polite.shutdown(Shutdown::Write).expect("still there");
    expect_eof(&polite);
    drop(polite);
    arena.stop();
}

/// Descriptors are closed and their numbers used again at once: what is left over from an earlier
/// connection never reaches a later one of the same number.
pub(crate) fn reused_descriptors_get_nothing_of_their_predecessors(model: Model) {
    let arena = Arena::new(model, echo);
    for round in 0..1_500_usize {
        let mut client = arena.connect();
        let mark = round.to_ne_bytes();
        match round % 5 {
            // Something of each is left over: unread answers, unread requests, errors.
            0 => client.write_all(&[0xEE; 3_000]).expect("taken"),
            1 => {
                client.write_all(&[0xEE; 100]).expect("taken");
                client::reset(client);
            }
            2 => client.shutdown(Shutdown::Both).expect("still there"),
            _ => {
                ask(&mut client, &mark);
                ask(&mut client, &mark);
                client.shutdown(Shutdown::Write).expect("still there");
                expect_eof(&client);
            }
        }
    }
    let report = arena.stop();
    assert_eq!(report.stats.accepted + report.stats.aborted, 1_500);
}
