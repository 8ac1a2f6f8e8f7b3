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
#[cfg(feature = "onnx")]
pub mod export;
#[cfg(feature = "keras")]
pub mod import;
mod log;
mod predictions;
#[cfg(feature = "onnx")]
mod quantize;
mod read;
mod results;
pub mod split;
pub mod train;

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
pub use read::ReadArgs;

use crate::run::RunFolder;
use crate::{Error, Output, Result};

/// What a program's `main` does: reads the command line, runs the command with the standard output, and tells warnings and
/// errors to the standard error; the environment's `RUST_LOG` asks for more, or for less: a level, or levels of crates such as
/// `fer_nn=debug,warn`.
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
    log::start();
    let mut stdout = stdout();
    let mut out = Output::new(&mut stdout);
    let status = run(&args, &mut out).map_err(|e| e.to_string());
    match status.and_then(|status| out.finish().map(|()| status).map_err(|e| Error::from(e).to_string())) {
        Ok(status) => status,
        Err(e) => {
            let _ = writeln!(stderr(), "error: {}", fer_files::printable_lines(e));
            ExitCode::FAILURE
        }
    }
}

/// Starts the threads of the process, for a program to call once: so many, or one a core.
///
/// More than 64 and four a core are not started, and a warning says so: they would only wait for each other.
///
/// # Errors
/// [`Error::Settings`] for 0, when threads were started before or cannot be.
pub fn start_threads(threads: Option<usize>) -> Result<()> {
    let most = std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(4).max(64);
    let started = match threads {
        Some(0) => return Err(Error::Settings("--threads is 0; allowed: at least 1".into())),
        Some(threads) if threads > most => {
            tracing::warn!("--threads {threads}: {most} are started, the most that can help here");
            most
        }
        // 0 is one a core.
        threads => threads.unwrap_or(0),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(started);
    pool.build_global().map_err(|e| Error::Settings(format!("threads: {e}")))
}

/// A folder for results; where it holds some, the error says which flags help.
fn folder(path: &Path, overwrite: bool, flags: &str) -> Result<RunFolder> {
    RunFolder::new(path, overwrite).map_err(|e| match e {
        Error::Held { .. } => Error::Settings(format!("{e}; {flags}, --out names another folder")),
        e => e,
    })
}
