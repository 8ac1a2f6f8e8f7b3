//! What a program says of its work, on the standard error.

use std::env;
use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Writes warnings to the standard error, or what `RUST_LOG` asks for: a level, or levels of crates, `fer_nn=debug,warn`. A program
/// that has a subscriber keeps it.
pub(super) fn start() {
    let warnings = || Targets::new().with_default(LevelFilter::WARN);
    let asked = env::var_os("RUST_LOG").unwrap_or_default();
    let (targets, problem) = match asked.to_string_lossy().parse::<Targets>() {
        _ if asked.is_empty() => (warnings(), None),
        Ok(targets) => (targets, None),
        Err(e) => (warnings(), Some(e)),
    };
    let lines = fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .without_time()
        .with_target(false)
        .log_internal_errors(false);
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
    if let Some(e) = problem {
        tracing::warn!(
            "RUST_LOG: {e}; warnings are written (allowed: a level, or levels of crates, fer_nn=debug,warn)"
        );
    }
}
