//! What an agent on a server says of it: HAProxy's agent protocol, one line of words. No I/O, no clock.

use std::time::Duration;

/// The largest share that can be asked for, in percent of the configured weight.
const PERCENT_MAX: u16 = 25_600;
/// Words that nobody knows, of which this many characters are told.
const UNKNOWN_MAX: usize = 60;

/// What an agent wants to be given to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// Flows.
    #[default]
    Ready,
    /// No new flows but those of sticky clients.
    Drain,
    /// No new flow at all.
    Maint,
}

/// One line of an agent. What it does not speak of stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentReply {
    /// `ready`, `drain` or `maint`.
    pub wish: Option<Wish>,
    /// `up`, or `down`, `fail` or `stopped`.
    pub up: Option<bool>,
    /// `75%`: the share of the configured weight, 0 to 25 600.
    pub percent: Option<u16>,
    /// What stands behind `#`, with control characters made visible.
    pub why: Option<String>,
    /// Words that mean nothing here, `maxconn` among them.
    pub ignored: Option<String>,
}

impl AgentReply {
    /// Reads the words of a line, in any order and any case, between blanks, tabs or commas. Of several that contradict each
    /// other the last counts, as in HAProxy.
    ///
    /// # Errors
    /// When it has no word that is known, in words.
    pub fn parse(line: &str) -> Result<Self, String> {
        let (words, why) = line.split_once('#').map_or((line, None), |(words, why)| (words, Some(why)));
        let mut reply = Self::default();
        let mut ignored = Vec::new();
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "ready" => reply.wish = Some(Wish::Ready),
                "drain" => reply.wish = Some(Wish::Drain),
                "maint" => reply.wish = Some(Wish::Maint),
                "up" => reply.up = Some(true),
                "down" | "fail" | "stopped" => reply.up = Some(false),
                other => match percent(other) {
                    Some(percent) => reply.percent = Some(percent),
                    None => ignored.push(word),
                },
            }
        }
        let ignored = shown(&ignored.join(" "));
        if reply == Self::default() {
            return Err(match ignored {
                Some(words) => format!("the agent says nothing that is known: {words}"),
                None => "the agent says nothing".to_owned(),
            });
        }
        Ok(Self { why: why.and_then(shown), ignored, ..reply })
    }
}

/// `75%`.
fn percent(word: &str) -> Option<u16> {
    let digits = word.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|percent| *percent <= PERCENT_MAX)
}

/// For a person: cut, control characters made visible; `None` when nothing is left.
fn shown(text: &str) -> Option<String> {
    let text: String = text.trim().chars().take(UNKNOWN_MAX).flat_map(char::escape_debug).collect();
    (!text.is_empty()).then_some(text)
}

/// All that an agent has said, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentState {
    /// What it wants; `ready` before it says anything.
    pub wish: Wish,
    /// Whether it says that the server is down.
    pub down: bool,
    /// The share of the configured weight, 100 before it says anything.
    pub percent: u16,
    /// Why, in the agent's words, as of its last line.
    pub why: Option<String>,
    /// Words of its last line that mean nothing here.
    pub ignored: Option<String>,
    /// Whether it has ever been asked, with or without an answer.
    pub asked: bool,
    /// Why the last question got no answer: what was said before stands.
    pub problem: Option<String>,
    /// How long the last question took.
    pub took: Duration,
}

impl Default for AgentState {
    fn default() -> Self {
        Self {
            wish: Wish::Ready,
            down: false,
            percent: 100,
            why: None,
            ignored: None,
            asked: false,
            problem: None,
            took: Duration::ZERO,
        }
    }
}

impl AgentState {
    /// Takes an answer, or the lack of one, which changes nothing: whether a server can be reached is for its health check to say.
    pub fn hear(&mut self, answer: &Result<AgentReply, String>, took: Duration) {
        (self.asked, self.took) = (true, took);
        match answer {
            Err(problem) => self.problem = Some(problem.clone()),
            Ok(reply) => {
                self.problem = None;
                self.wish = reply.wish.unwrap_or(self.wish);
                self.down = reply.up.map_or(self.down, |up| !up);
                self.percent = reply.percent.unwrap_or(self.percent);
                self.why.clone_from(&reply.why);
                self.ignored.clone_from(&reply.ignored);
            }
        }
    }

    /// In the agent's own words: `down, drain, 75%`; `up` when nothing speaks against the server.
    #[must_use]
    pub fn in_words(&self) -> String {
        let wish = match self.wish {
            Wish::Ready => None,
            Wish::Drain => Some("drain".to_owned()),
            Wish::Maint => Some("maint".to_owned()),
        };
        let percent = (self.percent != 100).then(|| format!("{}%", self.percent));
        let state = if self.down { "down" } else { "up" }.to_owned();
        [Some(state), wish, percent].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> AgentReply {
        AgentReply::parse(line).unwrap()
    }

    #[test]
    fn every_word_means_what_it_means_in_haproxy() {
        for (line, wish) in [("ready", Wish::Ready), ("DRAIN", Wish::Drain), ("maint", Wish::Maint)] {
            assert_eq!(reply(line), AgentReply { wish: Some(wish), ..AgentReply::default() }, "{line}");
        }
        for (line, up) in [("up", true), ("down", false), ("fail", false), ("stopped", false)] {
            assert_eq!(reply(line), AgentReply { up: Some(up), ..AgentReply::default() }, "{line}");
        }
        for (line, percent) in [("75%", 75), ("0%", 0), ("250%", 250)] {
            assert_eq!(reply(line), AgentReply { percent: Some(percent), ..AgentReply::default() }, "{line}");
        }
    }

    #[test]
    fn words_combine_in_any_order_and_a_reason_ends_them() {
        let said = reply(" up,ready\t50% maxconn:30 # disk 90% full \x07");
        assert_eq!((said.up, said.wish, said.percent), (Some(true), Some(Wish::Ready), Some(50)));
        assert_eq!(said.why.as_deref(), Some("disk 90% full \\u{7}"));
        assert_eq!(said.ignored.as_deref(), Some("maxconn:30"));
        assert_eq!(reply("down#no disk").why.as_deref(), Some("no disk"));
        assert_eq!(reply("drain ready").wish, Some(Wish::Ready), "the last one counts");
    }

    #[test]
    fn a_line_without_a_word_is_no_answer() {
        for line in ["", "  ", "# why", "hello", "-5%", "+5%", "%", "25601%", "99999%"] {
            assert!(AgentReply::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_not_spoken_of_stays_and_silence_changes_nothing() {
        let mut state = AgentState::default();
        assert_eq!(state.in_words(), "up");
        for (line, words) in [
            ("drain", "up, drain"),
            ("50%", "up, drain, 50%"),
            ("down", "down, drain, 50%"),
            ("ready", "down, 50%"),
            ("up 100%", "up"),
            ("maint", "up, maint"),
        ] {
            state.hear(&Ok(reply(line)), Duration::ZERO);
            assert_eq!(state.in_words(), words, "{line}");
        }
        state.hear(&Err("connection refused".to_owned()), Duration::ZERO);
        assert_eq!((state.in_words().as_str(), state.problem.is_some()), ("up, maint", true));
        state.hear(&Ok(reply("ready")), Duration::ZERO);
        assert_eq!((state.in_words().as_str(), state.problem.is_some()), ("up", false));
    }
}
