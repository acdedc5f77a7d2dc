//! What comes over a channel may be anything: every wrong frame is named, and whatever descriptors
//! came with it are closed (the stage counts them).

use std::io::{BufRead, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::handoff::{self, FrameError, ReceiveError};
use fiveways::net::{TcpStream, UnixStream};
use fiveways_tests::arena::{in_task, pair};
use fiveways_tests::client::expect_eof;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A header for no bytes, and the seal.
const FRAME: &[u8; 41] =
    b"5way\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0.";

/// Sends bytes, with descriptors beside them.
fn put(channel: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)), "room for eight");
    }
    let sent = sendmsg(channel, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent.expect("room"), bytes.len());
}

/// What a receiver says of what `send` puts into the channel.
fn said_of(send: impl FnOnce(&UnixStream)) -> Option<FrameError> {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    send(&ours);
    drop(ours);
    match handoff::receive::<TcpStream>(&mut theirs, None) {
        Ok(_) => None,
        Err(ReceiveError::Frame(error)) => Some(error),
        Err(error) => panic!("the channel is in order: {error}"),
    }
}

/// D39, S002-36.
pub(crate) fn bad_frames_are_named_and_leak_nothing(model: Model) {
    in_task(model, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let tcp = std::net::TcpStream::connect(address).expect("connects");
        let (pipe, _writer) = std::io::pipe().expect("a pipe");
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let [tcp, listener, pipe, unix] =
            [tcp.as_fd(), listener.as_fd(), pipe.as_fd(), unix.as_fd()];
        let (head, seal) = FRAME.split_at(40);
        let sealed = |fds: &[BorrowedFd<'_>]| {
            said_of(|channel| {
                put(channel, head, &[]);
                put(channel, seal, fds);
            })
        };
        assert_eq!(sealed(&[tcp]), None, "the frame is in order");
        assert_eq!(sealed(&[]), Some(FrameError::NoDescriptor));
        for count in 2..=8 {
            assert_eq!(sealed(&vec![tcp; count]), Some(FrameError::StrayDescriptors));
        }
        for stranger in [listener, pipe, unix] {
            assert_eq!(sealed(&[stranger]), Some(FrameError::OtherKind));
        }
        let early = said_of(|channel| put(channel, head, &[tcp]));
        assert_eq!(early, Some(FrameError::StrayDescriptors));
        let many = said_of(|channel| put(channel, head, &[tcp, pipe, unix]));
        assert_eq!(many, Some(FrameError::StrayDescriptors));
        let unsealed = said_of(|channel| {
            put(channel, head, &[]);
            put(channel, b"x", &[tcp]);
        });
        assert_eq!(unsealed, Some(FrameError::NotAFrame));
        for len in 1..40 {
            let cut = said_of(|mut channel| channel.write_all(&head[..len]).expect("room"));
            assert_eq!(cut, Some(FrameError::Truncated), "{len} bytes");
        }
        for (at, byte, expected) in [
            (0, b'x', FrameError::NotAFrame),
            (4, 7, FrameError::Version(7)),
            (5, 0, FrameError::Kind(0)),
            (5, 2, FrameError::OtherKind),
            (11, 1, FrameError::TooLong(1 << 24)),
            (8, 5, FrameError::Truncated),
        ] {
            let mut head = head.to_vec();
            head[at] = byte;
            // One more than allowed, where it is the length.
            head[12] = u8::from(at == 11);
            let error = said_of(|channel| {
                put(channel, &head, &[]);
                put(channel, seal, &[tcp]);
            });
            let expected = match expected {
                FrameError::TooLong(len) => FrameError::TooLong(len + 1),
                FrameError::Truncated => FrameError::StrayDescriptors,
                other => other,
            };
            assert_eq!(error, Some(expected), "byte {at}");
        }
        let nothing = said_of(|_| ());
        assert_eq!(nothing, None, "the end between two frames is no error");
    });
}

