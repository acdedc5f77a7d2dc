//! Opening the driver of a model, and saying what this machine has.

use std::io;

use fiveways_selector::{Kind, Selector};

use crate::Driver;
use crate::model::Model;
use crate::readiness::Readiness;
use crate::uring::{Uring, UringOptions};

/// How to open a driver.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The ring's, under `uring`.
    pub uring: UringOptions,
}

/// An open driver, and what was given up for it.
pub struct Opened {
    /// The driver; belongs to the thread that opened it.
    pub driver: Box<dyn Driver>,
    /// Under `auto`: why the first choice was not to be had.
    pub fell_back: Option<String>,
}

/// Opens the driver of a model, on the thread that will use it.
///
/// `auto` takes `uring` if the kernel lets us have it, else the best selector.
///
/// # Errors
///
/// When the model has no driver (threads need none) or this machine does not have it; the message
/// says what is missing and what would help.
pub fn open(model: Model, options: &Options) -> io::Result<Opened> {
    let only = |driver| Opened { driver, fell_back: None };
    match model {
        Model::Blocking | Model::Threads | Model::Pool => {
            let message = format!("the model {model} runs on threads and has no driver");
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        }
        Model::Nonblocking => over(model, Kind::Spin).map(only),
        Model::Select => over(model, Kind::Select).map(only),
        Model::Poll => over(model, Kind::Poll).map(only),
        Model::Epoll => over(model, Kind::Epoll).map(only),
        Model::EpollEt => over(model, Kind::EpollEt).map(only),
        Model::Signal => over(model, Kind::Signal).map(only),
        Model::Uring => Ok(only(Box::new(Uring::open(&options.uring)?))),
        Model::Auto => auto(options),
    }
}

fn auto(options: &Options) -> io::Result<Opened> {
    match Uring::open(&options.uring) {
        Ok(driver) => Ok(Opened { driver: Box::new(driver), fell_back: None }),
        Err(error) => {
            let choices = [(Model::Epoll, Kind::Epoll), (Model::Poll, Kind::Poll)];
            let last = over(Model::Select, Kind::Select);
            let found = choices.into_iter().find_map(|(model, kind)| over(model, kind).ok());
            let driver = found.map_or(last, Ok)?;
            Ok(Opened { driver, fell_back: Some(error.to_string()) })
        }
    }
}

fn over(model: Model, kind: Kind) -> io::Result<Box<dyn Driver>> {
    let selector: Box<dyn Selector> = kind.open()?;
    Ok(Box::new(Readiness::new(model, selector)))
}

/// Does this machine have the model? Opens its driver and closes it again.
///
/// # Errors
///
/// As [`open`]; never for the models that run on threads.
pub fn support(model: Model) -> io::Result<()> {
    resolve(model).map(drop)
}

/// Returns the model that this machine uses when `model` is asked for: itself, or the one that
/// `auto` takes. Opens its driver and closes it again.
///
/// # Errors
///
/// As [`support`].
pub fn resolve(model: Model) -> io::Result<Model> {
    if !model.is_cooperative() {
        return Ok(model);
    }
    open(model, &Options::default()).map(|opened| opened.driver.model())
}
