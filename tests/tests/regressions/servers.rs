//! Defects of servers: what stops them, what they forget, what they cost.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::Model;
use fiveways::net::{TcpListener, TcpStream};
use fiveways::server::{Control, ListenMode, Overload, Server};
use fiveways::service::Service;
use fiveways_tests::arena::{Arena, echo_by_read, in_task};
use fiveways_tests::child::Remote;
use fiveways_tests::client::{self, ask, expect_end, expect_eof, noise, reset};
use fiveways_tests::hold::Hold;
use fiveways_tests::patience::{LONG, eventually};
use fiveways_tests::stage::missing;
use rustix::process::Signal;

const ARENA: &str = env!("CARGO_BIN_EXE_fiveways-arena");

fn echo(stream: TcpStream) -> io::Result<()> {
    Service::Echo.serve(stream)
}

/// D12: an idle server burned a core. The model that does so by its nature is not the default.
pub(crate) fn d12_an_idle_server_does_nothing(model: Model) {
    assert_ne!(Model::Auto, Model::Nonblocking);
    let remote = Remote::start(ARENA, model, &[]);
    let mut clients: Vec<_> = (0..5).map(|_| remote.connect()).collect();
    ask(&mut clients[0], b"warm");
    let before = cpu_ticks(remote.id());
    thread::sleep(Duration::from_millis(700));
    let ticks = cpu_ticks(remote.id()) - before;
    // A tick is 10 ms.
    if model == Model::Nonblocking {
        assert!(ticks > 10, "it is said to try again and again: {ticks} ticks");
    } else {
        assert!(ticks <= 3, "{ticks} ticks while nothing happened");
    }
    drop(clients);
    remote.stop();
}

/// The processor time a process has used.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    let after_name = stat.rsplit(") ").next().expect("a name in brackets");
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// D15: existing connections were served only when there was nobody to accept.
pub(crate) fn d15_accepting_does_not_starve_those_inside(model: Model) {
    let arena = Arena::new(model, echo);
    let mut inside = arena.connect();
    ask(&mut inside, b"inside");
    let over = AtomicBool::new(false);
    let mut answers = 0;
    let began = Instant::now();
    // On a busy machine the storm lasts longer, until there are answers enough to judge by.
    let is_late = || began.elapsed() > Duration::from_secs(20);
    thread::scope(|scope| {
        scope.spawn(|| {
            // No more than wait in the backlog: `blocking` serves them when this one has left.
            let most = if arena.is_serial() { 150 } else { usize::MAX };
            for _ in 0..most {
                if over.load(Ordering::Relaxed) || is_late() {
                    return;
                }
                let burst: Vec<_> = (0..20).map(|_| arena.connect()).collect();
                drop(burst);
            }
        });
        while answers < 20 && !is_late() || answers < 300 && began.elapsed() < ENOUGH {
            ask(&mut inside, b"still?");
            answers += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    // A starved client is answered when the storm is over.
    assert!(answers >= 20, "{answers} answers during the storm");
    drop(inside);
    arena.stop();
}

/// D15, when there is no end of those to be accepted: as many as the backlog holds wait together
/// with a request of somebody who is inside. The request is answered after a few of them, not after
/// all.
pub(crate) fn d15_a_full_backlog_does_not_go_before_those_inside(model: Model) {
    const CROWD: usize = 300;
    let control = Arc::new(OnceLock::<Control>::new());
    let (theirs, held) = (Arc::clone(&control), Hold::new());
    let holding = held.clone();
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            if byte == *b"h" {
                holding.block_here();
            }
            let accepted = theirs.get().map_or(0, |control| control.stats().accepted);
            stream.write_all(&accepted.to_ne_bytes())?;
        }
        Ok(())
    });
    control.set(arena.control().clone()).expect("set once");
    let accepted = |client: &mut StdStream| {
        let mut count = [0; 8];
        client.read_exact(&mut count).expect("an answer");
        u64::from_ne_bytes(count)
    };
    let (mut inside, mut blocker) = (arena.connect(), arena.connect());
    for client in [&mut inside, &mut blocker] {
        client.write_all(b"?").expect("taken");
        accepted(client);
    }
    blocker.write_all(b"h").expect("taken");
    held.wait_until_blocked();
    inside.write_all(b"?").expect("taken");
    let crowd: Vec<_> = (0..CROWD).map(|_| arena.connect()).collect();
    held.release();
    let before = accepted(&mut inside);
    assert!(before <= 2 + 80, "{before} were accepted before a request was answered");
    drop((inside, blocker, crowd));
    arena.stop();
}

