//! Recorded pictures, looped: a file of concatenated JPEGs, one JPEG, or a folder of them.
//!
//! Everything is read once, at the start; frames are slices of what was read. Damage is found in
//! two steps: the marker scan finds cut-off pictures when the file is opened, and the first time a
//! picture's turn comes it is decoded once, which finds the rest. Damaged pictures are skipped and
//! counted.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use common::wire::DecodeError;
use common::{Clock, Format, Frame, SystemClock, jpeg};
use tracing::{debug, warn};

use super::pace::Pace;
use super::{Captured, Picture, Source};
use crate::encode;

/// Most bytes read from one file or folder: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "mjpeg", "mjpg"];

/// Why a file or folder cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It would not fit into memory.
    #[error("{}: {bytes} bytes, at most {MAX_BYTES} can be looped", path.display())]
    TooLarge {
        /// What was to be read.
        path: PathBuf,
        /// How large it is.
        bytes: u64,
    },
    /// It holds nothing to show.
    #[error("{}: no JPEG picture in it that can be decoded ({damaged} damaged)", path.display())]
    NoPicture {
        /// What was read.
        path: PathBuf,
        /// Pictures that begin and are broken.
        damaged: u64,
    },
    /// A folder without any file to show.
    #[error("{}: no .jpg, .jpeg, .mjpg or .mjpeg file in this folder", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}

/// Pictures in memory, shown one after the other for ever.
#[derive(Debug)]
pub struct File {
    /// What was opened, for the log.
    path: PathBuf,
    pictures: Vec<Still>,
    next: usize,
    damaged: u64,
    pace: Pace,
}

#[derive(Debug)]
struct Still {
    data: Bytes,
    width: u16,
    height: u16,
    is_checked: bool,
}

/// Reads a file or all JPEG files of a folder in the order of their names.
///
/// # Errors
/// If it cannot be read, is too large, or holds no picture that can be decoded.
pub fn open(path: &Path, interval: Duration) -> Result<File, Error> {
    let mut file = File {
        path: path.to_owned(),
        pictures: Vec::new(),
        next: 0,
        damaged: 0,
        pace: Pace::new(interval),
    };
    let mut budget = MAX_BYTES;
    for path in files_at(path)? {
        file.split(&read(&path, &mut budget)?);
    }
    if file.settle_next() {
        return Ok(file);
    }
    Err(Error::NoPicture {
        path: path.to_owned(),
        damaged: file.damaged,
    })
}

impl File {
    /// How many pictures of what size, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let first = &self.pictures[0];
        let damaged = match self.damaged {
            0 => String::new(),
            damaged => format!(", {damaged} damaged skipped"),
        };
        let (count, width, height) = (self.pictures.len(), first.width, first.height);
        format!("{count} pictures {width}x{height}{damaged}")
    }

    /// Appends the pictures in `data`, passing over what is none.
    fn split(&mut self, data: &Bytes) {
        let mut at = 0;
        while let Some(start) = jpeg::find_start(data, at) {
            let reason = match jpeg::scan(&data[start..]) {
                Ok(found) if found.length <= Frame::MAX_BYTES => {
                    at = start + found.length;
                    self.pictures.push(Still {
                        data: data.slice(start..at),
                        width: found.width,
                        height: found.height,
                        is_checked: false,
                    });
                    continue;
                }
                Ok(_) => "above 16 MiB".to_owned(),
                Err(DecodeError::Incomplete { .. }) => "cut off at the end".to_owned(),
                Err(error) => error.to_string(),
            };
            self.leave_out(&format!("at byte {start}: {reason}"));
            at = start + 1;
        }
    }

    /// Counts a picture that is damaged. One may stand for thousands, so only the first is warned of.
    fn leave_out(&mut self, reason: &str) {
        let path = self.path.display();
        if self.damaged == 0 {
            warn!(%path, reason, "damaged picture skipped; more of them are only counted");
        } else {
            debug!(%path, reason, "damaged picture skipped");
        }
        self.damaged += 1;
    }

    /// Makes sure that the next picture can be decoded, dropping those that cannot; false if none
    /// is left.
    fn settle_next(&mut self) -> bool {
        while let Some(still) = self.pictures.get_mut(self.next) {
            if still.is_checked {
                return true;
            }
            match encode::check(&still.data) {
                Ok(()) => still.is_checked = true,
                Err(error) => {
                    self.leave_out(&format!("picture {}: {error}", self.next));
                    self.pictures.remove(self.next);
                    if self.next == self.pictures.len() {
                        self.next = 0;
                    }
                }
            }
        }
        false
    }
}

