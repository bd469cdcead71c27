//! Frames as files, one each, named by their sequence number.
//!
//! `DIR/0000000042.jpg`, and `.bin` for opaque frames. When the origin restarts, numbers begin anew,
//! so what follows goes to `DIR/EPOCH/`. A file that exists is overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::{Format, Frame};

/// A file or folder that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Writes frames into a folder.
#[derive(Debug)]
pub struct Saver {
    root: PathBuf,
    /// Of the frames that go into the root itself.
    first_epoch: Option<u64>,
    /// Where frames of the latest epoch go.
    current: Option<(u64, PathBuf)>,
}

impl Saver {
    /// A saver into `root`, which is created if it is missing.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn create(root: &Path) -> Result<Self, Error> {
        create_folder(root)?;
        Ok(Self {
            root: root.to_owned(),
            first_epoch: None,
            current: None,
        })
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// If the file cannot be written, for example because the disk is full.
    pub fn take(&mut self, frame: &Frame) -> Result<(), Error> {
        let identity = frame.head.identity;
        let extension = match frame.head.format {
            Format::Jpeg => "jpg",
            Format::Opaque => "bin",
        };
        let name = format!("{:010}.{extension}", identity.seq);
        let path = self.folder(identity.epoch)?.join(name);
        fs::write(&path, frame.data()).map_err(|source| Error { path, source })
    }

    fn folder(&mut self, epoch: u64) -> Result<&Path, Error> {
        if self.current.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let first = *self.first_epoch.get_or_insert(epoch);
            let folder = if epoch == first {
                self.root.clone()
            } else {
                self.root.join(epoch.to_string())
            };
            create_folder(&folder)?;
            self.current = Some((epoch, folder));
        }
        Ok((self.current.as_ref()).map_or(&self.root, |(_, folder)| folder))
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::{Head, Identity, Timestamp};

    fn frame(epoch: u64, seq: u64, format: Format) -> Frame {
        let head = Head::new(Identity { epoch, seq }, Timestamp::default(), format);
        Frame::new(head, Bytes::from(format!("{epoch}-{seq}")))
    }

    #[test]
    fn frames_are_named_by_their_number_and_restarts_go_below() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/folder");
        let mut saver = Saver::create(&root).unwrap();
        for (epoch, seq, format) in [
            (5, 42, Format::Jpeg),
            (6, 42, Format::Jpeg),
            (5, 43, Format::Opaque),
        ] {
            saver.take(&frame(epoch, seq, format)).unwrap();
        }
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        assert_eq!(read("0000000042.jpg"), "5-42");
        assert_eq!(read("6/0000000042.jpg"), "6-42");
        assert_eq!(read("0000000043.bin"), "5-43");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Saver::create(&file.join("below")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /") && error.contains("file/below: "));
    }
}
