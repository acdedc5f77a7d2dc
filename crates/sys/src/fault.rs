//! Memory faults: alternate signal stacks, and one observer of SIGSEGV and SIGBUS.
//!
//! ```text
//!   fault ──▶ our action ──▶ observer(address, stack pointer)
//!                               │ true: default action restored, return, fault again, die
//!                               │ false: whatever action was there before us (std's, as a rule)
//! ```
//!
//! The observer runs in the signal handler: it may only do what signal-safety(7) allows.
//! The action runs on the alternate stack, because the stack that overflowed has no room for it.
#![expect(unsafe_code, reason = "signal actions and alternate stacks are raw interfaces")]

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::ptr;

use libc::{SIGBUS, SIGSEGV};

use crate::memory::Mapping;
use crate::process::set_once::SetOnce;

/// A memory access that the processor refused.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The address that was touched.
    pub address: usize,
    /// The stack pointer of the code that made the access, on processors that this file knows.
    pub stack_pointer: Option<usize>,
}

/// Handles a fault; returns `true` if it has been reported and the process is to die of it.
pub type Observer = fn(Fault) -> bool;

struct Installed {
    observer: Observer,
    /// The previous actions, which are called next.
    on_segv: libc::sigaction,
    on_bus: libc::sigaction,
}

static INSTALLED: SetOnce<Installed> = SetOnce::new();

/// Space for the handlers' frames beside what the kernel puts on an alternate stack.
const HANDLER_ROOM: usize = 32 * 1024;

/// Installs `observer` before the present actions of SIGSEGV and SIGBUS, once per process: later
/// calls change nothing.
///
/// # Errors
///
/// Those of sigaction(2); none is known to happen.
pub fn observe(observer: Observer) -> io::Result<()> {
    if INSTALLED.get().is_some() {
        return Ok(());
    }
    let present = Installed { observer, on_segv: present(SIGSEGV)?, on_bus: present(SIGBUS)? };
    // The handler reads `INSTALLED`, so it is filled first; the loser of a race has nothing to do.
    if !INSTALLED.set(present) {
        return Ok(());
    }
    let mut action = default_action();
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    set(SIGSEGV, &action)?;
    set(SIGBUS, &action)
}

/// Gives the calling thread an alternate signal stack if it has none, or only one that is too small
/// for real work; it is freed when the thread ends.
///
/// std installs one of some 8 KiB in the main thread and in the threads it starts. Threads of C
/// libraries have none.
///
/// # Errors
///
/// `ENOMEM` when the stack cannot be mapped.
pub fn ensure_alternate_stack() -> io::Result<()> {
    let mut present = no_stack();
    // SAFETY: required: valid or null pointers. `present` is a local of the right type.
    answer(unsafe { libc::sigaltstack(ptr::null(), &raw mut present) })?;
    if present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= HANDLER_ROOM {
        return Ok(());
    }
    let stack = AlternateStack::install()?;
    ALTERNATE.with(|slot| *slot.borrow_mut() = Some(stack));
    Ok(())
}

/// Makes the present handler of a signal run on the alternate stacks of threads that have one; the
/// stack that it interrupts may be too small for it.
///
/// # Errors
///
/// `EINVAL` if there is no such signal.
pub fn handle_on_alternate_stack(signal: c_int) -> io::Result<()> {
    let mut action = present(signal)?;
    let is_handled = !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
    if !is_handled || action.sa_flags & libc::SA_ONSTACK != 0 {
        return Ok(());
    }
    action.sa_flags |= libc::SA_ONSTACK;
    set(signal, &action)
}

/// Writes bytes to standard error from any context, also from a signal handler; failures are
/// ignored.
pub fn write_to_stderr(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

thread_local! {
    static ALTERNATE: RefCell<Option<AlternateStack>> = const { RefCell::new(None) };
}

/// An alternate signal stack of this thread, with a guard page below it.
struct AlternateStack {
    memory: Mapping,
}

impl AlternateStack {
    fn install() -> io::Result<AlternateStack> {
        let page = crate::memory::page_size();
        // SAFETY: required: none. It reads the auxiliary vector. The kernel's part of the frame
        // grows with the vector registers of the processor, so that only the kernel knows it.
        let kernel = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let len = (HANDLER_ROOM + kernel.max(libc::MINSIGSTKSZ)).next_multiple_of(page);
        let memory = Mapping::new(page + len)?;
        // SAFETY: required: nobody uses the page. The mapping is new.
        unsafe { memory.protect(0..page) }?;
        let start = memory.base().as_ptr().wrapping_add(page).cast();
        let stack = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: len };
        // SAFETY: required: memory that stays while it is the alternate stack. `memory` lives in a
        // thread-local whose drop takes the stack out of use first.
        answer(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) })?;
        Ok(AlternateStack { memory })
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let mut present = no_stack();
        // SAFETY: required: valid or null pointers. `present` is a local of the right type.
        let asked = unsafe { libc::sigaltstack(ptr::null(), &raw mut present) };
        let start = self.memory.base().as_ptr() as usize;
        let ours = (start..start + self.memory.len()).contains(&(present.ss_sp as usize));
        if asked == 0 && ours {
            let none = no_stack();
            // SAFETY: required: valid or null pointers. `none` says that there is no stack.
            unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) };
        }
    }
}

