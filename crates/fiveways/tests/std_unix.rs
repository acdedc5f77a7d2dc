//! The behaviours that std's tests of Unix sockets check, for ours, everywhere.

mod std_ports;

use std::ffi::OsStr;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fiveways::net::{Shutdown, UnixDatagram, UnixListener, UnixStream};

use crate::std_ports::{Handle, assert_kind, bell, everywhere, go};

everywhere!(
    basic,
    vectored,
    pair,
    shutdown,
    try_clone,
    iter,
    long_path,
    a_path_need_not_be_text,
    connect_error,
    connect_timeout,
    bind_twice,
    debug,
    timeouts,
    read_timeout,
    read_with_timeout,
    unix_stream_timeout_zero_duration,
    set_nonblocking,
    abstract_stream_connect,
    abstract_stream_iter,
    abstract_datagram_bind_send_to_addr,
    abstract_datagram_connect_addr,
    abstract_namespace_no_pathname_and_not_unnamed,
    unix_datagram,
    unnamed_unix_datagram,
    unix_datagram_connect_to_recv_addr,
    connect_unix_datagram,
    unix_datagram_recv,
    datagram_pair,
    unix_datagram_shutdown,
    unix_datagram_timeout_zero_duration,
    unix_datagram_timeouts,
    sending_to_a_full_queue_waits,
    into_and_from_a_descriptor,
    clones_wait_together,
);

/// A folder of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fiveways-unix-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Folder(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is left to the system's cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other test has.
fn abstract_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from_abstract_name(format!("fiveways/{}/{number}", std::process::id()))
}

fn basic() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path)?;
    let serving = go(move || -> io::Result<()> {
        let (mut stream, peer) = listener.accept()?;
        assert!(peer.is_unnamed());
        let mut buf = [0; 5];
        stream.read_exact(&mut buf)?;
        assert_eq!(&buf, b"hello");
        stream.write_all(b"world!")
    });
    let mut stream = UnixStream::connect(&path)?;
    assert_eq!(stream.peer_addr()?.as_pathname(), Some(path.as_path()));
    stream.write_all(b"hello")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    assert_eq!(bytes, b"world!");
    serving.join()
}

fn vectored() -> io::Result<()> {
    let (mut a, mut b) = UnixStream::pair()?;
    let bufs = [IoSlice::new(b"hello"), IoSlice::new(b" "), IoSlice::new(b"world!")];
    assert_eq!(a.write_vectored(&bufs)?, 12);
    let (mut first, mut second) = ([0; 10], [0; 10]);
    let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(b.read_vectored(&mut bufs)?, 12);
    assert_eq!((&first, &second[..2]), (b"hello worl", &b"d!"[..]));
    Ok(())
}

fn pair() -> io::Result<()> {
    let (mut a, mut b) = UnixStream::pair()?;
    let answering = go(move || -> io::Result<()> {
        let mut buf = [0; 5];
        b.read_exact(&mut buf)?;
        assert_eq!(&buf, b"hello");
        b.write_all(b"world!")
    });
    a.write_all(b"hello")?;
    let mut bytes = Vec::new();
    a.read_to_end(&mut bytes)?;
    assert_eq!(bytes, b"world!");
    answering.join()
}

fn shutdown() -> io::Result<()> {
    let (mut a, mut b) = UnixStream::pair()?;
    a.write_all(b"last")?;
    a.shutdown(Shutdown::Write)?;
    assert_kind(a.write(&[0]), &[ErrorKind::BrokenPipe]);
    let mut bytes = Vec::new();
    b.read_to_end(&mut bytes)?;
    assert_eq!(bytes, b"last");
    b.write_all(b"answer")?;
    drop(b);
    a.read_to_end(&mut bytes)?;
    assert_eq!(bytes, b"lastanswer");
    Ok(())
}

fn try_clone() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path)?;
    let sending = go(move || -> io::Result<()> {
        let mut stream = listener.accept()?.0;
        stream.write_all(b"hello")?;
        stream.write_all(b"world")
    });
    let mut stream = UnixStream::connect(&path)?;
    let mut clone = stream.try_clone()?;
    let mut buf = [0; 5];
    stream.read_exact(&mut buf)?;
    assert_eq!(&buf, b"hello");
    clone.read_exact(&mut buf)?;
    assert_eq!(&buf, b"world");
    sending.join()
}

