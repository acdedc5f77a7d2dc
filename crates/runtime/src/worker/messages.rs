//! Handling the messages of other threads.

use std::mem;
use std::ptr::NonNull;

use super::Worker;
use crate::task_block::Task;
use crate::worker::inbox::Message;
use crate::worker::peek;

impl Worker {
    pub(super) fn read_messages(&self) {
        if !self.inbox.is_filled() {
            return;
        }
        let mut messages = mem::take(&mut *self.messages.borrow_mut());
        self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                // Other messages may overtake these: they refer only to tasks that have begun. An
                // inspection must see the tasks that were sent before it.
                Message::Run(call) | Message::Inspect(call) => {
                    self.arrivals.borrow_mut().push_back(call);
                }
                Message::Wake(id) => self.unpark(id),
                Message::Cancel(id) => self.cancel(id),
                Message::Shutdown => self.shut_down(),
            }
        }
        *self.messages.borrow_mut() = messages;
    }

    fn shut_down(&self) {
        self.ending.set(true);
        for task in self.tasks() {
            self.note_lost(task);
            self.cancel_task(task);
        }
    }

    /// Lists a task that is cancelled because the worker ends, if lost tasks are to be reported.
    #[cold]
    pub(super) fn note_lost(&self, task: NonNull<Task>) {
        let mut lost = self.inbox.lost.lock();
        if let Some(lost) = &mut *lost {
            lost.push(peek::lost(task));
        }
    }

    /// Returns `true` if the worker is shutting down: then new tasks begin cancelled.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get()
    }
}
