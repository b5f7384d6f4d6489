//! Transcripts: commands as a user types them, and what they must show.
//!
//! `$ command` is run by bash with `kubectl` on its path; the lines below it must appear in its output (both streams) in
//! that order, where `...` stands for anything, `$NS` for the namespace, and blanks count once. `? 3` is the exit code, by
//! default 0. `$new` is for releases that know the flags in question, `$old` for the others. `#` starts a comment.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// One command of a transcript.
#[derive(Debug, Default)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
    code: i32,
    /// For which releases of kubectl: all, new ones, old ones.
    only: Option<Age>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Old,
    New,
}

/// The environment that a transcript is run in.
pub struct Stage<'a> {
    /// A `kubectl` of some release.
    pub kubectl: &'a Path,
    /// The program that also is `curl`.
    pub lateen: &'a Path,
    pub kubeconfig: &'a Path,
    /// Where the commands find and leave files.
    pub folder: &'a Path,
    /// The namespace that `kubectl` uses where none is named.
    pub namespace: &'a str,
    /// Further environment.
    pub environment: &'a [(&'a str, &'a str)],
}

/// Runs all commands of a transcript; the error lists every one that went otherwise.
pub fn play(text: &str, stage: &Stage<'_>) -> anyhow::Result<()> {
    let age = if minor(stage.kubectl)? < 26 { Age::Old } else { Age::New };
    let steps = parse(text);
    ensure!(!steps.is_empty(), "the transcript has no commands");
    let bin = stage.folder.join("bin");
    std::fs::create_dir_all(&bin)?;
    for (name, program) in [("kubectl", stage.kubectl), ("curl", stage.lateen)] {
        let link = bin.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(program, &link)?;
    }
    let choose = ["config", "set-context", "--current", "--namespace", stage.namespace];
    let chosen = Command::new(stage.kubectl).args(choose).env("KUBECONFIG", stage.kubeconfig).output()?;
    ensure!(chosen.status.success(), "{}", String::from_utf8_lossy(&chosen.stderr));
    let mut wrong = String::new();
    for step in steps.iter().filter(|step| step.only.is_none_or(|only| only == age)) {
        if let Err(error) = run(step, stage, &bin) {
            wrong += &format!("line {}: $ {}\n{error:#}\n\n", step.line, step.command);
        }
    }
    ensure!(wrong.is_empty(), "{} ({:?}):\n\n{wrong}", stage.kubectl.display(), stage.environment);
    Ok(())
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let starts = [("$ ", None), ("$new ", Some(Age::New)), ("$old ", Some(Age::Old))];
        let start = starts.iter().find_map(|(mark, only)| Some((line.strip_prefix(mark)?, *only)));
        if let Some((command, only)) = start {
            steps.push(Step { line: index + 1, command: command.to_owned(), only, ..Step::default() });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("? ").and_then(|code| code.parse().ok()) {
                Some(code) => step.code = code,
                None => step.shown.push(line.to_owned()),
            }
        }
    }
    steps
}

fn run(step: &Step, stage: &Stage<'_>, bin: &Path) -> anyhow::Result<()> {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let output = Command::new("timeout")
        .args(["--kill-after=5", "90", "bash", "-c", &step.command])
        .current_dir(stage.folder)
        .env("PATH", path)
        .env("HOME", stage.folder)
        .env("KUBECONFIG", stage.kubeconfig)
        .env("NS", stage.namespace)
        .envs(stage.environment.iter().copied())
        .output()
        .context("timeout, bash")?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.code() == Some(step.code), "exit code {} instead of {}:\n{text}", output.status, step.code);
    let mut lines = text.lines();
    for expected in &step.shown {
        let expected = expected.replace("$NS", stage.namespace);
        ensure!(lines.any(|line| matches(line, &expected)), "`{expected}` does not follow in:\n{text}");
    }
    Ok(())
}

/// Whether a line is as expected.
fn matches(line: &str, expected: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, expected) = (squeeze(line), squeeze(expected));
    let parts: Vec<&str> = expected.split("...").map(str::trim).collect();
    let mut rest = line.as_str();
    for (index, part) in parts.iter().enumerate() {
        let at = if index == 0 { rest.starts_with(part).then_some(0) } else { rest.find(part) };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || parts.last().is_some_and(|last| last.is_empty())
}

fn minor(kubectl: &Path) -> anyhow::Result<u32> {
    let output = Command::new(kubectl).args(["version", "--client", "-o", "json"]).output();
    let output = output.with_context(|| kubectl.display().to_string())?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let minor = version["clientVersion"]["minor"].as_str().unwrap_or_default();
    minor.trim_end_matches('+').parse().with_context(|| format!("minor version {minor:?}"))
}

/// The releases of kubectl that the tests use: the machine's own, and Debian's, which is an old one.
pub fn releases() -> anyhow::Result<Vec<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut own = std::env::split_paths(&path).map(|folder| folder.join("kubectl"));
    let own = own.find(|file| file.is_file()).context("kubectl is missing: run scripts/setup.sh test")?;
    let debian = lateen_testkit::cluster::repository().join(".tools/kubectl-debian/usr/bin/kubectl");
    ensure!(debian.is_file(), "{} is missing: run scripts/setup.sh test", debian.display());
    Ok(vec![own, debian])
}

#[test]
fn lines_match_with_gaps_and_any_blanks() {
    for (line, expected, expect) in [
        ("pod/a   created", "pod/a created", true),
        ("pod/a created (dry run)", "pod/a created", false),
        ("web-12-x  1/1  Running", "web-... 1/1 Running", true),
        ("error: x", "error: ...", true),
        ("an error: x", "error: ...", false),
        ("a b c", "... c", true),
        ("a b", "... c", false),
    ] {
        assert_eq!(matches(line, expected), expect, "{line} / {expected}");
    }
}
