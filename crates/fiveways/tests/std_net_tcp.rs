//! The behaviours that std's tests of `TcpListener` and `TcpStream` check, for ours, everywhere.

mod std_ports;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use fiveways::net::{Shutdown, TcpListener, TcpStream};
use fiveways_sys::net::{Address, Control, Family, Kind, Reply, control};

use crate::std_ports::{
    Handle, assert_kind, bell, connected, each_ip, everywhere, go, listen, loopback,
};

everywhere!(
    bind_error,
    connect_error,
    connect_timeout_error,
    connect_timeout_to_unbound_port,
    connect_timeout_valid,
    connect_timeout_of_zero,
    listen_localhost,
    connect_loopback,
    smoke_test,
    read_eof,
    write_close,
    multiple_connect_serial,
    multiple_connect_interleaved_greedy_schedule,
    multiple_connect_interleaved_lazy_schedule,
    socket_and_peer_name,
    partial_read,
    read_vectored,
    write_vectored,
    double_bind,
    shutdown_smoke,
    close_readwrite_smoke,
    close_read_wakes_up,
);

/// A socket that holds a port and does not listen.
fn unbound() -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = match control(Control::Open(Family::Inet, Kind::Stream))? {
        Reply::Opened(socket) => socket,
        reply => panic!("asked for a socket and got {reply:?}"),
    };
    control(Control::Bind(socket.as_fd(), &Address::from(loopback())))?;
    match control(Control::LocalName(socket.as_fd()))? {
        Reply::Name(Some(name)) => Ok((socket, SocketAddr::try_from(name)?)),
        reply => panic!("asked for a name and got {reply:?}"),
    }
}

fn bind_error() -> io::Result<()> {
    assert_kind(TcpListener::bind("192.0.2.1:9999"), &[ErrorKind::AddrNotAvailable]);
    assert_kind(TcpListener::bind("no port"), &[ErrorKind::InvalidInput]);
    let none: &[SocketAddr] = &[];
    assert_kind(TcpListener::bind(none), &[ErrorKind::InvalidInput]);
    Ok(())
}

fn connect_error() -> io::Result<()> {
    let (_held, address) = unbound()?;
    assert_kind(TcpStream::connect(address), &[ErrorKind::ConnectionRefused]);
    Ok(())
}

fn connect_timeout_error() -> io::Result<()> {
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9999));
    let limit = Duration::from_millis(250);
    TcpStream::connect_timeout(&nowhere, limit).expect_err("broadcast is no TCP");
    let (_listener, address) = listen(loopback())?;
    TcpStream::connect_timeout(&address, Duration::MAX).map(drop)
}

fn connect_timeout_to_unbound_port() -> io::Result<()> {
    let (_held, address) = unbound()?;
    let result = TcpStream::connect_timeout(&address, Duration::from_secs(30));
    assert_kind(result, &[ErrorKind::ConnectionRefused]);
    Ok(())
}

fn connect_timeout_valid() -> io::Result<()> {
    let (_listener, address) = listen(loopback())?;
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(30))?;
    assert_eq!(stream.peer_addr()?, address);
    Ok(())
}

fn connect_timeout_of_zero() -> io::Result<()> {
    let (_listener, address) = listen(loopback())?;
    assert_kind(TcpStream::connect_timeout(&address, Duration::ZERO), &[ErrorKind::InvalidInput]);
    Ok(())
}

fn listen_localhost() -> io::Result<()> {
    let listener = TcpListener::bind("localhost:0")?;
    let port = listener.local_addr()?.port();
    let sender = go(move || TcpStream::connect(("localhost", port))?.write_all(&[144]));
    let mut stream = listener.accept()?.0;
    let mut buf = [0];
    stream.read_exact(&mut buf)?;
    assert_eq!(buf, [144]);
    sender.join()
}

fn connect_loopback() -> io::Result<()> {
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        let sender = go(move || {
            let host = if address.is_ipv6() { "::1" } else { "127.0.0.1" };
            TcpStream::connect((host, address.port()))?.write_all(&[66])
        });
        let mut buf = [0];
        listener.accept()?.0.read_exact(&mut buf)?;
        assert_eq!(buf, [66]);
        sender.join()
    })
}

