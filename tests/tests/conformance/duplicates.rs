//! "Header, duplicate, body": the code that takes a connection over after its header was read gets
//! every byte behind the header, by whichever value or descriptor it reads.

use std::io::{self, BufRead, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fiveways::Model;
use fiveways::net::{TcpStream, UnixStream};
use fiveways::task;
use fiveways_tests::arena::{Arena, in_task, in_task_of, pair};
use fiveways_tests::client::{expect_noise, limit, noise, send_noise};
use fiveways_tests::patience::LONG;

const BODY: usize = 3_000;

/// When the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// In one piece with the header: the reader of the header receives it too.
    WithHeader,
    /// After the header was read and before there is a duplicate.
    BeforeDuplicate,
    /// To the duplicate.
    AfterDuplicate,
}

/// Reads a line, makes a second reader of the connection, and has it read the body.
fn take_over(model: Model, sent: Sent, body: fn(TcpStream) -> io::Result<Box<dyn Read + Send>>) {
    let has_sent = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_sent);
    let arena = Arena::new(model, move |mut stream: TcpStream| {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        assert_eq!(line, "header\n");
        stream.write_all(b"1")?;
        if sent == Sent::BeforeDuplicate {
            while !seen.load(Ordering::Acquire) {
                fiveways::time::sleep(Duration::from_millis(1));
            }
            // A driver that receives ahead of a reader does so now.
            fiveways::time::sleep(Duration::from_millis(5));
        }
        let writer = stream.as_fd().try_clone_to_owned()?;
        let reader = body(stream)?;
        let mut writer = std::net::TcpStream::from(writer);
        writer.write_all(b"2")?;
        expect_noise(reader, 0, BODY);
        writer.write_all(b"3")
    });
    let mut client = arena.connect();
    let expect = |client: &mut std::net::TcpStream, what: u8| {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("the handler goes on");
        assert_eq!(byte[0], what);
    };
    let mut header = b"header\n".to_vec();
    if sent == Sent::WithHeader {
        header.extend_from_slice(noise(0, BODY));
    }
    client.write_all(&header).expect("taken");
    expect(&mut client, b'1');
    if sent == Sent::BeforeDuplicate {
        send_noise(&client, 0, BODY).expect("taken");
        has_sent.store(true, Ordering::Release);
    }
    expect(&mut client, b'2');
    if sent == Sent::AfterDuplicate {
        send_noise(&client, 0, BODY).expect("taken");
    }
    expect(&mut client, b'3');
    drop(client);
    arena.stop();
}

/// A reader that never waits for ever: what is not there in time is missing.
fn bounded(fd: OwnedFd) -> Box<dyn Read + Send> {
    let stream = std::net::TcpStream::from(fd);
    limit(&stream, LONG);
    Box::new(stream)
}

/// Reads everything on a thread of its own.
struct OnThread(Option<Box<dyn Read + Send>>);

