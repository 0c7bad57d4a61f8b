//! Agents: what they say is told once, and silence is told apart from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringlead_control::health::{
    AgentProbe, AgentReply, CheckSpec, Checker, FlapRule, HealthEvent, Probe, State, Wish,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::watch;

use crate::asked::PATIENT;

/// An agent that says this to everybody; `None`: it takes the connection and says nothing. It wants to hear "who\n" first.
async fn agent(says: watch::Receiver<Option<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let says = says.borrow().clone();
            tokio::spawn(async move {
                let mut heard = [0; 4];
                let asked = stream.read_exact(&mut heard).await.is_ok() && heard == *b"who\n";
                match says {
                    Some(line) if asked => _ = stream.write_all(&line).await,
                    // Kept open: the other side gives up.
                    _ => _ = stream.read(&mut heard).await,
                }
            });
        }
    });
    address
}

fn spec(target: SocketAddr) -> CheckSpec {
    CheckSpec {
        id: 1,
        pool: "p".into(),
        target,
        probe: Arc::new(Probe::Agent(AgentProbe { send: "who\n".to_owned() })),
        interval: Duration::from_millis(100),
        interval_changing: None,
        timeout: Duration::from_millis(90),
        rise: 1,
        fall: 1,
        flaps: FlapRule::NEVER,
    }
}

/// The next change that an agent has told which this accepts: a busy machine may time out between two.
async fn heard(
    events: &mut Receiver<HealthEvent>,
    wanted: impl Fn(&Result<AgentReply, String>) -> bool,
) -> Result<AgentReply, String> {
    let told = async {
        loop {
            let answer = events.recv().await.unwrap().agent.expect("an agent's event");
            if wanted(&answer) {
                return answer;
            }
        }
    };
    tokio::time::timeout(2 * PATIENT, told).await.expect("a change")
}

#[tokio::test]
async fn an_agent_is_asked_and_heard_and_its_silence_is_told() {
    let (say, says) = watch::channel(Some(b"up drain 50% # disk\nmore\n".to_vec()));
    let (sender, mut events) = mpsc::channel(16);
    let mut checker = Checker::new(sender);
    checker.reconcile(vec![spec(agent(says).await)]);
    let first = heard(&mut events, Result::is_ok).await.unwrap();
    assert_eq!((first.up, first.wish, first.percent), (Some(true), Some(Wish::Drain), Some(50)));
    assert_eq!(first.why.as_deref(), Some("disk"));
    say.send_replace(None);
    let silence = heard(&mut events, Result::is_err).await.unwrap_err();
    assert_eq!(silence, "no answer within 90 ms");
    say.send_replace(Some(b"ready\r".to_vec()));
    assert_eq!(heard(&mut events, Result::is_ok).await.unwrap().wish, Some(Wish::Ready));
    say.send_replace(Some(b"HTTP/1.1 400 Bad Request\r\n".to_vec()));
    let other = heard(&mut events, |answer| matches!(answer, Err(why) if why.contains("known"))).await;
    assert_eq!(other.unwrap_err(), "the agent says nothing that is known: HTTP/1.1 400 Bad Request");
    assert_eq!(checker.snapshot()[0].state, State::Unknown, "nothing of it is a check's result");
}

#[tokio::test]
async fn an_agent_without_an_end_of_line_is_heard_when_it_closes_or_has_said_enough() {
    for (line, wish) in [(b"maint".to_vec(), Wish::Maint), (b"drain ".repeat(10_000), Wish::Drain)] {
        let (_say, says) = watch::channel(Some(line));
        let (sender, mut events) = mpsc::channel(16);
        let mut checker = Checker::new(sender);
        checker.reconcile(vec![spec(agent(says).await)]);
        assert_eq!(heard(&mut events, Result::is_ok).await.unwrap().wish, Some(wish));
    }
}
