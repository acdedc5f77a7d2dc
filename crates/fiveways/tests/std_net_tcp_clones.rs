//! The behaviours that std's tests check of several values for one listener or stream, for ours,
//! everywhere.

mod std_ports;

use std::io::{self, Read, Write};
use std::sync::Arc;

use fiveways::net::{Shutdown, TcpStream};

use crate::std_ports::{Handle, bell, connected, each_ip, everywhere, go, listen, loopback};

everywhere!(
    tcp_clone_smoke,
    tcp_clone_two_read,
    tcp_clone_two_write,
    clone_while_reading,
    clone_accept_smoke,
    clone_accept_concurrent,
    tcp_clone_two_waiting_reads,
    clone_reads_while_another_writes,
);

fn tcp_clone_smoke() -> io::Result<()> {
    each_ip(|address| {
        let (client, mut server) = connected(address)?;
        let answering = go(move || -> io::Result<()> {
            let mut buf = [0];
            server.read_exact(&mut buf)?;
            assert_eq!(buf, [1]);
            server.write_all(&[2])
        });
        let mut writer = client.try_clone()?;
        let mut reader = client;
        let (hammer, bell) = bell()?;
        let writing = go(move || -> io::Result<()> {
            bell.wait()?;
            writer.write_all(&[1])
        });
        hammer.ring()?;
        let mut buf = [0];
        reader.read_exact(&mut buf)?;
        assert_eq!(buf, [2]);
        writing.join()?;
        answering.join()
    })
}

fn tcp_clone_two_read() -> io::Result<()> {
    each_ip(|address| {
        let (mut writer, reader) = connected(address)?;
        let other = reader.try_clone()?;
        let readers = [reader, other].map(|mut stream| {
            go(move || -> io::Result<u8> {
                let mut buf = [0];
                stream.read_exact(&mut buf)?;
                Ok(buf[0])
            })
        });
        writer.write_all(&[1])?;
        writer.write_all(&[2])?;
        let [a, b] = readers.map(Handle::join);
        let mut both = [a?, b?];
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
        Ok(())
    })
}

fn tcp_clone_two_write() -> io::Result<()> {
    each_ip(|address| {
        let (writer, mut reader) = connected(address)?;
        let other = writer.try_clone()?;
        let writing = [(writer, 1), (other, 2)]
            .map(|(mut stream, byte)| go(move || stream.write_all(&[byte])));
        let mut buf = [0; 2];
        reader.read_exact(&mut buf)?;
        buf.sort_unstable();
        assert_eq!(buf, [1, 2]);
        let [a, b] = writing.map(Handle::join);
        a.and(b)
    })
}

fn clone_while_reading() -> io::Result<()> {
    each_ip(|address| {
        let (mut writer, reader) = connected(address)?;
        let mut theirs = reader.try_clone()?;
        let (hammer, bell) = bell()?;
        let reading = go(move || -> io::Result<()> {
            hammer.ring()?;
            theirs.read_exact(&mut [0])
        });
        bell.wait()?;
        let mut another = reader.try_clone()?;
        drop(reader);
        let reading_too = go(move || another.read_exact(&mut [0]));
        writer.write_all(&[0])?;
        writer.write_all(&[0])?;
        reading.join()?;
        reading_too.join()
    })
}

fn clone_accept_smoke() -> io::Result<()> {
    each_ip(|address| {
        let (a, address) = listen(address)?;
        let b = a.try_clone()?;
        let first = go(move || TcpStream::connect(address).map(drop));
        let second = go(move || TcpStream::connect(address).map(drop));
        a.accept()?;
        b.accept()?;
        first.join()?;
        second.join()
    })
}

fn clone_accept_concurrent() -> io::Result<()> {
    each_ip(|address| {
        let (a, address) = listen(address)?;
        let b = a.try_clone()?;
        // The first takes both, if it can: each takes exactly one here.
        let accepting = [a, b].map(|listener| go(move || listener.accept().map(drop)));
        let _first = TcpStream::connect(address)?;
        let _second = TcpStream::connect(address)?;
        let [a, b] = accepting.map(Handle::join);
        a.and(b)
    })
}

/// As above, but nothing is sent before both wait.
fn tcp_clone_two_waiting_reads() -> io::Result<()> {
    let (mut writer, reader) = connected(loopback())?;
    let other = reader.try_clone()?;
    let (hammer, bell) = bell()?;
    let hammer = Arc::new(hammer);
    let readers = [reader, other].map(|mut stream| {
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

/// One value of the connection waits to read while another waits to write.
fn clone_reads_while_another_writes() -> io::Result<()> {
    const ALL: usize = 16 * 1024 * 1024;
    let (mut writer, server) = connected(loopback())?;
    let (mut reader, mut echo) = (writer.try_clone()?, server.try_clone()?);
    let mut server = server;
    let echoing = go(move || io::copy(&mut server, &mut echo).and(echo.shutdown(Shutdown::Write)));
    let reading = go(move || -> io::Result<usize> {
        let (mut buf, mut count) = (vec![0; 64 * 1024], 0);
        loop {
            match reader.read(&mut buf)? {
                0 => return Ok(count),
                more => count += more,
            }
        }
    });
    for _ in 0..ALL / 4096 {
        writer.write_all(&[7; 4096])?;
    }
    writer.shutdown(Shutdown::Write)?;
    assert_eq!(reading.join()?, ALL);
    echoing.join()
}
