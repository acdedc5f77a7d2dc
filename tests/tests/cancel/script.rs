//! A task that waits in every way there is, and the other ends of what it waits with.
//!
//! The script notes what it is going to wait for before each call; the director, a task of the same
//! worker, runs only while the script is suspended, so what it reads there is exact. The other ends
//! are std's, which do not suspend the director: between a look and an action nothing else runs.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, ErrorKind, IoSliceMut, Read, Write};
use std::net::{
    SocketAddr, TcpListener as StdListener, TcpStream as StdStream, UdpSocket as StdUdp,
};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;
use std::time::Duration;

use fiveways::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use fiveways::server::{ListenMode, Server};
use fiveways::{task, time};
use fiveways_tests::client::{expect_noise, noise};

/// Bytes that come at once for a reader.
const PIECE: usize = 100;

/// What the script waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Bytes,
    Room,
    Connection,
    Answer,
    Datagram,
    Time,
    Task,
}

/// Everything the script and the director share.
pub(crate) struct Scene {
    near: RefCell<TcpStream>,
    far: StdStream,
    out: UnixStream,
    out_far: StdUnix,
    listener: TcpListener,
    addr: SocketAddr,
    udp: UdpSocket,
    udp_far: StdUdp,
    full: Server,
    clients: RefCell<Vec<StdStream>>,
    gate: Rc<Cell<bool>>,
    pub(crate) calls: Cell<usize>,
    pub(crate) wait: Cell<Wait>,
    given: Cell<usize>,
    got: Cell<usize>,
    sent: Cell<usize>,
    drained: Cell<usize>,
    datagrams_given: Cell<usize>,
    datagrams_got: Cell<usize>,
    accepted: Cell<usize>,
}

impl Scene {
    pub(crate) fn new() -> Rc<Scene> {
        let (near, far) = half_std_pair();
        // Unix sockets have room again as soon as they are read from; TCP takes its time.
        let (out, out_far) = StdUnix::pair().expect("a pair");
        let out = UnixStream::from(OwnedFd::from(out));
        out_far.set_nonblocking(true).expect("takes options");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let udp_far = StdUdp::bind("127.0.0.1:0").expect("a port");
        udp_far.connect(udp.local_addr().expect("an address")).expect("connects");
        let full = Server::bind_with("127.0.0.1:0", 0, ListenMode::Shared).expect("a port");
        let full_addr = full.local_addr().expect("an address");
        let mut clients = Vec::new();
        // One more than it has room for: the next one waits.
        clients.extend(StdStream::connect(full_addr));
        Rc::new(Scene {
            near: RefCell::new(near),
            far,
            out,
            out_far,
            listener,
            addr,
            udp,
            udp_far,
            full,
            clients: RefCell::new(clients),
            gate: Rc::default(),
            calls: Cell::new(0),
            wait: Cell::new(Wait::Time),
            given: Cell::default(),
            got: Cell::default(),
            sent: Cell::default(),
            drained: Cell::default(),
            datagrams_given: Cell::default(),
            datagrams_got: Cell::default(),
            accepted: Cell::default(),
        })
    }

    fn call(&self, wait: Wait) {
        self.wait.set(wait);
        self.calls.set(self.calls.get() + 1);
    }

    /// Gives the script what it waits for, without letting it run.
    pub(crate) fn feed(&self, wait: Wait) {
        match wait {
            Wait::Bytes => {
                let at = self.given.get();
                (&self.far).write_all(noise(at, PIECE)).expect("there is room for so few");
                self.given.set(at + PIECE);
            }
            Wait::Room => drop(self.drain()),
            Wait::Connection => {
                let client = StdStream::connect(self.addr).expect("the backlog has room");
                self.clients.borrow_mut().push(client);
            }
            Wait::Datagram => {
                self.udp_far.send(b"datagram").expect("there is room for so few");
                self.datagrams_given.set(self.datagrams_given.get() + 1);
            }
            Wait::Task => self.gate.set(true),
            Wait::Time | Wait::Answer => {}
        }
    }

