//! The registry and the reactor: data, keys, callbacks.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_selector::{End, Event, Flow, Interest, Key, Kind, Reactor, Registry};
use fiveways_sys::process::raise_descriptor_limit;

const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair")
}

/// The keys of the sources that are ready now.
fn ready<T>(registry: &mut Registry<UnixStream, T>) -> Vec<Key> {
    registry.select(Some(Instant::now())).expect("select");
    let mut keys = Vec::new();
    while let Some(ready) = registry.next_ready() {
        keys.push(ready.key);
    }
    keys
}

#[test]
fn data_comes_with_the_event_and_back_at_the_end() {
    let mut registry = Registry::new().expect("a registry");
    let ((mut a, b), (_c, d)) = (pair(), pair());
    let first = registry.register(b, Interest::READABLE, vec![1]).expect("register");
    let second = registry.register(d, Interest::READABLE, vec![2]).expect("register");
    assert_eq!(registry.len(), 2, "shown (D27)");
    a.write_all(b"x").expect("write");
    registry.select(soon()).expect("select");
    let found = registry.next_ready().expect("ready");
    assert_eq!((found.key, &found.data[..]), (first, &[1][..]));
    assert!(found.event.is_readable() && !found.event.is_writable());
    found.data.push(10);
    assert!(registry.next_ready().is_none());

    let (_source, data) = registry.unregister(first).expect("registered");
    assert_eq!(data, [1, 10]);
    assert_eq!(registry.get(second).map(|(_, data)| &data[..]), Some(&[2][..]));
    assert_eq!((registry.len(), registry.iter().count()), (1, 1));
}

#[test]
fn what_has_ended_is_not_found() {
    let mut registry = Registry::new().expect("a registry");
    let key = registry.register(pair().0, Interest::READABLE, ()).expect("register");
    registry.unregister(key).expect("registered");
    let again = registry.unregister(key).expect_err("ended");
    let modified = registry.modify(key, Interest::WRITABLE).expect_err("ended");
    assert_eq!((again.kind(), modified.kind()), (ErrorKind::NotFound, ErrorKind::NotFound));
    assert!(registry.get(key).is_none() && registry.get_mut(key).is_none());
    assert!(registry.interest(key).is_none());
    // The same slot, but another key.
    let new = registry.register(pair().0, Interest::READABLE, ()).expect("register");
    assert_ne!(new, key);
    assert!(registry.get(key).is_none() && registry.get(new).is_some());
}

#[test]
fn a_source_is_registered_once() {
    let mut registry = Registry::new().expect("a registry");
    let source = Rc::new(pair().0);
    registry.register(Rc::clone(&source), Interest::READABLE, 1).expect("register");
    let again = registry.register(source, Interest::READABLE, 2).expect_err("refused");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(registry.len(), 1);
}

#[test]
fn an_event_of_the_same_batch_never_reaches_who_took_the_place_d05_d38() {
    for kind in [Kind::Select, Kind::Poll, Kind::Epoll, Kind::EpollEt, Kind::Signal] {
        let selector = kind.open().expect("a selector");
        let mut registry: Registry<UnixStream, &str> = Registry::with_selector(selector);
        let ((mut a, b), (mut c, d)) = (pair(), pair());
        let first = registry.register(b, Interest::READABLE, "first").expect("register");
        let second = registry.register(d, Interest::READABLE, "second").expect("register");
        a.write_all(b"x").expect("write");
        c.write_all(b"x").expect("write");
        registry.select(soon()).expect("select");
        let found = registry.next_ready().expect("ready").key;
        let other = if found == first { second } else { first };

        // Its event is in the batch. Now it ends, and an idle one gets its slot and number.
        drop(registry.unregister(other).expect("registered"));
        let (_quiet, silent) = pair();
        let new = registry.register(silent, Interest::READABLE, "new").expect("register");
        assert_ne!(new, other);
        assert!(registry.next_ready().is_none(), "{kind}");
        assert!(!ready(&mut registry).contains(&new), "{kind}");
    }
}

