//! The commands of the examples and of the program `fer`: each has its flags, `Args`, and does its work in `run`.
//!
//! A program is a few lines:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use fer::command::{self, explore};
//!
//! fn main() -> ExitCode {
//!     command::main(explore::run)
//! }
//! ```
//!
//! Commands write their files before they say what came of it. With the [`Output`] that [`main`] gives them, a closed or full
//! output costs no result; a program that calls `run` with another writer wraps it in one.

pub mod evaluate;
pub mod explore;
#[cfg(feature = "keras")]
pub mod import;
mod predictions;
mod results;
pub mod split;
pub mod train;

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::run::RunFolder;
use crate::{Error, Output};

/// What a program's `main` does: reads the command line, runs the command with the standard output, and tells warnings and
/// errors to the standard error.
///
/// The status is the command's; 1 after an error, also when the output could not be written, unless its reader has closed
/// it; 2 for a command line that cannot be read.
pub fn main<A: Parser, E: Display>(run: impl FnOnce(&A, &mut dyn Write) -> Result<ExitCode, E>) -> ExitCode {
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(e) => {
            // There is nobody else to tell.
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    // A program that has a subscriber keeps it.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(stderr)
        .without_time()
        .with_target(false)
        .log_internal_errors(false)
        .try_init();
    let mut stdout = stdout();
    let mut out = Output::new(&mut stdout);
    let status = run(&args, &mut out).map_err(|e| e.to_string());
    match status.and_then(|status| out.finish().map(|()| status).map_err(|e| Error::from(e).to_string())) {
        Ok(status) => status,
        Err(e) => {
            let _ = writeln!(stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// A folder for results; where it holds some, the error says which flags help.
fn folder(path: &Path, overwrite: bool, flags: &str) -> Result<RunFolder, Error> {
    RunFolder::new(path, overwrite).map_err(|e| match e {
        Error::Held { .. } => Error::Settings(format!("{e}; {flags}, --out names another folder")),
        e => e,
    })
}
