//! A running end of the traffic, as the demo sees it: a process that is told what to be, and what it said so far.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ends::{Job, Probed, Said, Tally, Unwrapped};
use super::lab::{Lab, Node};
use super::stop::{During, Step, Stop, failed};

/// How long an end that was told to end may take.
const END_MAX: Duration = Duration::from_secs(10);

/// `ringlead demo-end JOB` inside a namespace. Dropping it kills it, by its own process id and nothing else.
#[derive(Debug)]
pub(super) struct Helper {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<Said>>>,
    reader: Option<JoinHandle<()>>,
}

impl Helper {
    /// Starts one. `name` is for messages.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(lab: &Lab, program: &Path, node: Node, name: &str, job: &Job) -> Step<Self> {
        let job = serde_json::to_string(job).during("write a job")?;
        let mut command = lab.command(node, program);
        command.arg("demo-end").arg(job).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().during(&format!("start {name}"))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let reader = child.stdout.take().map(|out| {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if let Ok(one) = serde_json::from_str(&line) {
                        said.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                    }
                }
            })
        });
        Ok(Self { name: name.to_owned(), stdin: child.stdin.take(), child, said, reader })
    }

    /// Waits until it has said something that `look` takes.
    ///
    /// # Errors
    /// When it ends before, or the time passes.
    pub(super) fn await_said<T>(
        &mut self,
        stop: &Stop,
        limit: Duration,
        what: &str,
        look: impl Fn(&[Said]) -> Option<T>,
    ) -> Step<T> {
        let what = format!("{what} of {}", self.name);
        stop.await_some(limit, &what, || {
            let ended = self.child.try_wait().during(&self.name)?;
            if ended.is_some() {
                self.join(); // what it said last may still be on its way
            }
            match (look(&self.said()), ended) {
                (Some(found), _) => Ok(Some(found)),
                (None, Some(status)) => failed(format!("{} ended: {status}", self.name)),
                (None, None) => Ok(None),
            }
        })
    }

    /// Waits for the count of its traffic.
    ///
    /// # Errors
    /// As [`Self::await_said`].
    pub(super) fn tally(&mut self, stop: &Stop, limit: Duration) -> Step<Tally> {
        self.await_said(stop, limit, "the end", |said| {
            said.iter().find_map(|one| if let Said::Done(tally) = one { Some(tally.clone()) } else { None })
        })
    }

    /// What came of its questions so far.
    pub(super) fn probed(&self) -> Vec<Probed> {
        let said = self.said();
        said.iter()
            .filter_map(|one| if let Said::Probed(probed) = one { Some(probed.clone()) } else { None })
            .collect()
    }

    /// Whether all its traffic has ended.
    pub(super) fn is_done(&self) -> bool {
        self.said().iter().any(|one| matches!(one, Said::Done(_)))
    }

    /// Tells it to finish in good order.
    pub(super) fn tell_to_end(&mut self) {
        self.stdin = None;
    }

    /// Tells it to finish, waits for that, and returns what came of all its questions.
    ///
    /// # Errors
    /// When it fails or does not end in time.
    pub(super) fn end(mut self) -> Step<Vec<Probed>> {
        self.finish()?;
        Ok(self.probed())
    }

    /// Tells a server to finish, waits for that, and returns what it took out of tunnels in its life.
    ///
    /// # Errors
    /// When it fails, does not end in time or does not say it.
    pub(super) fn unwrapped(mut self) -> Step<Unwrapped> {
        self.finish()?;
        let said = self.said();
        let last = said.iter().find_map(|one| if let Said::Unwrapped(all) = one { Some(*all) } else { None });
        last.map_or_else(|| failed(format!("{} does not say what it took out of tunnels", self.name)), Ok)
    }

    fn finish(&mut self) -> Step<()> {
        self.tell_to_end();
        match wait(&mut self.child, END_MAX) {
            Some(status) if status.success() => {
                self.join(); // what it said last may still be on its way
                Ok(())
            }
            Some(status) => failed(format!("{} ended: {status}", self.name)),
            None => failed(format!("{} does not end", self.name)),
        }
    }

    fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join();
    }
}

/// Waits for the end of a child, at most `limit`; not even Ctrl-C shortens this, which is for ending things.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    loop {
        let status = child.try_wait().ok().flatten();
        if status.is_some() || begin.elapsed() >= limit {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
