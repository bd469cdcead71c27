//! Files that are there as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Results;

/// Writes the result of a scenario, replacing the file as a whole.
///
/// # Errors
/// If the folder or file cannot be written.
pub fn save_as(scenario: &str, results: &impl Serialize, folder: &Path) -> io::Result<PathBuf> {
    let path = Results::path(folder, scenario);
    replace(&path, |file| {
        serde_json::to_writer_pretty(&mut *file, results)?;
        file.write_all(b"\n")
    })?;
    Ok(path)
}

/// Writes a file beside its place, and moves it there once it is whole and on the disk.
///
/// # Errors
/// If the folder or file cannot be written.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut draft = path.to_owned().into_os_string();
    draft.push(".part");
    let mut file = BufWriter::new(File::create(&draft)?);
    write(&mut file)?;
    file.into_inner()?.sync_all()?;
    fs::rename(&draft, path)
}
