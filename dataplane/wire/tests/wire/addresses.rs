//! Addresses that no packet may have.

use ringlead_wire::build::Packet;
use ringlead_wire::{Kind, Malformed, parse};

fn outcome(src: &str, dst: &str) -> Result<Kind, Malformed> {
    parse(&Packet::udp(src, dst).build()).map(|meta| meta.kind)
}

/// RFC 1812 §5.3.7.
#[test]
fn rfc1812_martian_ipv4_addresses_are_refused() {
    for martian in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"]
    {
        assert_eq!(outcome(martian, "192.0.2.1"), Err(Malformed::MartianSource), "{martian}");
    }
    for martian in ["0.0.0.0", "127.0.0.1"] {
        assert_eq!(outcome("10.0.0.1", martian), Err(Malformed::MartianDestination), "{martian}");
    }
    for fine in ["1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255", "10.0.0.1", "169.254.1.1"] {
        assert_eq!(outcome(fine, "192.0.2.1"), Ok(Kind::Udp), "{fine}");
    }
    for fine in ["224.0.0.5", "255.255.255.255"] {
        assert_eq!(outcome("10.0.0.1", fine), Ok(Kind::Udp), "{fine}");
    }
}

/// RFC 4291 §2.5 and §2.7. A mapped address would read as an IPv4 flow's.
#[test]
fn rfc4291_martian_ipv6_addresses_are_refused() {
    for martian in ["::", "::1", "::ffff:10.0.0.1", "ff02::1"] {
        assert_eq!(outcome(martian, "2001:db8::1"), Err(Malformed::MartianSource), "{martian}");
    }
    for martian in ["::", "::1", "::ffff:10.0.0.1"] {
        assert_eq!(outcome("2001:db8::7", martian), Err(Malformed::MartianDestination), "{martian}");
    }
    for fine in ["::2", "::fffe:10.0.0.1", "64:ff9b::a00:1", "fe80::1", "fd00::1"] {
        assert_eq!(outcome(fine, "2001:db8::1"), Ok(Kind::Udp), "{fine}");
    }
    assert_eq!(outcome("fe80::1", "ff02::1:ff00:1"), Ok(Kind::Udp));
}

#[test]
fn rfc1812_a_land_attack_is_refused() {
    for address in ["192.0.2.1", "[2001:db8::1]"] {
        let (a, b) = (format!("{address}:80"), format!("{address}:81"));
        for packet in [Packet::tcp(&a, &a), Packet::udp(&a, &a)] {
            assert_eq!(parse(&packet.build()).unwrap_err(), Malformed::Land);
        }
        for packet in [Packet::tcp(&a, &b), Packet::udp(&b, &a)] {
            assert!(parse(&packet.build()).is_ok(), "same address, other port");
        }
    }
    assert!(parse(&Packet::tcp("10.0.0.1:80", "192.0.2.1:80").build()).is_ok(), "same port, other address");
}
