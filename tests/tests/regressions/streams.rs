//! Defects about bytes: lost, duplicated, hoarded, or taken for messages.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream as Client};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::service::Service;
use fiveways::sync::Event;
use fiveways::task;
use fiveways_tests::arena::{Arena, echo_by_read, in_task, pair};
use fiveways_tests::client::{
    self, ask, expect_end, expect_eof, expect_noise, noise, reset, send_noise,
};
use fiveways_tests::hold::Hold;
use fiveways_tests::leaks::{descriptor_count, resident_bytes};
use fiveways_tests::patience::{LONG, eventually};
use rustix::net::{SendFlags, send};

fn serve(model: Model, service: Service) -> Arena {
    Arena::new(model, move |stream| service.serve(stream))
}

/// D01: only the listener was non-blocking; a silent client blocked the whole server. (`blocking`
/// waits for each client by design; there D22's limit helps.)
pub(crate) fn d01_a_silent_client_does_not_stop_the_others(model: Model) {
    let arena = serve(model, Service::Echo);
    let silent = arena.connect();
    arena.wait_for_connections(1);
    let mut second = arena.connect();
    second.write_all(b"second").expect("taken");
    // It keeps the place, for `blocking` serves one at a time.
    let silent = (!arena.is_serial()).then_some(silent);
    second.read_exact(&mut [0; 6]).expect("served");
    drop((silent, second));
    arena.stop();
}

/// D02: the end of the stream was not handled: descriptors leaked, or it was reported for ever.
pub(crate) fn d02_the_end_of_a_stream_is_seen_once_and_closes(model: Model) {
    let ends = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ends);
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        while stream.read(&mut [0; 64])? > 0 {}
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    for _ in 0..35 {
        arena.connect().write_all(b"and gone").expect("taken");
    }
    eventually("35 ends", || ends.load(Ordering::Relaxed) == 35);
    arena.wait_for_connections(0);
    arena.stop();
    assert_eq!(ends.load(Ordering::Relaxed), 35);
}

/// D03: an error of one connection (EPIPE, ECONNRESET, …) killed the server and every client.
pub(crate) fn d03_an_error_ends_its_own_connection_only(model: Model) {
    for handler in [echo_by_read, |stream| Service::Echo.serve(stream)] {
        let arena = Arena::new(model, handler);
        for size in [16_000, 60_000, 200_000] {
            for _ in 0..5 {
                let rude = arena.connect();
                send_noise(&rude, 0, size).expect("taken");
                drop(rude);
                let ruder = arena.connect();
                send_noise(&ruder, 0, size).expect("taken");
                reset(ruder);
            }
        }
        ask(&mut arena.connect(), b"alive");
        assert_eq!(arena.stop().stats.panicked, 0);
    }
}

/// D04: the return value of send was ignored: the tail of a reply was lost.
pub(crate) fn d04_short_writes_lose_nothing(model: Model) {
    const TOTAL: usize = 12 * 1024 * 1024;
    let arena = serve(model, Service::Echo);
    let client = arena.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&client, 32 * 1024).expect("takes options");
    thread::scope(|scope| {
        scope.spawn(|| {
            send_noise(&client, 0, TOTAL).expect("taken");
            client.shutdown(Shutdown::Write).expect("still there");
        });
        expect_noise(&client, 0, TOTAL);
    });
    expect_eof(&client);
    drop(client);
    arena.stop();
}

/// D05: a connection closed on one side stayed in the lists of the other, in the same pass.
pub(crate) fn d05_connections_that_close_in_one_batch_disturb_nothing(model: Model) {
    let arena = Arena::with(model, |server| server.pool_size(40), echo_by_read);
    let crowd = if arena.is_serial() { 1 } else { 30 };
    for round in 0..10 {
        let mut clients: Vec<_> = (0..crowd).map(|_| arena.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            ask(client, noise(round * 100 + number, 200));
        }
        // All at once: requests not yet answered, ends and resets share a batch.
        let mut survivors = Vec::new();
        for (number, mut client) in clients.into_iter().enumerate() {
            client.write_all(noise(round * 1_000 + number, 50)).expect("taken");
            match number % 3 {
                0 if crowd > 1 => survivors.push((number, client)),
                1 => reset(client),
                _ => drop(client),
            }
        }
        for (number, mut client) in survivors {
            let mut answer = [0; 50];
            client.read_exact(&mut answer).expect("who stays is answered");
            assert_eq!(answer, noise(round * 1_000 + number, 50), "and by its own bytes");
        }
    }
    arena.wait_for_connections(0);
    let stats = arena.stop().stats;
    let all = 10 * crowd as u64;
    assert_eq!((stats.accepted + stats.aborted, stats.panicked), (all, 0), "{stats:?}");
}

