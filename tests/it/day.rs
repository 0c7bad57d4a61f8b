//! The operator's day of the README: its commands are given again, and what it says of them is held against what they say now.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, needs_ringlead, ringlead_binary,
    wait_until,
};

const LIMIT: Duration = Duration::from_secs(20);
const METRICS: &str = "[observe]\nmetrics = \"127.0.0.1:9090\"\n";

/// What is played: the section's lines in fences.
enum Line {
    /// `$ command`, and what it printed.
    Command(String, Vec<String>),
    /// `# something happens`.
    Event(String),
}

struct Day<'a> {
    lab: &'a Lab,
    farm: Farm<'a>,
    ringlead: Ringlead,
    good: String,
}

#[test]
fn the_readmes_day_goes_as_it_says() {
    needs_ringlead!();
    let lab = Lab::new("day");
    let farm = Farm::start(&lab);
    let good = file(&lab, &[1, 2, 3]);
    let ringlead = Ringlead::start(&lab, &file(&lab, &[1, 2]));
    let mut day = Day { lab: &lab, farm, ringlead, good };
    day.wait_for("both servers", |up| up == ["up", "up"]);
    let _open = connections(&lab);
    let text = fs::read_to_string(readme()).unwrap();
    let mut played = Vec::new();
    for line in section(&text) {
        match line {
            Line::Event(what) => day.happens(&what),
            Line::Command(command, printed) => {
                let said = day.give(&command);
                played.push((command, printed, said));
            }
        }
    }
    assert!(played.len() >= 12, "the day has {} commands", played.len());
    if std::env::var_os("RINGLEAD_BLESS").is_some() {
        fs::write(readme(), written_anew(&text, &played)).unwrap();
    }
    for (command, printed, said) in &played {
        assert!(!said.is_empty(), "{command}: nothing");
        assert_eq!(masked(printed), masked(said), "$ {command}\nsays now:\n{}", said.join("\n"));
    }
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn file(lab: &Lab, servers: &[u8]) -> String {
    let mut service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).with_servers(servers);
    service.name = "web".to_owned();
    service.servers.iter_mut().for_each(|(name, _)| *name = name.replace('s', "web"));
    service.pool_lines = "min-servers = 2\n".to_owned();
    Config::empty(lab).service(service).render() + METRICS
}

/// Connections through the service that stay open.
fn connections(lab: &Lab) -> Vec<std::net::TcpStream> {
    let to = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).listen;
    let connect = |_| std::net::TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap();
    lab.within(Node::Client, || (0..20).map(connect).collect())
}

impl Day<'_> {
    /// The events of the README.
    fn happens(&mut self, what: &str) {
        match what {
            "web3 is written into ringlead.toml" => self.write(&self.good),
            "somebody writes wieght into ringlead.toml" => {
                self.write(&self.good.replacen("min-servers = 2", "min-servers = 2\nwieght = 10", 1));
            }
            "it is mended" => self.write(&self.good),
            "web2 dies" => {
                self.farm.kill(2);
                self.wait_for("a server to be down", |up| up.contains(&"down"));
            }
            "it comes back" => {
                self.farm.bring_back(2);
                self.wait_for("all servers", |up| up == ["up", "up", "up"]);
            }
            other => panic!("the day has no `{other}`"),
        }
    }

    fn write(&self, text: &str) {
        fs::write(self.ringlead.file(), text).unwrap();
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&[&str]) -> bool) {
        wait_until(LIMIT, what, || {
            let status = self.ringlead.status();
            let servers = status["pools"][0]["servers"].as_array().unwrap();
            wanted(&servers.iter().map(|server| server["health"].as_str().unwrap()).collect::<Vec<_>>())
        });
    }

    /// In the folder of the file, as a shell of the node does it: both kinds of output.
    fn give(&self, command: &str) -> Vec<String> {
        if command.contains("explain") {
            self.wait_for("the new server", |up| up == ["up", "up", "up"]);
        }
        let binary = ringlead_binary().unwrap();
        let folder = self.ringlead.file().parent().unwrap();
        let ringlead = format!("ringlead() {{ {} \"$@\" -s control.sock; }}", binary.display());
        let script = format!("cd {}; {ringlead}; {command}", folder.display());
        let output = self.lab.run(Node::Balancer, "sh", &["-c", &script]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let said = said.replace(&format!("{}/", folder.display()), "/etc/ringlead/");
        said.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

/// The lines of the section that are played.
fn section(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in fenced(text).into_iter().filter_map(|(_, line)| line) {
        if let Some(command) = line.strip_prefix("$ ") {
            lines.push(Line::Command(command.to_owned(), Vec::new()));
        } else if let (Some(what), true) = (line.strip_prefix("# "), !line.starts_with("# HELP")) {
            lines.push(Line::Event(what.to_owned()));
        } else if let Some(Line::Command(_, printed)) = lines.last_mut() {
            printed.push(line.to_owned());
        }
    }
    lines
}

/// The lines of the text, each with itself once more where it is in a fence of the section.
fn fenced(text: &str) -> Vec<(&str, Option<&str>)> {
    let (mut here, mut inside) = (false, false);
    text.lines()
        .map(|line| {
            if line.starts_with('#') && !inside {
                here = line == "### A day";
            }
            let fence = line.starts_with("```");
            let played = here && inside && !fence;
            inside ^= fence;
            (line, played.then_some(line))
        })
        .collect()
}

/// The text with what the commands say now.
fn written_anew(text: &str, played: &[(String, Vec<String>, Vec<String>)]) -> String {
    let mut said = played.iter();
    let mut out = String::new();
    for (line, inside) in fenced(text) {
        match inside {
            Some(line) if line.starts_with("$ ") => {
                let (_, _, now) = said.next().unwrap();
                out.push_str(&format!("{line}\n{}\n", now.join("\n")));
            }
            Some(line) if !line.starts_with("# ") => {}
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

/// MAC addresses are another lab's.
fn without_macs(line: &str) -> String {
    let word = |word: &str| {
        let is_mac = word.matches(':').count() == 5 && word.len() <= "(00:00:00:00:00:00)".len();
        if is_mac { "MAC".to_owned() } else { word.to_owned() }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Lines without what differs from day to day: numbers, and how wide tables are for them.
fn masked(lines: &[String]) -> Vec<String> {
    let mask = |line: &String| {
        let mut out = String::new();
        for c in without_macs(line).chars() {
            let c = if c.is_ascii_digit() { '#' } else { c };
            let repeats = matches!(c, '#' | ' ' | '─' | '═' | '-' | '^') && out.ends_with(c);
            if !repeats {
                out.push(c);
            }
        }
        out
    };
    lines.iter().map(mask).collect()
}
