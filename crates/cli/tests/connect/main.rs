//! `fiveways connect` as people and scripts see it: the built program against small servers.

mod interactive;
mod load;
mod terminal;
mod trouble;
mod server;
mod support;