/// Two values for one socket wait at the same time; nothing is sent before.
fn clones_wait_together() -> io::Result<()> {
    let (mut writer, reader) = UnixStream::pair()?;
    let (hammer, bell) = bell()?;
    let hammer = Arc::new(hammer);
    let readers = [reader.try_clone()?, reader].map(|mut stream| {
        let hammer = Arc::clone(&hammer);
        go(move || -> io::Result<()> {
            hammer.ring()?;
            stream.read_exact(&mut [0])
        })
    });
    bell.wait()?;
    bell.wait()?;
    writer.write_all(&[1])?;
    writer.write_all(&[2])?;
    let [a, b] = readers.map(Handle::join);
    a.and(b)
}

fn iter() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path)?;
    let serving = go(move || -> io::Result<()> {
        for stream in listener.incoming().take(2) {
            let mut buf = [0];
            stream?.read_exact(&mut buf)?;
            assert_eq!(buf, [7]);
        }
        for stream in &listener {
            return stream?.write_all(&[8]);
        }
        Ok(())
    });
    for _ in 0..2 {
        UnixStream::connect(&path)?.write_all(&[7])?;
    }
    let mut buf = [0];
    UnixStream::connect(&path)?.read_exact(&mut buf)?;
    assert_eq!(buf, [8]);
    serving.join()
}

fn long_path() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path(&"long".repeat(50));
    assert_kind(UnixStream::connect(&path), &[ErrorKind::InvalidInput, ErrorKind::InvalidFilename]);
    assert_kind(UnixListener::bind(&path), &[ErrorKind::InvalidInput, ErrorKind::InvalidFilename]);
    assert_kind(UnixDatagram::bind(&path), &[ErrorKind::InvalidInput, ErrorKind::InvalidFilename]);
    Ok(())
}

fn a_path_need_not_be_text() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.0.join(OsStr::from_bytes(b"\xff\xfesock"));
    let listener = UnixListener::bind(&path)?;
    assert_eq!(listener.local_addr()?.as_pathname(), Some(path.as_path()));
    let stream = UnixStream::connect(&path)?;
    assert_eq!(stream.peer_addr()?.as_pathname(), Some(path.as_path()));
    Ok(())
}

fn connect_error() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    assert_kind(UnixStream::connect(&path), &[ErrorKind::NotFound]);
    drop(UnixListener::bind(&path)?);
    assert_kind(UnixStream::connect(&path), &[ErrorKind::ConnectionRefused]);
    Ok(())
}

fn connect_timeout() -> io::Result<()> {
    use fiveways_sys::net::{Control, control};
    use std::os::fd::AsFd;
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path)?;
    control(Control::Listen(listener.as_fd(), 0))?;
    let limit = Duration::from_millis(30);
    let _waiting = UnixStream::connect_timeout(&path, Duration::from_secs(30))?;
    let began = Instant::now();
    assert_kind(UnixStream::connect_timeout(&path, limit), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= limit);
    assert_kind(UnixStream::connect_timeout(&path, Duration::ZERO), &[ErrorKind::InvalidInput]);
    // Without a limit it waits until the backlog has room.
    let connecting = go(move || UnixStream::connect(&path).map(drop));
    listener.accept()?;
    listener.accept()?;
    connecting.join()
}

fn bind_twice() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let _listener = UnixListener::bind(&path)?;
    assert_kind(UnixListener::bind(&path), &[ErrorKind::AddrInUse]);
    assert_kind(UnixDatagram::bind(&path), &[ErrorKind::AddrInUse]);
    Ok(())
}

fn debug() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path)?;
    let local = format!("{path:?} (pathname)");
    let text = format!("{listener:?}");
    assert!(text.starts_with(&format!("UnixListener {{ local: {local}, fd: ")), "{text}");
    let stream = UnixStream::connect(&path)?;
    let text = format!("{stream:?}");
    let expected = format!("UnixStream {{ local: (unnamed), peer: {local}, fd: ");
    assert!(text.starts_with(&expected), "{text}");
    let text = format!("{:?}", UnixDatagram::unbound()?);
    assert!(text.starts_with("UnixDatagram { local: (unnamed), fd: "), "{text}");
    Ok(())
}

