//! What a stream carries arrives: all of it, in order, at any pace.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use fiveways::Model;
use fiveways::net::TcpStream;
use fiveways::service::Service;
use fiveways_tests::arena::{Arena, echo_by_read};
use fiveways_tests::client::{self, ask, expect_eof, expect_noise, noise, send_noise};
use fiveways_tests::leaks::resident_bytes;
use fiveways_tests::patience::LONG;

const MIB: usize = 1024 * 1024;

/// A writer that makes no progress for so long is being held back.
const HELD_BACK: Duration = Duration::from_millis(300);

fn echo(stream: TcpStream) -> io::Result<()> {
    Service::Echo.serve(stream)
}

/// Writes the test stream until the server takes no more; gives how much it took.
fn flood(stream: &std::net::TcpStream, up_to: usize) -> usize {
    stream.set_write_timeout(Some(HELD_BACK)).expect("takes options");
    let mut at = 0;
    while at < up_to {
        match (&*stream).write(noise(at, (up_to - at).min(256 * 1024))) {
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("the flood met {error}"),
        }
    }
    stream.set_write_timeout(Some(LONG)).expect("takes options");
    at
}

/// 64 MiB from a client that reads nothing at first: it is held back, others are served meanwhile,
/// the server hoards nothing, and in the end every byte is there [D04, D09].
fn hold_back_then_deliver(model: Model, handler: fn(TcpStream) -> io::Result<()>) {
    const TOTAL: usize = 64 * MIB;
    let arena = Arena::new(model, handler);
    let slow = arena.connect();
    noise(0, 1);
    let before = resident_bytes();
    let taken = flood(&slow, TOTAL);
    assert!(taken < TOTAL, "the server took {taken} bytes that nobody wanted to read back");
    if !arena.is_serial() {
        ask(&mut arena.connect(), b"others are served meanwhile");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "the server hoards {grown} bytes");
    thread::scope(|scope| {
        scope.spawn(|| {
            send_noise_from(&slow, taken, TOTAL);
            slow.shutdown(Shutdown::Write).expect("still there");
        });
        expect_noise(&slow, 0, TOTAL);
    });
    expect_eof(&slow);
    drop(slow);
    arena.stop();
}

fn send_noise_from(stream: &std::net::TcpStream, from: usize, to: usize) {
    send_noise(stream, from, to).expect("the server takes the rest");
}

pub(crate) fn a_slow_reader_holds_64_mib_back_and_gets_them_by_fill_buf(model: Model) {
    hold_back_then_deliver(model, echo);
}

pub(crate) fn a_slow_reader_holds_64_mib_back_and_gets_them_by_read(model: Model) {
    hold_back_then_deliver(model, echo_by_read);
}

/// The client ends its side first and still gets every answer, then the end [D44].
pub(crate) fn half_close(model: Model) {
    for handler in [echo, echo_by_read] {
        let arena = Arena::new(model, handler);
        let client = arena.connect();
        thread::scope(|scope| {
            scope.spawn(|| {
                send_noise(&client, 0, 3 * MIB).expect("taken");
                client.shutdown(Shutdown::Write).expect("still there");
            });
            expect_noise(&client, 0, 3 * MIB);
        });
        expect_eof(&client);
        drop(client);
        arena.stop();
    }
}

pub(crate) fn one_byte_reads_and_writes(model: Model) {
    let arena = Arena::new(model, |mut stream: TcpStream| -> io::Result<()> {
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let mut client = arena.connect();
    for at in 0..2_000 {
        ask(&mut client, noise(at, 1));
    }
    client.write_all(noise(0, 5_000)).expect("taken");
    expect_noise(&client, 0, 5_000);
    drop(client);
    arena.stop();
}

/// 10,000 requests without waiting for an answer: as many answers, in order [D07, D10].
pub(crate) fn pipelined_requests(model: Model) {
    let arena = Arena::new(model, |stream| Service::Upper.serve(stream));
    let client = arena.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..10_000 {
                writeln!(&client, "request {number}").expect("taken");
            }
            client.shutdown(Shutdown::Write).expect("still there");
        });
        let mut lines = io::BufReader::new(&client).lines();
        for number in 0..10_000 {
            let line = lines.next().expect("an answer each").expect("it comes");
            assert_eq!(line, format!("REQUEST {number}"));
        }
        assert!(lines.next().is_none(), "an answer that nobody asked for");
    });
    drop(client);
    arena.stop();
}

