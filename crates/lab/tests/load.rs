//! What the load generator notices, shown against small servers of every kind of trouble.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways_lab::load::{self, Limits, Moment, Outcome, Plan};
use fiveways_lab::workload::{MessageSize, Service, Workload};

/// Serves every connection by a thread until the test ends.
fn server(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers each piece that arrives by what `turn` makes of it; `None` ends the connection.
fn answering(
    turn: impl Fn(&mut Vec<u8>) -> bool + Send + Sync + 'static,
) -> impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static {
    move |mut stream| {
        let mut buf = vec![0; 64 << 10];
        loop {
            let count = stream.read(&mut buf)?;
            let mut bytes = buf[..count].to_vec();
            if count == 0 || !turn(&mut bytes) {
                return Ok(());
            }
            stream.write_all(&bytes)?;
        }
    }
}

fn workload(service: Service, connections: usize, size: usize) -> Workload {
    let size = MessageSize::new(size).expect("a valid size");
    Workload { service, connections, size, seed: 42 }
}

fn run(address: SocketAddr, workload: &Workload) -> (Outcome, Vec<Moment>) {
    let limits = Limits { connect: Duration::from_secs(20), request: Duration::from_millis(800) };
    let (warm_up, window) = (Duration::from_millis(20), Duration::from_millis(100));
    let interrupt = &AtomicBool::new(false);
    let plan = Plan { address, workload, warm_up, window, limits, interrupt };
    let mut moments = Vec::new();
    let outcome = load::run(&plan, &mut |moment| moments.push(moment)).expect("a generator");
    (outcome, moments)
}

#[test]
fn a_sound_echo_server_gives_requests_and_no_failures_at_every_size() {
    let address = server(answering(|_| true));
    for (connections, size) in [(1, 1), (1, 64), (8, 64), (3, 4096), (2, 300_000)] {
        let (outcome, moments) = run(address, &workload(Service::Echo, connections, size));
        assert_eq!(outcome.failures.total(), 0, "{connections} × {size}: {:?}", outcome.failures);
        assert!(outcome.requests > 0, "{connections} × {size}");
        let latency = outcome.latency.expect("requests have latencies");
        assert!(latency.p50_ns > 0 && latency.p50_ns <= latency.p99_ns);
        assert!(latency.p99_ns <= latency.p999_ns && latency.p999_ns <= latency.max_ns);
        assert!(outcome.window >= Duration::from_millis(100));
        assert_eq!(
            moments,
            [
                Moment::FirstConnected,
                Moment::AllConnected,
                Moment::WindowStarts,
                Moment::WindowEnds
            ]
        );
    }
}

#[test]
fn a_freeze_that_outlasts_the_window_is_the_longest_latency() {
    const FREEZE: Duration = Duration::from_millis(1000);
    let is_due = Arc::new(AtomicBool::new(false));
    let frozen = Arc::clone(&is_due);
    let address = server(answering(move |_| {
        if frozen.swap(false, Ordering::SeqCst) {
            // Not synchronisation: standing still is the behaviour.
            thread::sleep(FREEZE);
        }
        true
    }));
    let (warm_up, window) = (Duration::from_millis(20), Duration::from_millis(200));
    let limits = Limits { connect: Duration::from_secs(20), request: Duration::from_secs(20) };
    let (workload, interrupt) = (&workload(Service::Echo, 4, 64), &AtomicBool::new(false));
    let plan = Plan { address, workload, warm_up, window, limits, interrupt };
    let mut freeze = |moment| is_due.store(moment == Moment::WindowStarts, Ordering::SeqCst);
    let outcome = load::run(&plan, &mut freeze).expect("a generator");
    assert_eq!(outcome.failures.total(), 0, "{:?}", outcome.failures);
    let latency = outcome.latency.expect("the other connections go on");
    assert!(latency.max_ns >= FREEZE.as_nanos() as u64, "{latency:?}");
}

#[test]
fn an_interrupt_ends_a_run_early() {
    let address = server(answering(|_| true));
    let interrupt = AtomicBool::new(false);
    let (warm_up, window) = (Duration::ZERO, Duration::from_secs(600));
    let limits = Limits { connect: Duration::from_secs(20), request: Duration::from_secs(20) };
    let workload = &workload(Service::Echo, 4, 64);
    let plan = Plan { address, workload, warm_up, window, limits, interrupt: &interrupt };
    let mut stop = |moment| interrupt.store(moment == Moment::WindowStarts, Ordering::SeqCst);
    let started = Instant::now();
    load::run(&plan, &mut stop).expect("a generator");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn upper_greet_and_sink_are_served_without_failures() {
    let upper = server(answering(|bytes| {
        bytes.make_ascii_uppercase();
        true
    }));
    let greet = server(|mut stream| {
        stream.write_all(b"ok\n")?;
        answering(|bytes| {
            bytes.retain(|&byte| byte == b'\n');
            *bytes = b"ok\n".repeat(bytes.len());
            true
        })(stream)
    });
    let sink = server(answering(|bytes| {
        bytes.clear();
        true
    }));
    for (service, address) in
        [(Service::Upper, upper), (Service::Greet, greet), (Service::Sink, sink)]
    {
        let (outcome, _) = run(address, &workload(service, 4, 100));
        assert_eq!(outcome.failures.total(), 0, "{service}: {:?}", outcome.failures);
        assert!(outcome.requests > 0, "{service}");
    }
}

#[test]
fn a_single_wrong_byte_is_noticed_in_every_service() {
    for (service, reply_of) in [
        (Service::Echo, (|bytes| bytes[0] ^= 0x80) as fn(&mut Vec<u8>)),
        (Service::Upper, |bytes| {
            bytes.make_ascii_uppercase();
            let last = bytes.len() - 1;
            bytes[last] ^= 0x80;
        }),
        (Service::Greet, |bytes| *bytes = b"OK\n".to_vec()),
        (Service::Sink, |bytes| bytes.truncate(1)),
    ] {
        let address = server(move |mut stream| {
            stream.write_all(service.greeting())?;
            answering(move |bytes| {
                reply_of(bytes);
                true
            })(stream)
        });
        let (outcome, _) = run(address, &workload(service, 3, 64));
        assert_eq!(outcome.failures.corrupt, 3, "{service}: {:?}", outcome.failures);
    }
}

#[test]
fn a_reply_of_another_request_is_noticed() {
    // Answers each request with the one before: the right bytes at the wrong time.
    let address = server(|mut stream| {
        let (mut buf, mut before) = ([0; 64], [0; 64]);
        stream.read_exact(&mut before)?;
        stream.write_all(&before)?;
        loop {
            stream.read_exact(&mut buf)?;
            stream.write_all(&before)?;
            before = buf;
        }
    });
    let (outcome, _) = run(address, &workload(Service::Echo, 2, 64));
    assert_eq!(outcome.failures.corrupt, 2, "{:?}", outcome.failures);
}

#[test]
fn bytes_nobody_asked_for_are_noticed() {
    let address = server(answering(|bytes| {
        let copy = bytes.clone();
        bytes.extend(copy);
        true
    }));
    let (outcome, _) = run(address, &workload(Service::Echo, 2, 64));
    assert_eq!(outcome.failures.corrupt, 2, "{:?}", outcome.failures);
}

#[test]
fn a_server_that_closes_early_is_counted_once_for_each_connection() {
    let turns = AtomicUsize::new(0);
    let address = server(answering(move |_| turns.fetch_add(1, Ordering::Relaxed) < 100));
    let started = Instant::now();
    let (outcome, _) = run(address, &workload(Service::Echo, 4, 64));
    let failures = outcome.failures;
    assert_eq!(failures.closed + failures.reset, 4, "{failures:?}");
    assert_eq!(failures.total(), 4, "{failures:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "with nobody left the run ends");
}

#[test]
fn a_reply_cut_short_by_the_servers_close_is_counted_as_closed() {
    let address = server(|mut stream| {
        let mut buf = [0; 64];
        stream.read_exact(&mut buf)?;
        stream.write_all(&buf[..63])
    });
    let (outcome, _) = run(address, &workload(Service::Echo, 3, 64));
    assert_eq!(outcome.failures.closed, 3, "{:?}", outcome.failures);
    assert_eq!(outcome.requests, 0);
    assert_eq!(outcome.latency, None);
}

#[test]
fn a_silent_server_costs_the_time_limit_and_is_counted() {
    let address = server(|mut stream| {
        // Reads to the end and never answers.
        io::copy(&mut stream, &mut io::sink()).map(drop)
    });
    let started = Instant::now();
    let (outcome, _) = run(address, &workload(Service::Echo, 5, 64));
    assert_eq!(outcome.failures.timed_out, 5, "{:?}", outcome.failures);
    assert!(started.elapsed() >= Duration::from_millis(800), "not before the limit");
    assert!(started.elapsed() < Duration::from_secs(20), "and not for ever");
}

#[test]
fn a_server_that_does_not_close_at_our_half_close_is_counted() {
    let address = server(|mut stream| {
        let mut buf = [0; 64];
        while stream.read_exact(&mut buf).is_ok() {
            stream.write_all(&buf)?;
        }
        loop {
            thread::park();
        }
    });
    let (outcome, _) = run(address, &workload(Service::Echo, 2, 64));
    assert_eq!(outcome.failures.timed_out, 2, "{:?}", outcome.failures);
    assert!(outcome.requests > 0);
}

#[test]
fn a_server_that_is_not_there_is_a_failure_of_each_connection_and_no_crash() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (outcome, _) = run(gone, &workload(Service::Echo, 3, 64));
    assert_eq!(outcome.failures.connect, 3, "{:?}", outcome.failures);
    assert_eq!(outcome.requests, 0);
}

#[test]
fn a_reply_in_single_bytes_is_put_together() {
    let address = server(|mut stream| {
        stream.set_nodelay(true)?;
        let mut buf = [0; 64];
        loop {
            stream.read_exact(&mut buf)?;
            for byte in buf {
                stream.write_all(&[byte])?;
            }
        }
    });
    let (outcome, _) = run(address, &workload(Service::Echo, 2, 64));
    assert_eq!(outcome.failures.total(), 0, "{:?}", outcome.failures);
    assert!(outcome.requests > 0);
}
