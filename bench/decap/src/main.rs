//! `ringlead-decap`: decapsulates on a server's port for as long as it runs.

use clap::Parser;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{SFlag, fstat};
use ringlead_decap::{Decap, GUE_PORT};
use std::error::Error;
use std::io::{self, IsTerminal, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Takes the outer headers off IPIP and GUE packets to this server, on its own port, until SIGTERM, SIGINT or the end of
/// a pipe or terminal on standard input. Prints "ready" once it does.
#[derive(Parser, Debug)]
#[command(name = "ringlead-decap", version)]
struct Arguments {
    /// The port that the balancer's packets arrive on
    device: String,
    /// This server's tunnel address; may be given more than once, or several after one another
    #[arg(long = "address", value_name = "IP", required = true, num_args = 1..)]
    addresses: Vec<IpAddr>,
    /// The UDP port of GUE; 0: no GUE
    #[arg(long, value_name = "N", default_value_t = GUE_PORT)]
    gue_port: u16,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "ringlead-decap: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // Before anything is attached: a signal from here on waits for `until_told`.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    let decap = Decap::attach(&arguments.device, &arguments.addresses, arguments.gue_port)?;
    let mut out = io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    until_told(&signals)?;
    drop(decap);
    Ok(())
}

/// Waits for a signal or the end of standard input.
fn until_told(signals: &SignalFd) -> Result<(), Box<dyn Error>> {
    let mut input = io::stdin();
    if !has_an_end(&input) {
        let mut waits = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        wait(&mut waits)?;
        return Ok(());
    }
    loop {
        let descriptor = input.as_fd();
        let mut waits =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(descriptor, PollFlags::POLLIN)];
        wait(&mut waits)?;
        let [told, typed] = waits.map(|wait| wait.any().unwrap_or(false));
        if told || typed && input.read(&mut [0; 512])? == 0 {
            return Ok(());
        }
    }
}

/// A shell gives its background jobs /dev/null, whose end is there at once and means nothing.
fn has_an_end(input: &io::Stdin) -> bool {
    let pipe =
        |mode| matches!(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT, SFlag::S_IFIFO | SFlag::S_IFSOCK);
    input.is_terminal() || fstat(input).is_ok_and(|status| pipe(status.st_mode))
}

fn wait(waits: &mut [PollFd<'_>]) -> Result<(), Errno> {
    loop {
        match poll(waits, PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(why) => return Err(why),
        }
    }
}
