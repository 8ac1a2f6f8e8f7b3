//! How good a model is on data, or how good predictions in a file are.

use std::process::ExitCode;

use fer::command::{self, evaluate};

fn main() -> ExitCode {
    command::main(evaluate::run)
}
