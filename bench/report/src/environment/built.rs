//! What the program was built from and with; build.rs finds it out.

use super::Environment;

pub(super) fn facts() -> Environment {
    Environment {
        ringlead: env!("CARGO_PKG_VERSION").to_string(),
        commit: known(env!("RINGLEAD_BUILT_COMMIT")),
        opt_level: env!("RINGLEAD_BUILT_OPT_LEVEL").to_string(),
        rustc: env!("RINGLEAD_BUILT_RUSTC").to_string(),
        target: env!("RINGLEAD_BUILT_TARGET").to_string(),
        target_cpu: known(env!("RINGLEAD_BUILT_TARGET_CPU")).unwrap_or_else(|| "generic".to_string()),
        ..Environment::default()
    }
}

fn known(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}
