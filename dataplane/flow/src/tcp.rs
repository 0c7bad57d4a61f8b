//! What a flow's packets say about the life of its TCP connection.
//!
//! Phases are those of RFC 5382 §5: opening until both ends sent an ACK, established, closed once both ends sent a
//! FIN. There is no sequence window: a RST only shortens the timer and the next segment that is no RST undoes it, so
//! a blind RST (RFC 5961 §3) ends nothing.

use ringlead_wire::TcpFlags;

use crate::flow::Side;

/// Where a flow stands; decides which timer runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// A SYN was seen, and not yet an ACK of both ends (of the client, where the server's packets pass elsewhere).
    Opening,
    /// Data may flow.
    Established,
    /// One end sent its FIN; the other may go on for as long as it likes, so the established timer runs.
    HalfClosed,
    /// Both ends sent their FIN (the client, where the server's packets pass elsewhere).
    Closed,
    /// The last segment was a RST.
    Reset,
    /// No TCP.
    Datagram,
}

/// What was seen so far: five bits, see the constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen(pub(crate) u8);

impl Seen {
    const CLIENT_ACK: u8 = 0x01;
    const SERVER_ACK: u8 = 0x02;
    const CLIENT_FIN: u8 = 0x04;
    const SERVER_FIN: u8 = 0x08;
    const RST: u8 = 0x10;
    /// All bits in use.
    pub(crate) const MASK: u8 = 0x1f;

    /// After the client's first segment. A flow that is picked up in its middle counts as established.
    pub(crate) const fn first(flags: TcpFlags) -> Self {
        if flags.is_syn() {
            return Self(0);
        }
        let fin = if flags.is_fin() { Self::CLIENT_FIN } else { 0 };
        let rst = if flags.is_rst() { Self::RST } else { 0 };
        Self(Self::CLIENT_ACK | Self::SERVER_ACK | fin | rst)
    }

    /// After one more segment. `one_sided`: the server's packets do not pass here.
    #[inline]
    pub(crate) const fn next(self, side: Side, flags: TcpFlags, one_sided: bool) -> Self {
        if flags.is_rst() {
            return Self(self.0 | Self::RST);
        }
        let bits = self.0 & !Self::RST;
        let (ack, fin) = match side {
            Side::Client => (Self::CLIENT_ACK, Self::CLIENT_FIN),
            Side::Server => (Self::SERVER_ACK, Self::SERVER_FIN),
        };
        if flags.is_syn() {
            // RFC 9293 §3.6.1: a client may reopen out of TIME-WAIT. A SYN into an open connection is answered by the
            // server with a challenge ACK (RFC 5961 §4) and changes nothing here.
            let over = matches!(self.phase(one_sided), Phase::Closed | Phase::Reset);
            return if over && matches!(side, Side::Client) { Self(0) } else { Self(bits) };
        }
        let bits = if flags.0 & TcpFlags::ACK != 0 { bits | ack } else { bits };
        Self(if flags.is_fin() { bits | fin } else { bits })
    }

    /// Whether the server acknowledged anything; of one that is never seen: whether the client said something that an answer
    /// came before, an ACK or a RST.
    ///
    /// A client that asks for a connection sends a RST to whom it asked only in reply to a segment from there: one whose
    /// acknowledgment is not of its SYN (RFC 9293 §3.10.7.3: an old half of a connection, §3.5.1), or any answer once it has
    /// given up, or never asked because somebody else did in its name (§3.10.7.1). To give up sends nothing (§3.10.5), and to be
    /// refused neither: a RST is never answered by another. An answer from another address or port gets its RST there.
    #[inline]
    pub(crate) const fn is_answered(self, one_sided: bool) -> bool {
        self.0 & if one_sided { Self::CLIENT_ACK | Self::RST } else { Self::SERVER_ACK } != 0
    }

