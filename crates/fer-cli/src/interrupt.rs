//! Ctrl-C.

use std::io::{Write, stderr};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// Set by Ctrl-C, so that what is under way can be saved; a second Ctrl-C ends the program at once. Called once.
pub fn interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            exit(130);
        }
        let _ = writeln!(stderr(), "\nfinishing …");
    })?;
    Ok(flag)
}
