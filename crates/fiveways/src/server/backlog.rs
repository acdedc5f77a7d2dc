//! The first phase of a stop: what the kernel has queued is accepted, then the listener is closed.
//!
//! A connection that is queued has been made as far as its client can see, and its request may have
//! been sent: closing the listener would reset it. What finds no place is kept, and served as
//! others leave. All this runs on the thread that serves, not in a task: a task's accept may be
//! ended by its deadline before its driver has looked.

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::Duration;

use fiveways_runtime::clock;

use crate::net::{TcpListener, TcpStream};
use crate::server::admission::{Admission, Verdict};
use crate::server::settings::{Overload, Settings};
use crate::server::stop::Control;

/// How long accepting goes on at a stop: clients that come faster than they are accepted must not
/// keep the listener open.
const LONGEST: Duration = Duration::from_secs(1);

/// Accepts all that is queued, and closes the listener if nobody else has it. Gives the connections
/// for which there was no place.
pub(crate) fn accept_queued<L: AsRef<TcpListener>>(
    listener: L,
    settings: &Settings,
    control: &Control,
    admission: &Admission,
    mut admit: impl FnMut(TcpStream),
) -> VecDeque<TcpStream> {
    let mut held = VecDeque::new();
    let mut pauses = 0;
    let end = clock::now() + LONGEST;
    let door = listener.as_ref();
    // For this value only: the accept that follows is to say when there is nothing.
    if door.set_nonblocking(true).is_err() {
        return held;
    }
    let is_full = || settings.overload == Overload::Wait && admission.is_full();
    while clock::now() < end || pauses > 0 {
        let error = match door.accept() {
            Ok((stream, _)) => {
                pauses = 0;
                held.push_back(stream);
                admit_held(&mut held, is_full, &mut admit);
                continue;
            }
            Err(error) => error,
        };
        match admission.judge(error, &mut pauses) {
            Verdict::Next => {}
            // Connections that end leave their descriptors to those that are queued.
            Verdict::Pause(time) if !control.is_over() => {
                thread::sleep(time);
                admit_held(&mut held, is_full, &mut admit);
            }
            _ => break,
        }
    }
    held
}

/// Admits held connections while there are places.
fn admit_held(
    held: &mut VecDeque<TcpStream>,
    is_full: impl Fn() -> bool,
    admit: &mut impl FnMut(TcpStream),
) {
    while !held.is_empty() && !is_full() {
        held.pop_front().into_iter().for_each(&mut *admit);
    }
}

/// Serves the connections that were accepted at the stop as others make room. Gives how many were
/// still held when the stop was over; those are closed.
pub(crate) fn serve_held(
    mut held: VecDeque<TcpStream>,
    control: &Control,
    admission: &Admission,
    mut admit: impl FnMut(TcpStream),
) -> io::Result<usize> {
    while !held.is_empty() {
        control.wait_while(|| {
            admission.ring_for_leaver();
            admission.is_full()
        })?;
        if control.is_over() {
            break;
        }
        held.pop_front().into_iter().for_each(&mut admit);
    }
    Ok(held.len())
}
