//! What a packet's new IP header must be like when its servers are of the other family (RFC 7915): DF, identification,
//! flow label. Addresses, TTL, DSCP, lengths and checksums are judged as in every other packet.

use crate::checks::Case;
use crate::expect::{Expectation, Mode, Service};
use crate::kind::Kind;
use crate::record::Record;

/// IPv4 packets above this must say "don't fragment", others must not: they fit into 1280 bytes of IPv6 (RFC 7915 §5.1).
pub const FRAGMENTABLE_MAX: usize = 1260;
/// "Don't fragment" among the flags of an IPv4 header.
const DF: u8 = 0x40;

impl Service {
    /// Whether a server is of the other family: packets to and from it are translated.
    pub(crate) fn translates_to(&self, expect: &Expectation, server: u16) -> bool {
        let server = expect.servers.get(usize::from(server));
        let other = server.is_some_and(|server| server.address.is_ipv4() != self.address.is_ipv4());
        self.mode == Mode::Snat && other
    }

    /// Whether any of its servers is of the other family.
    fn translates(&self, expect: &Expectation) -> bool {
        self.servers.iter().any(|server| self.translates_to(expect, *server))
    }
}

impl Case<'_> {
    /// The fields that come from nowhere in the header that was sent.
    #[inline]
    pub(crate) fn new_header(&self, record: &mut Record) {
        let (got, who) = (self.packet.label(), self.who);
        if !self.packet.is_v4() {
            if got.0 != 0 {
                let expected = format_args!("flow label 0 (RFC 7915 section 4.1)");
                record.find(Kind::BadTranslation, who, expected, format_args!("flow label {:#x}", got.0));
            }
            return;
        }
        let bytes = self.total_length();
        let flags = if bytes > FRAGMENTABLE_MAX { DF } else { 0 };
        if got.1 != flags {
            let expected = format_args!("flags {flags:#04x} at {bytes} bytes (RFC 7915 section 5.1)");
            record.find(Kind::BadTranslation, who, expected, format_args!("flags {:#04x}", got.1));
        }
    }

    /// Bytes of the IP packet.
    fn total_length(&self) -> usize {
        self.packet.end().saturating_sub(self.packet.l3())
    }

    /// A packet that was sent whole and may not be cut came in fragments, or with a fragment header that it needs not
    /// (RFC 7915 §4, RFC 8021).
    #[inline]
    pub(crate) fn in_fragments(&self, record: &mut Record) {
        if !self.packet.is_v4() || self.total_length() > FRAGMENTABLE_MAX {
            let expected = format_args!("a whole packet (RFC 7915 section 4)");
            record.find(Kind::BadTranslation, self.who, expected, format_args!("fragments of it"));
        }
    }
}

/// The last identification of each flow's packets that are IPv4 only behind the translator: 8 bytes a flow.
#[derive(Debug)]
pub(crate) struct Identifications {
    /// By direction and flow: the identification plus 1; 0: none came yet.
    last: [Vec<u32>; 2],
}

impl Identifications {
    /// For so many flows; None where nothing is translated.
    pub(crate) fn new(expect: &Expectation, flows: usize) -> Option<Self> {
        let any = expect.services.iter().any(|service| service.translates(expect));
        any.then(|| Self { last: [vec![0; flows], vec![0; flows]] })
    }

    /// Two packets of a flow that may be fragmented need different identifications, or their fragments could be mixed
    /// up (RFC 6864 §4.3). Looks at those next to each other; a packet that comes twice is not to be noted twice.
    #[inline]
    pub(crate) fn note(&mut self, case: &Case<'_>, flow: u32, record: &mut Record) {
        let (id, flags) = case.packet.label();
        if !case.translated || !case.packet.is_v4() || flags & DF != 0 {
            return;
        }
        let last = &mut self.last[case.direction as usize];
        let Some(last) = usize::try_from(flow).ok().and_then(|flow| last.get_mut(flow)) else { return };
        let before = std::mem::replace(last, id + 1);
        if before == id + 1 {
            let expected = format_args!("an identification of its own (RFC 6864 section 4.3)");
            let got = format_args!("{id:#06x}, as the packet before");
            record.find(Kind::RepeatedId, case.who, expected, got);
        }
    }
}
