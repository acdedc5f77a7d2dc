//! The behaviours that std's tests of `UnixDatagram` check, for ours, everywhere.

mod std_ports;

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::time::{Duration, Instant};

use fiveways::net::{Shutdown, UnixDatagram};

use crate::std_ports::{Folder, abstract_address, assert_kind, everywhere, go};

everywhere!(
    abstract_datagram_bind_send_to_addr,
    abstract_datagram_connect_addr,
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
);

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