/// How long a storm lasts at least, unless there are many answers before.
const ENOUGH: Duration = Duration::from_secs(1);

/// D18: a formatting mistake ended the server at its first connection.
pub(crate) fn d18_the_first_connection_is_served_and_can_be_printed(model: Model) {
    let arena = Arena::new(model, |mut stream: TcpStream| {
        let text = format!("{stream:?} {}", stream.peer_addr()?);
        stream.write_all(text.as_bytes())
    });
    let mut client = arena.connect();
    let mut text = String::new();
    client.read_to_string(&mut text).expect("it ends in order");
    let port = client.local_addr().expect("an address").port();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    arena.stop();
}

/// D19: at the limit of descriptors accept failed and the server died.
pub(crate) fn d19_the_limit_of_descriptors_is_survived(model: Model) {
    let mut remote = Remote::start(ARENA, model, &["nofile=40"]);
    for _ in 0..3 {
        let clients: Vec<_> = (0..60).map(|_| remote.connect()).collect();
        for client in &clients {
            (&mut &*client).write_all(b"?").expect("taken");
        }
        for mut client in clients {
            // Those who have been served leave, and the next one is let in.
            client.read_exact(&mut [0]).expect("everybody is served in the end");
        }
        eventually("all have left", || remote.counts().connections == 0);
    }
    assert_eq!(remote.counts().accepted, 180);
    remote.stop();
}

/// D21: a descriptor beyond 1023 ended select servers.
pub(crate) fn d21_descriptors_beyond_1023_are_survived(model: Model) {
    let arena = Arena::new(model, echo);
    ask(&mut arena.connect(), b"before");
    let held: Vec<_> =
        (0..1_100).map(|_| std::fs::File::open("/dev/null").expect("opens")).collect();
    let mut high = arena.connect();
    high.write_all(b"high").expect("taken");
    if model == Model::Select {
        // It cannot be watched: it waits for a lower number, as those do for whom there is none.
        client::limit(&high, Duration::from_millis(200));
        let early = high.read(&mut [0; 4]).expect_err("it is not served yet");
        assert_eq!(early.kind(), ErrorKind::WouldBlock, "it is not dropped either");
        assert!(arena.stats().exhausted > 0, "nobody says why");
        client::limit(&high, LONG);
        drop(held);
        high.read_exact(&mut [0; 4]).expect("it is served when there is a lower number");
    } else {
        high.read_exact(&mut [0; 4]).expect("a high number is as good as any");
        drop(held);
    }
    ask(&mut high, b"again");
    drop(high);
    arena.wait_for_connections(0);
    ask(&mut arena.connect(), b"after");
    arena.stop();
}

/// D22: one silent client blocked everybody for ever.
pub(crate) fn d22_a_silent_client_holds_its_place_for_a_limited_time(model: Model) {
    let limit = Some(Duration::from_millis(150));
    let arena = Arena::with(model, |server| server.idle_timeout(limit).pool_size(1), echo);
    let silent = arena.connect();
    arena.wait_for_connections(1);
    ask(&mut arena.connect(), b"second");
    expect_eof(&silent);
    arena.stop();
}

