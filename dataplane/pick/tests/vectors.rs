//! The published test vectors: another implementation that agrees with them agrees with this one.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hash::Hasher;
use std::net::IpAddr;

use ringlead_pick::{FrontHash, HashBy, Maglev, Member};
use siphasher::sip::SipHasher13;

const FRONT_HASH: &str = include_str!("vectors/front_hash.txt");
const HASH_BY: &str = include_str!("vectors/hash_by.txt");
const MAGLEV: &str = include_str!("vectors/maglev.txt");

fn key(hex: &str) -> [u8; 16] {
    u128::from_str_radix(hex, 16).unwrap().to_be_bytes()
}

fn hash(hex: &str) -> u64 {
    u64::from_str_radix(hex, 16).unwrap()
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
        .filter(|l| l.first().is_some_and(|w| !w.starts_with('#')))
}

#[test]
fn front_hash() {
    let mut seen = 0;
    for line in lines(FRONT_HASH) {
        let [k, src, dst, sport, dport, proto, expected] = line[..] else { panic!("{line:?}") };
        let ip = |s: &str| s.parse::<IpAddr>().unwrap().into();
        let port = |s: &str| s.parse().unwrap();
        let got =
            FrontHash::new(key(k)).flow(ip(src), ip(dst), port(sport), port(dport), proto.parse().unwrap());
        assert_eq!(got, hash(expected), "{line:?}");
        seen += 1;
    }
    assert_eq!(seen, 21);
}

#[test]
fn hash_by() {
    let mut seen = [0; 3];
    for line in lines(HASH_BY) {
        let [by, k, src, dst, sport, dport, proto, expected] = line[..] else { panic!("{line:?}") };
        let by = HashBy::from_name(by).unwrap();
        let ip = |s: &str| s.parse::<IpAddr>().unwrap().into();
        let (sport, dport, proto) = (sport.parse().unwrap(), dport.parse().unwrap(), proto.parse().unwrap());
        let front = FrontHash::new(key(k));
        let got = front.flow_by(by, ip(src), ip(dst), sport, dport, proto);
        assert_eq!(got, hash(expected), "{line:?}");
        if by == HashBy::FiveTuple {
            assert_eq!(got, front.flow(ip(src), ip(dst), sport, dport, proto));
        }
        seen[HashBy::ALL.iter().position(|&b| b == by).unwrap()] += 1;
    }
    assert_eq!(seen, [14; 3]);
}

#[derive(Default)]
struct Case {
    key: [u8; 16],
    size: u32,
    members: Vec<Member>,
}

#[test]
fn maglev() {
    let mut case = Case::default();
    let (mut picks, mut tables) = (0, 0);
    for line in lines(MAGLEV) {
        match line[..] {
            ["key", k] => case = Case { key: key(k), ..Case::default() },
            ["size", size] => case.size = size.parse().unwrap(),
            ["member", address, port, weight, expected] => {
                let address = address.parse::<IpAddr>().unwrap();
                let identity = FrontHash::new(case.key).server(address.into(), port.parse().unwrap());
                assert_eq!(identity, hash(expected), "{line:?}");
                case.members.push(Member { identity, weight: weight.parse().unwrap() });
            }
            ["hash", h, expected] => {
                let table = Maglev::build(&case.members, case.size);
                assert_eq!(table.pick(hash(h)), Some(expected.parse().unwrap()), "{line:?}");
                picks += 1;
            }
            ["table", expected] => {
                let mut sip = SipHasher13::new_with_key(&case.key);
                for member in Maglev::build(&case.members, case.size).slots() {
                    sip.write(&member.to_be_bytes());
                }
                assert_eq!(sip.finish(), hash(expected), "size {}", case.size);
                tables += 1;
            }
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!((picks, tables), (32, 4));
}
