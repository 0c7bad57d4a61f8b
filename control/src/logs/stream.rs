//! Lines into a file or a pipe: whole ones.
//!
//! A pipe that is nearly full and a disk that is take a part of a line. What is left of it goes out before anything else does, so no line is
//! torn; lines for which there is no room meanwhile are lost, and whoever calls counts them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A line that was begun.
#[derive(Debug, Default)]
pub(super) struct Begun {
    rest: Vec<u8>,
}

impl Begun {
    /// Writes a line, or keeps the rest of it.
    pub(super) fn write(
        &mut self,
        line: &[u8],
        mut put: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.end(&mut put)?;
        let (done, ended) = put_all(line, &mut put);
        match ended {
            Err(error) if done == 0 => Err(error),
            _ => {
                self.rest.extend_from_slice(line.get(done..).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn end(&mut self, mut put: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        let (done, ended) = put_all(&self.rest, &mut put);
        self.rest.drain(..done);
        ended
    }

    /// Ends the line for good: one is cut off where that does not go.
    pub(super) fn end_or_cut(&mut self, put: impl FnMut(&[u8]) -> io::Result<usize>) -> u64 {
        let cut_off = u64::from(self.end(put).is_err());
        self.rest.clear();
        cut_off
    }
}

/// How much was written, and why no more.
fn put_all(bytes: &[u8], mut put: impl FnMut(&[u8]) -> io::Result<usize>) -> (usize, io::Result<()>) {
    let mut done = 0;
    while let Some(left) = bytes.get(done..).filter(|left| !left.is_empty()) {
        match put(left) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// A file to append to, or a pipe.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    begun: Begun,
}

impl LogFile {
    /// Opens it; makes a file that is not there.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = append_to(path).map_err(|error| {
            let fix = match error.raw_os_error() {
                Some(libc::ENXIO) => "nobody reads from that pipe: start its reader first",
                _ => "its directory must be there",
            };
            format!("cannot write the log {}: {error}; {fix}", path.display())
        })?;
        Ok(Self { path: path.to_owned(), file, begun: Begun::default() })
    }

    /// Never waits for a pipe's reader.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let Self { file, begun, .. } = self;
        begun.write(line, |bytes| file.write(bytes))
    }

    /// Opens it anew by its name. Lines that were cut off by that: one, if the old file had no room for its end.
    pub(super) fn reopen(&mut self) -> io::Result<u64> {
        let file = append_to(&self.path)?;
        let place = |file: &File| file.metadata().map(|data| (data.dev(), data.ino())).ok();
        // A pipe's reader gets the rest of its line by either.
        let cut_off = if place(&file) == place(&self.file) { 0 } else { self.end() };
        self.file = file;
        Ok(cut_off)
    }

    /// Ends the line that was begun; one is cut off where that does not go.
    pub(super) fn end(&mut self) -> u64 {
        let Self { file, begun, .. } = self;
        begun.end_or_cut(|bytes| file.write(bytes))
    }
}

/// Without `O_NONBLOCK` a pipe without a reader and a full one would wait for ever.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::FileTypeExt;

    fn pipe(folder: &Path) -> PathBuf {
        let path = folder.join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    fn reader(path: &Path) -> File {
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
    }

    /// All that is there now.
    fn read(reader: &mut File) -> String {
        let (mut text, mut bytes) = (Vec::new(), [0; 4_096]);
        while let Ok(length @ 1..) = reader.read(&mut bytes) {
            text.extend_from_slice(&bytes[..length]);
        }
        String::from_utf8(text).unwrap()
    }

    fn line(number: u32, length: usize) -> String {
        format!("{number} {}\n", "x".repeat(length))
    }

    /// Lines longer than what a pipe takes whole or not at all, into one that fills and is read again and again.
    #[test]
    fn a_pipe_that_fills_tears_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = pipe(dir.path());
        assert!(LogFile::open(&path).unwrap_err().contains("start its reader first"));
        let mut reader = reader(&path);
        let mut log = LogFile::open(&path).unwrap();
        assert!(log.file.metadata().unwrap().file_type().is_fifo());
        let (mut text, mut taken, mut lost) = (String::new(), Vec::new(), 0);
        for number in 0..200 {
            match log.write(line(number, 9_000).as_bytes()) {
                Ok(()) => taken.push(number),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    lost += 1;
                }
            }
            if number % 25 == 24 {
                text.push_str(&read(&mut reader));
            }
        }
        assert_eq!(log.end(), 0);
        text.push_str(&read(&mut reader));
        assert!(lost > 50 && taken.len() > 20, "{lost} lost, {} taken", taken.len());
        let whole: String = taken.iter().map(|number| line(*number, 9_000)).collect();
        assert!(text == whole, "lines are torn");
    }

    #[test]
    fn a_reader_that_goes_and_comes_back_reads_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = pipe(dir.path());
        let mut first = reader(&path);
        let mut log = LogFile::open(&path).unwrap();
        log.write(line(1, 10).as_bytes()).unwrap();
        assert_eq!(read(&mut first), line(1, 10));
        drop(first);
        assert_eq!(log.write(line(2, 10).as_bytes()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(log.reopen().is_err(), "nobody reads: the old end is kept");
        let mut second = reader(&path);
        log.write(line(3, 10).as_bytes()).unwrap();
        assert_eq!(log.reopen().unwrap(), 0);
        log.write(line(4, 10).as_bytes()).unwrap();
        assert_eq!(read(&mut second), line(3, 10) + &line(4, 10));
    }

    #[test]
    fn a_line_that_an_old_file_has_no_room_for_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = pipe(dir.path());
        let _deaf = reader(&path);
        let mut log = LogFile::open(&path).unwrap();
        log.write(line(1, 1 << 20).as_bytes()).unwrap();
        assert!(!log.begun.rest.is_empty());
        assert_eq!(log.reopen().unwrap(), 0, "the same pipe goes on");
        assert!(!log.begun.rest.is_empty());
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        assert_eq!(log.reopen().unwrap(), 1);
        log.write(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    }
}
