//! Writes the split of `train_test_split(stratify=…, random_state=…)`, row for row.

use std::process::ExitCode;

use fer::command::{self, split};

fn main() -> ExitCode {
    command::main(split::run)
}
