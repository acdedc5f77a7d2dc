//! Tasks as their users see them: starting a task, its handle, its end, its values.

pub(crate) mod spawn;
pub(crate) mod join;
pub(crate) mod locals_api;
pub(crate) mod packet;
pub(crate) mod join_error;
pub(crate) mod completions;
pub(crate) mod canceller;