impl Source for File {
    fn grab(&mut self, timeout: Duration) -> Result<Option<Captured>, super::Error> {
        // Settled before the wait, so that checking does not disturb the beat.
        if !self.settle_next() || !self.pace.wait(timeout) {
            return Ok(None);
        }
        let still = &self.pictures[self.next];
        let picture = Picture::Encoded {
            format: Format::Jpeg,
            width: still.width,
            height: still.height,
            data: still.data.clone(),
        };
        self.next = (self.next + 1) % self.pictures.len();
        Ok(Some(Captured {
            captured_at: SystemClock.wall(),
            identity: None,
            picture,
        }))
    }

    fn damaged(&self) -> u64 {
        self.damaged
    }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::Io {
        path: path.to_owned(),
        error,
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|known| EXTENSIONS.contains(&&*known.to_ascii_lowercase())) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let path = path.to_owned();
        return Err(Error::EmptyFolder { path });
    }
    Ok(files)
}

fn read(path: &Path, budget: &mut u64) -> Result<Bytes, Error> {
    let failed = |error| Error::Io {
        path: path.to_owned(),
        error,
    };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    let Some(left) = budget.checked_sub(bytes) else {
        let path = path.to_owned();
        return Err(Error::TooLarge { path, bytes });
    };
    *budget = left;
    fs::read(path).map(Bytes::from).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Image;

    fn jpeg(shade: u8) -> Vec<u8> {
        let image = Image::filled(32, 16, [shade, 128, 255 - shade]);
        encode::Encoder::new(90).unwrap().jpeg(&image).unwrap()
    }

    fn shown(file: &mut File, count: usize) -> Vec<Bytes> {
        let grab = |_| {
            let captured = file.grab(Duration::from_secs(1)).unwrap().unwrap();
            let Picture::Encoded { data, .. } = captured.picture else {
                panic!("files are encoded");
            };
            data
        };
        (0..count).map(grab).collect()
    }

    fn open_bytes(bytes: &[u8]) -> Result<File, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mjpeg");
        fs::write(&path, bytes).unwrap();
        open(&path, Duration::from_micros(1))
    }

    #[test]
    fn pictures_are_looped() {
        let (one, two) = (jpeg(10), jpeg(200));
        let mut file = open_bytes(&[&one[..], &two].concat()).unwrap();
        assert_eq!(shown(&mut file, 3), [&one, &two, &one]);
        assert_eq!(file.damaged(), 0);
    }

    #[test]
    fn a_picture_that_is_cut_short_is_skipped_and_counted() {
        let (one, two) = (jpeg(10), jpeg(200));
        let cut = &one[..one.len() - 20];
        let mut file = open_bytes(&[&one, cut, b"noise", &two, cut].concat()).unwrap();
        assert_eq!(shown(&mut file, 3), [&one, &two, &one]);
        assert_eq!(file.damaged(), 2);
    }

    #[test]
    fn damage_that_only_decoding_shows_is_skipped_and_counted() {
        let (one, two) = (jpeg(10), jpeg(200));
        let mut missing_data = one.clone();
        let scan = scan_data(&missing_data);
        missing_data.drain(scan..missing_data.len() - 2);
        let mut file =
            open_bytes(&[&missing_data[..], &one, &missing_data, &two].concat()).unwrap();
        assert_eq!(shown(&mut file, 3), [&one, &two, &one]);
        assert_eq!(file.damaged(), 2);
    }

    /// Where the entropy-coded data begins, a few bytes in.
    fn scan_data(jpeg: &[u8]) -> usize {
        let marker = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]);
        marker.unwrap() + 16
    }

    #[test]
    fn a_folder_is_shown_in_the_order_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (jpeg(10), jpeg(200));
        fs::write(folder.path().join("b.JPG"), &two).unwrap();
        fs::write(folder.path().join("a.jpeg"), &one).unwrap();
        fs::write(folder.path().join("notes.txt"), "not shown").unwrap();
        let mut file = open(folder.path(), Duration::from_micros(1)).unwrap();
        assert_eq!(shown(&mut file, 2), [&one, &two]);
    }

    #[test]
    fn what_cannot_be_shown_says_why() {
        let complaint = |result: Result<File, Error>| result.unwrap_err().to_string();
        assert!(complaint(open_bytes(b"not a picture")).contains("no JPEG picture in it"));
        assert!(complaint(open_bytes(b"")).contains("(0 damaged)"));
        assert!(complaint(open_bytes(&jpeg(1)[..100])).contains("(1 damaged)"));
        let missing = open(Path::new("/nowhere/clip.mjpeg"), Duration::ZERO);
        assert!(complaint(missing).contains("/nowhere/clip.mjpeg: No such file"));
        let folder = tempfile::tempdir().unwrap();
        let empty = open(folder.path(), Duration::ZERO);
        assert!(complaint(empty).contains("no .jpg, .jpeg"));
    }
}
