//! `select!` over channels and time.

crate::support::everywhere!(
    the_arm_that_can_is_done,
    default_is_for_when_nothing_can,
    time_passes_when_nothing_comes,
    only_the_chosen_arm_is_done,
    ready_arms_are_chosen_fairly,
    disconnected_arms_can_be_done,
    both_ends_may_select,
    one_channel_may_be_in_several_arms,
    selects_and_plain_calls_lose_nothing,
    ends_may_be_dropped_in_the_body,
    bodies_may_leave,
    selects_wait_with_mpsc_too,
);

mod claims {
    use std::time::{Duration, Instant};

    use fiveways::sync::channel::{bounded, unbounded};
    use fiveways::sync::mpsc;
    use fiveways::{select, task};

    use crate::support::{Other, other};

    const NEVER: Duration = Duration::from_secs(40);
    const SHORT: Duration = Duration::from_millis(5);

    pub(super) fn the_arm_that_can_is_done() {
        let (tx, rx) = bounded(1);
        let (full, _other_end) = bounded(1);
        full.send(0).expect("there is room");
        tx.send(7).expect("there is room");
        let got = select! {
            recv(rx) -> item => item,
            send(full, 1) -> sent => panic!("there is no room: {sent:?}"),
            after(NEVER) => panic!("nothing to wait for"),
        };
        assert_eq!(got, Ok(7));
        let sent = select! {
            recv(rx) -> item => panic!("there is nothing: {item:?}"),
            send(tx, 8) -> sent => sent
        };
        assert_eq!((sent, rx.recv()), (Ok(()), Ok(8)));
    }

    pub(super) fn default_is_for_when_nothing_can() {
        let (tx, rx) = bounded(1);
        for round in 0..20 {
            let got = select! {
                recv(rx) -> item => Some(item),
                default => None,
            };
            assert_eq!(got, (round % 2 == 1).then_some(Ok(round)));
            if round % 2 == 0 {
                tx.send(round + 1).expect("there is room");
            }
        }
    }

    pub(super) fn time_passes_when_nothing_comes() {
        let (_tx, rx) = unbounded::<()>();
        let before = Instant::now();
        let late = select! {
            recv(rx) -> _ => 0,
            at(before + SHORT) => 1,
            after(NEVER) => 2,
            after(Duration::MAX) => 3,
        };
        assert_eq!(late, 1);
        assert!(before.elapsed() >= SHORT);
        let late = select! { default(SHORT) => true, recv(rx) -> _ => false };
        assert!(late);
    }

    pub(super) fn only_the_chosen_arm_is_done() {
        let (a, from_a) = bounded(1);
        let (b, from_b) = bounded(1);
        let (to_c, c) = bounded(1);
        for round in 0..200 {
            a.send(round).expect("there is room");
            b.send(round).expect("there is room");
            select! {
                recv(from_a) -> item => assert_eq!(item, Ok(round)),
                recv(from_b) -> item => assert_eq!(item, Ok(round)),
                send(to_c, round) -> sent => assert_eq!(sent, Ok(())),
            }
            let done = (1 - from_a.len()) + (1 - from_b.len()) + c.len();
            assert_eq!(done, 1);
            // For the next round.
            let _ = (from_a.try_recv(), from_b.try_recv(), c.try_recv());
        }
    }

    pub(super) fn ready_arms_are_chosen_fairly() {
        let (tx, rx) = unbounded();
        (0..3_000).for_each(|_| tx.send(()).expect("the receiver is there"));
        let rivals = [rx.clone(), rx.clone(), rx];
        let mut chosen = [0; 3];
        for _ in 0..3_000 {
            let which = select! {
                recv(rivals[0]) -> _ => 0,
                recv(rivals[1]) -> _ => 1,
                recv(rivals[2]) -> _ => 2,
            };
            chosen[which] += 1;
        }
        // Six standard deviations.
        assert!(chosen.iter().all(|count| (840..1_160).contains(count)), "{chosen:?}");
    }

    pub(super) fn disconnected_arms_can_be_done() {
        let (tx, rx) = bounded::<()>(0);
        let (other_tx, other_rx) = bounded::<()>(0);
        let waiting = other(move || {
            select! {
                recv(rx) -> item => item.is_err(),
                recv(other_rx) -> _ => false,
            }
        });
        for _ in 0..100 {
            task::yield_now();
        }
        drop(tx);
        assert!(waiting.join());
        assert!(select! { send(other_tx, ()) -> sent => sent.is_err() });
    }

