//! Condition variables, semaphores, events, barriers and wait groups: no wake-up is lost, and none
//! is given twice.

use std::time::Duration;

use fiveways_loom::fate::Fate;
use fiveways_loom::model;
use fiveways_loom::over_loom::sync::Arc;
use fiveways_loom::sync::{Barrier, Condvar, Event, Mutex, Semaphore, WaitGroup};
use fiveways_loom::witness::Witness;
use loom::thread::{self, JoinHandle};

const PANIC: &str = "it does not panic";
const POISON: &str = "nobody unwinds with it";
const SOON: Duration = Duration::ZERO;

/// Spawns a thread of the model with a share of `what`.
fn spawn<T: Send + Sync + 'static, R: Send + 'static>(
    what: &Arc<T>,
    f: impl FnOnce(&T) -> R + Send + 'static,
) -> JoinHandle<R> {
    let what = Arc::clone(what);
    thread::spawn(move || f(&what))
}

/// Things on a table, and the news that there are some.
struct Table {
    things: Mutex<usize>,
    news: Condvar,
}

impl Table {
    fn new() -> Arc<Table> {
        Arc::new(Table { things: Mutex::new(0), news: Condvar::new() })
    }

    fn put(&self) {
        *self.things.lock().expect(POISON) += 1;
        self.news.notify_one();
    }

    fn take(&self) {
        let things = self.things.lock().expect(POISON);
        *self.news.wait_while(things, |things| *things == 0).expect(POISON) -= 1;
    }
}

#[test]
fn a_notification_wakes_one_for_each_thing() {
    model(|| {
        let table = Table::new();
        let takers = [spawn(&table, Table::take), spawn(&table, Table::take)];
        table.put();
        table.put();
        for taker in takers {
            taker.join().expect(PANIC);
        }
        assert_eq!(*table.things.lock().expect(POISON), 0);
    });
}

#[test]
fn a_notification_to_all_wakes_all() {
    model(|| {
        let table = Table::new();
        let wait = |table: &Table| {
            let things = table.things.lock().expect(POISON);
            drop(table.news.wait_while(things, |things| *things == 0));
        };
        let waiters = [spawn(&table, wait), spawn(&table, wait)];
        *table.things.lock().expect(POISON) = 1;
        table.news.notify_all();
        for waiter in waiters {
            waiter.join().expect(PANIC);
        }
    });
}

#[test]
fn a_notification_of_who_is_cancelled_goes_to_another() {
    model(|| {
        let (table, fate) = (Table::new(), Fate::new());
        let own = fate.clone();
        let victim = spawn(&table, move |table| {
            if own.rule(|| table.take()).is_some() {
                table.put();
            }
        });
        let other = spawn(&table, Table::take);
        table.put();
        fate.cancel();
        other.join().expect(PANIC);
        victim.join().expect(PANIC);
        assert_eq!(*table.things.lock().expect(POISON), 0);
    });
}

#[test]
fn a_wait_that_is_late_says_so_and_one_that_is_notified_does_not() {
    model(|| {
        let (table, fate) = (Table::new(), Fate::new());
        let own = fate.clone();
        let waiter = spawn(&table, move |table| {
            let wait = || {
                let things = table.things.lock().expect(POISON);
                let waited = table.news.wait_timeout_while(things, SOON, |things| *things == 0);
                let (mut things, result) = waited.expect(POISON);
                *things = things.saturating_sub(1);
                result.timed_out()
            };
            own.rule(wait).expect("nobody cancels")
        });
        let putter = spawn(&table, Table::put);
        fate.expire();
        let late = waiter.join().expect(PANIC);
        putter.join().expect(PANIC);
        assert_eq!(*table.things.lock().expect(POISON), usize::from(late));
    });
}

/// A room for so many visitors, and the visitors in it.
struct Room {
    places: Semaphore,
    guests: Witness,
}

impl Room {
    fn new(places: usize) -> Arc<Room> {
        Arc::new(Room { places: Semaphore::new(places), guests: Witness::new(0) })
    }

    fn visit(&self) {
        let _place = self.places.acquire();
        self.guests.add(1);
    }
}

#[test]
fn a_permit_admits_one_at_a_time() {
    model(|| {
        let room = Room::new(1);
        let others = [spawn(&room, Room::visit), spawn(&room, Room::visit)];
        room.visit();
        for other in others {
            other.join().expect(PANIC);
        }
        assert_eq!((room.guests.read(), room.places.available()), (3, 1));
    });
}