fn no_stack() -> libc::stack_t {
    libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 }
}

fn default_action() -> libc::sigaction {
    // SAFETY: required: zeroes are a valid value. It is a C structure: SIG_DFL, no flags, empty
    // mask.
    unsafe { mem::zeroed() }
}

fn present(signal: c_int) -> io::Result<libc::sigaction> {
    let mut action = default_action();
    // SAFETY: required: valid or null pointers. `action` is a local of the right type.
    answer(unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) })?;
    Ok(action)
}

fn set(signal: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: required: an action that is fit for the signal. It is `on_fault`, which does only
    // what is safe in handlers, or an action that was in force before, at most on another stack.
    answer(unsafe { libc::sigaction(signal, action, ptr::null_mut()) })
}

fn answer(returned: c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The action of SIGSEGV and SIGBUS.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: required: valid, or null. The kernel gives it with SA_SIGINFO.
    let Some(details) = (unsafe { info.as_ref() }) else { return };
    let code = details.si_code;
    // Codes above zero are the kernel's; a signal sent by kill(2) has no address.
    if code > 0 {
        // SAFETY: required: a fault's information. The code says that the kernel raised it.
        let address = unsafe { details.si_addr() } as usize;
        let fault = Fault { address, stack_pointer: stack_pointer(context) };
        if (installed.observer)(fault) {
            let _ = set(signal, &default_action());
            return;
        }
    }
    let previous = if signal == SIGSEGV { &installed.on_segv } else { &installed.on_bus };
    chain(previous, signal, info, context);
    if code <= 0 && previous.sa_sigaction == libc::SIG_DFL {
        // A signal of kill(2) has no instruction that faults again: it is sent again, and waits
        // until this handler has returned.
        // SAFETY: required: none. The action is the default by now.
        unsafe { libc::raise(signal) };
    }
}

/// Calls the previous action.
fn chain(
    previous: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let handler = previous.sa_sigaction;
    if handler == libc::SIG_IGN || handler == libc::SIG_DFL {
        // The instruction faults again when we return, and the kernel acts by itself, even if the
        // signal is ignored.
        let _ = set(signal, previous);
    } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Full = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: required: a function of this type. SA_SIGINFO was set when it was installed.
        let call = unsafe { mem::transmute::<usize, Full>(handler) };
        call(signal, info, context);
    } else {
        // SAFETY: required: a function of this type. SA_SIGINFO was not set when it was installed.
        let call = unsafe { mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        call(signal);
    }
}

/// Returns the stack pointer of the interrupted code.
fn stack_pointer(context: *mut c_void) -> Option<usize> {
    let context = context.cast::<libc::ucontext_t>();
    if context.is_null() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: required: valid. The kernel gives it with SA_SIGINFO.
    return Some(unsafe { (*context).uc_mcontext.gregs[libc::REG_RSP as usize] } as usize);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: required: valid. The kernel gives it with SA_SIGINFO.
    return Some(unsafe { (*context).uc_mcontext.sp } as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_an_alternate_stack_gets_one() {
        let thread = std::thread::spawn(|| {
            let none = no_stack();
            // SAFETY: required: valid or null pointers, and std's stack not in use. We are not in a
            // handler. std unmaps its own when the thread ends, whether or not it is set.
            answer(unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) })?;
            ensure_alternate_stack()?;
            let mut present = no_stack();
            // SAFETY: required: valid or null pointers. `present` is a local of the right type.
            answer(unsafe { libc::sigaltstack(ptr::null(), &raw mut present) })?;
            io::Result::Ok((present.ss_flags, present.ss_size))
        });
        let (flags, len) = thread.join().expect("no panic").expect("an alternate stack");
        assert_eq!(flags & libc::SS_DISABLE, 0);
        assert!(len >= HANDLER_ROOM, "{len}");
    }
}
