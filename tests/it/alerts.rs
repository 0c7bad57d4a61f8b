//! The alert rules for Prometheus, by its own tool.

use std::io::Write;
use std::process::Command;

use ringlead_tests::workspace_root;

/// promtool comes with a package of 100 MB, so the rules are tested where it is installed anyway.
#[test]
fn the_rules_pass_their_tests() {
    let folder = workspace_root().join("examples/prometheus");
    for arguments in [["check", "rules", "ringlead.rules.yml"], ["test", "rules", "ringlead.rules.test.yml"]]
    {
        match Command::new("promtool").args(arguments).current_dir(&folder).output() {
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
            }
            Err(error) => {
                // Not println!, which the test harness swallows.
                let _ = writeln!(std::io::stderr(), "SKIPPED: promtool (Debian package prometheus): {error}");
                return;
            }
        }
    }
}
