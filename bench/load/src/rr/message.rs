//! The messages of one connection, and whose answer an answer is.
//!
//! A request is the connection's number and the request's, four and eight bytes big-endian, after a mark of four; then
//! the pattern, beginning elsewhere in each request.

use super::Reply;
use crate::pattern;

/// What tells our requests from anything else.
const MARK: [u8; 4] = *b"rrq1";

/// How many requests back a late answer is told from a second one.
const REMEMBERED: u64 = 64;

/// How far apart requests begin in the pattern.
const STEP: u64 = 31;

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// That of the last request.
    Right,
    /// Not what was expected, and not to be explained by its number.
    Wrong,
    /// Of a request that was given up.
    Late,
    /// Of a request that was answered before.
    Duplicate,
    /// Of a request of another connection.
    OtherConnection,
    /// Of a request that was never sent.
    Never,
}

/// The requests and answers of a connection.
pub(super) struct Message {
    bytes: Vec<u8>,
    reply: Reply,
    connection: u32,
    /// Number of the last request; the first is 1.
    sequence: u64,
    /// Bit n: whether request `sequence - 1 - n` was given up and not answered since.
    lost: u64,
    given_up: bool,
}

impl Message {
    pub(super) const SIZE_MIN: usize = 16;

    pub(super) fn new(size: usize, reply: Reply) -> Self {
        Self { bytes: vec![0; size], reply, connection: 0, sequence: 0, lost: 0, given_up: false }
    }

    /// How long an answer is.
    pub(super) fn answer_len(&self) -> usize {
        match self.reply {
            Reply::Echo { skip } => skip + self.bytes.len(),
            Reply::Bytes { bytes } => bytes,
        }
    }

    /// The requests from here on are those of a new connection.
    pub(super) fn begin(&mut self, connection: u32) {
        (self.connection, self.sequence, self.lost, self.given_up) = (connection, 0, 0, false);
    }

    /// The next request.
    pub(super) fn next(&mut self) -> &[u8] {
        self.lost = self.lost << 1 | u64::from(self.given_up);
        self.given_up = false;
        self.sequence += 1;
        let (head, body) = self.bytes.split_at_mut(Self::SIZE_MIN);
        head[..4].copy_from_slice(&MARK);
        head[4..8].copy_from_slice(&self.connection.to_be_bytes());
        head[8..].copy_from_slice(&self.sequence.to_be_bytes());
        let mut offset = self.sequence * STEP;
        for chunk in body.chunks_mut(pattern::LENGTH) {
            chunk.copy_from_slice(pattern::from(offset, chunk.len() as u64));
            offset += chunk.len() as u64;
        }
        &self.bytes
    }

    /// The last request is not waited for any longer.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// What an answer is.
    pub(super) fn judge(&mut self, answer: &[u8]) -> Answer {
        let skip = match self.reply {
            Reply::Bytes { bytes } if answer.len() == bytes => return Answer::Right,
            Reply::Bytes { .. } => return Answer::Wrong,
            Reply::Echo { skip } => skip,
        };
        let Some(echo) = answer.get(skip..).filter(|echo| echo.len() == self.bytes.len()) else {
            return Answer::Wrong;
        };
        if *echo == *self.bytes {
            return Answer::Right;
        }
        self.explain(echo)
    }

    fn explain(&mut self, echo: &[u8]) -> Answer {
        let word = |range: std::ops::Range<usize>| {
            echo[range].iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
        };
        if echo[..4] != MARK {
            return Answer::Wrong;
        }
        if word(4..8) != u64::from(self.connection) {
            return Answer::OtherConnection;
        }
        let sequence = word(8..16);
        if sequence == self.sequence {
            return Answer::Wrong; // ours by its number, and other bytes
        }
        let Some(ago) = self.sequence.checked_sub(sequence + 1) else { return Answer::Never };
        if sequence == 0 {
            return Answer::Never;
        }
        let bit = if ago < REMEMBERED { 1 << ago } else { 0 };
        if self.lost & bit == 0 {
            return Answer::Duplicate;
        }
        self.lost &= !bit;
        Answer::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> Message {
        let mut message = Message::new(40, Reply::Echo { skip: 1 });
        message.begin(7);
        message
    }

    fn answered(request: &[u8]) -> Vec<u8> {
        [b"1", request].concat()
    }

    #[test]
    fn answers_are_told_apart() {
        let mut message = echo();
        let first = answered(message.next());
        assert_eq!(message.judge(&first), Answer::Right);
        let second = answered(message.next());
        message.give_up();
        let third = answered(message.next());
        assert_eq!(message.judge(&second), Answer::Late);
        assert_eq!(message.judge(&second), Answer::Duplicate);
        assert_eq!(message.judge(&first), Answer::Duplicate);
        assert_eq!(message.judge(&third), Answer::Right);
        let mut never = third.clone();
        never[16] += 1;
        assert_eq!(message.judge(&never), Answer::Never);
        let mut other = third.clone();
        other[8] = 9;
        assert_eq!(message.judge(&other), Answer::OtherConnection);
    }

    #[test]
    fn any_changed_cut_or_added_byte_is_wrong() {
        let mut message = echo();
        let right = answered(message.next());
        for at in 17..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert_eq!(message.judge(&wrong), Answer::Wrong, "byte {at}");
        }
        assert_eq!(message.judge(&right[..right.len() - 1]), Answer::Wrong);
        assert_eq!(message.judge(&[&right[..], b"x"].concat()), Answer::Wrong);
        assert_eq!(message.judge(&[]), Answer::Wrong);
    }

    #[test]
    fn a_reply_of_its_own_is_judged_by_its_length() {
        let mut message = Message::new(16, Reply::Bytes { bytes: 3 });
        message.next();
        assert_eq!(message.judge(b"abc"), Answer::Right);
        assert_eq!(message.judge(b"abcd"), Answer::Wrong);
    }
}
