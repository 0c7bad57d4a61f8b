//! When to do what: `10s reload`, `every 100ms reload`, `20s signal KILL 4711`, `30s exec ip link set e0 down`.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::str::FromStr;
use std::time::Duration;

/// Most events of a run.
pub const EVENTS_MAX: usize = 64;
/// Most times that events happen in a run: each is kept to its end.
pub const OCCURRENCES_MAX: u128 = 100_000;
/// The shortest time between two occurrences of an event; the schedule is looked at that often.
const EVERY_LEAST: Duration = Duration::from_millis(10);

/// Something that is done at times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The line that it was read from.
    pub text: String,
    /// When.
    pub when: When,
    /// What.
    pub action: Action,
}

/// When something is done, from the run's begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Once, then.
    At(Duration),
    /// After each such time.
    Every(Duration),
}

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The balancer is told to read its configuration again, over its control socket.
    Reload,
    /// A signal to a process.
    Signal(Signal, Pid),
    /// A command of the shell.
    Exec(String),
}

impl Event {
    /// When occurrence `number`, from 0, is due.
    #[must_use]
    pub fn due(&self, number: u32) -> Option<Duration> {
        match self.when {
            When::At(time) => (number == 0).then_some(time),
            When::Every(time) => time.checked_mul(number.checked_add(1)?),
        }
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = |what: &str| format!("'{text}': {what}");
        let rest = text.trim();
        let (word, rest) = split(rest);
        let (every, word, rest) = if word == "every" {
            let (time, rest) = split(rest);
            (true, time, rest)
        } else {
            (false, word, rest)
        };
        let time = humantime::parse_duration(word);
        let time = time.map_err(|_| {
            why(&format!("'{word}' is no time; an event is TIME ACTION or every TIME ACTION"))
        })?;
        if every && time < EVERY_LEAST {
            return Err(why("not more often than every 10ms"));
        }
        let action = action(rest).map_err(|what| why(&what))?;
        let when = if every { When::Every(time) } else { When::At(time) };
        Ok(Self { text: text.trim().to_owned(), when, action })
    }
}

fn action(text: &str) -> Result<Action, String> {
    let (word, rest) = split(text);
    match word {
        "reload" if rest.is_empty() => Ok(Action::Reload),
        "reload" => Err("reload takes nothing".to_owned()),
        "signal" => {
            let (name, pid) = split(rest);
            let signal = Signal::from_str(&format!("SIG{}", name.trim_start_matches("SIG")));
            let signal = signal.map_err(|_| format!("'{name}' is no signal, such as HUP or KILL"))?;
            // Neither a group of processes nor all of them.
            let pid =
                pid.parse().ok().filter(|pid| *pid > 1).ok_or_else(|| format!("'{pid}' is no process"))?;
            Ok(Action::Signal(signal, Pid::from_raw(pid)))
        }
        "exec" if rest.is_empty() => Err("exec wants a command".to_owned()),
        "exec" => Ok(Action::Exec(rest.to_owned())),
        _ => Err(format!("'{word}' is no action: reload, signal NAME PID, or exec COMMAND")),
    }
}

/// The first word, and what is behind it.
fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// Refuses a schedule that is too long or cannot be kept.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn check(events: &[Event], duration: Duration, has_control: bool) -> Result<(), String> {
    if events.len() > EVENTS_MAX {
        return Err(format!("{} events: at most {EVENTS_MAX}", events.len()));
    }
    let mut occurrences = 0;
    for event in events {
        match event.when {
            When::At(time) if time >= duration => {
                return Err(format!("'{}' comes after the end of the run", event.text));
            }
            When::At(_) => occurrences += 1,
            When::Every(time) if time >= duration => {
                return Err(format!("'{}' does not happen once in the run", event.text));
            }
            When::Every(time) => occurrences += duration.as_nanos() / time.as_nanos(),
        }
        if event.action == Action::Reload && !has_control {
            return Err(format!("'{}' needs the balancer's control socket (--control)", event.text));
        }
    }
    if occurrences > OCCURRENCES_MAX {
        return Err(format!("events would happen {occurrences} times: at most {OCCURRENCES_MAX}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Event {
        text.parse().unwrap()
    }

    #[test]
    fn lines_become_events() {
        let reload = read("  10s reload ");
        assert_eq!((reload.when, &reload.action), (When::At(Duration::from_secs(10)), &Action::Reload));
        assert_eq!(reload.text, "10s reload");
        let every = read("every 100ms reload");
        assert_eq!(every.when, When::Every(Duration::from_millis(100)));
        for signal in ["KILL", "SIGKILL"] {
            let kill = read(&format!("20s signal {signal} 4711"));
            assert_eq!(kill.action, Action::Signal(Signal::SIGKILL, Pid::from_raw(4711)));
        }
        let exec = read("1m exec cp a  b && echo 'x  y'");
        assert_eq!(exec.action, Action::Exec("cp a  b && echo 'x  y'".to_owned()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (text, word) in [
            ("", "is no time"),
            ("reload", "'reload' is no time"),
            ("10 reload", "'10' is no time"),
            ("10s", "is no action"),
            ("10s drain s1", "'drain' is no action"),
            ("10s reload now", "takes nothing"),
            ("every 1ms reload", "10ms"),
            ("every reload", "'reload' is no time"),
            ("1s signal FOO 12", "'FOO' is no signal"),
            ("1s signal KILL", "'' is no process"),
            ("1s signal KILL -1", "'-1' is no process"),
            ("1s signal KILL 0", "'0' is no process"),
            ("1s exec", "wants a command"),
        ] {
            assert!(
                text.parse::<Event>().is_err_and(|why| why.contains(word)),
                "{text}: {:?}",
                text.parse::<Event>()
            );
        }
    }

    #[test]
    fn occurrences_come_at_their_times() {
        let (once, every) = (read("3s reload"), read("every 2s reload"));
        assert_eq!((once.due(0), once.due(1)), (Some(Duration::from_secs(3)), None));
        assert_eq!(
            (every.due(0), every.due(4)),
            (Some(Duration::from_secs(2)), Some(Duration::from_secs(10)))
        );
    }

    #[test]
    fn schedules_that_cannot_be_kept_are_refused() {
        let minute = Duration::from_secs(60);
        let says = |lines: &[&str], word: &str| {
            let events: Vec<Event> = lines.iter().map(|line| read(line)).collect();
            check(&events, minute, false).is_err_and(|why| why.contains(word))
        };
        assert!(check(&[read("59s exec true")], minute, false).is_ok());
        assert!(check(&[read("59s reload")], minute, true).is_ok());
        assert!(says(&["59s reload"], "--control"));
        assert!(says(&["60s exec true"], "after the end"));
        assert!(says(&["every 2m exec true"], "not happen once"));
        assert!(says(&["1s exec true"; 65], "at most 64"));
        let long = check(&[read("every 10ms exec true")], minute * 60, false);
        assert!(long.is_err_and(|why| why.contains("360000 times")));
    }
}
