//! Values that are read when metrics are requested: the times of the writer's steps, and what the system knows
//! about this process.

use super::list;
use ledger::{
    Ledger,
    timing::{Histogram, Reading},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
};
use std::{fmt, sync::Arc};

/// Times of the writer's steps.
pub struct Steps(pub Arc<Ledger>);

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}

impl Collector for Steps {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let timings = self.0.timings();
        let mut write = |name: &'static str, histogram: &Histogram| {
            let Reading { sum, count, buckets } = histogram.read();
            let mut metric = list::begin(&mut encoder, name)?;
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        };
        write("queue_wait_seconds", &timings.queue)?;
        write("commit_seconds", &timings.commit)?;
        write("fsync_seconds", &timings.fsync)?;
        write("guard_fsync_seconds", &timings.guard)?;
        write("proof_seconds", &timings.proof)
    }
}

/// This process, under the names that every Prometheus exporter uses.
#[derive(Debug)]
pub struct Process {
    started: u64,
}

impl Default for Process {
    fn default() -> Self {
        Self { started: ledger::clock::wall_clock().seconds() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let gauges = [
            ("process_start_time_seconds", self.started),
            ("process_resident_memory_bytes", status("VmRSS:") * 1024),
            ("process_virtual_memory_bytes", status("VmSize:") * 1024),
            ("process_threads", status("Threads:")),
            ("process_open_fds", files as u64),
            ("process_max_fds", limit.unwrap_or(i64::MAX.unsigned_abs())),
        ];
        for (name, value) in gauges {
            list::begin(&mut encoder, name)?.encode_gauge(&value)?;
        }
        let mut cpu = list::begin(&mut encoder, "process_cpu_seconds")?;
        cpu.encode_counter::<NoLabelSet, _, u64>(&cpu_seconds(), None)
    }
}

/// A number of `/proc/self/status`, 0 if there is none.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may contain anything. User and system time are the 14th and 15th field, in
    // hundredths.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_system_is_read() {
        assert!(super::status("VmRSS:") > 100);
        assert!(super::status("Threads:") >= 1);
        assert!(super::cpu_seconds() < 1e6);
    }
}
