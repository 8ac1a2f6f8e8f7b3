//! Turns a Keras `.h5` file, a whole model or weights alone, into a model of this project.

use std::process::ExitCode;

use fer::command::{self, import};

fn main() -> ExitCode {
    command::main(import::run)
}
