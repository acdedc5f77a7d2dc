//! The multiplexers of the kernel: select(2), poll(2), epoll(7), and their timeouts.

pub mod epoll;
pub mod poll;
pub mod select;
pub mod timeout;
