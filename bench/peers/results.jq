# All trials of a run -> bench/RESULTS.md.

def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
    else (.[length / 2 - 1] + .[length / 2]) / 2 end;

# A number with $d decimals, zeros kept.
def fix($d): if . == null then "-" else
    (. * pow(10; $d) | round) as $n
    | ($n | fabs | tostring) as $t
    | if $d == 0 then $n | tostring
      else (if ($t | length) <= $d then "0" * ($d + 1 - ($t | length)) + $t else $t end) as $p
          | (if $n < 0 then "-" else "" end) + $p[:-$d] + "." + $p[-$d:] end
    end;

def spread($d): if length == 0 then "-" else "\(min | fix($d))–\(max | fix($d))" end;
def percent: . * 100 | if . == 0 then "0" elif . < 0.01 then "<0.01" else fix(if . < 10 then 2 else 0 end) end;
def thousands: tostring | if length > 3 then .[:-3] + " " + .[-3:] else . end;
def row: "| " + join(" | ") + " |";
def table($head): ([($head | row), ($head | map("---") | row)] + map(row)) | join("\n");

$facts[0] as $f
| $trials as $all
| ($subjects | map(select(.runs))) as $in
| ($subjects | map(select(.runs | not))) as $out
| def quiet: map(select(.foreign <= $f.foreign_max));
  # Trials that other people's processes disturbed are left out, whatever they say, where two others remain.
  def of($subject; $cell): ($all | map(select(.subject == $subject and .cell == $cell))) as $t
    | ($t | quiet) as $q | if ($q | length) >= 2 then $q else $t end;
  def rates($subject; $cell): of($subject; $cell) | map(.mpps);
  def efficiency: map(select(.busy > 0) | .mpps / .busy);
  # Round by round, because both had the same minute.
  def ratios($a; $b; $cell): of($b; $cell) as $base
    | [of($a; $cell)[] | . as $t | ($base[] | select(.round == $t.round and .mpps > 0) | $t.mpps / .mpps)]
    | if length > 0 or ($base | length) == 0 then . # else no round in which both were undisturbed
      else [(rates($a; $cell) | median) / (rates($b; $cell) | median)] end;
  def limit($subject; $cell): of($subject.subject; $cell) as $t | (rates("wire"; $cell) | median) as $wire
    | if $subject.subject == "wire" then "the sender"
      elif ($subject.where == "sender's core") then "the core, shared with the sender"
      elif ($t | map(.loss) | median) < 0.05 then "the sender"
      elif $wire != null and ($t | map(.mpps) | median) >= 0.97 * $wire then "the sender"
      else "the subject" end;

def full_head: ["subject", "works on", "Mpps", "min–max", "÷ testpmd", "offered Mpps", "lost %", "busy cores",
    "Mpps a CPU-second", "min–max", "limited by"];
def full_row($s; $cell): of($s.subject; $cell) as $t
    | ratios($s.subject; "testpmd"; $cell) as $ratio
    | [$s.name, $s.where, ($t | map(.mpps) | median | "**\(fix(3))**"), ($t | map(.mpps) | spread(3)),
       ($ratio | median | fix(2)), ($t | map(.sent_mpps) | median | fix(3)), ($t | map(.loss) | median | percent),
       ($t | map(.busy) | median | fix(2)), ($t | efficiency | median | "**\(fix(3))**"), ($t | efficiency | spread(3)),
       limit($s; $cell)];
def absent_row($columns): [.name, .where, "not run: \(.text)"] + [range(3; $columns) | ""];
def full($title; $cell): if ($all | map(select(.cell == $cell)) | length) == 0 then empty else
    "\n### \($title)\n\n" + (([$in[] | full_row(.; $cell)] + [$out[] | absent_row(11)]) | table(full_head)) end;

def us: if . == null then null else . / 1000 end | fix(0);
def latency_row: . as $s | of($s.subject; "latency") as $t
    | ($t | map(select(.latency != null))) as $l
    | [$s.name, $s.where, ($t | map(.sent_mpps) | median | fix(3)), ($l | map(.latency.p50) | median | us),
       ($l | map(.latency.p99) | median | us), ($l | map(.latency.p999) | median | us),
       ($l | map(.latency.p999 / 1000) | spread(0)), ($t | map(.loss) | median | percent),
       ($t | map(.busy) | median | fix(2)), ($t | map(select(.invalid != null)) | length | tostring)];