#[test]
fn what_was_not_taken_from_a_batch_is_not_lost_by_the_next_select() {
    let selector = Kind::EpollEt.open().expect("a selector");
    let mut registry = Registry::with_selector(selector);
    let ((mut a, b), (mut c, d)) = (pair(), pair());
    let first = registry.register(b, Interest::READABLE, ()).expect("register");
    let second = registry.register(d, Interest::READABLE, ()).expect("register");
    a.write_all(b"x").expect("write");
    c.write_all(b"x").expect("write");
    registry.select(soon()).expect("select");
    let mut found = vec![registry.next_ready().expect("ready").key];
    registry.select(soon()).expect("at once");
    found.push(registry.next_ready().expect("ready").key);
    found.sort_by_key(|key| *key == second);
    assert_eq!(found, [first, second]);
}

#[test]
fn modify_changes_what_is_reported() {
    let mut registry = Registry::new().expect("a registry");
    let (mut a, b) = pair();
    let key = registry.register(b, Interest::READABLE, ()).expect("register");
    a.write_all(b"x").expect("write");
    assert_eq!(ready(&mut registry), [key]);
    registry.modify(key, Interest::NONE).expect("modify");
    assert_eq!(ready(&mut registry), []);
    assert_eq!(registry.interest(key), Some(Interest::NONE));
    registry.modify(key, Interest::READABLE).expect("modify");
    assert_eq!(ready(&mut registry), [key]);
}

#[test]
fn a_hundred_thousand_registrations_come_and_go_d30() {
    let room = raise_descriptor_limit().soft.unwrap_or(u64::MAX);
    let crowd = usize::try_from(room / 2).map_or(4_000, |half| half.min(4_000));
    let (few, many) = (comings_and_goings(20, 5_000), comings_and_goings(crowd, 100_000 / crowd));
    // Time in proportion to the number would be a hundred times as much for the larger one.
    assert!(many < few * 5, "100,000 among 20 take {few:?}, among {crowd} {many:?}");
}

/// The least time that so many registrations take to come and go together, of several rounds; for
/// as many of them in all, whatever the number.
fn comings_and_goings(count: usize, times: usize) -> Duration {
    let selector = Kind::Poll.open().expect("a selector");
    let mut registry = Registry::with_selector(selector);
    let streams: Vec<Rc<UnixStream>> = (0..count).map(|_| Rc::new(pair().0)).collect();
    let mut once = || {
        let started = Instant::now();
        for _ in 0..times {
            let add = |stream: &Rc<UnixStream>| {
                registry.register(Rc::clone(stream), Interest::READABLE, ()).expect("register")
            };
            let keys: Vec<Key> = streams.iter().map(add).collect();
            assert_eq!(registry.len(), count);
            for key in keys {
                registry.unregister(key).expect("registered");
            }
        }
        started.elapsed()
    };
    let least = (0..4).map(|_| once()).min().expect("four rounds");
    assert!(registry.is_empty());
    least
}

/// A callback that reads one byte and does as it says.
fn obey(reactor: &mut Reactor, mut stream: &UnixStream, _: Event) -> std::io::Result<Flow> {
    let mut order = [0];
    stream.read_exact(&mut order)?;
    match order[0] {
        b'c' => Ok(Flow::Continue),
        b'e' => Ok(Flow::End),
        b'f' => Err(ErrorKind::InvalidData.into()),
        b's' => {
            reactor.stop();
            Ok(Flow::Continue)
        }
        other => panic!("order {}", char::from(other)),
    }
}

/// A reactor that records how registrations end.
fn noting() -> (Reactor, Rc<RefCell<Vec<String>>>) {
    let notes = Rc::new(RefCell::new(Vec::new()));
    let mut reactor = Reactor::new().expect("a reactor");
    let notes_of_end = Rc::clone(&notes);
    reactor.on_end(move |_, end| {
        notes_of_end.borrow_mut().push(match end {
            End::Done => String::from("done"),
            End::Failed(error) => error.kind().to_string(),
            End::Panicked(payload) => payload.downcast_ref::<String>().expect("text").clone(),
        });
    });
    (reactor, notes)
}