impl Read for OnThread {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.take().expect("one reader");
        let len = buf.len();
        let reading = fiveways::executor::unblock(move || {
            let mut bytes = vec![0; len];
            let count = inner.read(&mut bytes);
            (inner, bytes, count)
        });
        let (inner, bytes, count) = reading;
        self.0 = Some(inner);
        let count = count?;
        buf[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

pub(crate) fn a_duplicate_reads_what_follows_the_header(model: Model) {
    for sent in [Sent::WithHeader, Sent::BeforeDuplicate, Sent::AfterDuplicate] {
        take_over(model, sent, |stream| Ok(Box::new(stream.try_clone()?)));
    }
}

pub(crate) fn the_original_reads_on_beside_its_duplicate(model: Model) {
    for sent in [Sent::WithHeader, Sent::BeforeDuplicate, Sent::AfterDuplicate] {
        take_over(model, sent, |stream| {
            let _duplicate = stream.try_clone()?;
            Ok(Box::new(io::BufReader::with_capacity(7, stream)))
        });
    }
}

pub(crate) fn a_duplicate_on_a_plain_thread_reads_what_follows_the_header(model: Model) {
    for sent in [Sent::WithHeader, Sent::BeforeDuplicate, Sent::AfterDuplicate] {
        take_over(model, sent, |stream| {
            Ok(Box::new(OnThread(Some(Box::new(stream.try_clone()?)))))
        });
    }
}

/// The descriptor has what the socket has: all that its last reader has not received.
pub(crate) fn an_extracted_descriptor_reads_what_follows_the_header(model: Model) {
    for sent in [Sent::BeforeDuplicate, Sent::AfterDuplicate] {
        take_over(model, sent, |stream| Ok(bounded(OwnedFd::from(stream))));
        take_over(model, sent, |stream| Ok(bounded(stream.as_fd().try_clone_to_owned()?)));
    }
}

pub(crate) fn a_detached_connection_has_what_follows_the_header(model: Model) {
    for sent in [Sent::WithHeader, Sent::BeforeDuplicate, Sent::AfterDuplicate] {
        take_over(model, sent, |stream| {
            let (fd, unread, _) = stream.detach()?.into_parts();
            Ok(Box::new(io::Cursor::new(unread).chain(bounded(fd))))
        });
    }
}

/// What one value has read and not used is there for its duplicate, in order and once, whichever of
/// them asks first, by any way of reading, also one that does not wait.
pub(crate) fn two_values_share_what_was_read_before_there_were_two(model: Model) {
    in_task(model, || {
        let (mut near, mut far) = pair();
        send_noise(&mut far, 0, 100).expect("taken");
        let first = near.fill_buf().expect("it comes")[0];
        assert_eq!(first, noise(0, 1)[0]);
        near.consume(1);
        let mut second = near.try_clone().expect("a descriptor");
        let mut third = second.try_clone().expect("a descriptor");
        third.set_nonblocking(true).expect("a wish");
        let mut buf = [0; 10];
        assert_eq!(third.peek(&mut buf).expect("at once"), 10);
        assert_eq!(buf, *noise(1, 10));
        expect_noise(&second, 1, 11);
        expect_noise(&third, 11, 21);
        expect_noise(&near, 21, 31);
        let bytes = second.fill_buf().expect("at once");
        assert_eq!(*bytes, *noise(31, bytes.len()));
        let count = bytes.len();
        second.consume(count);
        send_noise(&mut far, 31 + count, 1_000).expect("taken");
        expect_noise(&near, 31 + count, 500);
        expect_noise(&second, 500, 1_000);
        let error = third.read(&mut buf).expect_err("nothing is left");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    });
}

/// The proxy: a line, then both ways at once, by duplicates on two workers.
pub(crate) fn a_proxy_copies_both_ways_after_its_connect_line(model: Model) {
    in_task_of(model, 2, || {
        for client in 0..20 {
            let (mut near, mut far) = pair();
            let (upstream, mut origin) = pair();
            far.write_all(b"CONNECT\n").expect("taken");
            if client % 2 == 0 {
                far.write_all(b"early ").expect("taken");
            }
            let mut line = String::new();
            near.read_line(&mut line).expect("a line");
            assert_eq!(line, "CONNECT\n");
            task::yield_now();
            let copy = |mut from: TcpStream, mut to: TcpStream, worker| {
                let copying = move || {
                    io::copy(&mut from, &mut to).expect("copies");
                    to.shutdown(Shutdown::Write).expect("still there");
                };
                task::Builder::new().worker(worker).spawn(copying).expect("a stack")
            };
            let out =
                copy(near.try_clone().expect("a clone"), upstream.try_clone().expect("a clone"), 0);
            let back = copy(upstream, near, 1);
            far.write_all(b"request").expect("taken");
            far.shutdown(Shutdown::Write).expect("still there");
            let mut asked = String::new();
            origin.read_to_string(&mut asked).expect("all of it");
            assert_eq!(asked, if client % 2 == 0 { "early request" } else { "request" });
            origin.write_all(b"answer").expect("taken");
            origin.shutdown(Shutdown::Write).expect("still there");
            let mut answered = String::new();
            far.read_to_string(&mut answered).expect("all of it");
            assert_eq!(answered, "answer");
            out.join().expect("no panic");
            back.join().expect("no panic");
        }
    });
}

/// The same for Unix streams.
pub(crate) fn a_duplicate_of_a_unix_stream_reads_what_follows_the_header(model: Model) {
    in_task(model, || {
        for early in [true, false] {
            let (mut near, mut far) = UnixStream::pair().expect("a pair");
            far.write_all(b"header\n").expect("taken");
            let mut line = String::new();
            near.read_line(&mut line).expect("a line");
            if early {
                send_noise(&mut far, 0, BODY).expect("taken");
                fiveways::time::sleep(Duration::from_millis(5));
            }
            let duplicate = near.try_clone().expect("a descriptor");
            if !early {
                send_noise(&mut far, 0, BODY).expect("taken");
            }
            expect_noise(&duplicate, 0, 1_000);
            let fd = std::os::unix::net::UnixStream::from(OwnedFd::from(near));
            fd.set_read_timeout(Some(LONG)).expect("takes options");
            let reading = thread::spawn(move || expect_noise(&fd, 1_000, BODY));
            reading.join().expect("every byte in its place");
        }
    });
}
