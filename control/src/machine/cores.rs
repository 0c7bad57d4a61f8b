//! Whether the workers' cores are there.

use super::Judge;
use crate::config::codes;

impl Judge<'_> {
    /// C208.
    pub(super) fn cores(&mut self, missing: &[usize]) {
        for core in missing {
            let place = self.config.dataplane.cores.iter().position(|listed| listed == core);
            let place = place.unwrap_or_default().to_string();
            self.warning(
                codes::CORE_MISSING,
                &["dataplane", "cores", &place],
                format!("no worker can be pinned to core {core} of this machine"),
            )
            .label("its worker runs wherever the kernel likes")
            .help("`lscpu -e` lists the cores; a container or a unit may be kept off some");
        }
    }
}
