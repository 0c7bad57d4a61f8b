//! A million flows that begin and end in random order, through two workers: no two live ones ever share a source, and a
//! source rests before it is another flow's (RFC 4787 REQ-3, RFC 5382 REQ-7).

use super::*;
use ringlead_io::MemPort;
use ringlead_l4::Worker;

const FLOWS: usize = 1_000_000;
/// New flows between two moves of the clock, one in ten of them UDP, and packets of flows that were seen before.
const NEW: usize = 12_500;
const AGAIN: usize = 1_500;
/// Addresses of ours, with nearly all ports each.
const ADDRESSES: u8 = 16;
const TCP: u8 = 6;

/// Transport, address and port of a flow as its server sees them.
type Source = (u8, [u8; 4], [u8; 2]);
/// A client: transport and number.
type Client = (u8, usize);

/// Everybody who ever had a source, as a server would remember it.
#[derive(Default)]
struct Judge {
    /// The last client of each source, and when it will have been silent for as long as it may.
    sources: ahash::AHashMap<Source, (Client, u64)>,
    /// The last source of each client, and its server.
    clients: ahash::AHashMap<Client, (Source, usize)>,
    begun: usize,
    reused: usize,
}

impl Judge {
    /// Hears of a client's packet that a server got.
    fn hear(&mut self, now: u64, client: Client, frame: &[u8], down: Option<usize>) {
        let source = (frame[23], frame[26..30].try_into().unwrap(), frame[34..36].try_into().unwrap());
        let server = server_of(frame);
        let silence = if client.0 == TCP { 5 } else { 300 };
        let before = self.clients.insert(client, (source, server));
        let lives = |judge: &Self, source| {
            judge.sources.get(&source).is_some_and(|(of, until)| *of == client && now <= *until)
        };
        if let Some((was, at)) = before
            && lives(self, was)
        {
            if down == Some(at) {
                // It had to go to another server; its old source is free from now on.
                assert_ne!(at, server);
                self.sources.insert(was, (client, now));
            } else {
                assert_eq!((was, at), (source, server), "a live flow keeps its ends");
            }
        }
        if !(before.is_some_and(|(was, _)| was == source) && lives(self, source)) {
            self.begun += 1;
            if let Some((other, until)) = self.sources.get(&source) {
                self.reused += 1;
                assert!(
                    now >= until + 60 * SECOND,
                    "{source:?} of {other:?} until {until} is {client:?}'s at {now}"
                );
            }
        }
        self.sources.insert(source, (client, now + silence * SECOND));
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as usize % end
    }
}

/// The builder's packets with another client in them: a million would take it too long.
struct Templates {
    tcp: Vec<u8>,
    udp: Vec<u8>,
}

impl Templates {
    fn frame(&self, (protocol, n): Client) -> Vec<u8> {
        let mut frame = if protocol == TCP { self.tcp.clone() } else { self.udp.clone() };
        frame[28..30].copy_from_slice(&((n >> 15) as u16).to_be_bytes());
        frame[34..36].copy_from_slice(&(0x8000 | (n & 0x7fff) as u16).to_be_bytes());
        // The IP header's checksum; nobody looks at the transport's on the way.
        frame[24..26].fill(0);
        let sum: u32 =
            frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        frame
    }
}

#[test]
fn rfc4787_r3_rfc5382_r7_a_million_flows_never_share_a_source() {
    let plan = Plan { workers: 2, flows_max: 400_000, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let ours: Vec<Ip> = (0..ADDRESSES).map(|n| ip(&format!("10.2.1.{n}"))).collect();
    let spaces = ours.iter().map(|ip| Arc::new(PortSpace::new(*ip))).collect();
    let ports = Arc::new(SnatPool::new(spaces, 1024..=65_535, 2).unwrap());
    let mut workers = [worker(&rig.shared, &plan, 0), worker(&rig.shared, &plan, 1)];
    let templates = Templates {
        tcp: from_client(syn(CLIENT4, SNAT4)).build(),
        udp: from_client(Packet::udp(CLIENT4, SNAT4)).build(),
    };
    let (mut judge, mut random, mut known) = (Judge::default(), Random(7), 0);
    for round in 0.. {
        if judge.begun >= FLOWS {
            break;
        }
        // Now and then a server is down, and its clients have to go elsewhere.
        let down = Some(round % 7).filter(|server| *server < 3);
        let up: Vec<usize> = (0..3).filter(|server| Some(*server) != down).collect();
        let tables = snat_tables(&plan, round as u64 + 2, &ports, &up);
        rig.publish(with_ports(tables, &ports, &ours));
        let new = (0..NEW).map(|n| known + n);
        let again: Vec<usize> =
            (0..AGAIN).map(|_| known.max(1) - 1 - random.below(known.clamp(1, 4 * NEW))).collect();
        let clients: Vec<Client> =
            again.into_iter().chain(new).map(|n| (if n % 10 == 0 { 17 } else { TCP }, n)).collect();
        for some in clients.chunks(128) {
            let frames: Vec<_> = some.iter().map(|client| templates.frame(*client)).collect();
            let sent = through(&mut workers[random.below(2)], rig.now, WAN, &frames);
            assert_eq!(sent.len(), some.len(), "nobody is turned away: {:?}", drops(&rig));
            some.iter().zip(sent).for_each(|(client, (_, frame))| judge.hear(rig.now, *client, &frame, down));
        }
        known += NEW;
        rig.now += SECOND + random.below(16) as u64 * (SECOND / 4);
        pass(&mut workers, rig.now);
    }
    assert!(judge.reused > FLOWS / 10, "only {} of {} had a used source", judge.reused, judge.begun);
    workers.iter_mut().for_each(Worker::finish);
}

/// What workers do while a few seconds pass.
fn pass(workers: &mut [Worker<MemPort>], now: u64) {
    for _ in 0..160 {
        workers.iter_mut().for_each(|worker| worker.tick(now));
    }
}

fn drops(rig: &Rig) -> Vec<Vec<(&'static str, u64)>> {
    let of = |counters: &ringlead_l4::counters::Counters| {
        let all = ringlead_l4::drops::Drop::all().map(|drop| (drop.name(), counters.dropped(drop)));
        all.filter(|(_, n)| *n > 0).collect()
    };
    rig.shared.counters.iter().map(|counters| of(counters)).collect()
}
