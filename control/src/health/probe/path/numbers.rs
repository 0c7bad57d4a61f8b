//! A connection's packets as they go out and come in: our sequence numbers in place of the stack's, one TTL, and checksums.
//!
//! The kernel passes on what acknowledges a number that begins with the secret, and the stack chooses numbers of its own. So
//! its numbers are moved by the same distance on every packet; the server's stay as they are.

use super::super::icmp::checksum;
use super::segment::{ACK, FIN, SYN, TCP, TTL};

/// From the stack's numbers to those on the wire, known with the first SYN.
#[derive(Debug)]
pub(super) struct Numbers {
    /// That of the SYN on the wire.
    first: u32,
    distance: Option<u32>,
}

impl Numbers {
    pub(super) fn new(first: u32) -> Self {
        Self { first, distance: None }
    }

    /// Makes a packet of the stack ready to be sent. Gives the number that follows it; `None` when it is none of TCP, or none
    /// of the connection: then it must not be sent.
    pub(super) fn leave(&mut self, packet: &mut [u8]) -> Option<u32> {
        let Place { tcp, end, .. } = place(packet)?;
        let flags = *packet.get(tcp + 13)?;
        let sequence = u32::from_be_bytes(array(packet, tcp + 4)?);
        if flags & (SYN | ACK) == SYN {
            self.distance.get_or_insert(self.first.wrapping_sub(sequence));
        }
        let sequence = sequence.wrapping_add(self.distance?);
        put(packet, tcp + 4, &sequence.to_be_bytes())?;
        hop_limit(packet, tcp)?;
        put(packet, tcp + 16, &[0, 0])?;
        let sum = checksum(&[&pseudo(packet)?, packet.get(tcp..end)?].concat());
        put(packet, tcp + 16, &sum.to_be_bytes())?;
        let header = usize::from(packet.get(tcp + 12)? >> 4) * 4;
        let data = u32::try_from(end.checked_sub(tcp + header)?).ok()?;
        let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some(sequence.wrapping_add(data).wrapping_add(marks))
    }

    /// Makes a packet of the server ready for the stack; `None` when it is not whole.
    pub(super) fn arrive(&self, packet: &mut [u8]) -> Option<()> {
        if !is_whole(packet)? {
            return None;
        }
        let Place { tcp, .. } = place(packet)?;
        let acknowledged = u32::from_be_bytes(array(packet, tcp + 8)?);
        put(packet, tcp + 8, &acknowledged.wrapping_sub(self.distance?).to_be_bytes())
    }
}

/// Where the TCP header begins and the packet ends.
struct Place {
    tcp: usize,
    end: usize,
}

fn place(packet: &[u8]) -> Option<Place> {
    let length = |at| Some(usize::from(u16::from_be_bytes(array(packet, at)?)));
    let (protocol, tcp, end) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, usize::from(packet.first()? & 0x0f) * 4, length(2)?),
        6 => (*packet.get(6)?, 40, 40 + length(4)?),
        _ => return None,
    };
    (protocol == TCP && tcp + 20 <= end && end <= packet.len()).then_some(Place { tcp, end })
}

/// The pseudo header of both families, or one with the same sum (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn pseudo(packet: &[u8]) -> Option<Vec<u8>> {
    let Place { tcp, end } = place(packet)?;
    let addresses = match packet.first()? >> 4 {
        4 => packet.get(12..20)?,
        _ => packet.get(8..40)?,
    };
    let length = u16::try_from(end - tcp).ok()?;
    Some([addresses, &[0, TCP], &length.to_be_bytes()].concat())
}

/// No forwarder may have any packet of a check: see [`TTL`].
fn hop_limit(packet: &mut [u8], tcp: usize) -> Option<()> {
    if packet.first()? >> 4 == 6 {
        return put(packet, 7, &[TTL]);
    }
    put(packet, 8, &[TTL])?;
    put(packet, 10, &[0, 0])?;
    let sum = checksum(packet.get(..tcp)?);
    put(packet, 10, &sum.to_be_bytes())
}

/// Whether its checksums are right, or left to be completed: as frames have them that come from the same machine, and those
/// whose segments a receiver has joined.
fn is_whole(packet: &[u8]) -> Option<bool> {
    let Place { tcp, end } = place(packet)?;
    if packet.first()? >> 4 == 4 && checksum(packet.get(..tcp)?) != 0 {
        return Some(false);
    }
    let pseudo = pseudo(packet)?;
    let partial = u16::from_be_bytes(array(packet, tcp + 16)?) == !checksum(&pseudo);
    Some(partial || checksum(&[&pseudo, packet.get(tcp..end)?].concat()) == 0)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_wire::{TcpFlags, build};

    const ENDS: [[&str; 2]; 2] = [["10.2.0.1:40000", "10.9.0.2:80"], ["[fd02::1]:40000", "[fd09::2]:80"]];

    fn packet(from: &str, to: &str, [sequence, acknowledged]: [u32; 2], flags: u8) -> build::Packet {
        build::Packet::tcp(from, to).seq(sequence).ack(acknowledged).flags(flags)
    }

    #[test]
    fn numbers_are_moved_and_all_else_stays() {
        for [source, service] in ENDS {
            let mut numbers = Numbers::new(0xfff0_0000);
            let ours = |at, flags| packet(source, service, [at, 0], flags).payload(*b"odd");
            let mut early = ours(5, TcpFlags::ACK).ip();
            assert_eq!(
                numbers.leave(&mut early),
                None,
                "the stack may not answer for a connection before it begins"
            );
            for (at, flags, more) in [(7, TcpFlags::SYN, 1), (8, TcpFlags::ACK, 0), (11, TcpFlags::FIN, 1)] {
                let mut sent = ours(at, flags).ttl(64).ip();
                let wire = 0xfff0_0000 + (at - 7);
                assert_eq!(numbers.leave(&mut sent), Some(wire + 3 + more));
                assert_eq!(sent, ours(wire, flags).ttl(1).ip());
            }
            let theirs = |at| packet(service, source, [3, at], TcpFlags::ACK).payload(*b"odd").ip();
            let mut came = theirs(0xfff0_0001);
            numbers.arrive(&mut came).unwrap();
            assert_eq!(came[came.len() - 15..came.len() - 11], 8_u32.to_be_bytes());
        }
    }

    #[test]
    fn broken_packets_are_left_out_and_unfinished_checksums_are_not() {
        for [source, service] in ENDS {
            let mut numbers = Numbers::new(100);
            numbers.leave(&mut packet(source, service, [0, 0], TcpFlags::SYN).ip()).unwrap();
            let whole = packet(service, source, [3, 101], TcpFlags::ACK).payload([1; 8]).ip();
            numbers.arrive(&mut whole.clone()).unwrap();
            let tcp = whole.len() - 28;
            for at in [8, tcp + 4, tcp + 21] {
                let mut broken = whole.clone();
                broken[at] ^= 0x10;
                assert_eq!(numbers.arrive(&mut broken), None, "byte {at}");
            }
            let mut partial = whole.clone();
            let sum = !checksum(&pseudo(&whole).unwrap());
            partial[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
            numbers.arrive(&mut partial).unwrap();
            (0..whole.len()).for_each(|len| assert_eq!(numbers.arrive(&mut whole[..len].to_vec()), None));
        }
    }
}