fn smoke_test() -> io::Result<()> {
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        let sender = go(move || -> io::Result<SocketAddr> {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(&[99])?;
            stream.local_addr()
        });
        let (mut stream, peer) = listener.accept()?;
        let mut buf = [0];
        stream.read_exact(&mut buf)?;
        assert_eq!(buf, [99]);
        assert_eq!(sender.join()?, peer);
        Ok(())
    })
}

fn read_eof() -> io::Result<()> {
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        let closer = go(move || TcpStream::connect(address).map(drop));
        let mut stream = listener.accept()?.0;
        assert_eq!(stream.read(&mut [0])?, 0);
        assert_eq!(stream.read(&mut [0])?, 0, "the end stays");
        closer.join()
    })
}

fn write_close() -> io::Result<()> {
    each_ip(|address| {
        let (mut client, server) = connected(address)?;
        drop(server);
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        // The first writes may go into the buffer, before the reset has come back.
        let failed = (0..1_000_000).find_map(|_| client.write(&[0]).err());
        let failed = failed.expect("sooner or later it fails");
        assert!(kinds.contains(&failed.kind()), "{failed:?}");
        Ok(())
    })
}

fn multiple_connect_serial() -> io::Result<()> {
    const MAX: usize = 10;
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        let senders = go(move || -> io::Result<()> {
            for _ in 0..MAX {
                TcpStream::connect(address)?.write_all(&[99])?;
            }
            Ok(())
        });
        for stream in listener.incoming().take(MAX) {
            let mut buf = [0];
            stream?.read_exact(&mut buf)?;
            assert_eq!(buf, [99]);
        }
        senders.join()
    })
}

const CONNECTIONS: u8 = 10;

/// Serves each connection beside the others; each sends its number.
fn serve_numbers(listener: TcpListener) -> Handle<io::Result<()>> {
    go(move || -> io::Result<()> {
        let mut served = Vec::new();
        for stream in listener.incoming().take(usize::from(CONNECTIONS)) {
            let mut stream = stream?;
            served.push(go(move || -> io::Result<u8> {
                let mut buf = [0];
                stream.read_exact(&mut buf)?;
                Ok(buf[0])
            }));
        }
        let mut numbers: Vec<u8> =
            served.into_iter().map(Handle::join).collect::<io::Result<_>>()?;
        numbers.sort_unstable();
        assert_eq!(numbers, (0..CONNECTIONS).collect::<Vec<_>>());
        Ok(())
    })
}

/// Connects, goes on to the next connection, and writes on the way back.
fn connect_nested(number: u8, address: SocketAddr) -> io::Result<()> {
    if number == CONNECTIONS {
        return Ok(());
    }
    let mut stream = TcpStream::connect(address)?;
    go(move || connect_nested(number + 1, address)).join()?;
    stream.write_all(&[number])
}

fn multiple_connect_interleaved_greedy_schedule() -> io::Result<()> {
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        let acceptor = serve_numbers(listener);
        connect_nested(0, address)?;
        acceptor.join()
    })
}

fn multiple_connect_interleaved_lazy_schedule() -> io::Result<()> {
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        // Nobody accepts before every connection is there.
        let mut streams: Vec<_> =
            (0..CONNECTIONS).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;
        let acceptor = serve_numbers(listener);
        for (number, stream) in (0..CONNECTIONS).zip(&mut streams) {
            stream.write_all(&[number])?;
        }
        acceptor.join()
    })
}

fn socket_and_peer_name() -> io::Result<()> {
    each_ip(|address| {
        let (listener, address) = listen(address)?;
        assert_eq!(address.ip(), listener.local_addr()?.ip());
        let client = TcpStream::connect(address)?;
        let (server, peer) = listener.accept()?;
        assert_eq!(client.peer_addr()?, address);
        assert_eq!(server.local_addr()?, address);
        assert_eq!(client.local_addr()?, peer);
        assert_eq!(server.peer_addr()?, peer);
        Ok(())
    })
}

