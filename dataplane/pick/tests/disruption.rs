//! What moves when one of ten servers leaves and comes back, for each hash input: the README's table.

use ringlead_pick::{FrontHash, HashBy, Maglev, Member, default_size};
use ringlead_wire::Ip;

const SERVERS: u8 = 10;
const GONE: usize = 3;
const CLIENTS: u32 = 20_000;
/// Flows of one client: each from another port, every second one to another service port.
const FLOWS: u16 = 8;

fn table(hash: FrontHash, gone: Option<usize>) -> Maglev {
    let members: Vec<Member> = (0..SERVERS)
        .map(|n| Member {
            identity: hash.server(Ip::from_v4([10, 0, 0, n]), 80),
            weight: u16::from(gone != Some(usize::from(n))),
        })
        .collect();
    Maglev::build(&members, default_size(usize::from(SERVERS)))
}

/// Each client's servers, flow by flow.
fn choices(hash: FrontHash, table: &Maglev, by: HashBy) -> Vec<Vec<Option<usize>>> {
    let service = Ip::from_v4([192, 0, 2, 10]);
    let flow = |client: u32, n: u16| {
        let source = Ip::from_v4_bits(0xc633_0000 + client);
        table.pick(hash.flow_by(by, source, service, 40_000 + n, 80 + n % 2, 6))
    };
    (0..CLIENTS).map(|client| (0..FLOWS).map(|n| flow(client, n)).collect()).collect()
}

/// Shares of all, in percent.
#[derive(Debug)]
struct Moved {
    /// Flows whose server left: they have to move.
    orphans: f64,
    /// Flows that moved from one server that stayed to another.
    needless: f64,
    /// Clients that had any flow moved.
    clients: f64,
}

fn moved(before: &[Vec<Option<usize>>], after: &[Vec<Option<usize>>]) -> Moved {
    let (mut orphans, mut needless, mut clients) = (0, 0, 0);
    for (was, is) in before.iter().zip(after) {
        orphans += was.iter().filter(|&&s| s == Some(GONE)).count();
        needless += was.iter().zip(is).filter(|&(b, a)| *b != Some(GONE) && b != a).count();
        clients += usize::from(was != is);
    }
    let percent = |part: usize, of: u32| part as f64 * 100.0 / f64::from(of);
    let flows = CLIENTS * u32::from(FLOWS);
    Moved {
        orphans: percent(orphans, flows),
        needless: percent(needless, flows),
        clients: percent(clients, CLIENTS),
    }
}

#[test]
fn one_of_ten_leaves_and_comes_back() {
    let hash = FrontHash::new([1; 16]);
    // A client's flows go to eight, one or two places, so a tenth of the servers touches that many clients.
    let touched =
        [(HashBy::FiveTuple, 60.0..72.0), (HashBy::Source, 10.0..16.0), (HashBy::SourceAndPort, 20.0..30.0)];
    for (by, clients) in touched {
        let before = choices(hash, &table(hash, None), by);
        let without = choices(hash, &table(hash, Some(GONE)), by);
        assert!(without.iter().flatten().all(|&s| s.is_some() && s != Some(GONE)));
        let share = moved(&before, &without);
        println!("{:>9}: {share:.2?}", by.name());
        assert!((9.0..11.0).contains(&share.orphans), "{by:?} {share:?}");
        assert!(share.needless < 4.5, "{by:?} {share:?}");
        assert!(clients.contains(&share.clients), "{by:?} {share:?}");
        let back = choices(hash, &table(hash, None), by);
        assert_eq!(before, back, "{by:?}: all are back where they were");
    }
}
