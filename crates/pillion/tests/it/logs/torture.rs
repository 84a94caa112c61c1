//! Nothing is lost, whatever is done to the program: a small run of `cargo xtask torture`.

use std::time::Duration;

use pillion_testkit::Torture;

#[test]
fn nothing_is_lost_amid_rotations_failures_and_kills_and_little_comes_again() {
    let torture = Torture {
        program: env!("CARGO_BIN_EXE_pillion").into(),
        seed: 20_261_121,
        lines: 20_000,
        writers: 4,
        writing: Duration::from_secs(6),
        rotation: Duration::from_millis(500),
        life: Duration::from_millis(1500),
    };
    let report = torture.run();
    assert!(report.broken().is_empty(), "{:#?}\n{report}{}", report.broken(), report.said);
    let (renamed, copied) = report.rotations;
    assert!(renamed > 0 && copied > 0 && report.ends.0 > 0, "{report}");
}