fn timeouts() -> io::Result<()> {
    let (stream, _peer) = UnixStream::pair()?;
    let limit = Duration::from_millis(15_410);
    assert_eq!(stream.read_timeout()?, None);
    assert_eq!(stream.write_timeout()?, None);
    stream.set_read_timeout(Some(limit))?;
    assert_eq!(stream.read_timeout()?, Some(limit));
    stream.set_write_timeout(Some(limit))?;
    assert_eq!(stream.write_timeout()?, Some(limit));
    stream.set_read_timeout(None)?;
    assert_eq!(stream.read_timeout()?, None);
    stream.set_write_timeout(None)?;
    assert_eq!(stream.write_timeout()?, None);
    Ok(())
}

fn read_timeout() -> io::Result<()> {
    let (mut stream, _peer) = UnixStream::pair()?;
    let limit = Duration::from_millis(100);
    stream.set_read_timeout(Some(limit))?;
    let began = Instant::now();
    assert_kind(stream.read(&mut [0; 10]), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= limit);
    Ok(())
}

fn read_with_timeout() -> io::Result<()> {
    let (mut stream, mut peer) = UnixStream::pair()?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    peer.write_all(b"hello world")?;
    let mut buf = [0; 11];
    stream.read_exact(&mut buf)?;
    assert_eq!(&buf, b"hello world");
    assert_kind(stream.read(&mut buf), &[ErrorKind::TimedOut]);
    peer.write_all(b"again")?;
    stream.read_exact(&mut buf[..5])?;
    assert_eq!(&buf[..5], b"again");
    Ok(())
}

fn unix_stream_timeout_zero_duration() -> io::Result<()> {
    let (stream, _peer) = UnixStream::pair()?;
    assert_kind(stream.set_read_timeout(Some(Duration::ZERO)), &[ErrorKind::InvalidInput]);
    assert_kind(stream.set_write_timeout(Some(Duration::ZERO)), &[ErrorKind::InvalidInput]);
    Ok(())
}

fn set_nonblocking() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    assert_kind(listener.accept(), &[ErrorKind::WouldBlock]);
    let mut stream = UnixStream::connect(&path)?;
    stream.set_nonblocking(true)?;
    assert_kind(stream.read(&mut [0]), &[ErrorKind::WouldBlock]);
    let (mut accepted, _) = listener.accept()?;
    accepted.write_all(&[1])?;
    assert_eq!(stream.read(&mut [0; 2])?, 1);
    let (datagram, _peer) = UnixDatagram::pair()?;
    datagram.set_nonblocking(true)?;
    assert_kind(datagram.recv(&mut [0]), &[ErrorKind::WouldBlock]);
    Ok(())
}

fn abstract_stream_connect() -> io::Result<()> {
    let address = abstract_address()?;
    let listener = UnixListener::bind_addr(&address)?;
    let local = listener.local_addr()?;
    assert_eq!(local.as_abstract_name(), address.as_abstract_name());
    let serving = go(move || -> io::Result<()> {
        let mut stream = listener.accept()?.0;
        let mut buf = [0; 5];
        stream.read_exact(&mut buf)?;
        assert_eq!(&buf, b"hello");
        stream.write_all(b"world!")
    });
    let mut stream = UnixStream::connect_addr(&address)?;
    assert_eq!(stream.peer_addr()?.as_abstract_name(), address.as_abstract_name());
    stream.write_all(b"hello")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    assert_eq!(bytes, b"world!");
    serving.join()
}

fn abstract_stream_iter() -> io::Result<()> {
    let address = abstract_address()?;
    let listener = UnixListener::bind_addr(&address)?;
    let serving = go(move || -> io::Result<()> {
        for stream in listener.incoming().take(2) {
            let mut buf = [0; 5];
            stream?.read_exact(&mut buf)?;
            assert_eq!(&buf, b"hello");
        }
        Ok(())
    });
    for _ in 0..2 {
        UnixStream::connect_addr(&address)?.write_all(b"hello")?;
    }
    serving.join()
}

fn abstract_datagram_bind_send_to_addr() -> io::Result<()> {
    let (first, second) = (abstract_address()?, abstract_address()?);
    let a = UnixDatagram::bind_addr(&first)?;
    assert_eq!(a.local_addr()?.as_abstract_name(), first.as_abstract_name());
    let b = UnixDatagram::bind_addr(&second)?;
    b.send_to_addr(b"hello world", &first)?;
    let mut buf = [0; 11];
    let (count, from) = a.recv_from(&mut buf)?;
    assert_eq!((count, &buf), (11, b"hello world"));
    assert_eq!(from.as_abstract_name(), second.as_abstract_name());
    Ok(())
}