#[test]
fn a_failing_or_panicking_callback_ends_only_itself_d26_d28() {
    let (mut reactor, notes) = noting();
    let mut orders = Vec::new();
    for order in [b'c', b'e', b'f', b'x'] {
        let (mut ours, theirs) = pair();
        reactor.add(theirs, Interest::READABLE, obey).expect("add");
        ours.write_all(&[order]).expect("write");
        orders.push(ours);
    }
    assert_eq!(reactor.len(), 4);
    reactor.turn(soon()).expect("the loop lives");
    notes.borrow_mut().sort();
    assert_eq!(*notes.borrow(), ["done", "invalid data", "order x"]);
    assert_eq!((reactor.len(), reactor.failures()), (1, 2));
    // The ended one is closed, the other one is served.
    for gone in &mut orders[1..] {
        assert_eq!(gone.read(&mut [0]).expect("the end"), 0);
    }
    orders[0].write_all(b"e").expect("write");
    reactor.run().expect("until nothing is left");
    assert!(reactor.is_empty());
}

#[test]
fn a_callback_may_remove_itself_and_others_of_the_batch_d05() {
    let mut reactor = Reactor::new().expect("a reactor");
    let keys: Rc<RefCell<Vec<Key>>> = Rc::default();
    let calls = Rc::new(Cell::new(0));
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (mut ours, theirs) = pair();
        let (keys, calls) = (Rc::clone(&keys), Rc::clone(&calls));
        let all = Rc::clone(&keys);
        let callback = move |reactor: &mut Reactor, _: &UnixStream, _: Event| {
            calls.set(calls.get() + 1);
            for key in all.borrow_mut().drain(..) {
                reactor.remove(key)?;
            }
            Ok(Flow::Continue)
        };
        keys.borrow_mut().push(reactor.add(theirs, Interest::READABLE, callback).expect("add"));
        ours.write_all(b"x").expect("write");
        peers.push(ours);
    }
    reactor.turn(soon()).expect("turn");
    assert_eq!((calls.get(), reactor.len(), reactor.failures()), (1, 0, 0));
    for peer in &mut peers {
        let error = peer.read(&mut [0]).expect_err("closed with a byte unread");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_callback_says_what_to_watch_next() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (mut ours, theirs) = pair();
    let seen = Rc::new(RefCell::new(String::new()));
    let notes = Rc::clone(&seen);
    let callback = move |_: &mut Reactor, mut stream: &UnixStream, event: Event| {
        if event.is_writable() {
            notes.borrow_mut().push('w');
            return Ok(Flow::Watch(Interest::READABLE));
        }
        notes.borrow_mut().push('r');
        stream.read_exact(&mut [0])?;
        Ok(Flow::Watch(Interest::WRITABLE))
    };
    reactor.add(theirs, Interest::READABLE, callback).expect("add");
    ours.write_all(b"xx").expect("write");
    for _ in 0..4 {
        reactor.turn(soon()).expect("turn");
    }
    assert_eq!(*seen.borrow(), "rwrw");
}

#[test]
fn stop_ends_a_run_and_the_rest_of_the_batch_comes_in_the_next() {
    let (mut reactor, notes) = noting();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (mut ours, theirs) = pair();
        reactor.add(theirs, Interest::READABLE, obey).expect("add");
        ours.write_all(b"s").expect("write");
        peers.push(ours);
    }
    for _ in 0..3 {
        reactor.run().expect("run");
    }
    for peer in &mut peers {
        peer.write_all(b"e").expect("write");
    }
    reactor.run().expect("run");
    assert_eq!(notes.borrow().len(), 3, "each was called twice");
}

#[test]
fn a_waker_ends_a_turn_d54() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (_ours, theirs) = pair();
    reactor.add(theirs, Interest::READABLE, obey).expect("add");
    let waker = reactor.waker();
    let before = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || waker.wake());
        reactor.turn(soon()).expect("turn");
    });
    assert!(before.elapsed() < PATIENCE);
}