/// D06: of several dead connections only the first was removed.
pub(crate) fn d06_all_dead_connections_are_removed(model: Model) {
    let arena = Arena::with(model, |server| server.pool_size(40), echo_by_read);
    let crowd = if arena.is_serial() { 1 } else { 30 };
    let mut clients: Vec<_> = (0..crowd).map(|_| arena.connect()).collect();
    for client in &mut clients {
        ask(client, b"inside");
    }
    assert_eq!(arena.stats().connections, crowd);
    clients.into_iter().for_each(reset);
    arena.wait_for_connections(0);
    arena.stop();
}

/// D07: a second message before the first reply overwrote the reply.
pub(crate) fn d07_requests_before_the_first_answer_are_all_answered(model: Model) {
    let arena = serve(model, Service::Echo);
    let client = arena.connect();
    for at in (0..60_000).step_by(3) {
        (&client).write_all(noise(at, 3)).expect("taken");
    }
    expect_noise(&client, 0, 60_000);
    drop(client);
    arena.stop();
}

/// D08: sockets of clients that had left were forgotten but not closed.
pub(crate) fn d08_sockets_of_clients_that_left_are_closed(model: Model) {
    let arena = serve(model, Service::Echo);
    ask(&mut arena.connect(), b"warm");
    arena.wait_for_connections(0);
    let before = descriptor_count();
    for round in 0..40 {
        let mut client = arena.connect();
        ask(&mut client, b"inside");
        if round % 2 == 0 { drop(client) } else { reset(client) }
    }
    eventually("all are closed", || descriptor_count() <= before);
    arena.stop();
}

/// D09: what a client did not read was kept without limit.
pub(crate) fn d09_a_client_that_never_reads_costs_little(model: Model) {
    let arena = serve(model, Service::Echo);
    let flood = || {
        let client = arena.connect();
        client.set_write_timeout(Some(Duration::from_millis(150))).expect("takes options");
        let refused = client::retry(|| send_noise(&client, 0, 200 * 1024 * 1024));
        assert_eq!(refused.expect_err("it is held back").kind(), io::ErrorKind::WouldBlock);
        client
    };
    let crowd = if arena.is_serial() { 1 } else { 4 };
    // What belongs to the server is touched first.
    let warm = arena.connect();
    for at in (0..32 * 1024 * 1024).step_by(128 * 1024) {
        send_noise(&warm, at, at + 128 * 1024).expect("it is read");
        expect_noise(&warm, at, at + 128 * 1024);
    }
    drop(warm);
    arena.wait_for_connections(0);
    let before = resident_bytes();
    let mut grown = Vec::new();
    for _ in 0..4 {
        let clients: Vec<_> = (0..crowd).map(|_| flood()).collect();
        grown.push(resident_bytes().saturating_sub(before));
        drop(clients);
        arena.wait_for_connections(0);
    }
    // A ring touches its 128 buffers one after the other, as crowds come: they are the server's.
    let is_ring = matches!(model, Model::Auto | Model::Uring);
    let ring = if is_ring { 8 * 1024 * 1024 } else { 0 };
    let most = grown.iter().max().copied();
    assert!(most < Some(ring + 8 * 1024 * 1024), "kept for {crowd} clients: {grown:?}");
    assert!(is_ring || grown[3] < grown[1] + 3 * 1024 * 1024, "more with each crowd: {grown:?}");
    arena.stop();
}

/// The buffers that a crowd of stalled clients held were kept for good.
pub(crate) fn the_memory_of_a_crowd_is_given_back(model: Model) {
    const CROWD: usize = 350;
    let (held, leave) = (Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
    let (count, left) = (Arc::clone(&held), Arc::clone(&leave));
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        loop {
            match stream.fill_buf()?.len() {
                0 => return Ok(()),
                len @ 1..20 => stream.consume(len),
                // What it was lent, it keeps.
                _ => break,
            }
            stream.write_all(b"more")?;
        }
        count.fetch_add(1, Ordering::Relaxed);
        left.wait();
        Ok(())
    });
    ask_for_more(&arena.connect());
    let before = resident_bytes();
    let crowd: Vec<_> = (0..CROWD).map(|_| arena.connect()).collect();
    // Each takes its turn in the ring some times before it stalls.
    (0..3).for_each(|_| crowd.iter().for_each(ask_for_more));
    for client in &crowd {
        send_noise(client, 0, 60_000).expect("taken");
    }
    eventually("all hold bytes", || held.load(Ordering::Relaxed) == CROWD);
    let most = resident_bytes().saturating_sub(before);
    assert!(most > 8 << 20, "{most} bytes for {CROWD} clients are no crowd");
    leave.set();
    arena.wait_for_connections(0);
    // A ring keeps 160 buffers of 68 KiB at most; a hot buffer has 128 KiB, of which nine are kept.
    let (mut least, end) = (usize::MAX, Instant::now() + LONG);
    while least >= 13 << 20 {
        assert!(Instant::now() < end, "{least} bytes of {most} are kept");
        thread::sleep(Duration::from_millis(5));
        least = least.min(resident_bytes().saturating_sub(before));
    }
    arena.stop();
}