fn abstract_datagram_connect_addr() -> io::Result<()> {
    let addresses = [abstract_address()?, abstract_address()?];
    let [a, b] = [&addresses[0], &addresses[1]].map(UnixDatagram::bind_addr);
    let (a, b) = (a?, b?);
    let sender = UnixDatagram::unbound()?;
    for (receiver, address) in [(&a, &addresses[0]), (&b, &addresses[1])] {
        sender.connect_addr(address)?;
        assert_eq!(sender.peer_addr()?.as_abstract_name(), address.as_abstract_name());
        sender.send(b"hello world")?;
        let mut buf = [0; 11];
        assert_eq!(receiver.recv(&mut buf)?, 11);
        assert_eq!(&buf, b"hello world");
    }
    Ok(())
}

fn abstract_namespace_no_pathname_and_not_unnamed() -> io::Result<()> {
    // Any bytes are a name, also a zero first, and no name at all is one too.
    for name in [&b"\0fiveways"[..], b"fiveways\xff\0."] {
        let name = [name, abstract_address()?.as_abstract_name().expect("it is one")].concat();
        let address = SocketAddr::from_abstract_name(&name)?;
        let local = UnixListener::bind_addr(&address)?.local_addr()?;
        assert!(!local.is_unnamed());
        assert_eq!(local.as_pathname(), None);
        assert_eq!(local.as_abstract_name(), Some(name.as_slice()));
    }
    Ok(())
}

fn unix_datagram() -> io::Result<()> {
    let folder = Folder::new()?;
    let (to, from) = (folder.path("a"), folder.path("b"));
    let receiver = UnixDatagram::bind(&to)?;
    let sender = UnixDatagram::bind(&from)?;
    sender.send_to(b"hello world", &to)?;
    let mut buf = [0; 20];
    let (count, address) = receiver.recv_from(&mut buf)?;
    assert_eq!(&buf[..count], b"hello world");
    assert_eq!(address.as_pathname(), Some(from.as_path()));
    Ok(())
}

fn unnamed_unix_datagram() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("a");
    let receiver = UnixDatagram::bind(&path)?;
    let sender = UnixDatagram::unbound()?;
    sender.send_to(b"hello world", &path)?;
    let mut buf = [0; 11];
    let (count, address) = receiver.recv_from(&mut buf)?;
    assert_eq!((count, &buf), (11, b"hello world"));
    assert!(address.is_unnamed());
    Ok(())
}

fn unix_datagram_connect_to_recv_addr() -> io::Result<()> {
    let folder = Folder::new()?;
    let (to, from) = (folder.path("a"), folder.path("b"));
    let receiver = UnixDatagram::bind(&to)?;
    let sender = UnixDatagram::bind(&from)?;
    sender.send_to(b"hello world", &to)?;
    let (_, address) = receiver.recv_from(&mut [0; 11])?;
    let answering = UnixDatagram::unbound()?;
    answering.connect_addr(&address)?;
    answering.send(b"answer")?;
    let mut buf = [0; 6];
    assert_eq!(sender.recv(&mut buf)?, 6);
    assert_eq!(&buf, b"answer");
    Ok(())
}

fn connect_unix_datagram() -> io::Result<()> {
    let folder = Folder::new()?;
    let paths = [folder.path("a"), folder.path("b")];
    let [a, b] = [&paths[0], &paths[1]].map(UnixDatagram::bind);
    let (a, b) = (a?, b?);
    let sender = UnixDatagram::unbound()?;
    assert_kind(sender.send(b"to nobody"), &[ErrorKind::NotConnected]);
    assert_kind(sender.peer_addr(), &[ErrorKind::NotConnected]);
    let mut buf = [0; 11];
    sender.connect(&paths[0])?;
    sender.send(b"hello world")?;
    assert_eq!(a.recv(&mut buf)?, 11);
    // Connecting again changes the peer.
    sender.connect(&paths[1])?;
    sender.send(b"hello")?;
    assert_eq!(b.recv(&mut buf)?, 5);
    assert_eq!(sender.peer_addr()?.as_pathname(), Some(paths[1].as_path()));
    Ok(())
}

fn unix_datagram_recv() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("a");
    let receiver = UnixDatagram::bind(&path)?;
    let sender = UnixDatagram::unbound()?;
    sender.connect(&path)?;
    let waiting = receiver.try_clone()?;
    let receiving = go(move || -> io::Result<Vec<u8>> {
        let mut buf = [0; 20];
        let count = waiting.recv(&mut buf)?;
        Ok(buf[..count].to_vec())
    });
    sender.send(b"hello world")?;
    assert_eq!(receiving.join()?, b"hello world");
    Ok(())
}