/// D39: once a byte of a connection has come, a deadline ends the channel and says so; what the
/// peer of the lost connection has written is not taken for the next one.
pub(crate) fn a_deadline_in_the_middle_of_a_frame_ends_the_channel(model: Model) {
    in_task(model, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let tcp = std::net::TcpStream::connect(address).expect("connects");
        // What is unread is a header for one byte, and that byte: the seal would fit it.
        let mut forged = FRAME[..40].to_vec();
        forged[8] = 1;
        forged.push(b'x');
        let mut frame = FRAME[..40].to_vec();
        frame[8] = forged.len() as u8;
        frame.extend_from_slice(&forged);
        for cut in [1, 39, 40, 41, 64, frame.len()] {
            let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
            ours.write_all(&frame[..cut]).expect("room");
            let soon = Some(Instant::now() + Duration::from_millis(5));
            let late = handoff::receive::<TcpStream>(&mut theirs, soon).expect_err("not all came");
            let told = late.to_string();
            assert_eq!(std::io::Error::from(late).kind(), std::io::ErrorKind::ConnectionAborted);
            assert!(told.contains("in the middle of a connection"), "{told}");
            // The sender finds out, if it comes to that.
            let rest = [IoSlice::new(&frame[cut..]), IoSlice::new(b".")];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [tcp.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "room for one");
            let sent = sendmsg(&ours, &rest, &mut control, SendFlags::NOSIGNAL);
            assert_eq!(sent, Err(rustix::io::Errno::PIPE), "{cut} bytes came in time");
            let next = handoff::receive::<TcpStream>(&mut theirs, None);
            assert!(matches!(next, Ok(None)), "{next:?} after {cut} bytes");
        }
    });
}

/// D39: any bytes, cut anywhere, with any descriptors beside any of them: a connection, or an error
/// that ends the channel, soon; and no descriptor left (the stage counts them).
pub(crate) fn any_bytes_and_descriptors_are_received_or_refused(model: Model) {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    in_task(model, move || {
        let began = Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let tcp = std::net::TcpStream::connect(address).expect("connects");
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let fds = [tcp.as_fd(), unix.as_fd(), listener.as_fd(), tcp.as_fd()];
        for _ in 0..500 {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            let mut bytes = FRAME.repeat(random.usize(1..4));
            for _ in 0..random.usize(0..3) {
                let at = random.usize(0..bytes.len());
                bytes[at] = if random.bool() { random.u8(..) } else { random.u8(..4) };
            }
            let mut rest = &bytes[random.usize(0..2)..random.usize(2..=bytes.len())];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(random.usize(1..=rest.len().min(33)));
                let count = if random.bool() { 0 } else { random.usize(0..=fds.len()) };
                put(&ours, piece, &fds[..count]);
                rest = more;
            }
            drop(ours);
            let mut received = 0;
            let failed = loop {
                match handoff::receive::<TcpStream>(&mut theirs, None) {
                    Ok(Some(_)) => received += 1,
                    Ok(None) => break false,
                    Err(ReceiveError::Frame(_)) => break true,
                    Err(error) => panic!("{error}, seed {seed}"),
                }
            };
            assert!(received <= 3, "seed {seed}");
            let after = handoff::receive::<TcpStream>(&mut theirs, None);
            assert!(!failed || matches!(after, Ok(None)), "{after:?}, seed {seed}");
        }
        assert!(began.elapsed() < fiveways_tests::patience::LONG, "seed {seed}");
    });
}

/// A receiver that has no descriptor left is told; the connection is closed by the kernel.
pub(crate) fn a_receiver_without_descriptors_is_told(model: Model) {
    in_task(model, || {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let pass = |ours: &mut UnixStream| {
            let (near, far) = pair();
            handoff::send(ours, near.detach().expect("still there"), None).expect("room");
            far
        };
        let far = pass(&mut ours);
        let before = getrlimit(Resource::Nofile);
        let limit = |current| Rlimit { current, ..before };
        setrlimit(Resource::Nofile, limit(Some(3))).expect("it may be lowered");
        let received = handoff::receive::<TcpStream>(&mut theirs, None);
        setrlimit(Resource::Nofile, limit(before.current)).expect("it was so before");
        let Err(ReceiveError::Channel(error)) = received else { panic!("{received:?}") };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        expect_eof(&far);
        // The frame was whole: the next connection comes through.
        let _far = pass(&mut ours);
        assert!(handoff::receive::<TcpStream>(&mut theirs, None).expect("in order").is_some());
    });
}

/// What is read ahead is read without room for descriptors: such a channel is refused.
pub(crate) fn a_channel_that_was_read_ahead_is_refused(model: Model) {
    in_task(model, || {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        ours.write_all(b"some words first").expect("room");
        theirs.fill_buf().expect("something comes");
        let error = handoff::receive::<TcpStream>(&mut theirs, None).expect_err("too late");
        assert!(error.to_string().contains("read ahead"), "{error}");
    });
}
