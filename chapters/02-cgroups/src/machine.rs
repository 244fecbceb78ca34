//! What there is to be shared out: processors and memory nodes.

use std::collections::BTreeSet;
use std::fs;

/// The processors and memory nodes of a machine, as lists such as `0-3`; `None` where the kernel does not tell.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Processors that are switched on.
    pub online: Option<String>,
    /// Memory nodes (NUMA).
    pub nodes: Option<String>,
    /// Sizes of huge pages, as cgroups name them: `2MB`, `1GB`.
    pub hugepages: Vec<String>,
}

impl Machine {
    /// This machine, by what sysfs says. Not by our own affinity: a pinned engine may start what is not pinned.
    pub fn this() -> Machine {
        let list = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Machine {
            online: list("/sys/devices/system/cpu/online"),
            nodes: list("/sys/devices/system/node/has_memory"),
            hugepages: hugepages(),
        }
    }

    /// How many processors are switched on.
    pub fn cpus(&self) -> Option<u64> {
        self.online.as_deref().and_then(parse_list).map(|list| list.len() as u64)
    }
}

/// sysfs has a directory for each, `hugepages-2048kB`.
fn hugepages() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut sizes: Vec<u64> =
        names.filter_map(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()).collect();
    sizes.sort_unstable();
    sizes.into_iter().map(page_name).collect()
}

/// The kernel's name for a page of so many KiB (`mem_fmt` of `mm/hugetlb_cgroup.c`).
fn page_name(kib: u64) -> String {
    match kib {
        _ if kib >= 1 << 20 => format!("{}GB", kib >> 20),
        _ if kib >= 1 << 10 => format!("{}MB", kib >> 10),
        _ => format!("{kib}KB"),
    }
}

/// The numbers of a list such as `0-2,7` (`cpuset(7)`, "List format"). `None` if it is none or if it is absurd.
pub fn parse_list(text: &str) -> Option<BTreeSet<u32>> {
    // More processors than any kernel is built for (NR_CPUS), so that 0-4000000000 costs nothing.
    const MAX: u32 = 65_536;
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A list as the kernel writes it: the largest ranges, in order.
    fn written(numbers: &BTreeSet<u32>) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        let text =
            |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        ranges.iter().map(text).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn pages_are_named_as_the_kernel_names_them() {
        assert_eq!([64, 2048, 1 << 20].map(page_name), ["64KB", "2MB", "1GB"]);
    }

    proptest! {
        #[test]
        fn what_the_kernel_writes_is_read_back(numbers in prop::collection::btree_set(0u32..5000, 1..60)) {
            prop_assert_eq!(parse_list(&written(&numbers)), Some(numbers));
        }

        #[test]
        fn anything_else_is_refused_and_costs_nothing(text in "[-0-9,+ a]{0,30}") {
            if let Some(numbers) = parse_list(&text) {
                prop_assert!(!numbers.is_empty() && numbers.len() <= 65_536);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b',' || byte == b'-'));
                prop_assert_eq!(parse_list(&written(&numbers)), Some(numbers));
            }
        }
    }
}
