//! The programs that are measured: started as children, asked line by line, ended by their id.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Read, Seek, SeekFrom, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, anyhow};

use crate::contender::{end, sibling};

/// Lines before the one that is waited for, at most.
const MAX_LINES: usize = 16;
/// How much of what it said is told when it fails.
const LAST_LINES: usize = 5;
/// Those lines are looked for in so many bytes at the end.
const LAST_BYTES: u64 = 4096;

/// A running program of ours. Ended when dropped.
#[derive(Debug)]
pub struct Program {
    line: String,
    child: Child,
    /// Closed first at the end: who waits for a word then knows that none will come.
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    /// What it says on stderr. The file has no name and ends with us.
    log: File,
}

impl Program {
    /// Starts what is beside this program: its name and arguments, without spaces in any of them.
    ///
    /// # Errors
    /// If there is no such program, or no place for what it says.
    pub fn start(line: String) -> anyhow::Result<Self> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(sibling(words.next().unwrap_or_default()));
        command.args(words);
        let log = tempfile::tempfile().context("no file for a log")?;
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().context("no file for a log")?);
        let mut child = piped
            .spawn()
            .with_context(|| format!("{line}; build all programs first: cargo build --release"))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        Ok(Self {
            line,
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout).lines(),
            child,
            log,
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
        Err(self.failed(&format!("did not say {prefix:?}")))
    }

    /// Says a word and takes the line that is the answer.
    ///
    /// # Errors
    /// If it has ended.
    pub fn ask(&mut self, word: &str) -> anyhow::Result<String> {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        if writeln!(stdin, "{word}").is_ok()
            && let Some(Ok(answer)) = self.stdout.next()
        {
            return Ok(answer);
        }
        Err(self.failed("has ended"))
    }

    /// The last line it prints, after waiting for its end.
    ///
    /// # Errors
    /// If it prints none.
    pub fn last_line(&mut self) -> anyhow::Result<String> {
        let last = (&mut self.stdout).map_while(Result::ok).last();
        last.ok_or_else(|| self.failed("printed nothing"))
    }

    /// What happened to it, with the end of what it said about it.
    pub fn failed(&mut self, what: &str) -> anyhow::Error {
        // Once it has ended, all it had to say is there.
        end(&mut self.child);
        let words = self.last_words();
        let words = if words.is_empty() {
            "it said nothing".to_owned()
        } else {
            format!("it said: {words}")
        };
        anyhow!("`{}` {what}; {words}", self.line)
    }

    fn last_words(&mut self) -> String {
        let length = self.log.metadata().map_or(0, |metadata| metadata.len());
        let from = length.saturating_sub(LAST_BYTES);
        let mut text = Vec::new();
        // A log that cannot be read is told as an empty one.
        let _ =
            (self.log.seek(SeekFrom::Start(from))).and_then(|_| self.log.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        end(&mut self.child);
    }
}