#[test]
fn two_permits_at_once_admit_two() {
    model(|| {
        let places = Arc::new(Semaphore::new(0));
        let enter = |places: &Semaphore| places.acquire().forget();
        let guests = [spawn(&places, enter), spawn(&places, enter)];
        places.release(2);
        for guest in guests {
            guest.join().expect(PANIC);
        }
        assert_eq!(places.available(), 0);
    });
}

#[test]
fn a_permit_of_who_is_cancelled_goes_to_the_next() {
    model(|| {
        let (room, fate) = (Room::new(0), Fate::new());
        let own = fate.clone();
        let victim = spawn(&room, move |room| usize::from(own.rule(|| room.visit()).is_some()));
        let other = spawn(&room, Room::visit);
        room.places.release(1);
        fate.cancel();
        other.join().expect(PANIC);
        let visited = victim.join().expect(PANIC);
        // The permit orders the visits, so its present holder may look.
        let _place = room.places.try_acquire().expect("the permit came back");
        assert_eq!(room.guests.read(), 1 + visited);
    });
}

#[test]
fn a_permit_of_who_is_late_is_not_lost() {
    model(|| {
        let (room, fate) = (Room::new(0), Fate::new());
        let own = fate.clone();
        let late = spawn(&room, move |room| {
            let visit = || room.places.acquire_timeout(SOON).map(|_place| room.guests.add(1));
            own.rule(visit).expect("nobody cancels").is_some()
        });
        let other = spawn(&room, |room| room.places.release(1));
        fate.expire();
        let visited = late.join().expect(PANIC);
        other.join().expect(PANIC);
        assert_eq!((room.places.available(), room.guests.read()), (1, usize::from(visited)));
    });
}

#[test]
fn an_event_wakes_all_and_is_seen_by_all() {
    model(|| {
        let event = Arc::new((Event::new(), Witness::new(0)));
        let wait = |(event, prepared): &(Event, Witness)| {
            event.wait();
            prepared.read()
        };
        let waiters = [spawn(&event, wait), spawn(&event, wait)];
        event.1.add(1);
        event.0.set();
        assert_eq!(waiters.map(|waiter| waiter.join().expect(PANIC)), [1, 1]);
    });
}

#[test]
fn a_barrier_lets_all_pass_when_the_last_has_come() {
    model(|| {
        let meeting = Arc::new((Barrier::new(2), [Witness::new(0), Witness::new(0)]));
        let meet = |(barrier, marks): &(Barrier, [Witness; 2]), own: usize| {
            marks[own].add(1);
            let leads = barrier.wait().is_leader();
            // The other has marked before it came.
            assert_eq!(marks[1 - own].read(), 1);
            usize::from(leads)
        };
        let other = spawn(&meeting, move |meeting| meet(meeting, 1));
        let leads = meet(&meeting, 0);
        assert_eq!(leads + other.join().expect(PANIC), 1);
    });
}

#[test]
fn who_is_cancelled_at_a_barrier_no_longer_counts() {
    model(|| {
        let (barrier, fate) = (Arc::new(Barrier::new(2)), Fate::new());
        let own = fate.clone();
        let victim = spawn(&barrier, move |barrier| own.rule(|| barrier.wait()).is_some());
        fate.cancel();
        assert!(!victim.join().expect(PANIC), "nobody else has come");
        let other = spawn(&barrier, |barrier| barrier.wait().is_leader());
        let leads = barrier.wait().is_leader();
        assert_ne!(leads, other.join().expect(PANIC));
    });
}

#[test]
fn a_wait_group_is_left_by_all_who_wait_when_the_last_member_is_done() {
    model(|| {
        let work = Arc::new((WaitGroup::new(), [Witness::new(0), Witness::new(0)]));
        let members = [0, 1].map(|own| {
            let member = work.0.add();
            spawn(&work, move |(_, done)| {
                done[own].add(1);
                member.done();
            })
        });
        let wait = |(group, done): &(WaitGroup, [Witness; 2])| {
            group.wait();
            done[0].read() + done[1].read()
        };
        assert_eq!(wait(&work), 2);
        for member in members {
            member.join().expect(PANIC);
        }
        assert_eq!(wait(&work), 2);
    });
}
