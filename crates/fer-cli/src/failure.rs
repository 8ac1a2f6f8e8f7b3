//! What ends the program.

/// Whatever ends the program, to be shown to a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