    /// Whether the last segment was a RST.
    #[inline]
    pub(crate) const fn is_reset(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// Whether that end has acknowledged something, and no RST came since.
    #[inline]
    pub(crate) const fn is_acknowledged(self, side: Side) -> bool {
        let ack = match side {
            Side::Client => Self::CLIENT_ACK,
            Side::Server => Self::SERVER_ACK,
        };
        self.0 & (ack | Self::RST) == ack
    }

    /// The phase of a TCP flow.
    #[inline]
    pub(crate) const fn phase(self, one_sided: bool) -> Phase {
        // The end that is never seen is taken to do as the client does.
        let bits = if one_sided { self.0 | (self.0 & 0x05) << 1 } else { self.0 };
        let acks = Self::CLIENT_ACK | Self::SERVER_ACK;
        let fins = Self::CLIENT_FIN | Self::SERVER_FIN;
        if bits & acks != acks {
            Phase::Opening
        } else if bits & Self::RST != 0 {
            Phase::Reset
        } else if bits & fins == fins {
            Phase::Closed
        } else if bits & fins != 0 {
            Phase::HalfClosed
        } else {
            Phase::Established
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Seen};
    use crate::flow::Side::{self, Client, Server};
    use ringlead_wire::TcpFlags;

    const SYN: u8 = TcpFlags::SYN;
    const ACK: u8 = TcpFlags::ACK;
    const FIN: u8 = TcpFlags::FIN | ACK;
    const RST: u8 = TcpFlags::RST;

    /// Plays segments after a first one and returns the phases after each.
    fn play(first: u8, one_sided: bool, segments: &[(Side, u8)]) -> Vec<Phase> {
        let mut seen = Seen::first(TcpFlags(first));
        let mut phases = vec![seen.phase(one_sided)];
        for (side, flags) in segments {
            seen = seen.next(*side, TcpFlags(*flags), one_sided);
            phases.push(seen.phase(one_sided));
        }
        phases
    }

    #[test]
    fn rfc5382_phases_of_a_plain_connection() {
        use Phase::{Closed, Established, HalfClosed, Opening};
        let got = play(
            SYN,
            false,
            &[(Server, SYN | ACK), (Client, ACK), (Client, FIN), (Server, ACK), (Server, FIN), (Client, ACK)],
        );
        assert_eq!(got, [Opening, Opening, Established, HalfClosed, HalfClosed, Closed, Closed]);
    }

    #[test]
    fn rfc9293_simultaneous_open_and_close() {
        use Phase::{Closed, Established, HalfClosed, Opening};
        let got = play(
            SYN,
            false,
            &[(Server, SYN), (Client, SYN | ACK), (Server, SYN | ACK), (Client, FIN), (Server, FIN)],
        );
        assert_eq!(got, [Opening, Opening, Opening, Established, HalfClosed, Closed]);
    }

    #[test]
    fn a_client_alone_cannot_establish_a_flow_whose_server_we_see() {
        assert_eq!(play(SYN, false, &[(Client, ACK), (Client, ACK)]), [Phase::Opening; 3]);
    }

    #[test]
    fn one_sided_flows_follow_the_client() {
        use Phase::{Closed, Established, Opening};
        assert_eq!(play(SYN, true, &[(Client, ACK), (Client, FIN)]), [Opening, Established, Closed]);
        assert_eq!(play(SYN, true, &[(Client, ACK), (Client, FIN), (Client, SYN)])[3], Opening);
    }

    #[test]
    fn a_flow_picked_up_in_its_middle_is_established() {
        assert_eq!(play(ACK, false, &[]), [Phase::Established]);
        assert_eq!(play(FIN, false, &[(Server, FIN)]), [Phase::HalfClosed, Phase::Closed]);
        assert_eq!(play(RST, false, &[(Client, ACK)]), [Phase::Reset, Phase::Established]);
    }

    #[test]
    fn rfc5961_a_blind_reset_is_undone_by_the_next_segment() {
        use Phase::{Established, HalfClosed, Reset};
        for side in [Client, Server] {
            assert_eq!(play(ACK, false, &[(side, RST), (Server, ACK)]), [Established, Reset, Established]);
        }
        assert_eq!(play(FIN, false, &[(Client, RST), (Server, ACK)]), [HalfClosed, Reset, HalfClosed]);
    }

    #[test]
    fn a_blind_reset_with_a_blind_syn_is_undone_by_both_ends() {
        let got = play(ACK, false, &[(Client, RST), (Client, SYN), (Server, ACK), (Client, ACK)]);
        assert_eq!(got[2..], [Phase::Opening, Phase::Opening, Phase::Established]);
    }

    #[test]
    fn rfc5961_a_blind_syn_changes_nothing() {
        assert_eq!(play(ACK, false, &[(Client, SYN)]), [Phase::Established; 2]);
    }

    #[test]
    fn rfc9293_time_wait_reuse_reopens() {
        use Phase::{Closed, Established, Opening};
        let got = play(FIN, false, &[(Server, FIN), (Client, SYN), (Server, SYN | ACK), (Client, ACK)]);
        assert_eq!(got[1..], [Closed, Opening, Opening, Established]);
        assert_eq!(play(FIN, false, &[(Server, FIN), (Server, SYN)])[2], Closed, "only the client reopens");
    }

    #[test]
    fn a_refused_connection_keeps_the_short_timer() {
        assert_eq!(play(SYN, false, &[(Server, RST | ACK), (Client, SYN)]), [Phase::Opening; 3]);
    }
}
