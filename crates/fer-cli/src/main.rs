//! The program `fer`.
#![allow(clippy::print_stderr, reason = "a program talks to a person")]

mod camera;
mod explain;
mod failure;
mod format;
mod interrupt;
mod model;
mod pictures;
mod predict;
mod serve;
mod video;

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use failure::Failure;
use fer::command::{self, evaluate, explore, export, import, split, train};

/// Finds faces in photos and says which expression each shows: anger, disgust, fear, happy, sad, surprise, neutral or contempt.
///
/// It guesses the expression that most people would name, not what somebody feels. Ask those pictured for their consent. In the
/// European Union the AI Act, Article 5(1)(f), forbids inferring emotions at work and in education, but for medical and safety
/// reasons. How accuracy differs by age, sex or skin colour was not measured.
#[derive(Parser)]
#[command(name = "fer", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what the faces in pictures show.
    Predict(predict::Args),
    /// Say what the faces in a video show, frame by frame.
    Video(video::Args),
    /// Say what the faces before a camera show, as it happens, until Ctrl-C.
    Camera(camera::Args),
    /// Draw where the faces of a picture speak for what is said of them.
    Explain(explain::Args),
    /// Serve a page with the camera, and answer other programs over HTTP, until Ctrl-C.
    Serve(serve::Args),
    /// Train a network.
    Train(train::Args),
    /// Say how good a model is on data, or how good predictions in a file are.
    Evaluate(evaluate::Args),
    /// Look at a dataset: shape, labels, counts, audit, figures.
    Explore(explore::Args),
    /// Split a dataset in two, stratified.
    Split(split::Args),
    /// Turn a Keras model into a model of this project.
    Import(import::Args),
    /// Write a model for other programs: ONNX, Keras, a folder as on Hugging Face.
    Export(export::Args),
    /// Print a script that completes this program's commands in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual pages.
    Man,
}

fn main() -> ExitCode {
    command::main(run)
}

fn run(cli: &Cli, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Predict(args) => predict::run(args),
        Command::Video(args) => video::run(args),
        Command::Camera(args) => camera::run(args),
        Command::Explain(args) => explain::run(args, out),
        Command::Serve(args) => serve::run(args, out),
        Command::Train(args) => {
            let caller = train::Caller {
                command: "fer train",
                err: &mut stderr(),
                is_terminal: stderr().is_terminal(),
                interrupt: interrupt::interrupt()?,
            };
            Ok(train::run(args, out, caller)?)
        }
        Command::Evaluate(args) => Ok(evaluate::run(args, out)?),
        Command::Explore(args) => Ok(explore::run(args, out)?),
        Command::Split(args) => Ok(split::run(args, out)?),
        Command::Import(args) => Ok(import::run(args, out)?),
        Command::Export(args) => Ok(export::run(args, out)?),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "fer", &mut &mut *out);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => manual(out),
    }
}

/// The page of the program and, after it, those of its commands.
fn manual(out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let mut program = Cli::command();
    program.build();
    clap_mangen::Man::new(program.clone()).render(&mut &mut *out)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        clap_mangen::Man::new(command.clone()).render(&mut &mut *out)?;
    }
    Ok(ExitCode::SUCCESS)
}
