//! journald's native protocol: a datagram an entry; one that is too long for a datagram comes as a sealed file in memory.
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL)

use super::entry::Entry;
use super::line::said;
use super::orders::Patience;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tracing::Level;

/// Where journald listens (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The way to a journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Journal {
    /// This machine's.
    pub(super) fn of_machine() -> Result<Self, String> {
        Self::at(Path::new(JOURNAL))
    }

    pub(super) fn at(path: &Path) -> Result<Self, String> {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error: io::Error| {
            format!("no journal listens on {}: {error}; write to = \"stderr\"", path.display())
        })?;
        Ok(Self { path: path.to_owned(), socket })
    }

    pub(super) fn write(&self, entry: &Entry, patience: &mut Patience) -> io::Result<()> {
        let datagram = datagram(entry);
        match self.send(&datagram, patience) {
            // A journal that was restarted listens on a new socket.
            Err(error) if is_gone(&error) => {
                self.socket.connect(&self.path)?;
                self.send(&datagram, patience)
            }
            sent => sent,
        }
    }

    fn send(&self, datagram: &[u8], patience: &mut Patience) -> io::Result<()> {
        loop {
            patience.wait(self.socket.as_fd())?;
            let sent = match self.socket.send(datagram) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.send_file(datagram),
                sent => sent.map(|_| ()),
            };
            match sent {
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }

    /// A file that can change no more, which journald insists on.
    fn send_file(&self, datagram: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file: File = memfd_create("ringlead-journal", flags)?.into();
        file.write_all(datagram)?;
        fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(Errno::NOBUFS.into());
        }
        sendmsg(&self.socket, &[], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ENOTCONN | libc::ECONNRESET))
}

/// `NAME=value`, or, where the value has several lines, the name, its length as eight bytes little-endian, and the value. Fields are
/// `RINGLEAD_SERVER=app/s1`.
fn datagram(entry: &Entry) -> Vec<u8> {
    let priority = match entry.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut out = Vec::with_capacity(512);
    // People read MESSAGE alone, so it has everything.
    field(&mut out, "MESSAGE", &said(entry));
    field(&mut out, "PRIORITY", priority);
    field(&mut out, "SYSLOG_IDENTIFIER", "ringlead");
    if let Some(event) = &entry.event {
        field(&mut out, "RINGLEAD_EVENT", event);
    }
    for (name, value) in &entry.fields {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("RINGLEAD_{}", name.to_ascii_uppercase());
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        field(&mut out, &name, &text);
    }
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::orders::orders;
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::{Read, Seek};
    use std::time::SystemTime;

    fn entry(reason: &str) -> Entry {
        Entry {
            at: SystemTime::now(),
            level: Level::WARN,
            event: Some("health".to_owned()),
            message: "it\x1b[2J said:\nno".to_owned(),
            fields: vec![("server", "app/s \"1\"".into()), ("why", reason.into()), ("took_ms", 7.into())],
        }
    }

    /// Reads it as journald does.
    fn fields(mut datagram: &[u8]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        while !datagram.is_empty() {
            let end = datagram.iter().position(|byte| [b'=', b'\n'].contains(byte)).unwrap();
            let name = text(&datagram[..end]);
            let (value, rest) = if datagram[end] == b'=' {
                let length = datagram[end..].iter().position(|byte| *byte == b'\n').unwrap();
                (&datagram[end + 1..end + length], &datagram[end + length..])
            } else {
                let length = u64::from_le_bytes(datagram[end + 1..end + 9].try_into().unwrap());
                let value = &datagram[end + 9..][..usize::try_from(length).unwrap()];
                (value, &datagram[end + 9 + value.len()..])
            };
            all.push((name, text(value)));
            assert_eq!(rest[0], b'\n');
            datagram = &rest[1..];
        }
        all
    }

    #[test]
    fn values_with_lines_have_a_length_and_make_no_field_of_their_own() {
        let forged = "500\nPRIORITY=0\nMESSAGE=all is well";
        let said = fields(&datagram(&entry(forged)));
        let of =
            |name: &str| said.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!(of("PRIORITY"), ["4"]);
        assert_eq!((of("RINGLEAD_WHY"), of("RINGLEAD_TOOK_MS")), (vec![forged], vec!["7"]));
        assert_eq!((of("RINGLEAD_EVENT"), of("RINGLEAD_SERVER")), (vec!["health"], vec!["app/s \"1\""]));
        assert_eq!(of("SYSLOG_IDENTIFIER"), ["ringlead"]);
        let [message] = of("MESSAGE")[..] else { panic!("{said:?}") };
        assert!(message.starts_with("it\\u{1b}[2J said:\n    no event=\"health\""), "{message}");
    }

    #[test]
    fn an_entry_that_is_too_long_for_a_datagram_comes_as_a_sealed_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let (_giver, obeyer) = orders::<()>();
        let long = entry(&"x".repeat(400_000));
        journal.write(&long, &mut obeyer.patience()).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&socket, &mut [], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_eq!(received.bytes, 0);
        let Some(RecvAncillaryMessage::ScmRights(mut files)) = control.drain().next() else {
            panic!("no file came");
        };
        let mut file = File::from(files.next().unwrap());
        assert!(file.write(b"x").is_err(), "it is not sealed");
        let mut sent = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut sent).unwrap();
        assert!(fields(&sent) == fields(&datagram(&long)), "another entry");
        journal.write(&entry("short"), &mut obeyer.patience()).unwrap();
        let mut bytes = [0; 4_096];
        let length = socket.recv(&mut bytes).unwrap();
        assert_eq!(fields(&bytes[..length]), fields(&datagram(&entry("short"))));
    }
}