/// Sends a little and has a little back.
fn ask_for_more(mut client: &Client) {
    client.write_all(b"a little").expect("taken");
    client.read_exact(&mut [0; 4]).expect("answered");
}

/// D10: one read was taken for one message.
pub(crate) fn d10_messages_may_come_together_and_in_pieces(model: Model) {
    let arena = serve(model, Service::Greet);
    let client = arena.connect();
    let lines: String = (0..200).map(|number| format!("line {number}\n")).collect();
    // Cut where no line ends.
    for piece in lines.as_bytes().chunks(37) {
        (&client).write_all(piece).expect("taken");
    }
    client.shutdown(Shutdown::Write).expect("still there");
    let answers = BufReader::new(&client).lines().map_while(Result::ok).count();
    assert_eq!(answers, 201, "one at first, one for each line");
    drop(client);
    arena.stop();
}

/// D11: what was received was thrown away.
pub(crate) fn d11_what_is_received_reaches_the_handler(model: Model) {
    let sum = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sum);
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        assert!(bytes == noise(0, bytes.len()), "other bytes");
        count.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(())
    });
    for size in [1, 1_000, 300_000] {
        let client = arena.connect();
        send_noise(&client, 0, size).expect("taken");
        client.shutdown(Shutdown::Write).expect("still there");
        expect_end(&client);
    }
    arena.stop();
    assert_eq!(sum.load(Ordering::Relaxed), 301_001);
}

/// D13: when the send buffer was full, nothing was received any more: reading and writing have to
/// make progress each by itself.
pub(crate) fn d13_reading_goes_on_while_writing_waits(model: Model) {
    in_task(model, || {
        let (near, far) = pair();
        let writer = near.try_clone().expect("a descriptor");
        let writing = task::spawn_local(move || send_noise(&writer, 0, 20_000_000));
        // Nothing is read at the other end: the writer waits for room.
        for round in 0..50 {
            send_noise(&far, round * 999, (round + 1) * 999).expect("taken");
            expect_noise(&near, round * 999, (round + 1) * 999);
        }
        assert!(!writing.is_finished(), "twenty megabytes are on the way?");
        expect_noise(&far, 0, 20_000_000);
        writing.join().expect("no panic").expect("taken in the end");
    });
}

/// D13 in the greeting service: a client that writes and does not read is held back, not lost.
pub(crate) fn d13_a_client_that_does_not_read_its_greetings_is_held_back(model: Model) {
    const LINES: usize = 1_000_000;
    let arena = serve(model, Service::Greet);
    let client = arena.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let lines = b"\n".repeat(LINES);
            (&client).write_all(&lines).expect("taken");
            client.shutdown(Shutdown::Write).expect("still there");
        });
        let mut answers = Vec::new();
        (&client).read_to_end(&mut answers).expect("it ends");
        assert_eq!(answers.len(), 3 * (LINES + 1));
    });
    drop(client);
    arena.stop();
}

/// D14: a greeting in every pass of the loop: a client that sent nothing got 315,690 bytes.
pub(crate) fn d14_greets_once_and_then_once_for_each_line(model: Model) {
    let arena = serve(model, Service::Greet);
    let mut client = arena.connect();
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).expect("the greeting comes");
    assert_eq!(&greeting, b"ok\n");
    client.set_read_timeout(Some(Duration::from_millis(150))).expect("takes options");
    let more = client::retry(|| client.read(&mut [0; 64])).expect_err("nobody asked");
    assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
    client::limit(&client, LONG);
    client.write_all(b"a\nb\n").expect("taken");
    client.read_exact(&mut [0; 6]).expect("one for each line");
    client.shutdown(Shutdown::Write).expect("still there");
    expect_eof(&client);
    drop(client);
    arena.stop();
}

/// D16: what a connection had received was kept after it had gone.
pub(crate) fn d16_what_was_received_goes_with_its_connection(model: Model) {
    // Reads one byte and leaves: the rest was received for nobody.
    let arena = Arena::new(model, |mut stream: TcpStream| {
        stream.fill_buf()?;
        stream.consume(1);
        stream.read_exact(&mut [0])
    });
    let visit = || {
        let client = arena.connect();
        // The server may leave before it has all.
        let _ = send_noise(&client, 0, 100_000);
        let _ = client.shutdown(Shutdown::Write);
        expect_end(&client);
    };
    (0..50).for_each(|_| visit());
    let before = resident_bytes();
    (0..300).for_each(|_| visit());
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 6 * 1024 * 1024, "{grown} bytes are kept");
    arena.stop();
}

