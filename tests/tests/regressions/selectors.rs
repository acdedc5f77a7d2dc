//! Defects of event loops made of callbacks and selectors.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use fiveways::selector::{
    FdTooLarge, Flow, Interest, Kind, Reactor, Registry, Select, Selector, Token,
};
use fiveways_tests::client::{self, ask, noise};

/// D21: select and descriptors beyond its limit: a typed error before anything is harmed.
#[test]
fn d21_select_refuses_high_descriptors_with_a_typed_error() {
    let held: Vec<_> =
        (0..1_100).map(|_| std::fs::File::open("/dev/null").expect("opens")).collect();
    let (high, _other) = UnixStream::pair().expect("a pair");
    let mut select = Select::new();
    if let Err(error) = &select {
        // Its own waker may be beyond the limit.
        assert!(error.get_ref().is_some_and(|inner| inner.is::<FdTooLarge>()), "{error}");
        drop(held);
        select = Select::new();
    }
    let mut select = select.expect("opens");
    let refused = select.register(high.as_fd(), Interest::READABLE, Token(1));
    let error = refused.expect_err("beyond the limit");
    let inner = error.get_ref().expect("typed");
    assert!(inner.is::<FdTooLarge>(), "{error}");
    assert_eq!(select.len(), 0);
}

/// D26: a reset or a would-block in a callback ended the whole loop.
#[test]
fn d26_an_error_in_a_callback_ends_its_own_registration() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("takes options");
    let addr = listener.local_addr().expect("an address");
    let clients = thread::spawn(move || {
        for _ in 0..10 {
            let mut rude = client::connect(addr);
            rude.write_all(noise(0, 5_000)).expect("taken");
            client::reset(rude);
        }
        let mut unread = client::connect(addr);
        unread.set_write_timeout(Some(Duration::from_millis(200))).expect("takes options");
        while unread.write(noise(0, 100_000)).is_ok() {}
        ask(&mut client::connect(addr), b"alive");
        client::connect(addr).write_all(b"stop").expect("taken");
        drop(unread);
    });
    let mut reactor = Reactor::new().expect("opens");
    let accept = |reactor: &mut Reactor, listener: &TcpListener, _| {
        match listener.accept() {
            Ok((stream, _)) => drop(reactor.add(stream, Interest::READABLE, echo)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(Flow::Continue)
    };
    reactor.add(listener, Interest::READABLE, accept).expect("registers");
    reactor.run().expect("the loop outlives its callbacks");
    clients.join().expect("all were served");
}

/// Echoes what fits; what does not ends this connection with an error.
fn echo(
    reactor: &mut Reactor,
    mut stream: &TcpStream,
    _: fiveways::selector::Event,
) -> std::io::Result<Flow> {
    let mut buf = [0; 4096];
    let count = stream.read(&mut buf)?;
    if &buf[..count] == b"stop" {
        reactor.stop();
        return Ok(Flow::End);
    }
    stream.set_nonblocking(true)?;
    let written = stream.write(&buf[..count])?;
    assert!(written == count, "a panic of a callback is its own affair, too");
    Ok(if count == 0 { Flow::End } else { Flow::Continue })
}

/// D27: the number of registrations was printed without the number.
#[test]
fn d27_the_number_of_registrations_is_known() {
    for kind in Kind::ALL {
        let (near, far) = UnixStream::pair().expect("a pair");
        let mut registry = Registry::with_selector(kind.open().expect("opens"));
        assert_eq!(registry.len(), 0);
        let key = registry.register(near, Interest::READABLE, ()).expect("registers");
        registry.register(far, Interest::READABLE, ()).expect("registers");
        assert_eq!(registry.len(), 2, "{kind}");
        registry.unregister(key).expect("it was there");
        assert_eq!(registry.len(), 1, "{kind}");
    }
}
