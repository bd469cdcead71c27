//! The programs around a broker: started as children, asked line by line, ended by their id.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::contender::{end, sibling};

/// Lines before the one that is waited for, at most.
const MAX_LINES: usize = 16;

/// A running program of ours. Ended when dropped.
#[derive(Debug)]
pub struct Program {
    line: String,
    child: Child,
    /// Closed first at the end: who waits for a word then knows that none will come.
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts what is beside this program: its name and arguments, without spaces in any of them.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn start(line: String) -> anyhow::Result<Self> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(sibling(words.next().unwrap_or_default()));
        command.args(words);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped
            .spawn()
            .with_context(|| format!("{line}; build all programs first: cargo build --release"))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        Ok(Self {
            line,
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout).lines(),
            child,
        })
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that begins so; what comes after that.
    ///
    /// # Errors
    /// If it ends without having said it.
    pub fn line_after(&mut self, prefix: &str) -> anyhow::Result<String> {
        for line in (&mut self.stdout).take(MAX_LINES) {
            if let Some(rest) = line?.strip_prefix(prefix) {
                return Ok(rest.to_owned());
            }
        }
        bail!("{} did not say {prefix:?}", self.line)
    }

    /// Says a word and takes the line that is the answer.
    ///
    /// # Errors
    /// If it has ended.
    pub fn ask(&mut self, word: &str) -> anyhow::Result<String> {
        let ended = || format!("{} has ended", self.line);
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{word}").with_context(ended)?;
        let answer = self.stdout.next().with_context(ended)?;
        Ok(answer?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        end(&mut self.child);
    }
}
