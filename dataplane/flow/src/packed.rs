//! A tuple as the table keeps it: packed into words straight from a packet's headers.

use ringlead_wire::{Kind, Meta};

use crate::key::{Key, V4, V6, WORDS_MAX};
use crate::tuple::Tuple;

/// A tuple in the form that [`FlowTable::lookup_burst`](crate::FlowTable::lookup_burst) takes. It is made once a packet,
/// while the headers are at hand, and the hash, the comparisons and an insert all use it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packed {
    pub(crate) words: [u64; WORDS_MAX],
    pub(crate) v4: bool,
}

impl Packed {
    /// Becomes that of a parsed frame: its addresses and ports as they stand there; of an ICMP error those of the flow that
    /// it is about. Words that a key of the family does not have are left as they were.
    #[inline]
    pub fn set(&mut self, frame: &[u8], meta: &Meta) {
        if !matches!(meta.kind, Kind::Tcp | Kind::Udp) {
            return self.set_meta(meta);
        }
        // From the frame, because the meta has just been written in small pieces: reading it in large ones would wait. And
        // word by word into its place, because a copy would wait for the words.
        let (l3, l4) = (usize::from(meta.l3), usize::from(meta.l4));
        let ends = u64::from(u32::from_be_bytes(array(frame, l4))) << 8 | u64::from(meta.proto);
        self.v4 = meta.v4;
        if meta.v4 {
            self.words[0] = u64::from_be_bytes(array(frame, l3 + 12));
            self.words[1] = ends;
        } else {
            self.words[0] = u64::from_be_bytes(array(frame, l3 + 8));
            self.words[1] = u64::from_be_bytes(array(frame, l3 + 16));
            self.words[2] = u64::from_be_bytes(array(frame, l3 + 24));
            self.words[3] = u64::from_be_bytes(array(frame, l3 + 32));
            self.words[4] = ends;
        }
    }

    #[cold]
    fn set_meta(&mut self, meta: &Meta) {
        *self = Self::from(&Tuple::from(meta));
    }

    /// An IPv4 tuple as the IPv6 table keeps it, its addresses in mapped form: the key of a flow whose other tuple is an
    /// IPv6 one. `None` for an IPv6 tuple, which is in that form already.
    #[cold]
    #[must_use]
    pub fn widened(&self) -> Option<Self> {
        self.v4.then(|| Self { words: V6::pack(&V4::of(self).unpack()).words(), v4: false })
    }

    /// The tuple again.
    #[inline]
    #[must_use]
    pub fn tuple(&self) -> Tuple {
        if self.v4 { V4::of(self).unpack() } else { V6::of(self).unpack() }
    }
}

impl From<&Tuple> for Packed {
    #[inline]
    fn from(tuple: &Tuple) -> Self {
        let v4 = tuple.is_v4();
        Self { words: if v4 { V4::pack(tuple).words() } else { V6::pack(tuple).words() }, v4 }
    }
}

/// The `N` bytes at `at`; zeros where the frame ends before, which a parsed header never does.
#[inline]
fn array<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame.get(at..at.wrapping_add(N)).and_then(|bytes| bytes.first_chunk::<N>()).copied().unwrap_or([0; N])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Packed, Tuple};
    use proptest::prelude::*;
    use ringlead_wire::build::Packet;
    use ringlead_wire::parse;
    use std::net::{IpAddr, SocketAddr};

    fn address() -> impl Strategy<Value = [IpAddr; 2]> {
        let v4 = any::<[[u8; 4]; 2]>().prop_map(|ips| ips.map(|[_, b, c, d]| [10, b, c, d].into()));
        let v6 = any::<[[u8; 14]; 2]>().prop_map(|ips| {
            ips.map(|rest| {
                let mut ip = [0xfd; 16];
                ip[2..].copy_from_slice(&rest);
                ip.into()
            })
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_frame_packs_as_its_tuple_does([src, dst] in address(), sport: u16, dport: u16, udp: bool, vlan: bool) {
            prop_assume!(src != dst);
            let (from, to) = (SocketAddr::new(src, sport), SocketAddr::new(dst, dport));
            let packet = if udp { Packet::udp(from, to) } else { Packet::tcp(from, to) };
            let frame = if vlan { packet.vlan(7).build() } else { packet.build() };
            let meta = parse(&frame).unwrap();
            let mut packed = Packed { words: [u64::MAX; 5], v4: false };
            packed.set(&frame, &meta);
            prop_assert_eq!(packed.v4, Packed::from(&Tuple::from(&meta)).v4);
            prop_assert_eq!(packed.tuple(), Tuple::from(&meta));
            prop_assert_eq!(packed.tuple().sport, sport);
        }
    }
}
