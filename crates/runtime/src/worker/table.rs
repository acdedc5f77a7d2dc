//! The live tasks of a worker.
//!
//! A number that has been used 2³² times is not used again: an unpark or a cancel that was meant
//! for an old task must not find a new one.

use std::ptr::NonNull;

use crate::task_block::{Task, TaskId};

/// The live tasks by number; a number is used again with the next generation.
#[derive(Default)]
pub(super) struct Table {
    places: Vec<(u32, Option<NonNull<Task>>)>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn reserve(&mut self) -> TaskId {
        if let Some(index) = self.free.pop() {
            return TaskId { index, generation: self.places[index as usize].0 };
        }
        // As one word, a number is stored as the next one.
        let index = u32::try_from(self.places.len()).ok().filter(|index| *index < u32::MAX);
        let index = index.expect("stacks for so many tasks fit into no memory");
        self.places.push((0, None));
        TaskId { index, generation: 0 }
    }

    /// Stores the task that a number was reserved for.
    pub(super) fn fill(&mut self, id: TaskId, task: NonNull<Task>) {
        self.places[id.index as usize].1 = Some(task);
    }

    pub(super) fn release(&mut self, id: TaskId) {
        let place = &mut self.places[id.index as usize];
        place.1 = None;
        if let Some(next) = id.generation.checked_add(1) {
            place.0 = next;
            self.free.push(id.index);
        }
    }

    pub(super) fn find(&self, id: TaskId) -> Option<NonNull<Task>> {
        let place = self.places.get(id.index as usize)?;
        if place.0 == id.generation { place.1 } else { None }
    }

    /// Returns all live tasks.
    pub(super) fn all(&self) -> Vec<NonNull<Task>> {
        self.places.iter().filter_map(|place| place.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_used_again_when_its_generations_are_used_up() {
        let mut table = Table::default();
        let first = table.reserve();
        table.places[first.index as usize].0 = u32::MAX - 1;
        table.release(TaskId { generation: u32::MAX - 2, ..first });
        let last_but_one = table.reserve();
        assert_eq!((last_but_one.index, last_but_one.generation), (first.index, u32::MAX - 1));
        table.release(last_but_one);
        let last = table.reserve();
        assert_eq!((last.index, last.generation), (first.index, u32::MAX));
        table.release(last);
        assert_ne!(table.reserve().index, first.index, "it has had them all");
    }
}
