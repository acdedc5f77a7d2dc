//! Calls by name, and the registered functions that they name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use fiveways_sys::process::set_once::SetOnce;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::executor::failure::{FutureError, SubmitError};
use crate::executor::rpc::wire::Answer;

/// Values that can be sent to another process and back: all that serde can serialise and
/// deserialise.
///
/// The format is compact and not self-describing, so types that depend on the next value's type
/// (`deserialize_any`, untagged enums) cannot be read.
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}

/// A call of a function by its name, with serialised arguments: work for any pool.
///
/// Made by the functions of [`remote!`](crate::executor::remote).
pub struct Call<T> {
    name: Cow<'static, str>,
    arguments: Result<Vec<u8>, postcard::Error>,
    output: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Portable> Call<T> {
    /// Makes a call of a function by its full name, with a tuple of its arguments.
    ///
    /// Nothing is checked here: whether the function exists, and whether arguments and result have
    /// these types, is checked where it runs.
    pub fn named(name: impl Into<Cow<'static, str>>, arguments: &impl Serialize) -> Call<T> {
        let arguments = postcard::to_stdvec(arguments);
        Call { name: name.into(), arguments, output: PhantomData }
    }

    /// The full name of the function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Combines several calls into one, which runs them in order; the first that fails determines
    /// the result of all.
    pub(in crate::executor) fn chunk(calls: Vec<Call<T>>) -> Call<Vec<T>> {
        let pairs = |calls: Vec<Call<T>>| -> postcard::Result<Vec<u8>> {
            let pair = |call: Call<T>| Ok((call.name, call.arguments?));
            let pairs: Vec<_> = calls.into_iter().map(pair).collect::<postcard::Result<_>>()?;
            postcard::to_stdvec(&pairs)
        };
        Call { name: Cow::Borrowed(CHUNK), arguments: pairs(calls), output: PhantomData }
    }

    pub(in crate::executor) fn prepare(self) -> Result<Prepared<T>, SubmitError> {
        let arguments = self.arguments.map_err(|e| SubmitError::Unencodable(e.to_string()))?;
        Ok(Prepared { name: self.name, arguments, output: PhantomData })
    }
}

/// A call with serialised arguments.
pub(in crate::executor) struct Prepared<T> {
    pub(in crate::executor) name: Cow<'static, str>,
    pub(in crate::executor) arguments: Vec<u8>,
    output: PhantomData<fn() -> T>,
}

impl<T: Portable> Prepared<T> {
    /// Runs it on this thread.
    pub(in crate::executor) fn run_here(&self) -> Result<T, FutureError> {
        self.read(run(&self.name, &self.arguments))
    }

    /// Deserialises the answer to it.
    pub(in crate::executor) fn read(&self, answer: Answer) -> Result<T, FutureError> {
        let bytes = answer.into_value()?;
        decode(&bytes).map_err(FutureError::Undecodable)
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// A function from bytes to bytes.
type Bytewise = fn(&[u8]) -> Answer;

/// A function that can be called by name.
pub struct Registered {
    name: &'static str,
    answer: Bytewise,
}

impl Registered {
    /// Registers a function.
    pub const fn new(name: &'static str, answer: Bytewise) -> Registered {
        Registered { name, answer }
    }
}

inventory::collect!(Registered);

/// Runs the function of this name, and panics if it does.
pub(in crate::executor) fn run(name: &str, arguments: &[u8]) -> Answer {
    static FUNCTIONS: SetOnce<HashMap<&str, Bytewise>> = SetOnce::new();
    let known = || inventory::iter::<Registered>().map(|one| (one.name, one.answer)).collect();
    match FUNCTIONS.get_or_init(known).get(name) {
        Some(function) => function(arguments),
        None => Answer::UnknownFunction(name.to_owned()),
    }
}

/// The name of the function that runs several calls.
const CHUNK: &str = "fiveways::executor::chunk";

inventory::submit! { Registered::new(CHUNK, run_chunk) }

/// Runs several calls, and concatenates their results, so that they read as a vector.
fn run_chunk(arguments: &[u8]) -> Answer {
    let calls: Vec<(String, Vec<u8>)> = match decode(arguments) {
        Ok(calls) => calls,
        Err(why) => return Answer::Undecodable(why),
    };
    let mut values = match postcard::to_stdvec(&calls.len()) {
        Ok(length) => length,
        Err(error) => return Answer::Unencodable(error.to_string()),
    };
    for (name, arguments) in calls {
        match run(&name, &arguments) {
            Answer::Value(bytes) => values.extend_from_slice(&bytes),
            no_value => return no_value,
        }
    }
    Answer::Value(values)
}

/// Deserialises the arguments, calls the function, serialises its result.
pub fn answer<A: DeserializeOwned, T: Serialize>(
    arguments: &[u8],
    function: impl FnOnce(A) -> T,
) -> Answer {
    match decode(arguments) {
        Err(why) => Answer::Undecodable(why),
        Ok(arguments) => match postcard::to_stdvec(&function(arguments)) {
            Ok(bytes) => Answer::Value(bytes),
            Err(error) => Answer::Unencodable(error.to_string()),
        },
    }
}

/// The result type of a function.
pub type Output<F> = <F as Function>::Output;

/// A function type.
pub trait Function {
    /// The result type.
    type Output;
}

impl<T> Function for fn() -> T {
    type Output = T;
}