/// D17: a character of several bytes across the boundary of two reads closed the connection.
pub(crate) fn d17_characters_may_be_cut_by_reads(model: Model) {
    let text = format!("{}中{}", "a".repeat(1023), "b".repeat(10));
    for (service, expected) in
        [(Service::Echo, text.clone()), (Service::Upper, text.to_ascii_uppercase())]
    {
        let arena = serve(model, service);
        let mut client = arena.connect();
        client.write_all(&text.as_bytes()[..1024]).expect("taken");
        let mut answer = vec![0; text.len()];
        client.read_exact(&mut answer[..1024]).expect("half a character is answered too");
        client.write_all(&text.as_bytes()[1024..]).expect("taken");
        client.read_exact(&mut answer[1024..]).expect("the rest");
        assert_eq!(String::from_utf8(answer).expect("whole characters"), expected);
        drop(client);
        arena.stop();
    }
}

/// D20: one urgent byte was taken for an error and closed the connection.
pub(crate) fn d20_an_urgent_byte_does_not_end_the_connection(model: Model) {
    for handler in [echo_by_read, |stream| Service::Echo.serve(stream)] {
        let arena = Arena::new(model, handler);
        let mut client = arena.connect();
        for _ in 0..5 {
            ask(&mut client, b"before");
            send(&client, b"!", SendFlags::OOB).expect("sent");
            ask(&mut client, b"after");
        }
        drop(client);
        assert_eq!(arena.stop().stats.failed, 0);
    }
}

/// D44: at the end of the client's side pending answers were dropped.
pub(crate) fn d44_all_answers_come_after_the_client_has_ended_its_side(model: Model) {
    let arena = serve(model, Service::Upper);
    let mut client = arena.connect();
    let request = b"x".repeat(1_000_000);
    let sender = client.try_clone().expect("a descriptor");
    let sending = thread::spawn(move || {
        (&sender).write_all(&request).expect("taken");
        sender.shutdown(Shutdown::Write).expect("still there");
    });
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it ends in order");
    sending.join().expect("no panic");
    assert_eq!(answer, b"X".repeat(1_000_000));
    drop(client);
    arena.stop();
}

/// D49: one read for each readiness loses wake-ups under edge triggering.
pub(crate) fn d49_a_flood_is_drained(model: Model) {
    let arena = Arena::new(model, |mut stream: TcpStream| -> io::Result<()> {
        // Small reads: much is left after each.
        let mut buf = [0; 512];
        loop {
            let count = stream.read(&mut buf)?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&buf[..count])?;
        }
    });
    let flood = arena.connect();
    thread::scope(|scope| {
        scope.spawn(|| send_noise(&flood, 0, 3_000_000).expect("taken"));
        expect_noise(&flood, 0, 3_000_000);
    });
    drop(flood);
    arena.stop();
}

/// D49: draining without a budget starves the others. Two million bytes wait in a socket, and one
/// request in another: it is answered after a small part of them, not after all.
pub(crate) fn d49_a_flood_starves_nobody(model: Model) {
    let (held, drained) = (Hold::new(), Arc::new(AtomicUsize::new(0)));
    let (holding, count) = (held.clone(), Arc::clone(&drained));
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        // Small reads: much is left after each.
        let mut buf = [0; 512];
        loop {
            match stream.read(&mut buf)? {
                0 => return Ok(()),
                1 => {
                    if buf[0] == b'h' {
                        holding.block_here();
                    }
                    let before = count.load(Ordering::Relaxed) as u64;
                    stream.write_all(&before.to_ne_bytes())?;
                }
                much => _ = count.fetch_add(much, Ordering::Relaxed),
            }
        }
    });
    let answer = |client: &mut std::net::TcpStream| {
        let mut count = [0; 8];
        client.read_exact(&mut count).expect("an answer");
        u64::from_ne_bytes(count) as usize
    };
    let mut clients = [arena.connect(), arena.connect(), arena.connect()];
    for client in &mut clients {
        client.write_all(b"?").expect("taken");
        answer(client);
    }
    let [mut blocker, mut flood, mut modest] = clients;
    blocker.write_all(b"h").expect("taken");
    held.wait_until_blocked();
    flood.set_nonblocking(true).expect("takes it");
    let mut sent = 0;
    while let Ok(count) = flood.write(&[7; 64 << 10]) {
        sent += count;
    }
    modest.write_all(b"?").expect("taken");
    held.release();
    let before = answer(&mut modest);
    assert!(sent > 1_000_000, "that is no flood: {sent} bytes");
    assert!(before < sent / 4, "{before} of {sent} bytes went before one request");
    eventually("the flood is drained", || drained.load(Ordering::Relaxed) == sent);
    drop((blocker, flood, modest));
    arena.stop();
}
