//! Declaring functions that other processes can call by name.

/// Makes functions callable in worker processes.
///
/// Each function `f` remains as it is, and `f::call(…)`, with the same arguments, makes the
/// [`Call`](crate::executor::Call) to submit to a pool. Arguments and result must implement serde's
/// `Serialize` and `DeserializeOwned`; arguments are plain names, without patterns.
///
/// # Examples
///
/// ```
/// use fiveways::executor::{Executor, ThreadPool, remote};
///
/// remote! {
///     /// Sums up to a number.
///     pub fn sum_to(last: u64) -> u64 {
///         (1..=last).sum()
///     }
/// }
///
/// assert_eq!(sum_to(4), 10);
/// let pool = ThreadPool::default();
/// let sum = Executor::submit(&pool, sum_to::call(4)).expect("it is open");
/// assert_eq!(sum.result().expect("it does not panic"), 10);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __remote {
    ($(
        $(#[$meta:meta])*
        $visible:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)?
        $body:block
    )+) => {$(
        $(#[$meta])*
        $visible fn $name($($argument: $type),*) $(-> $output)? $body

        /// The function of this name, callable in other processes.
        #[allow(non_camel_case_types)]
        $visible struct $name {}

        impl $name {
            /// Makes a call of the function, to submit to a pool.
            $visible fn call(
                $($argument: $type),*
            ) -> $crate::executor::Call<$crate::executor::__private::Output<fn() $(-> $output)?>> {
                $crate::executor::Call::named(Self::NAME, &($($argument,)*))
            }

            const NAME: &'static str =
                concat!(module_path!(), "::", stringify!($name), ":", line!());

            fn answer(arguments: &[u8]) -> $crate::executor::__private::Answer {
                $crate::executor::__private::answer(arguments, |($($argument,)*): ($($type,)*)| {
                    $name($($argument),*)
                })
            }
        }

        $crate::executor::__private::inventory::submit! {
            $crate::executor::__private::Registered::new($name::NAME, $name::answer)
        }
    )+};
}
