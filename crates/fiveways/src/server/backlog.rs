//! The first phase of a stop: accepts what the kernel has queued, then closes the listener.
//!
//! A queued connection is established as far as its client can see, and its request may already
//! have been sent: closing the listener would reset it. A connection above the limit is kept, and
//! served when others end. All this runs on the serving thread, not in a task: a task's accept may
//! be ended by its deadline before its driver has looked.

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::Duration;

use fiveways_runtime::clock;

use crate::net::{TcpListener, TcpStream};
use crate::server::admission::{Admission, Verdict};
use crate::server::settings::{Overload, Settings};
use crate::server::stop::Control;

/// How long accepting continues at a stop: clients that connect faster than the server accepts must
/// not keep the listener open.
const LONGEST: Duration = Duration::from_secs(1);

/// Accepts all that is queued, and closes the listener if no other process has it open. Returns the
/// connections above the limit.
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
    // Only for this `TcpListener`: the following accept must return instead of waiting.
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
            // Connections that end release descriptors for those that are queued.
            Verdict::Pause(time) if !control.is_over() => {
                thread::sleep(time);
                admit_held(&mut held, is_full, &mut admit);
            }
            _ => break,
        }
    }
    held
}

/// Admits held connections while the limit allows.
fn admit_held(
    held: &mut VecDeque<TcpStream>,
    is_full: impl Fn() -> bool,
    admit: &mut impl FnMut(TcpStream),
) {
    while !held.is_empty() && !is_full() {
        held.pop_front().into_iter().for_each(&mut *admit);
    }
}

/// Serves the connections accepted during the stop as others end. Returns how many were still held
/// when the drain deadline came; those are closed.
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
