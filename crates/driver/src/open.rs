//! Opening the driver of a model, and reporting which models this machine supports.

use std::io;

use fiveways_selector::{Kind, Selector};

use crate::Driver;
use crate::model::Model;
use crate::readiness::Readiness;
use crate::uring::{Uring, UringOptions};

/// The settings of a driver.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The settings of the ring, under `uring`.
    pub uring: UringOptions,
}

/// An open driver, and why it is not the first choice.
pub struct Opened {
    /// The driver; belongs to the thread that opened it.
    pub driver: Box<dyn Driver>,
    /// Under `auto`: why the first choice is not available.
    pub fell_back: Option<String>,
}

/// Opens the driver of a model, on the thread that will use it.
///
/// `auto` takes `uring` if the kernel permits it, else the best selector.
///
/// # Errors
///
/// If the model has no driver (threads need none) or this machine does not support it; the message
/// names what is missing and what would help.
pub fn open(model: Model, options: &Options) -> io::Result<Opened> {
    let only = |driver| Opened { driver, fell_back: None };
    match model {
        Model::Blocking | Model::Threads | Model::Pool => {
            let message = format!("the model {model} runs on threads and has no driver");
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        }
        Model::Nonblocking => over(model, Kind::Nonblocking).map(only),
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

/// Checks whether this machine supports the model: opens its driver and closes it again.
///
/// # Errors
///
/// As [`open`]; never for the models that run on threads.
pub fn support(model: Model) -> io::Result<()> {
    resolve(model).map(drop)
}

/// Returns the model that this machine uses for `model`: itself, or the one that `auto` takes.
/// Opens its driver and closes it again.
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
