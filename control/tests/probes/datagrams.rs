//! UDP, DNS and ICMP checks.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringlead_control::health::{DnsProbe, Probe, UdpProbe};
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};
use tokio::net::UdpSocket;

use crate::asked::{PATIENT, SHORT, fails, passes};
use crate::lab;

/// A server that answers each datagram with what this makes of it, if anything.
async fn server(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..len]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

async fn closed() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn udp(reply: Option<&str>) -> Probe {
    Probe::Udp(UdpProbe { send: "ping".to_owned(), reply: reply.map(str::to_owned) })
}

#[tokio::test]
async fn udp_is_up_unless_refused_or_answered_otherwise() {
    let pong = server(|asked| (asked == b"ping").then(|| b"pong!".to_vec())).await;
    passes(udp(Some("pong")), pong, "replied with 5 bytes").await;
    let why = "the reply \"pong!\" does not contain \"fine\"";
    fails(udp(Some("fine")), pong, PATIENT, why).await;
    let mute = server(|_| None).await;
    fails(udp(Some("pong")), mute, SHORT, "no answer within 200 ms").await;
    let silence_is_good = crate::asked::asked(udp(None), mute, SHORT).await;
    assert_eq!(silence_is_good, (true, "not refused within 200 ms".to_owned()));
    fails(udp(None), closed().await, PATIENT, "port unreachable").await;
}

fn dns(rcode: &'static str, answer: Option<&str>) -> Probe {
    let name = "example.net".to_owned();
    Probe::Dns(DnsProbe { name, kind: "A", rcode, answer: answer.map(str::to_owned) })
}

/// The answer to a question, changed.
fn answered(question: &[u8], change: impl Fn(&mut Packet<'_>)) -> Option<Vec<u8>> {
    let question = Packet::parse(question).unwrap();
    let mut answer = question.clone().into_reply();
    answer.questions.clone_from(&question.questions);
    assert!(question.has_flags(PacketFlag::RECURSION_DESIRED));
    change(&mut answer);
    answer.build_bytes_vec().ok()
}

fn address(answer: &mut Packet<'_>) {
    let name = Name::new_unchecked("example.net").into_owned();
    let data = RData::A(A { address: Ipv4Addr::new(192, 0, 2, 7).into() });
    answer.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data));
}

#[tokio::test]
async fn dns_wants_its_code_and_answer_rfc1035() {
    let good = server(|q| answered(q, address)).await;
    passes(dns("NOERROR", None), good, "NOERROR, 1 answers").await;
    passes(dns("NOERROR", Some("192.0.2.7")), good, "NOERROR, 192.0.2.7 among 1 answers").await;
    let why = "192.0.2.8 is not among the 1 answers";
    fails(dns("NOERROR", Some("192.0.2.8")), good, PATIENT, why).await;
    let broken = server(|q| answered(q, |a| *a.rcode_mut() = RCODE::ServerFailure)).await;
    fails(dns("NOERROR", None), broken, PATIENT, "SERVFAIL, expected NOERROR").await;
    let empty = server(|q| answered(q, |a| *a.rcode_mut() = RCODE::NameError)).await;
    fails(dns("NOERROR", None), empty, PATIENT, "NXDOMAIN, expected NOERROR").await;
    passes(dns("NXDOMAIN", None), empty, "NXDOMAIN, 0 answers").await;
}

#[tokio::test]
async fn dns_takes_no_other_message_for_the_answer() {
    let wrong_id = server(|q| {
        answered(q, address).map(|mut answer| {
            answer[0] ^= 0xff;
            answer
        })
    });
    fails(dns("NOERROR", None), wrong_id.await, SHORT, "no answer within 200 ms").await;
    let echo = server(|q| Some(q.to_vec())).await;
    let (up, why) = crate::asked::asked(dns("NOERROR", None), echo, PATIENT).await;
    assert!(!up && why.starts_with("no DNS answer: "), "a question is no answer: {why}");
    let garbage = server(|q| Some([&q[..2], b"\xff garbage"].concat())).await;
    let (up, why) = crate::asked::asked(dns("NOERROR", None), garbage, PATIENT).await;
    assert!(!up && why.starts_with("no DNS answer: "), "{why}");
    let other =
        server(|q| answered(q, |a| a.questions[0].qname = Name::new_unchecked("example.org").into_owned()));
    fails(dns("NOERROR", None), other.await, PATIENT, "it answers another question").await;
    fails(dns("NOERROR", None), closed().await, PATIENT, "port unreachable").await;
}

#[test]
fn icmp_echo_is_answered_or_lost_rfc792_rfc4443() {
    lab::run(async |lab| {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        for ip in ["10.1.0.2", "fd00:1::2"] {
            passes(Probe::Icmp, at(ip), "echo reply").await;
        }
        lab.here("ip neighbour replace 10.1.0.9 dev p0 lladdr 02:00:00:00:00:02 nud permanent");
        fails(Probe::Icmp, at("10.1.0.9"), SHORT, "no answer within 200 ms").await;
        fails(Probe::Icmp, at("192.0.2.1"), Duration::from_secs(1), "network unreachable").await;
    });
}