fn partial_read() -> io::Result<()> {
    each_ip(|address| {
        let (mut client, mut server) = connected(address)?;
        let answering = go(move || -> io::Result<()> {
            server.write_all(&[10])?;
            let mut buf = [0];
            server.read_exact(&mut buf)?;
            assert_eq!(buf, [20]);
            Ok(())
        });
        let mut buf = [0; 40];
        assert_eq!(client.read(&mut buf)?, 1);
        assert_eq!(buf[0], 10);
        client.write_all(&[20])?;
        answering.join()
    })
}

fn read_vectored() -> io::Result<()> {
    each_ip(|address| {
        let (mut reader, mut writer) = connected(address)?;
        writer.write_all(&[10, 11, 12, 13])?;
        // Loopback delivers the four bytes as one.
        let (mut a, mut b, mut c) = ([], [0; 1], [0; 5]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
        assert_eq!(reader.read_vectored(&mut bufs)?, 4);
        assert_eq!((b, c), ([10], [11, 12, 13, 0, 0]));
        Ok(())
    })
}

fn write_vectored() -> io::Result<()> {
    each_ip(|address| {
        let (mut reader, mut writer) = connected(address)?;
        let bufs = [IoSlice::new(&[]), IoSlice::new(&[10]), IoSlice::new(&[11, 12, 13])];
        assert_eq!(writer.write_vectored(&bufs)?, 4);
        let mut buf = [0; 4];
        reader.read_exact(&mut buf)?;
        assert_eq!(buf, [10, 11, 12, 13]);
        Ok(())
    })
}

fn double_bind() -> io::Result<()> {
    each_ip(|address| {
        let (_first, address) = listen(address)?;
        assert_kind(TcpListener::bind(address), &[ErrorKind::AddrInUse]);
        Ok(())
    })
}

fn shutdown_smoke() -> io::Result<()> {
    each_ip(|address| {
        let (mut client, mut server) = connected(address)?;
        let serving = go(move || -> io::Result<()> {
            let mut bytes = Vec::new();
            server.read_to_end(&mut bytes)?;
            assert_eq!(bytes, [7]);
            server.write_all(&[1])
        });
        client.write_all(&[7])?;
        client.shutdown(Shutdown::Write)?;
        assert_kind(client.write(&[1]), &[ErrorKind::BrokenPipe]);
        let mut buf = [0; 2];
        assert_eq!(client.read(&mut buf)?, 1);
        assert_eq!(buf[0], 1);
        serving.join()
    })
}

fn close_readwrite_smoke() -> io::Result<()> {
    each_ip(|address| {
        let (mut stream, _peer) = connected(address)?;
        let mut clone = stream.try_clone()?;

        stream.shutdown(Shutdown::Write)?;
        assert_kind(stream.write(&[0]), &[ErrorKind::BrokenPipe]);
        stream.shutdown(Shutdown::Read)?;
        assert_eq!(stream.read(&mut [0])?, 0);

        // Other values of the connection see it too, and so do later ones.
        assert_kind(clone.write(&[0]), &[ErrorKind::BrokenPipe]);
        assert_eq!(clone.read(&mut [0])?, 0);
        let mut later = stream.try_clone()?;
        assert_kind(later.write(&[0]), &[ErrorKind::BrokenPipe]);
        assert_eq!(later.read(&mut [0])?, 0);

        // Again, or too late: an error or nothing, but no harm.
        let _ = stream.shutdown(Shutdown::Read);
        let _ = stream.shutdown(Shutdown::Write);
        drop(stream);
        assert_eq!(clone.read(&mut [0])?, 0);
        Ok(())
    })
}

fn close_read_wakes_up() -> io::Result<()> {
    each_ip(|address| {
        let (stream, _peer) = connected(address)?;
        let mut reader = stream.try_clone()?;
        let (hammer, bell) = bell()?;
        let reading = go(move || -> io::Result<usize> {
            hammer.ring()?;
            reader.read(&mut [0])
        });
        bell.wait()?;
        stream.shutdown(Shutdown::Read)?;
        assert_eq!(reading.join()?, 0);
        Ok(())
    })
}
