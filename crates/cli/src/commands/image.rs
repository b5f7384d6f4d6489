//! `lateen image`: a program of a built-in image.

use std::process::ExitCode;

/// Which program, and its own arguments after `--`.
#[derive(Debug, clap::Args)]
pub struct Args {
    name: String,
    #[arg(last = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the program to its end.
pub fn run(args: &Args) -> ExitCode {
    lateen_images::run(&args.name, &args.args)
}