    pub(super) fn both_ends_may_select() {
        const ROUNDS: u32 = 500;
        let (tx, rx) = bounded(0);
        let (no_tx, no_rx) = bounded::<u32>(0);
        let never = no_rx.clone();
        let sending = other(move || {
            for round in 0..ROUNDS {
                select! {
                    send(tx, round) -> sent => assert_eq!(sent, Ok(())),
                    recv(never) -> item => panic!("nobody sends this: {item:?}"),
                }
            }
        });
        for round in 0..ROUNDS {
            select! {
                recv(rx) -> item => assert_eq!(item, Ok(round)),
                recv(no_rx) -> item => panic!("nobody sends this: {item:?}"),
            }
        }
        sending.join();
        drop(no_tx);
    }

    pub(super) fn one_channel_may_be_in_several_arms() {
        let (tx, rx) = bounded(0);
        // Nobody gives to itself.
        let nobody = select! {
            send(tx, 1) -> _ => false,
            recv(rx) -> _ => false,
            after(SHORT) => true,
        };
        assert!(nobody);
        let (theirs, mine) = (tx.clone(), rx.clone());
        let sending = other(move || theirs.send(2));
        let got = select! {
            recv(mine) -> item => item,
            recv(rx) -> item => item,
        };
        assert_eq!((got, sending.join()), (Ok(2), Ok(())));
        assert_eq!(tx.len(), 0);
    }

    pub(super) fn selects_and_plain_calls_lose_nothing() {
        const EACH: usize = 1_000;
        for bound in [0, 1, 8] {
            let (a, from_a) = bounded(bound);
            let (b, from_b) = bounded(bound);
            let plain = {
                let a = a.clone();
                other(move || (0..EACH).for_each(|_| a.send(1).expect("they receive")))
            };
            let either = other(move || {
                for _ in 0..EACH {
                    let sent = select! { send(a, 1) -> sent => sent, send(b, 1) -> sent => sent };
                    sent.expect("they receive");
                }
            });
            let receivers: Vec<_> = (0..2)
                .map(|_| (from_a.clone(), from_b.clone()))
                .map(|(from_a, from_b)| {
                    other(move || {
                        let (mut count, mut open) = (0, [true; 2]);
                        while open != [false; 2] {
                            let which = select! {
                                recv(from_a) -> item => (0, item),
                                recv(from_b) -> item => (1, item),
                                after(Duration::from_micros(50)) => continue,
                            };
                            count += which.1.unwrap_or(0);
                            open[which.0] &= which.1.is_ok();
                        }
                        count
                    })
                })
                .collect();
            drop((from_a, from_b));
            plain.join();
            either.join();
            let count: usize = receivers.into_iter().map(Other::join).sum();
            assert_eq!(count, 2 * EACH);
        }
    }

    pub(super) fn ends_may_be_dropped_in_the_body() {
        let (tx, rx) = bounded(1);
        let (done, is_done) = bounded::<()>(1);
        tx.send(1).expect("there is room");
        select! {
            recv(rx) -> item => {
                assert_eq!(item, Ok(1));
                drop(rx);
                drop(done);
            }
            recv(is_done) -> _ => panic!("not yet"),
        }
        assert!(tx.send(2).is_err());
        assert!(is_done.recv().is_err());
    }

    pub(super) fn bodies_may_leave() {
        fn first_even(rx: &mpsc::Receiver<u32>) -> Result<u32, mpsc::RecvError> {
            loop {
                let number = select! {
                    recv(rx) -> item => item?,
                    default(NEVER) => break,
                };
                if number % 2 == 1 {
                    continue;
                }
                return Ok(number);
            }
            Ok(0)
        }
        let (tx, rx) = mpsc::channel();
        [1, 3, 4].into_iter().for_each(|number| tx.send(number).expect("the receiver is there"));
        drop(tx);
        assert_eq!((first_even(&rx), first_even(&rx)), (Ok(4), Err(mpsc::RecvError)));
    }

    pub(super) fn selects_wait_with_mpsc_too() {
        let (tx, rx) = mpsc::sync_channel(0);
        let (unlimited, others) = mpsc::channel();
        let sending = other(move || {
            let first = select! { send(tx, 1) -> sent => sent.is_ok() };
            let second = select! { send(&unlimited, 2) -> sent => sent.is_ok() };
            first && second
        });
        let mut sum = 0;
        while sum < 3 {
            select! {
                recv(&rx) -> item => sum += item.unwrap_or(0),
                recv(&others) -> item => sum += item.expect("it sends before it ends"),
            }
        }
        assert!(sending.join());
    }
}
