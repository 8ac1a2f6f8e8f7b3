//! The notebook from end to end, or another recipe: reads the faces, trains the network, reports and draws.

use std::io::{IsTerminal, Write, stderr};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fer::command::{self, train};

fn main() -> ExitCode {
    command::main(|args, out| -> Result<ExitCode, Box<dyn std::error::Error>> {
        let caller = train::Caller {
            command: "cargo run --release --example train_dcnn --",
            err: &mut stderr(),
            is_terminal: stderr().is_terminal(),
            interrupt: interrupt()?,
        };
        Ok(train::run(args, out, caller)?)
    })
}

/// Set by Ctrl-C; a second Ctrl-C ends the program at once.
fn interrupt() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            exit(130);
        }
        let _ = writeln!(stderr(), "\nfinishing the batch …");
    })?;
    Ok(flag)
}