def latency: ([$in[] | latency_row] + [$out[] | absent_row(10)]) | table(["subject", "works on", "Mpps", "p50 µs",
    "p99 µs", "p99.9 µs", "p99.9 min–max", "lost %", "busy cores", "trials too late"]);

def time_row: . as $s | of($s.subject; "tcp4") as $t
    | [$s.name, $s.where] + ([.user, .system, .softirq] | [])
    + [($t | map(.user) | median | fix(2)), ($t | map(.system) | median | fix(2)), ($t | map(.softirq) | median | fix(2)),
       ($t | map(.sender) | median | fix(2)),
       (if ($t | map(.program) | add) == 0 then "-" else $t | map(.program) | median | fix(2) end)];
def times: [$in[] | time_row] | table(["subject", "works on", "user", "system", "interrupts", "sender's process",
    "subject's process"]);

def verdict($subject; $cell; $name): ratios($subject; "testpmd"; $cell) as $r
    | if ($r | length) == 0 then "- \($name): no figure, testpmd or ringlead did not run"
      else "- \($name): **\($r | median | fix(2)) × testpmd** (\($r | spread(2)) by round); the target of 0.95 is \(
          if ($r | median) >= 0.95 then "met" else "**missed**" end)" end;
def beside($peer; $name): (rates($peer; "tcp4") | median) as $p | (rates("ringlead-nat"; "tcp4") | median) as $r
    | (of($peer; "tcp4") | efficiency | median) as $pe | (of("ringlead-nat"; "tcp4") | efficiency | median) as $re
    | if $p == null or $r == null then empty
      else "- ringlead nat \($r | fix(3)) Mpps, \($name) \($p | fix(3)) Mpps: \($r / $p | fix(2)) × the rate, \(
          $re / $pe | fix(2)) × the frames a CPU-second" end;