/// All kinds of reading, one after the other, on one stream: each goes on where the last one ended.
pub(crate) fn every_way_of_reading_goes_on_where_the_last_one_ended(model: Model) {
    const TOTAL: usize = 400_000;
    let arena = Arena::new(model, |mut stream: TcpStream| {
        let mut at = 0;
        let mut turn = 0;
        while at < TOTAL {
            turn += 1;
            at += read_somehow(&mut stream, turn, at)?;
        }
        stream.write_all(b"all of it")
    });
    let mut client = arena.connect();
    let mut random = fastrand::Rng::with_seed(11);
    let mut at = 0;
    while at < TOTAL {
        let piece = random.usize(1..3_000).min(TOTAL - at);
        client.write_all(noise(at, piece)).expect("taken");
        at += piece;
    }
    let mut answer = [0; 9];
    client.read_exact(&mut answer).expect("the handler found every byte in its place");
    assert_eq!(&answer, b"all of it");
    drop(client);
    arena.stop();
}

/// Reads some bytes in one of several ways and checks them; gives how many it took.
fn read_somehow(stream: &mut TcpStream, turn: u32, at: usize) -> io::Result<usize> {
    let mut buf = [0; 700];
    let count = match turn % 6 {
        0 => {
            let bytes = stream.fill_buf()?;
            assert!(*bytes == *noise(at, bytes.len()), "fill_buf at {at}");
            let count = bytes.len().min(500);
            stream.consume(count);
            return Ok(count);
        }
        1 => stream.read(&mut buf)?,
        2 => {
            let peeked = stream.peek(&mut buf)?;
            assert!(buf[..peeked] == *noise(at, peeked), "peek at {at}");
            return Ok(0);
        }
        3 => {
            let (front, back) = buf.split_at_mut(13);
            stream.read_vectored(&mut [IoSliceMut::new(front), IoSliceMut::new(back)])?
        }
        4 => stream.halves().0.read(&mut buf[..1])?,
        _ => (&*stream).read(&mut buf[..99])?,
    };
    assert!(count > 0, "the stream ended at {at}");
    assert!(buf[..count] == *noise(at, count), "way {} at {at}", turn % 6);
    Ok(count)
}

/// Vectored writes lose nothing however much they take at once.
pub(crate) fn vectored_writes(model: Model) {
    const TOTAL: usize = 2 * MIB;
    let arena = Arena::new(model, |mut stream: TcpStream| -> io::Result<()> {
        let mut at = 0;
        while at < TOTAL {
            let left = TOTAL - at;
            let whole = noise(at, left.min(300_000));
            let (front, back) = whole.split_at(whole.len() / 3);
            at += stream.write_vectored(&[IoSlice::new(front), IoSlice::new(back)])?;
        }
        Ok(())
    });
    let mut client = arena.connect();
    expect_noise(&client, 0, TOTAL);
    expect_eof(&mut client);
    drop(client);
    arena.stop();
}

/// A handler may look at a loan while it waits for something else.
pub(crate) fn lent_bytes_stay_while_their_reader_waits(model: Model) {
    let arena = Arena::with(
        model,
        |server| server.pool_size(16),
        |mut stream: TcpStream| -> io::Result<()> {
            let (mut reader, mut writer) = stream.halves();
            loop {
                let bytes = reader.fill_buf()?;
                if bytes.is_empty() {
                    return Ok(());
                }
                let copy = bytes.to_vec();
                // The other connections of this worker are served meanwhile.
                fiveways::time::sleep(Duration::from_millis(1));
                assert!(copy == bytes, "lent bytes have changed");
                writer.write_all(bytes)?;
                let count = bytes.len();
                reader.consume(count);
            }
        },
    );
    if arena.is_serial() {
        ask(&mut arena.connect(), b"alone, nobody can disturb");
        arena.stop();
        return;
    }
    let mut clients: Vec<_> = (0..16).map(|_| arena.connect()).collect();
    for turn in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(noise(turn * 1_000 + number * 77, 1_000)).expect("taken");
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let at = turn * 1_000 + number * 77;
            expect_noise(client, at, at + 1_000);
        }
    }
    drop(clients);
    arena.stop();
}

/// The ready-made services do what they say.
pub(crate) fn services(model: Model) {
    let cases: [(Service, &[u8], &[u8]); 4] = [
        (Service::Echo, b"abc\xff\n", b"abc\xff\n"),
        (Service::Upper, "grüße 中\n".as_bytes(), "GRüßE 中\n".as_bytes()),
        (Service::Greet, b"one\ntwo\n", b"ok\nok\nok\n"),
        (Service::Sink, b"anything", b""),
    ];
    for (service, request, expected) in cases {
        let arena = Arena::new(model, move |stream| service.serve(stream));
        let mut client = client::connect(arena.addr());
        client.write_all(request).expect("taken");
        client.shutdown(Shutdown::Write).expect("still there");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("it ends");
        assert_eq!(answer, expected, "{service}");
        drop(client);
        arena.stop();
    }
}