/// D25: asking for the peer of a reset connection failed, inside the logging of the reset.
pub(crate) fn d25_the_peer_is_known_after_a_reset(model: Model) {
    let (tell, told) = mpsc::channel();
    let arena = Arena::new(model, move |mut stream: TcpStream| -> io::Result<()> {
        let ended = stream.read(&mut [0; 8]).and_then(|_| stream.read(&mut [0; 8]));
        let _ = tell.send((ended.map_err(|error| error.kind()), stream.peer_addr()));
        Ok(())
    });
    let mut client = arena.connect();
    let own = client.local_addr().expect("an address");
    client.write_all(b"x").expect("taken");
    // Taken before it resets; else the connection may be gone before it was accepted.
    arena.wait_for_connections(1);
    reset(client);
    let (ended, peer) = told.recv_timeout(LONG).expect("it ends");
    assert!(ended.is_err() || ended == Ok(0));
    assert_eq!(peer.expect("remembered"), own);
    arena.stop();
}

/// D28, D60: programming errors were taken for disconnects.
pub(crate) fn d28_panics_are_told_from_disconnects(model: Model) {
    std::panic::set_hook(Box::new(|_| {}));
    let arena = Arena::new(model, |mut stream: TcpStream| -> io::Result<()> {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        assert!(byte[0] != b'p', "a programming error");
        Err(ErrorKind::ConnectionReset.into())
    });
    for what in [b"p", b"e", b"p"] {
        let mut client = arena.connect();
        client.write_all(what).expect("taken");
        expect_end(&client);
    }
    arena.wait_for_connections(0);
    let stats = arena.stop().stats;
    let _ = std::panic::take_hook();
    assert_eq!((stats.panicked, stats.failed), (2, 1));
}

/// D29: there was no way to stop.
pub(crate) fn d29_sigterm_ends_a_server_well(model: Model) {
    let mut remote = Remote::start(ARENA, model, &["drain_ms=30000"]);
    let mut client = remote.connect();
    ask(&mut client, b"inside");
    remote.signal(Signal::TERM);
    ask(&mut client, b"may finish");
    client.shutdown(Shutdown::Write).expect("still there");
    expect_eof(&client);
    assert!(remote.wait().success());
}

/// D30: each operation cost time in proportion to the number of connections. (`select`, `poll` and
/// `signal`'s sweep do by their nature, at another price; they are left out.)
pub(crate) fn d30_a_request_costs_the_same_among_many(model: Model) {
    let scales = matches!(model, Model::Threads | Model::Epoll | Model::EpollEt | Model::Uring);
    let arena = Arena::new(model, echo);
    if !scales {
        ask(&mut arena.connect(), b"served");
        arena.stop();
        return;
    }
    // Threads are dear by themselves.
    let crowd = if model == Model::Threads { 1_000 } else { 5_000 };
    let mut figures = Vec::new();
    // A busy machine spoils some; what costs in proportion spoils all.
    for _ in 0..4 {
        let (few, many) = (time_among(&arena, 10), time_among(&arena, crowd));
        figures.push((few, many));
        if many < few * 3 / 2 {
            arena.stop();
            return;
        }
    }
    panic!("a hundred requests among 10 and among {crowd}: {figures:?}");
}

/// The best time of a hundred requests beside this many idle connections.
fn time_among(arena: &Arena, idle: usize) -> Duration {
    let others: Vec<_> = (0..idle).map(|_| arena.connect()).collect();
    arena.wait_for_connections(idle);
    let mut client = arena.connect();
    let measure = || {
        let started = Instant::now();
        (0..100).for_each(|_| ask(&mut client, b"hello"));
        started.elapsed()
    };
    let best = std::iter::repeat_with(measure).take(8).min().expect("eight times");
    drop((others, client));
    arena.wait_for_connections(0);
    best
}