fn datagram_pair() -> io::Result<()> {
    let (a, b) = UnixDatagram::pair()?;
    let answering = go(move || -> io::Result<()> {
        let mut buf = [0; 10];
        let count = b.recv(&mut buf)?;
        assert_eq!(&buf[..count], b"hello");
        b.send(b"world!").map(drop)
    });
    a.send(b"hello")?;
    let mut buf = [0; 10];
    let count = a.recv(&mut buf)?;
    assert_eq!(&buf[..count], b"world!");
    answering.join()
}

fn unix_datagram_shutdown() -> io::Result<()> {
    let (a, b) = UnixDatagram::pair()?;
    a.send(b"last")?;
    b.shutdown(Shutdown::Read)?;
    let mut buf = [0; 10];
    // What was queued can be read, and then there is nothing more to come.
    assert_eq!(b.recv(&mut buf)?, 4);
    // Only to calls that block does the kernel tell that end; others hear EAGAIN for ever.
    if !fiveways::task::in_task() {
        assert_eq!(b.recv(&mut buf)?, 0);
    }
    a.shutdown(Shutdown::Write)?;
    assert_kind(a.send(b"x"), &[ErrorKind::BrokenPipe]);
    Ok(())
}

fn unix_datagram_timeout_zero_duration() -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    assert_kind(socket.set_read_timeout(Some(Duration::ZERO)), &[ErrorKind::InvalidInput]);
    assert_kind(socket.set_write_timeout(Some(Duration::ZERO)), &[ErrorKind::InvalidInput]);
    Ok(())
}

fn unix_datagram_timeouts() -> io::Result<()> {
    let (a, b) = UnixDatagram::pair()?;
    let limit = Duration::from_millis(50);
    a.set_read_timeout(Some(limit))?;
    let began = Instant::now();
    assert_kind(a.recv(&mut [0]), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= limit);
    // Nobody receives: sending comes to wait, and then to its limit.
    b.set_write_timeout(Some(limit))?;
    let failed = (0..100_000).find_map(|_| b.send(&[0; 1024]).err());
    assert_eq!(failed.map(|error| error.kind()), Some(ErrorKind::TimedOut));
    // Being late once does not harm what comes afterwards.
    a.set_nonblocking(true)?;
    while a.recv(&mut [0; 1024]).is_ok() {}
    assert_eq!(b.send(&[1])?, 1);
    Ok(())
}

/// The kernel calls an unconnected socket writable however full its receiver's queue is.
fn sending_to_a_full_queue_waits() -> io::Result<()> {
    let folder = Folder::new()?;
    let path = folder.path("a");
    let receiver = UnixDatagram::bind(&path)?;
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(Duration::from_millis(50)))?;
    let sent = (0..100_000_u32).take_while(|_| sender.send_to(&[0], &path).is_ok()).count();
    let began = Instant::now();
    assert_kind(sender.send_to(&[0], &path), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= Duration::from_millis(50));
    sender.set_write_timeout(None)?;
    let sending = go(move || sender.send_to(&[1], &path));
    let mut buf = [9];
    for number in 0..sent {
        assert_eq!((number, receiver.recv(&mut buf)?, buf), (number, 1, [0]));
    }
    assert_eq!((receiver.recv(&mut buf)?, buf), (1, [1]), "after {sent}");
    assert_eq!(sending.join()?, 1);
    Ok(())
}

fn into_and_from_a_descriptor() -> io::Result<()> {
    use std::os::fd::OwnedFd;
    let folder = Folder::new()?;
    let path = folder.path("sock");
    let listener = UnixListener::from(OwnedFd::from(UnixListener::bind(&path)?));
    let stream = UnixStream::from(OwnedFd::from(UnixStream::connect(&path)?));
    let mut accepted = listener.accept()?.0;
    let receiving = go(move || -> io::Result<u8> {
        let mut buf = [0];
        (&stream).read_exact(&mut buf)?;
        Ok(buf[0])
    });
    accepted.write_all(&[9])?;
    assert_eq!(receiving.join()?, 9);
    assert_eq!(listener.local_addr()?.as_pathname(), Some(Path::new(&path)));
    Ok(())
}
