//! Limits read from a root folder made up for the test.

use super::*;

#[test]
fn processors_are_counted_from_ranges() {
    let table = [
        ("Name:\tx\nCpus_allowed_list:\t0-3\n", Some(4)),
        ("Cpus_allowed_list:\t0\n", Some(1)),
        ("Cpus_allowed_list:\t0-1,4,8-11\n", Some(7)),
        ("Cpus_allowed_list:\t3-1\n", None),
        ("Cpus_allowed_list:\t\n", None),
        ("Cpus_allowed:\tff\n", None),
        ("", None),
    ];
    for (status, count) in table {
        assert_eq!(allowed_processors(status), count, "{status:?}");
    }
}

#[test]
fn workers_never_exceed_what_can_run() {
    // Quota, processors, asked for, workers.
    let table = [
        (None, 8, 1, 1),
        (None, 8, 4, 4),
        (None, 8, 100, 8),
        (Some(0.5), 8, 4, 1),
        (Some(1.5), 8, 4, 2),
        (Some(2.0), 8, 4, 2),
        (Some(16.0), 4, 9, 4),
        (Some(4.0), 0, 0, 1),
    ];
    for (cpu_quota, processors, asked, workers) in table {
        let envelope = Envelope { cpu_quota, processors, memory_limit: None };
        assert_eq!(envelope.workers(asked), workers, "{envelope:?}, {asked} asked for");
    }
}

#[test]
fn the_envelope_of_this_process_can_be_read() {
    let envelope = Envelope::read();
    assert!(envelope.processors >= 1);
    assert!(envelope.parallelism() >= 1);
    assert!(envelope.memory_limit.is_none_or(|bytes| bytes > 1 << 20), "{envelope:?}");
}

#[test]
fn a_system_without_proc_limits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let envelope = Envelope::read_below(folder.path());
    assert_eq!(envelope, Envelope { cpu_quota: None, processors: 1, memory_limit: None });
}