/// D40: a restart failed while old connections were in TIME_WAIT; a taken port needs a clear error.
pub(crate) fn d40_a_port_can_be_bound_again_at_once(model: Model) {
    let mut addr = None;
    for _ in 0..3 {
        let server = match addr {
            None => Server::bind("127.0.0.1:0"),
            Some(addr) => Server::bind(addr),
        };
        let server = server.expect("bound again").model(model).handle_signals(false);
        let here = server.local_addr().expect("an address");
        addr = Some(here);
        let control = server.control();
        // The server closes first, so TIME_WAIT is on its side.
        let serving = thread::spawn(move || server.serve(|mut s: TcpStream| s.write_all(b"bye")));
        let mut client = client::connect(here);
        client.read_exact(&mut [0; 3]).expect("it comes");
        expect_eof(&client);
        let taken = Server::bind(here).expect_err("the port is taken");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        control.stop();
        serving.join().expect("no panic").expect("ends well");
    }
}

/// D41: a backlog of five lost the bursts.
pub(crate) fn d41_a_burst_waits_in_the_backlog(model: Model) {
    let server = Server::bind("127.0.0.1:0").expect("a port").model(model).handle_signals(false);
    let addr = server.local_addr().expect("an address");
    // Nobody accepts yet.
    let started = Instant::now();
    let mut burst: Vec<_> = (0..300).map(|_| client::connect(addr)).collect();
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    let control = server.control();
    let serving = thread::spawn(move || server.serve(echo));
    for client in &mut burst {
        client.write_all(b"?").expect("taken");
    }
    // In the order of their arrival: `blocking` serves the next one when one has left.
    for mut client in burst {
        client.read_exact(&mut [0]).expect("everybody is served");
    }
    ask(&mut client::connect(addr), b"served after the burst");
    control.stop();
    let report = serving.join().expect("no panic").expect("ends well");
    assert_eq!(report.stats.accepted, 301);
}

/// D42: half-open peers held their places for ever.
pub(crate) fn d42_silent_peers_are_probed_and_idle_ones_ended(model: Model) {
    let (tell, told) = mpsc::channel();
    let settings = |server: Server| {
        server
            .keepalive(Some(Duration::from_secs(7)))
            .idle_timeout(Some(Duration::from_millis(100)))
    };
    let arena = Arena::with(model, settings, move |stream: TcpStream| {
        let probed = rustix::net::sockopt::socket_keepalive(stream.as_fd());
        let after = rustix::net::sockopt::tcp_keepidle(stream.as_fd());
        let _ = tell.send((probed.ok(), after.ok()));
        echo(stream)
    });
    let client = arena.connect();
    let (probed, after) = told.recv_timeout(LONG).expect("it is served");
    assert_eq!((probed, after), (Some(true), Some(Duration::from_secs(7))));
    expect_eof(&client);
    arena.stop();
}

/// D43: there was no limit of connections.
pub(crate) fn d43_the_number_of_connections_is_limited(model: Model) {
    let refuse = |server: Server| server.max_connections(2, Overload::Refuse);
    let wait = |server: Server| server.max_connections(2, Overload::Wait);
    for (waits, arena) in
        [(false, Arena::with(model, refuse, echo)), (true, Arena::with(model, wait, echo))]
    {
        let most = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..6).map(|_| arena.connect()).collect();
        for mut client in clients {
            let _ = client.write_all(b"?");
            most.fetch_max(arena.stats().connections, Ordering::Relaxed);
            let served = client.read_exact(&mut [0]).is_ok();
            assert!(served || !waits, "those who wait are served");
        }
        assert!(most.load(Ordering::Relaxed) <= 2);
        arena.stop();
    }
}

/// D47: printing for each message was what a request cost.
pub(crate) fn d47_serving_prints_nothing(model: Model) {
    let mut command = Command::new(ARENA);
    command.arg(model.name()).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut addr = String::new();
    let mut stdout = io::BufReader::new(child.stdout.take().expect("piped"));
    io::BufRead::read_line(&mut stdout, &mut addr).expect("its address");
    let addr = addr.trim().parse().expect("an address");
    for _ in 0..20 {
        let mut client = client::connect(addr);
        (0..20).for_each(|_| ask(&mut client, b"hello"));
        reset(client);
    }
    child.kill().expect("it lives");
    child.wait().expect("our child");
    let mut printed = String::new();
    stdout.read_to_string(&mut printed).expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut printed).expect("text");
    assert_eq!(printed, "");
}

