//! The panics of user code: their messages, and the places where they are contained.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::deadlock_data::Deadlock;

/// Returns the message of a panic. The payloads of `panic!` are string slices and strings; a
/// payload of any other type has no message, unless it is a [`Deadlock`].
pub fn panic_message(payload: &(dyn Any + Send)) -> Option<&str> {
    let literal = payload.downcast_ref::<&str>().copied();
    let text = || payload.downcast_ref::<String>().map(String::as_str);
    literal.or_else(text).or_else(|| payload.downcast_ref::<Deadlock>().map(Deadlock::text))
}

/// Runs user code whose panic no caller could receive: drops of a closure that was never run, or of
/// a value that was never joined. Returns the panic's message; the panic hook has reported it.
pub fn contain(f: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    let message = panic_message(payload.as_ref()).unwrap_or("(no message)").to_owned();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping the payload could panic again and again.
        mem::forget(again);
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct PanicsInDrop;

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic_any(PanicsInDrop);
        }
    }

    #[test]
    fn a_contained_panic_gives_its_message_whatever_its_payload_does() {
        let text = |text: &'static str| Some(String::from(text));
        assert_eq!(contain(|| {}), None);
        assert_eq!(contain(|| panic!("literal")), text("literal"));
        assert_eq!(contain(|| panic!("{} words", 2)), text("2 words"));
        assert_eq!(contain(|| panic_any(7)), text("(no message)"));
        assert_eq!(contain(|| panic_any(PanicsInDrop)), text("(no message)"));
    }
}