def foreign: $all | map(.foreign);
# Cells without two undisturbed trials.
def disturbed: $all | group_by([.subject, .cell]) | map(select((quiet | length) < 2));
def noise: (foreign | median) as $m | (foreign | max) as $x | ($all | map(.steal / ($f.cores | tonumber)) | max) as $s
    | ($all | group_by([.subject, .cell]) | map(select((quiet | length) >= 2) | length - (quiet | length)) | add // 0) as $left
    | "Other processes took \($m | percent) % of the machine in the median trial and \($x | percent) % in the worst; the "
    + "host kept back up to \($s | percent) %. \($left) of \($all | length) trials are left out because others took over "
    + "\($f.foreign_max * 100) % of the machine meanwhile"
    + (if (disturbed | length) == 0 then "." else "; \(disturbed | length) figures have fewer than two others and are of all "
       + "trials: \([disturbed[] | "\(.[0].subject) \(.[0].cell)"] | join(", "))." end)
    + (if $m > $f.foreign_max then " **The machine was not quiet: these figures say little. Run it again.**" else "" end);

"# ringlead beside kernel routing, nftables and DPDK

Written by `\($f.command)`: \($f.rounds) rounds of \($in | length) subjects in \($seconds) s, \($f.time). Do not edit; run it.

| | |
|---|---|
| machine | \($f.cpu), \($f.cores) cores, \($f.virtual) |
| system | \($f.kernel), \($f.system) |
| ringlead | \($f.ringlead), commit \($f.commit)\(if $f.changes == "" then "" else ", with changes on top" end), release build |
| DPDK | \(if $f.dpdk == "" then "not installed" else "Debian \($f.dpdk), net_af_xdp, no huge pages" end) |
| nftables | \(if $f.nft == "" then "not installed" else $f.nft end), connection tracking of at most \($f.conntrack_max) flows (the machine's setting) |
| cores | the sender on \($f.sender), the subject on \($f.subject) |

\(noise)

## In short

64-byte frames, TCP over IPv4, 1 000 flows.

\([verdict("ringlead-nat"; "tcp4"; "nat"), verdict("ringlead-dsr"; "tcp4"; "dsr"),
  beside("nft-dnat"; "nftables DNAT on the sender's core"), beside("nft-dnat-own"; "nftables DNAT on its own core"),
  beside("nft-snat"; "nftables DNAT + SNAT on the sender's core"),
  beside("nft-snat-own"; "nftables DNAT + SNAT on its own core")] | join("\n"))

## Full rate

The sender sends as fast as it can; what counts is what reaches the servers' port.
\([full("TCP over IPv4, 1 000 flows"; "tcp4"), full("TCP over IPv4, \($f.many | thousands) flows"; "many"),
   full("UDP over IPv4, 1 000 flows"; "udp4"), full("TCP over IPv6, 1 000 flows, 84-byte frames"; "tcp6")] | join("\n"))

## Latency at half load

Half of the rate that the subject reached in the same round (TCP over IPv4, 1 000 flows), from the planned moment of
sending to arrival, sender's and receiver's time included.

\(latency)

## Whose time it was

Cores in use at full rate, TCP over IPv4, 1 000 flows. The left three add up to *busy cores*.

\(times)

## That they forward

Shown before the first round, at a gentle rate.

\([$subjects[] | [.name, .where, .text]] | table(["subject", "works on", "shown by"]))

## How to read it

- Medians of \($f.rounds) rounds, less what is left out; min–max beside them. Each round runs every subject once, each time beginning with another.
  A trial lasts \($f.ms) ms; its first 200 ms and last 100 ms are left out of rates and times.
- *÷ testpmd* is taken round by round. testpmd has no tables, no flows, no checksums: it exchanges two addresses. It is
  what AF_XDP and veth allow, not a balancer.
- *busy cores*: user, nice, system and interrupt time of the whole machine over the trial, from /proc/stat: every
  process, the sender (always \"one core\" at full rate), and the kernel's work for all of them. *Mpps a CPU-second* divides by it, so
  a second core does not make a subject better by itself. A program that polls is busy also when it waits.
- The sender's share cannot be taken out honestly: on veth the kernel's forwarding runs inside the sender's system
  calls and is booked as the sender's time. Hence the sum, the same for all, and the split above.
- *works on*: the programs have a core of their own. The kernel forwards where frames arrive: on the sender's core, or
  with receive packet steering (`rps_cpus`) on the core that the programs have. Both are shown.
- *limited by the sender*: the subject took at least 95 % of what was offered, or as much as arrives with nothing in
  between, so it was not at its end. A few per cent of loss are bursts: a receive ring that overflows in a pause. The
  99.9th percentile at half load shows such pauses too. The row without a subject is the sender with its two ports joined. A
  subject may pass it: what comes after the subject is then done on the subject's core, and no longer on the sender's.
- With RPS the sender's core only queues a frame for the other core. For the AF_XDP programs it also runs the steering program
  and copies the frame into their ring: so the sender itself is slower before them, and kernel routing with RPS can show more
  than any of them. A network card does that work on the subject's side in both cases.
- nftables: `dnat to jhash (address, port) mod 3 map`, the same three servers and change of port as ringlead's nat, to
  DNAT + SNAT eight addresses; TCP window tracking off (`nf_conntrack_tcp_be_liberal`, in its namespace), as ringlead has none.
  ringlead: defaults, one worker, maglev. testpmd: one forwarding core, burst 64, its driver's busy polling as it comes.

## What it does not say

- How fast any of them is on a network card. veth copies each frame and makes a socket buffer of it, at the sender and at
  the subject (AF_XDP in copy mode): the kernel is most of what is measured here, for all of them. Ratios count, and they
  are closer to 1 than on hardware. `ringlead bench core` shows what ringlead's own path costs.
- How any of them scales over cores; how they do with new connections, large frames, loss or attacks.
- Replies: only clients' frames are measured; they are what passes a balancer in every mode.
- Processor time is sampled by the kernel's tick on many systems: a single trial is good to about one part in fifty."