/// D53: servers listened to the whole network. Ours listens on the one address that it was told: a
/// server of one loopback address is not to be had at another, where one of all addresses would be.
/// (The program's default has its test with the program.)
pub(crate) fn d53_an_address_is_not_the_network(model: Model) {
    let arena = Arena::new(model, echo);
    ask(&mut arena.connect(), b"here");
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], arena.addr().port()));
    let refused = StdStream::connect_timeout(&elsewhere, LONG).expect_err("nobody listens there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    arena.stop();
}

/// D55: of many that wait for one listener, each connection wakes several and goes to one; an
/// accept that finds nothing is normal.
pub(crate) fn d55_a_connection_goes_to_exactly_one_of_many_acceptors(model: Model) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let arenas: Vec<_> = (0..3)
        .map(|_| {
            let listener = TcpListener::from(listener.try_clone().expect("a descriptor"));
            let server = Server::new(listener).expect("a server");
            let server = server.model(model).handle_signals(false);
            let control = server.control();
            (control, thread::spawn(move || server.serve(echo_by_read)))
        })
        .collect();
    for round in 0..150 {
        ask(&mut client::connect(addr), noise(round, 30));
    }
    let mut accepted = 0;
    for (control, serving) in arenas {
        control.stop();
        accepted += serving.join().expect("no panic").expect("ends well").stats.accepted;
    }
    assert_eq!(accepted, 150);
}

/// D55 with listeners of their own.
pub(crate) fn d55_listeners_may_share_a_port(model: Model) {
    let bind = |addr: &str| Server::bind_with(addr, 100, ListenMode::ReusePort);
    let first = bind("127.0.0.1:0").expect("a port");
    let addr = first.local_addr().expect("an address");
    let second = bind(&addr.to_string()).expect("the same port");
    let serving: Vec<_> = [first, second]
        .into_iter()
        .map(|server| {
            let server = server.model(model).handle_signals(false);
            (server.control(), thread::spawn(move || server.serve(echo)))
        })
        .collect();
    (0..60).for_each(|round| ask(&mut client::connect(addr), noise(round, 30)));
    for (control, serving) in serving {
        control.stop();
        let accepted = serving.join().expect("no panic").expect("ends well").stats.accepted;
        assert!(accepted > 5, "the kernel spreads connections: {accepted} of 60");
    }
}

/// D56: IPv4 only.
pub(crate) fn d56_ipv6_is_served(model: Model) {
    let server = match Server::bind("[::1]:0") {
        Ok(server) => server.model(model).handle_signals(false),
        Err(error) => return missing("IPv6", &error.to_string()),
    };
    let addr = server.local_addr().expect("an address");
    assert!(addr.is_ipv6());
    let control = server.control();
    let serving = thread::spawn(move || server.serve(echo));
    ask(&mut client::connect(addr), b"six");
    control.stop();
    serving.join().expect("no panic").expect("ends well");
}

/// D56: no Unix sockets.
pub(crate) fn d56_unix_sockets_are_served(model: Model) {
    in_task(model, || {
        let name = format!("fiveways-d56-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = fiveways::net::UnixListener::bind(&path).expect("a path");
        let serving = fiveways::task::spawn_local(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            io::copy(&mut &stream.try_clone()?, &mut stream).map(drop)
        });
        let theirs = path.clone();
        let asking = thread::spawn(move || {
            let mut client = std::os::unix::net::UnixStream::connect(theirs).expect("connects");
            client.write_all(b"local").expect("taken");
            client.read_exact(&mut [0; 5]).expect("it comes");
        });
        serving.join().expect("no panic").expect("no error");
        asking.join().expect("served");
        std::fs::remove_file(path).expect("it is there");
    });
}
