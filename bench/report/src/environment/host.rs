//! What /proc and /sys say about the machine.

use super::Environment;
use nix::sys::sysinfo::sysinfo;
use nix::sys::utsname::uname;
use std::collections::BTreeSet;
use std::fs;

/// More processors than any machine has: bounds the walk over /sys.
const CPUS_MAX: usize = 4096;

pub(super) fn fill(built: Environment) -> Environment {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Environment {
        kernel: kernel(),
        cpu_model: cpuinfo_field(&cpuinfo, "model name"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        cpus_online: cpus_in_list(&sys("/sys/devices/system/cpu/online").unwrap_or_default()).max(1),
        smt: sys("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
        governor: governor(),
        turbo: turbo(),
        isolated_cpus: sys("/sys/devices/system/cpu/isolated"),
        virtual_machine: cpuinfo_field(&cpuinfo, "flags")
            .map(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor")),
        memory_bytes: sysinfo().ok().map(|info| info.ram_total()),
        load_average: sysinfo().ok().map(|info| (info.load_average().0 * 100.0).round() / 100.0),
        ..built
    }
}

fn kernel() -> String {
    uname().map_or_else(
        |_| String::new(),
        |name| [name.sysname(), name.release(), name.version()].map(|part| part.to_string_lossy()).join(" "),
    )
}

/// The first processor's value; all of a machine's are alike.
fn cpuinfo_field(cpuinfo: &str, name: &str) -> Option<String> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_string())
}

/// How many processors a list like `0-3,8` names.
fn cpus_in_list(list: &str) -> usize {
    let count = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').filter_map(count).sum()
}

fn governor() -> Option<String> {
    let of = |cpu| sys(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"));
    let all: BTreeSet<String> = (0..CPUS_MAX).map_while(of).collect();
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(", "))
}

fn turbo() -> Option<bool> {
    let intel = sys("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| off == "0");
    intel.or_else(|| sys("/sys/devices/system/cpu/cpufreq/boost").map(|on| on == "1"))
}

/// A file's text; `None` when it is missing or blank.
fn sys(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.trim().to_string();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, count) in [("0-3,8", 5), ("0", 1), ("0-1", 2), ("", 0), ("3-1", 0), ("x,2-4", 3)] {
            assert_eq!(cpus_in_list(list), count, "{list}");
        }
    }

    #[test]
    fn the_first_processor_speaks_for_all() {
        let text =
            "processor\t: 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\n";
        assert_eq!(cpuinfo_field(text, "model name").as_deref(), Some("Some CPU: fast"));
        assert_eq!(cpuinfo_field(text, "bogomips"), None);
    }
}
