//! Control group files of both versions, as kernels write them.

use super::*;
use proptest::prelude::*;

const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

const V1: &str = "\
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";

/// Limits below a folder that holds these files.
fn limits_with(files: &[(&str, &str)]) -> Limits {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    limits(root.path())
}

#[test]
fn the_tightest_group_up_to_the_root_counts() {
    let limits = limits_with(&[
        ("proc/self/mountinfo", V2),
        ("proc/self/cgroup", "0::/pods/one/app\n"),
        ("sys/fs/cgroup/pods/one/app/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/pods/one/app/memory.max", "268435456\n"),
        ("sys/fs/cgroup/pods/one/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/pods/one/memory.max", "134217728\n"),
        ("sys/fs/cgroup/pods/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/pods/memory.max", "max\n"),
    ]);
    assert_eq!(limits, Limits { cpus: Some(0.5), memory: Some(128 << 20) });
}

#[test]
fn a_container_with_its_own_namespace_reads_its_top() {
    let limits = limits_with(&[
        ("proc/self/mountinfo", V2),
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/memory.max", "max\n"),
    ]);
    assert_eq!(limits, Limits { cpus: Some(1.5), memory: None });
}

#[test]
fn a_container_that_sees_the_groups_of_its_host_reads_its_mount() {
    let mountinfo = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    for group in ["0::/docker/abc\n", "0::/elsewhere\n", "0::/../other\n"] {
        let limits = limits_with(&[
            ("proc/self/mountinfo", mountinfo),
            ("proc/self/cgroup", group),
            ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
        ]);
        assert_eq!(limits.cpus, Some(2.0), "{group}");
    }
}

#[test]
fn version_1_is_read_too() {
    let limits = limits_with(&[
        ("proc/self/mountinfo", V1),
        ("proc/self/cgroup", "3:memory:/app\n2:cpu,cpuacct:/app\n1:name=systemd:/app\n"),
        ("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "25000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
    ]);
    assert_eq!(limits, Limits { cpus: Some(0.25), memory: Some(1 << 30) });
}

#[test]
fn a_hybrid_system_takes_the_tightest_of_both() {
    let mountinfo = format!("{V1}{V2}");
    let limits = limits_with(&[
        ("proc/self/mountinfo", &mountinfo),
        ("proc/self/cgroup", "3:memory:/\n2:cpu,cpuacct:/\n0::/app\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"),
        ("sys/fs/cgroup/app/memory.max", "67108864"),
    ]);
    assert_eq!(limits, Limits { cpus: Some(3.0), memory: Some(64 << 20) });
}

#[test]
fn quotas_that_say_nothing_limit_nothing() {
    for text in ["", "max 100000", "0 100000", "100000 0", "-1 100000", "1 2 3", "x y", "100000"] {
        assert_eq!(parse_cpu_max(text), None, "{text:?}");
    }
    for text in ["", "max", "-1", "9223372036854771712", "18446744073709551615", "12 MB"] {
        assert_eq!(parse_memory(text), None, "{text:?}");
    }
}

#[test]
fn a_mount_point_with_blanks_is_found() {
    let line = "1 2 0:3 / /a\\040b\\134c rw - cgroup2 none rw";
    assert_eq!(parse_mounts(line).first().unwrap().point, Path::new("/a b\\c"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_ignored(text in "[ -~\\n]{0,200}") {
        parse_mounts(&text);
        let _: Option<f64> = parse_cpu_max(&text);
        let _: Option<&Path> = group_of(&text, Controller::Cpu);
    }
}