    /// Takes what the script has written so far and checks it. True: it was all, and the end.
    fn drain(&self) -> bool {
        let mut buf = [0; 16 * 1024];
        loop {
            match (&self.out_far).read(&mut buf) {
                Ok(0) => return true,
                Ok(count) => {
                    let at = self.drained.get();
                    assert!(buf[..count] == *noise(at, count), "wrong bytes written at {at}");
                    self.drained.set(at + count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the written bytes end with {error}"),
            }
        }
    }

    /// After the script's end: whatever it did not take is still there, and nothing else.
    pub(crate) fn settle(&self) {
        let near = self.near.borrow();
        expect_noise(&*near, self.got.get(), self.given.get());
        near.set_nonblocking(true).expect("takes it");
        let more = (&*near).read(&mut [0; 8]).expect_err("bytes that nobody sent");
        assert_eq!(more.kind(), ErrorKind::WouldBlock);
        self.out.shutdown(std::net::Shutdown::Write).expect("still there");
        while !self.drain() {
            task::yield_now();
        }
        assert_eq!(self.drained.get(), self.sent.get(), "the writer was not told the truth");
        // One client belongs to the full listener.
        for _ in self.accepted.get()..self.clients.borrow().len() - 1 {
            self.listener.accept().expect("a cancelled accept loses no connection");
        }
        for _ in self.datagrams_got.get()..self.datagrams_given.get() {
            let count = self.udp.recv(&mut [0; 16]).expect("a cancelled recv loses no datagram");
            assert_eq!(count, 8);
        }
    }
}

/// A connection of which only the near end is ours.
fn half_std_pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
    let (far, _) = listener.accept().expect("accepts");
    far.set_nodelay(true).expect("takes options");
    (near, far)
}

/// The script: waits in every way there is. An error ends it, unless it is stubborn.
pub(crate) fn perform(scene: &Scene, stubborn: bool) {
    let steps: [fn(&Scene) -> io::Result<()>; 10] =
        [read, fill, receive, write, vectored, accept, connect, peek, sleep, join];
    for step in steps {
        if step(scene).is_err() && !stubborn {
            return;
        }
    }
}

fn took(scene: &Scene, bytes: &[u8]) {
    let at = scene.got.get();
    assert!(*bytes == *noise(at, bytes.len()), "wrong bytes read at {at}");
    scene.got.set(at + bytes.len());
}

fn read(scene: &Scene) -> io::Result<()> {
    let mut buf = [0xAA; 4 * PIECE];
    scene.call(Wait::Bytes);
    let count = scene.near.borrow_mut().read(&mut buf)?;
    took(scene, &buf[..count]);
    Ok(())
}

fn fill(scene: &Scene) -> io::Result<()> {
    for _ in 0..2 {
        scene.call(Wait::Bytes);
        let mut near = scene.near.borrow_mut();
        let bytes = near.fill_buf()?;
        took(scene, bytes);
        let count = bytes.len();
        near.consume(count);
    }
    Ok(())
}

fn vectored(scene: &Scene) -> io::Result<()> {
    let (mut a, mut b) = ([0; 30], [0; 400]);
    scene.call(Wait::Bytes);
    let bufs = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    let count = scene.near.borrow_mut().read_vectored(bufs)?;
    took(scene, &a[..count.min(30)]);
    took(scene, &b[..count.saturating_sub(30)]);
    Ok(())
}

fn peek(scene: &Scene) -> io::Result<()> {
    let mut buf = [0; PIECE];
    scene.call(Wait::Bytes);
    let count = scene.near.borrow().peek(&mut buf)?;
    assert!(buf[..count] == *noise(scene.got.get(), count), "wrong bytes peeked at");
    Ok(())
}

fn receive(scene: &Scene) -> io::Result<()> {
    let mut buf = [0; 16];
    scene.call(Wait::Datagram);
    let (count, _) = scene.udp.recv_from(&mut buf)?;
    assert_eq!(&buf[..count], b"datagram");
    scene.datagrams_got.set(scene.datagrams_got.get() + 1);
    Ok(())
}

fn write(scene: &Scene) -> io::Result<()> {
    let end = scene.sent.get() + 600_000;
    while scene.sent.get() < end {
        let at = scene.sent.get();
        // Written from this very stack, from where the kernel copies.
        let mut piece = [0; 30_000];
        piece.copy_from_slice(noise(at, 30_000));
        scene.call(Wait::Room);
        scene.sent.set(at + (&scene.out).write(&piece)?);
    }
    Ok(())
}

fn accept(scene: &Scene) -> io::Result<()> {
    scene.call(Wait::Connection);
    scene.listener.accept()?;
    scene.accepted.set(scene.accepted.get() + 1);
    Ok(())
}

fn connect(scene: &Scene) -> io::Result<()> {
    let full = scene.full.local_addr()?;
    scene.call(Wait::Answer);
    match TcpStream::connect_timeout(&full, Duration::from_millis(20)) {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        result => result.map(|_| panic!("connected to a listener without room")),
    }
}

fn sleep(scene: &Scene) -> io::Result<()> {
    scene.call(Wait::Time);
    time::sleep(Duration::from_millis(1));
    Ok(())
}

fn join(scene: &Scene) -> io::Result<()> {
    let gate = Rc::clone(&scene.gate);
    let joined = task::spawn_local(move || {
        while !gate.get() {
            time::sleep(Duration::from_micros(200));
        }
    });
    scene.call(Wait::Task);
    joined.join().map_err(|error| io::Error::other(error.to_string()))
}
