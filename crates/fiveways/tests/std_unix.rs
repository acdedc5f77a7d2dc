//! The behaviours that std's tests of Unix sockets check, for ours, everywhere.

mod std_ports;

use std::ffi::OsStr;
use std::io::{self, BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways::net::{Shutdown, UnixDatagram, UnixListener, UnixStream};

use crate::std_ports::{Folder, Handle, abstract_address, assert_kind, bell, everywhere, go};

everywhere!(
    basic,
    vectored,
    peek,
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
    abstract_namespace_no_pathname_and_not_unnamed,
    into_and_from_a_descriptor,
    clones_wait_together,
);

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

fn peek() -> io::Result<()> {
    let (mut reader, mut writer) = UnixStream::pair()?;
    writer.write_all(b"1337")?;
    let mut buf = [0; 2];
    for _ in 0..2 {
        assert_eq!(reader.peek(&mut buf)?, 2);
        assert_eq!(&buf, b"13");
    }
    // What was read ahead counts, too.
    assert_eq!(reader.fill_buf()?, b"1337");
    assert_eq!(reader.peek(&mut buf)?, 2);
    reader.consume(3);
    assert_eq!(reader.peek(&mut buf)?, 1);
    assert_eq!(buf[0], b'7');
    reader.consume(1);
    drop(writer);
    assert_eq!(reader.peek(&mut buf)?, 0);
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
        let next = (&listener).into_iter().next().expect("it has no end");
        next?.write_all(&[8])
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
