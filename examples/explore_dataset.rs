//! Looks at a dataset: shape, first rows, labels, counts, audit and two figures.

use std::process::ExitCode;

use fer::command::{self, explore};

fn main() -> ExitCode {
    command::main(explore::run)
}
