//! The behaviours that std's tests check of the settings of `TcpListener` and `TcpStream`: time
//! limits, options, being non-blocking; for ours, everywhere.

mod std_ports;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fiveways::net::{TcpListener, TcpStream};

use crate::std_ports::{assert_kind, connected, each_ip, everywhere, go, listen, loopback};

everywhere!(
    debug,
    timeouts,
    read_timeout,
    read_with_timeout,
    timeout_zero_duration,
    linger,
    linger_of_zero_resets,
    nodelay,
    ttl,
    set_nonblocking,
    nonblocking_accept,
    peek,
    take_error,
    into_and_from_a_descriptor,
);

fn debug() -> io::Result<()> {
    let (listener, address) = listen(loopback())?;
    let text = format!("{listener:?}");
    assert!(text.starts_with(&format!("TcpListener {{ addr: {address}, fd: ")), "{text}");
    let client = TcpStream::connect(address)?;
    let (local, text) = (client.local_addr()?, format!("{client:?}"));
    assert!(text.starts_with(&format!("TcpStream {{ addr: {local}, peer: ")), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");
    Ok(())
}

fn timeouts() -> io::Result<()> {
    let (stream, _peer) = connected(loopback())?;
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
    let (mut stream, _peer) = connected(loopback())?;
    let limit = Duration::from_millis(100);
    stream.set_read_timeout(Some(limit))?;
    let began = Instant::now();
    assert_kind(stream.read(&mut [0; 10]), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= limit);
    Ok(())
}

fn read_with_timeout() -> io::Result<()> {
    let (mut stream, mut peer) = connected(loopback())?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    peer.write_all(b"hello world")?;
    let mut buf = [0; 11];
    stream.read_exact(&mut buf)?;
    assert_eq!(&buf, b"hello world");
    let began = Instant::now();
    assert_kind(stream.read(&mut buf), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= Duration::from_millis(100));
    // Being late once does not harm what comes afterwards.
    peer.write_all(b"again")?;
    stream.set_read_timeout(None)?;
    stream.read_exact(&mut buf[..5])?;
    assert_eq!(&buf[..5], b"again");
    Ok(())
}

fn timeout_zero_duration() -> io::Result<()> {
    let (stream, _peer) = connected(loopback())?;
    let zero = Some(Duration::ZERO);
    assert_kind(stream.set_read_timeout(zero), &[ErrorKind::InvalidInput]);
    assert_kind(stream.set_write_timeout(zero), &[ErrorKind::InvalidInput]);
    Ok(())
}

fn linger() -> io::Result<()> {
    let (stream, _peer) = connected(loopback())?;
    assert_eq!(stream.linger()?, None);
    for linger in [Some(Duration::from_secs(7)), Some(Duration::ZERO), None] {
        stream.set_linger(linger)?;
        assert_eq!(stream.linger()?, linger);
    }
    Ok(())
}

fn linger_of_zero_resets() -> io::Result<()> {
    let (mut stream, peer) = connected(loopback())?;
    peer.set_linger(Some(Duration::ZERO))?;
    drop(peer);
    assert_kind(stream.read(&mut [0]), &[ErrorKind::ConnectionReset]);
    Ok(())
}

fn nodelay() -> io::Result<()> {
    let (stream, _peer) = connected(loopback())?;
    assert!(!stream.nodelay()?);
    stream.set_nodelay(true)?;
    assert!(stream.nodelay()?);
    stream.set_nodelay(false)?;
    assert!(!stream.nodelay()?);
    Ok(())
}

fn ttl() -> io::Result<()> {
    let (listener, address) = listen(loopback())?;
    listener.set_ttl(100)?;
    assert_eq!(listener.ttl()?, 100);
    let stream = TcpStream::connect(address)?;
    stream.set_ttl(101)?;
    assert_eq!(stream.ttl()?, 101);
    Ok(())
}

fn set_nonblocking() -> io::Result<()> {
    let (mut stream, mut peer) = connected(loopback())?;
    stream.set_nonblocking(true)?;
    assert_kind(stream.read(&mut [0]), &[ErrorKind::WouldBlock]);
    assert_kind(stream.peek(&mut [0]), &[ErrorKind::WouldBlock]);
    let clone = stream.try_clone()?;
    assert_kind((&clone).read(&mut [0]), &[ErrorKind::WouldBlock]);
    let full = (0..1_000_000).find_map(|_| stream.write(&[0; 4096]).err());
    assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    stream.set_nonblocking(false)?;
    peer.write_all(&[5])?;
    let mut buf = [0];
    stream.read_exact(&mut buf)?;
    assert_eq!(buf, [5]);
    Ok(())
}

fn nonblocking_accept() -> io::Result<()> {
    let (listener, address) = listen(loopback())?;
    listener.set_nonblocking(true)?;
    assert_kind(listener.accept(), &[ErrorKind::WouldBlock]);
    let _client = TcpStream::connect(address)?;
    // Loopback completes the connection before connect returns.
    let (mut accepted, _) = listener.accept()?;
    accepted.set_read_timeout(Some(Duration::from_millis(1)))?;
    // What was accepted waits: being non-blocking is not inherited.
    assert_kind(accepted.read(&mut [0]), &[ErrorKind::TimedOut]);
    listener.set_nonblocking(false)?;
    let connecting = go(move || TcpStream::connect(address).map(drop));
    listener.accept()?;
    connecting.join()
}

fn peek() -> io::Result<()> {
    each_ip(|address| {
        let (mut reader, mut writer) = connected(address)?;
        writer.write_all(&[1, 3, 3, 7])?;
        let mut buf = [0; 2];
        for _ in 0..2 {
            assert_eq!(reader.peek(&mut buf)?, 2);
            assert_eq!(buf, [1, 3]);
        }
        let mut all = [0; 4];
        reader.read_exact(&mut all)?;
        assert_eq!(all, [1, 3, 3, 7]);
        drop(writer);
        assert_eq!(reader.peek(&mut buf)?, 0);
        Ok(())
    })
}

fn take_error() -> io::Result<()> {
    let (stream, _peer) = connected(loopback())?;
    assert!(stream.take_error()?.is_none());
    let listener = TcpListener::bind(loopback())?;
    assert!(listener.take_error()?.is_none());
    Ok(())
}

fn into_and_from_a_descriptor() -> io::Result<()> {
    let (client, mut server) = connected(loopback())?;
    let peer = server.local_addr()?;
    let mut client = TcpStream::from(OwnedFd::from(client));
    assert_eq!(client.peer_addr()?, peer);
    let answering = go(move || server.write_all(&[9]));
    let mut buf = [0];
    client.read_exact(&mut buf)?;
    assert_eq!(buf, [9]);
    answering.join()
}
