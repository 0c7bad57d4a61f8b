//! Connections whose server sends anything at all.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::script::{FIRST, PATIENCE, SERVICES, Wire, ask, ends, on_runtime, seen};
use super::segment::{RST, TCP};

/// What becomes of a packet of the server's.
#[derive(Debug, Clone)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// Comes after the next one.
    Late,
    /// A byte of the TCP header or the data is another one, and the checksum right.
    Changed(usize, u8),
    /// As sent, with the checksum left as it was.
    Broken(usize, u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        // Numbers, lengths, flags and window: the first bytes of a segment.
        6 => (4..24_usize, any::<u8>()).prop_map(|(at, bits)| Fate::Changed(at, bits)),
        1 => (0..64_usize, 1..=255_u8).prop_map(|(at, bits)| Fate::Broken(at, bits)),
    ]
}

impl Wire {
    /// Answers until nobody waits for that any more.
    async fn serve(&self, mut fates: impl Iterator<Item = Fate>) {
        let (mut done, mut late) = (0, Vec::new());
        while !self.waiting.is_idle() {
            let sent = self.sent.lock().unwrap().get(done..).unwrap_or_default().to_vec();
            done += sent.len();
            for packet in sent.iter().flat_map(|packet| self.answers(packet)) {
                let now = std::mem::take(&mut late);
                match fates.next().unwrap_or(Fate::Arrives) {
                    Fate::Arrives => self.waiting.hear(&packet),
                    Fate::Lost => {}
                    Fate::Twice => (0..2).for_each(|_| self.waiting.hear(&packet)),
                    Fate::Late => late.push(packet),
                    Fate::Changed(at, bits) => self.waiting.hear(&whole(changed(packet, at, bits))),
                    Fate::Broken(at, bits) => self.waiting.hear(&changed(packet, at, bits)),
                }
                now.iter().for_each(|packet| self.waiting.hear(packet));
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// `at` bytes into the TCP header.
fn changed(mut packet: Vec<u8>, at: usize, bits: u8) -> Vec<u8> {
    let tcp = if packet[0] >> 4 == 4 { 20 } else { 40 };
    if let Some(byte) = packet.get_mut(tcp + at) {
        *byte ^= bits;
    }
    packet
}

/// With a checksum that is left to be completed, which counts as right.
fn whole(mut packet: Vec<u8>) -> Vec<u8> {
    let (addresses, tcp) = if packet[0] >> 4 == 4 { (12..20, 20) } else { (8..40, 40) };
    let length = u16::try_from(packet.len() - tcp).unwrap().to_be_bytes();
    let pseudo = [&packet[addresses], &[0, TCP], &length].concat();
    let sum = !super::super::icmp::checksum(&pseudo);
    packet[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// As a server does that has forgotten the connection (RFC 9293 section 3.10.7.1).
#[test]
fn a_reset_without_acknowledgement_ends_the_connection() {
    for service in SERVICES {
        on_runtime(async {
            let (ends, wire) = ends(service.parse().unwrap(), 1);
            let forgets = async {
                let is_asked = || wire.sent.lock().unwrap().iter().any(|packet| seen(packet).data > 0);
                let syn = loop {
                    let first = wire.sent.lock().unwrap().first().cloned();
                    match first {
                        Some(syn) => break syn,
                        None => tokio::task::yield_now().await,
                    }
                };
                wire.waiting.hear(&wire.answers(&syn)[0]);
                while !is_asked() {
                    sleep(Duration::from_millis(1)).await;
                }
                wire.waiting.hear(&wire.packet(RST, FIRST.wrapping_add(0x0fff_0000), 0).ip());
                wire.waiting.hear(&wire.packet(RST, FIRST.wrapping_add(1), 0).ip());
            };
            let (answer, ()) = tokio::join!(ask(ends, Instant::now() + PATIENCE), forgets);
            assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// No packet of a server ends the process or keeps a check beyond its time, and the server keeps nothing.
    #[test]
    fn nothing_that_a_server_sends_does_harm(fates in prop::collection::vec(fate(), 0..24), v6 in any::<bool>()) {
        on_runtime(async {
            let (ends, wire) = ends(SERVICES[usize::from(v6)].parse().unwrap(), 1);
            let asked = ask(ends, Instant::now() + Duration::from_millis(40));
            let (answer, ()) = tokio::join!(asked, wire.serve(fates.iter().cloned()));
            if let Ok(answer) = answer {
                assert!(answer.is_empty() || answer.len() == 400);
            }
            let sent = wire.sent.lock().unwrap();
            let (first, last) = (seen(&sent[0]).sequence, seen(sent.last().unwrap()));
            assert_eq!(last.flags, RST);
            // The stack resets what fits nothing with the numbers of that.
            let own = sent.iter().map(|packet| seen(packet)).filter(|seen| seen.flags & RST == 0);
            let used = own.map(|seen| seen.after.wrapping_sub(first)).max();
            assert!(used.is_some_and(|used| used <= 0xff00), "it stays within its numbers");
        });
    }
}
