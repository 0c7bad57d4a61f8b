//! `ringlead-decap` as a shell uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;
use support::frames::Family::V4;
use support::frames::{WRAPS, ethernet, inner, outer};
use support::sockets::{Service, Wire};
use support::{Driver, Lab, run};

/// A command in the server's namespace, which ends with it.
struct Running(Child);

impl Running {
    /// Starts it and waits for "ready".
    fn start(lab: &Lab, input: fn() -> Stdio, arguments: &'static [&'static str]) -> Self {
        let mut running = Self(lab.server(move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ringlead-decap"));
            command.args(arguments).stdin(input()).stdout(Stdio::piped()).spawn().unwrap()
        }));
        let mut line = String::new();
        BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        running
    }

    fn signal(&mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
        self.ended()
    }

    /// How it ended, once it has: only a failing test waits long.
    fn ended(&mut self) -> ExitStatus {
        for _ in 0..2000 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether what comes in a tunnel reaches the service; on another port of UDP than usual, if given.
fn takes(lab: &Lab, gue_port: u16) -> bool {
    let wire = Wire::open("p0");
    let listener = lab.server(|| Service::open(V4));
    let packet = inner(V4, 0, 1, b"tunnelled");
    let mut tunnelled = ethernet(&[], &outer(WRAPS[2], V4, V4, 0, 9, &packet));
    tunnelled[14 + 20 + 2..][..2].copy_from_slice(&gue_port.to_be_bytes());
    wire.send(&tunnelled);
    wire.send(&ethernet(&[], &inner(V4, 0, 1, b"plain")));
    listener.hear().payload == b"tunnelled"
}

#[test]
fn it_takes_until_a_signal_and_an_empty_input_means_nothing() {
    run(Driver::Native, |lab| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            assert!(!takes(&lab, 6080));
            let mut running =
                Running::start(&lab, Stdio::null, &["p1", "--address", "10.2.0.11", "--address", "fd02::11"]);
            assert!(takes(&lab, 6080));
            assert!(running.0.try_wait().unwrap().is_none());
            assert!(running.signal(signal).success());
        }
        assert!(!takes(&lab, 6080), "the program went with the command");
    });
}

#[test]
fn it_takes_until_its_input_ends() {
    run(Driver::Native, |lab| {
        let arguments = &["p1", "--gue-port", "7000", "--address", "10.2.0.11", "fd02::11"];
        let mut running = Running::start(&lab, Stdio::piped, arguments);
        let mut input = running.0.stdin.take().unwrap();
        input.write_all(&[b'\n'; 10_000]).unwrap();
        assert!(takes(&lab, 7000));
        assert!(!takes(&lab, 6080));
        assert!(running.0.try_wait().unwrap().is_none());
        drop(input);
        assert!(running.ended().success());
        assert!(!takes(&lab, 7000), "the program went with the command");
    });
}

#[test]
fn what_cannot_work_is_said() {
    for (arguments, status, says) in [
        (&["p1"][..], 2, "--address"),
        (&["p1", "--address", "10.2.0.300"], 2, "invalid value '10.2.0.300'"),
        (&["p1", "--address", "10.2.0.1", "--gue-port", "65536"], 2, "65536 is not in 0..=65535"),
        (&["nowhere0", "--address", "10.2.0.1"], 1, "there is no device named \"nowhere0\""),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringlead-decap"))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}
