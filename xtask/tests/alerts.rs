//! The alert rules, as Prometheus itself reads and evaluates them.
//!
//! `cargo xtask test` (which installs promtool and names it in `PROMTOOL`) → **promtool** → `origin/ops/alerts_test.yml`.
//!
//! Failure: promtool's own words; without promtool the test fails and says what to run.
#![expect(
    clippy::disallowed_methods,
    reason = "the path of promtool is the one setting of this test"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn tb_10_every_alert_rule_fires_when_it_should_and_only_then() {
    let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../origin/ops");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let ran = Command::new(&promtool)
            .args(arguments)
            .current_dir(&folder)
            .output();
        let output =
            ran.expect("this test needs promtool: run `cargo xtask test`, or set PROMTOOL to its path");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
