//! The machine on which a comparison ran, as data: what a reader needs to judge the numbers.

use std::fs;

use fiveways_sys::process;
use serde::Serialize;

/// A machine, as described by `/proc` and `/sys`. Unreadable values are `None`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Kernel name and release.
    pub kernel: String,
    /// The processor's model name.
    pub cpu_model: Option<String>,
    /// Processors this program may use.
    pub cpus: Vec<usize>,
    /// Main memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Descriptors that a process may have open, as far as the limit may be raised.
    pub descriptors_max: Option<u64>,
    /// The governor of the processor's clock; `None` on most virtual machines.
    pub cpu_governor: Option<String>,
    /// Load average of the preceding minute: above zero, other processes shared the processors.
    pub load_average: Option<f64>,
    /// This program's version.
    pub fiveways: &'static str,
    /// `true` if it was built without optimisation. Such numbers mean little.
    pub debug_build: bool,
}

impl Machine {
    /// Reads the description of this machine.
    pub fn read() -> Machine {
        let release = line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
        let load = line("/proc/loadavg");
        Machine {
            kernel: format!("Linux {release}"),
            cpu_model: field("/proc/cpuinfo", "model name"),
            cpus: process::affinity().unwrap_or_default(),
            memory_bytes: field("/proc/meminfo", "MemTotal").and_then(|size| kibibytes(&size)),
            descriptors_max: process::descriptor_limit().hard,
            cpu_governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load_average: load.and_then(|load| load.split(' ').next()?.parse().ok()),
            fiveways: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// The processors of the server and of the generator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The server's, as many as it has workers, if there are so many.
    pub server: Vec<usize>,
    /// The generator's one.
    pub generator: Vec<usize>,
}

impl Placement {
    /// Places a server with this many workers on this machine.
    ///
    /// The generator takes the last processor, and the server the first ones that share no core
    /// with it, or the first ones where all do. A lone processor is shared.
    pub fn on(machine: &Machine, workers: usize) -> Placement {
        let Some((&generator, rest)) = machine.cpus.split_last() else {
            return Placement { server: Vec::new(), generator: Vec::new() };
        };
        if rest.is_empty() {
            return Placement { server: vec![generator], generator: vec![generator] };
        }
        let siblings = siblings_of(generator);
        let is_apart = |cpu: &&usize| !siblings.contains(cpu);
        let apart = rest.iter().filter(is_apart);
        let beside = rest.iter().filter(|cpu| !is_apart(cpu));
        let server = apart.chain(beside).copied().take(workers.max(1)).collect();
        Placement { server, generator: vec![generator] }
    }

    /// Returns `true` if both share their only processor.
    pub fn is_shared(&self) -> bool {
        self.server == self.generator
    }
}

/// The processors that share a core with this one, itself included.
fn siblings_of(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    line(&path).map(|list| cpu_list(&list)).unwrap_or_default()
}

/// Reads a list such as `0,4-6`.
fn cpu_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// The value after `name` and a colon, where it first appears.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let value = values.into_iter().find(|(key, _)| key.trim() == name);
    value.map(|(_, value)| value.trim().to_owned())
}

/// Reads a size such as `1024 kB`, which the kernel means as KiB.
pub(crate) fn kibibytes(size: &str) -> Option<u64> {
    size.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: &[usize]) -> Machine {
        Machine { cpus: cpus.to_vec(), ..Machine::read() }
    }

    #[test]
    fn this_machine_tells_its_kernel_memory_and_processors() {
        let machine = Machine::read();
        assert!(machine.kernel.starts_with("Linux ") && machine.kernel != "Linux unknown");
        assert!(machine.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(!machine.cpus.is_empty());
    }

    #[test]
    fn the_generator_has_a_processor_of_its_own_where_there_are_two() {
        // Numbers far beyond real ones, so that this machine's topology plays no part.
        let two = Placement::on(&machine(&[9000, 9001]), 4);
        assert_eq!((two.server, two.generator), (vec![9000], vec![9001]));
        let four = Placement::on(&machine(&[9000, 9001, 9002, 9003]), 2);
        assert_eq!((four.server, four.generator), (vec![9000, 9001], vec![9003]));
        let one = Placement::on(&machine(&[9000]), 1);
        assert!(one.is_shared());
    }

    #[test]
    fn kernel_lists_and_sizes_are_read() {
        assert_eq!(cpu_list("0,4-6"), [0, 4, 5, 6]);
        assert_eq!(cpu_list("x"), [0_usize; 0]);
        assert_eq!(kibibytes(" 12 kB"), Some(12_288));
        assert_eq!(kibibytes("12"), None);
    }
}
