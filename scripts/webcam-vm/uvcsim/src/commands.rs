//! What the camera is told, a line each:
//!
//! | command | what happens |
//! |---|---|
//! | `unplug`, `plug` | it leaves the bus, it comes back |
//! | `stall`, `resume` | no further frame begins; frames come again, also after `nak` |
//! | `nak` | no transfer is answered any more, also in the middle of a frame |
//! | `err N` | the next N frames bear the error bit |
//! | `trunc N` | the next N frames end after a third of their bytes |
//! | `drop N` | the next N frames are counted but not sent |
//! | `quit` | the program ends, and with it the camera |

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::camera::Camera;
use crate::journal::say;
use crate::vhci;

/// Between two attempts at a FIFO that has no writer.
const RETRY: Duration = Duration::from_millis(200);

/// Why the program ends before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The camera cannot be plugged in.
    #[error(transparent)]
    Vhci(#[from] vhci::Error),
    /// The commands cannot be read.
    #[error("commands: {0}")]
    Read(#[from] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Unplug,
    Plug,
    Stall,
    Resume,
    Silence,
    Damage(u32),
    Truncate(u32),
    Drop(u32),
    Quit,
}

/// Plugs the camera in and obeys what comes from `fifo` until told to quit.
pub(crate) fn obey(camera: &Arc<Camera>, fifo: &Path) -> Result<(), Error> {
    camera.plug()?;
    loop {
        for line in BufReader::new(File::open(fifo)?).lines() {
            let line = line?;
            say(&format!("told to {line}"));
            match parse(&line) {
                Some(Command::Quit) => return Ok(()),
                Some(command) => obey_one(camera, command)?,
                None => say(&format!("no command: {line:?}")),
            }
        }
        thread::sleep(RETRY);
    }
}

fn obey_one(camera: &Arc<Camera>, command: Command) -> Result<(), Error> {
    match command {
        Command::Unplug => camera.unplug(),
        Command::Plug => camera.plug()?,
        Command::Stall => camera.set_faults(|faults| faults.stalled = true),
        Command::Resume => camera.set_faults(|faults| {
            faults.stalled = false;
            faults.silent = false;
        }),
        Command::Silence => camera.set_faults(|faults| faults.silent = true),
        Command::Damage(count) => camera.set_faults(|faults| faults.damage = count),
        Command::Truncate(count) => camera.set_faults(|faults| faults.truncate = count),
        Command::Drop(count) => camera.set_faults(|faults| faults.drop = count),
        Command::Quit => {}
    }
    Ok(())
}

fn parse(line: &str) -> Option<Command> {
    let mut words = line.split_whitespace();
    let (name, count, rest) = (words.next()?, words.next(), words.next());
    let count = count.map(|word| word.parse().ok());
    let command = match (name, count, rest) {
        ("unplug", None, None) => Command::Unplug,
        ("plug", None, None) => Command::Plug,
        ("stall", None, None) => Command::Stall,
        ("resume", None, None) => Command::Resume,
        ("nak", None, None) => Command::Silence,
        ("err", Some(Some(count)), None) => Command::Damage(count),
        ("trunc", Some(Some(count)), None) => Command::Truncate(count),
        ("drop", Some(Some(count)), None) => Command::Drop(count),
        ("quit", None, None) => Command::Quit,
        _ => return None,
    };
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_whole_or_not_at_all() {
        assert_eq!(parse("unplug"), Some(Command::Unplug));
        assert_eq!(parse(" err 3 "), Some(Command::Damage(3)));
        assert_eq!(parse("trunc 1"), Some(Command::Truncate(1)));
        for line in ["", "err", "err x", "err 1 2", "plug 1", "stal"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
