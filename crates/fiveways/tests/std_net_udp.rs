//! The behaviours that std's tests of `UdpSocket` check, for ours, everywhere.

mod std_ports;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways::net::UdpSocket;

use crate::std_ports::{Handle, assert_kind, bell, each_ip, everywhere, go};

everywhere!(
    bind_error,
    socket_smoke_test,
    socket_name,
    socket_peer,
    udp_clone_smoke,
    udp_clone_two_read,
    udp_clone_two_write,
    debug,
    timeouts,
    read_timeout,
    read_with_timeout,
    timeout_zero_duration,
    connect_send_recv,
    connect_send_peek_recv,
    peek_from,
    an_empty_datagram_is_one,
    a_long_datagram_is_cut_off,
    refused_by_nobody,
    strangers_are_not_heard,
    ttl,
    options,
    set_nonblocking,
    udp_clone_two_waiting_reads,
);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn bind(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = UdpSocket::bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn bind_error() -> io::Result<()> {
    assert_kind(UdpSocket::bind("192.0.2.1:9999"), &[ErrorKind::AddrNotAvailable]);
    let (_first, address) = bind(loopback())?;
    assert_kind(UdpSocket::bind(address), &[ErrorKind::AddrInUse]);
    Ok(())
}

fn socket_smoke_test() -> io::Result<()> {
    each_ip(|ip| {
        let (server, to) = bind(ip)?;
        let (client, from) = bind(ip)?;
        let sending = go(move || client.send_to(&[99], to));
        let mut buf = [0];
        assert_eq!(server.recv_from(&mut buf)?, (1, from));
        assert_eq!(buf, [99]);
        assert_eq!(sending.join()?, 1);
        Ok(())
    })
}

fn socket_name() -> io::Result<()> {
    each_ip(|ip| {
        let (_socket, address) = bind(ip)?;
        assert_eq!(address.ip(), ip.ip());
        assert_ne!(address.port(), 0);
        let taken = UdpSocket::bind(address).map(drop);
        assert_kind(taken, &[ErrorKind::AddrInUse]);
        Ok(())
    })
}

fn socket_peer() -> io::Result<()> {
    each_ip(|ip| {
        let (a, _) = bind(ip)?;
        let (_b, address) = bind(ip)?;
        assert_kind(a.peer_addr(), &[ErrorKind::NotConnected]);
        a.connect(address)?;
        assert_eq!(a.peer_addr()?, address);
        Ok(())
    })
}

fn udp_clone_smoke() -> io::Result<()> {
    each_ip(|ip| {
        let (ours, our_address) = bind(ip)?;
        let (theirs, their_address) = bind(ip)?;
        let answering = go(move || -> io::Result<()> {
            let mut buf = [0; 2];
            assert_eq!(theirs.recv_from(&mut buf)?, (1, our_address));
            assert_eq!(buf[0], 1);
            theirs.send_to(&[2], our_address)?;
            Ok(())
        });
        let clone = ours.try_clone()?;
        let sending = go(move || clone.send_to(&[1], their_address));
        let mut buf = [0; 2];
        assert_eq!(ours.recv_from(&mut buf)?, (1, their_address));
        assert_eq!(buf[0], 2);
        assert_eq!(sending.join()?, 1);
        answering.join()
    })
}

fn udp_clone_two_read() -> io::Result<()> {
    each_ip(|ip| {
        let (receiver, to) = bind(ip)?;
        let (sender, from) = bind(ip)?;
        let readers = [receiver.try_clone()?, receiver].map(|socket| {
            go(move || -> io::Result<u8> {
                let mut buf = [0; 2];
                assert_eq!(socket.recv_from(&mut buf)?, (1, from));
                Ok(buf[0])
            })
        });
        sender.send_to(&[1], to)?;
        sender.send_to(&[2], to)?;
        let [a, b] = readers.map(Handle::join);
        let mut both = [a?, b?];
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
        Ok(())
    })
}

/// As above, but nothing is sent before both wait.
fn udp_clone_two_waiting_reads() -> io::Result<()> {
    let (receiver, to) = bind(loopback())?;
    let (sender, _) = bind(loopback())?;
    let (hammer, bell) = bell()?;
    let hammer = Arc::new(hammer);
    let readers = [receiver.try_clone()?, receiver].map(|socket| {
        let hammer = Arc::clone(&hammer);
        go(move || -> io::Result<()> {
            hammer.ring()?;
            socket.recv_from(&mut [0]).map(drop)
        })
    });
    bell.wait()?;
    bell.wait()?;
    sender.send_to(&[1], to)?;
    sender.send_to(&[2], to)?;
    let [a, b] = readers.map(Handle::join);
    a.and(b)
}

fn udp_clone_two_write() -> io::Result<()> {
    each_ip(|ip| {
        let (receiver, to) = bind(ip)?;
        let (sender, from) = bind(ip)?;
        let writers = [(sender.try_clone()?, 1), (sender, 2)]
            .map(|(socket, byte)| go(move || socket.send_to(&[byte], to)));
        let mut both = [0; 2];
        for byte in both.chunks_exact_mut(1) {
            assert_eq!(receiver.recv_from(byte)?, (1, from));
        }
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
        for writer in writers {
            assert_eq!(writer.join()?, 1);
        }
        Ok(())
    })
}

fn debug() -> io::Result<()> {
    let (socket, address) = bind(loopback())?;
    let text = format!("{socket:?}");
    assert!(text.starts_with(&format!("UdpSocket {{ addr: {address}, fd: ")), "{text}");
    Ok(())
}

fn timeouts() -> io::Result<()> {
    let (socket, _) = bind(loopback())?;
    let limit = Duration::from_millis(15_410);
    assert_eq!(socket.read_timeout()?, None);
    assert_eq!(socket.write_timeout()?, None);
    socket.set_read_timeout(Some(limit))?;
    assert_eq!(socket.read_timeout()?, Some(limit));
    socket.set_write_timeout(Some(limit))?;
    assert_eq!(socket.write_timeout()?, Some(limit));
    socket.set_read_timeout(None)?;
    assert_eq!(socket.read_timeout()?, None);
    socket.set_write_timeout(None)?;
    assert_eq!(socket.write_timeout()?, None);
    Ok(())
}

fn read_timeout() -> io::Result<()> {
    let (socket, _) = bind(loopback())?;
    let limit = Duration::from_millis(100);
    socket.set_read_timeout(Some(limit))?;
    let began = Instant::now();
    assert_kind(socket.recv_from(&mut [0; 10]), &[ErrorKind::TimedOut]);
    assert!(began.elapsed() >= limit);
    Ok(())
}

fn read_with_timeout() -> io::Result<()> {
    let (socket, address) = bind(loopback())?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.send_to(b"hello world", address)?;
    let mut buf = [0; 11];
    assert_eq!(socket.recv_from(&mut buf)?, (11, address));
    assert_eq!(&buf, b"hello world");
    assert_kind(socket.recv_from(&mut buf), &[ErrorKind::TimedOut]);
    // Being late once does not harm what comes afterwards.
    socket.send_to(b"again", address)?;
    assert_eq!(socket.recv_from(&mut buf)?, (5, address));
    Ok(())
}

fn timeout_zero_duration() -> io::Result<()> {
    let (socket, _) = bind(loopback())?;
    assert_kind(socket.set_read_timeout(Some(Duration::ZERO)), &[ErrorKind::InvalidInput]);
    assert_kind(socket.set_write_timeout(Some(Duration::ZERO)), &[ErrorKind::InvalidInput]);
    Ok(())
}

/// A socket that is its own peer.
fn to_itself() -> io::Result<UdpSocket> {
    let (socket, address) = bind(loopback())?;
    socket.connect(address)?;
    Ok(socket)
}

fn connect_send_recv() -> io::Result<()> {
    let socket = to_itself()?;
    assert_eq!(socket.send(b"hello world")?, 11);
    let mut buf = [0; 11];
    assert_eq!(socket.recv(&mut buf)?, 11);
    assert_eq!(&buf, b"hello world");
    Ok(())
}

fn connect_send_peek_recv() -> io::Result<()> {
    let socket = to_itself()?;
    socket.send(b"hello world")?;
    for _ in 1..3 {
        let mut buf = [0; 11];
        assert_eq!(socket.peek(&mut buf)?, 11);
        assert_eq!(&buf, b"hello world");
    }
    assert_eq!(socket.recv(&mut [0; 11])?, 11);
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    assert_kind(socket.peek(&mut [0]), &[ErrorKind::TimedOut]);
    Ok(())
}

fn peek_from() -> io::Result<()> {
    let (socket, address) = bind(loopback())?;
    socket.send_to(b"hello world", address)?;
    for _ in 1..3 {
        let mut buf = [0; 11];
        assert_eq!(socket.peek_from(&mut buf)?, (11, address));
        assert_eq!(&buf, b"hello world");
    }
    assert_eq!(socket.recv_from(&mut [0; 11])?, (11, address));
    Ok(())
}

fn an_empty_datagram_is_one() -> io::Result<()> {
    let (socket, address) = bind(loopback())?;
    let waiting = socket.try_clone()?;
    let receiving = go(move || waiting.recv_from(&mut [0; 10]));
    assert_eq!(socket.send_to(b"", address)?, 0);
    assert_eq!(receiving.join()?, (0, address));
    Ok(())
}

fn a_long_datagram_is_cut_off() -> io::Result<()> {
    let socket = to_itself()?;
    socket.send(b"hello world")?;
    socket.send(b"next")?;
    let mut buf = [0; 5];
    assert_eq!(socket.recv(&mut buf)?, 5);
    assert_eq!(&buf, b"hello");
    assert_eq!(socket.recv(&mut buf)?, 4);
    assert_eq!(&buf[..4], b"next");
    Ok(())
}

fn refused_by_nobody() -> io::Result<()> {
    let (socket, _) = bind(loopback())?;
    // Holds its port, but hears only itself.
    let (nobody, address) = bind(loopback())?;
    nobody.connect(address)?;
    socket.connect(address)?;
    socket.send(&[1])?;
    assert_kind(socket.recv(&mut [0]), &[ErrorKind::ConnectionRefused]);
    Ok(())
}

fn strangers_are_not_heard() -> io::Result<()> {
    let (socket, address) = bind(loopback())?;
    let (friend, friends) = bind(loopback())?;
    let (stranger, _) = bind(loopback())?;
    socket.connect(friends)?;
    stranger.send_to(&[1], address)?;
    friend.send_to(&[2], address)?;
    let mut buf = [0];
    socket.recv(&mut buf)?;
    assert_eq!(buf, [2]);
    Ok(())
}

fn ttl() -> io::Result<()> {
    let (socket, _) = bind(loopback())?;
    socket.set_ttl(100)?;
    assert_eq!(socket.ttl()?, 100);
    Ok(())
}

fn options() -> io::Result<()> {
    let (socket, _) = bind(loopback())?;
    for on in [true, false] {
        socket.set_broadcast(on)?;
        assert_eq!(socket.broadcast()?, on);
        socket.set_multicast_loop_v4(on)?;
        assert_eq!(socket.multicast_loop_v4()?, on);
    }
    socket.set_multicast_ttl_v4(7)?;
    assert_eq!(socket.multicast_ttl_v4()?, 7);
    assert!(socket.take_error()?.is_none());
    let group = Ipv4Addr::new(224, 0, 0, 251);
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect_err("it has left already");
    Ok(())
}

fn set_nonblocking() -> io::Result<()> {
    let (socket, address) = bind(loopback())?;
    socket.set_nonblocking(true)?;
    assert_kind(socket.recv(&mut [0]), &[ErrorKind::WouldBlock]);
    assert_kind(socket.peek_from(&mut [0]), &[ErrorKind::WouldBlock]);
    socket.set_nonblocking(false)?;
    socket.send_to(&[5], address)?;
    let mut buf = [0];
    assert_eq!(socket.recv(&mut buf)?, 1);
    assert_eq!(buf, [5]);
    Ok(())
}
