//! Who may report: the tokens of a file, of which only digests are kept.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Tokens that are valid at a time: the one in use and the next, for several systems.
const TOKENS_MAX: usize = 64;
/// Bytes of a token: shorter ones can be guessed.
const TOKEN_MIN: usize = 16;
/// Bytes of a token.
const TOKEN_MAX: usize = 256;
/// What nobody but the owner and the group's readers may do: other users read and write, the group write.
const OTHERS: u32 = 0o026;

/// Which token: the line of the file that it is on, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLine(pub u32);

/// The tokens that are valid.
#[derive(Clone, Default)]
pub struct Tokens {
    digests: Vec<(TokenLine, [u8; 32])>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.digests.len())
    }
}

impl Tokens {
    /// Reads a file: a token a line, of the characters of RFC 6750 section 2.1, 16 to 256 of them; empty lines and those that
    /// begin with `#` say nothing.
    ///
    /// # Errors
    /// When it cannot be read, has no token or a bad one, or users other than its owner and group could read or change it. No
    /// message has any part of a token.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |why: String| format!("[observe] report-token-file: {}: {why}", path.display());
        text(path).and_then(|text| Self::parse(&text)).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut digests = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !(TOKEN_MIN..=TOKEN_MAX).contains(&line.len()) || !is_token(line) {
                return Err(format!(
                    "line {number} is no token: {TOKEN_MIN} to {TOKEN_MAX} characters of A-Z a-z 0-9 - . _ ~ + /, then perhaps =; make one with: openssl rand -base64 32"
                ));
            }
            digests.push((TokenLine(number), digest(line)));
        }
        match digests.len() {
            0 => Err("there is no token in it; make one with: openssl rand -base64 32".to_owned()),
            1..=TOKENS_MAX => Ok(Self { digests }),
            many => Err(format!("{many} tokens, at most {TOKENS_MAX} are valid at a time")),
        }
    }

    /// Which of the valid tokens it is, if it is one. Takes as long whichever it is, and however much of it is right: digests are
    /// compared, all of them, in constant time.
    #[must_use]
    pub fn accept(&self, token: &str) -> Option<TokenLine> {
        let presented = digest(token);
        let (mut found, nowhere) = (0, 0);
        for (line, known) in &self.digests {
            found.conditional_assign(&line.0, known.ct_eq(&presented));
        }
        (found != nowhere).then_some(TokenLine(found))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// `b64token` of RFC 6750 section 2.1.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

/// What is read is what was looked at, and nothing is waited for: a pipe is no file.
fn text(path: &Path) -> Result<String, String> {
    let file =
        File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|e| e.to_string())?;
    let about = file.metadata().map_err(|e| e.to_string())?;
    if !about.is_file() {
        return Err("it is no file".to_owned());
    }
    if about.mode() & OTHERS != 0 {
        let mode = about.mode() & 0o7777;
        return Err(format!(
            "others than its owner can read or change it (mode {mode:04o}): chmod 0600, or 0640"
        ));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} KiB", FILE_BYTES_MAX >> 10));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const OLD: &str = "a-token-of-a-monitoring-system";
    const NEW: &str = "q83vEjRWeJASNFZ4kBI0VniQEjRWeJASNFZ4kBI0Vng=";

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn each_line_is_a_valid_token_and_nothing_else_is() {
        let (_folder, path) = file(&format!("# until Friday\n{OLD}\n\n  {NEW}\n"), 0o640);
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!([OLD, NEW].map(|token| tokens.accept(token)), [2, 4].map(|line| Some(TokenLine(line))));
        for wrong in ["", "# until Friday", "a-token-of-a-monitoring-systeM", &NEW[1..], &format!("{OLD} ")] {
            assert_eq!(tokens.accept(wrong), None, "{wrong}");
        }
        assert_eq!(Tokens::default().accept(""), None);
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }

    #[test]
    fn a_file_that_others_could_read_or_change_is_refused() {
        for mode in [0o644, 0o604, 0o602, 0o620, 0o666] {
            let (_folder, path) = file(OLD, mode);
            let why = Tokens::read(&path).unwrap_err();
            assert!(why.contains(&format!("(mode {mode:04o}): chmod 0600")), "{mode:o}: {why}");
        }
        for mode in [0o600, 0o400, 0o640] {
            let (_folder, path) = file(OLD, mode);
            assert!(Tokens::read(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_list_of_tokens_is_refused_without_a_word_of_it_rfc6750_2_1() {
        let many = format!("{OLD}\n").repeat(TOKENS_MAX + 1);
        let long = "x".repeat(TOKEN_MAX + 1);
        let large = "#\n".repeat(40_000);
        let bad = [
            ("", "no token in it"),
            ("# nothing\n\n", "no token in it"),
            ("secret-but-short", ""),
            ("secretsecret123", "line 1 is no token"),
            ("# one\nsecret secret secret", "line 2 is no token"),
            ("secret=secret=secret", "line 1"),
            ("=====================", "line 1"),
            (long.as_str(), "line 1"),
            (many.as_str(), "65 tokens, at most 64"),
            (large.as_str(), "larger than 64 KiB"),
        ];
        for (text, why) in bad {
            let (_folder, path) = file(text, 0o600);
            match Tokens::read(&path) {
                Ok(_) => assert_eq!(why, "", "{text}"),
                Err(said) => {
                    assert!(!why.is_empty() && said.contains(why) && !said.contains("secret"), "{said}")
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(Tokens::read(folder.path()).unwrap_err().contains("it is no file"));
    }
}
