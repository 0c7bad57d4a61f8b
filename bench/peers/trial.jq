# One trial: the sender's record and the samples of the processors, as one line.
# Counted is the time between the first $ramp and the last half of it, by both clocks.

def numbers: split("\n") | map(select(length > 0) | split(" ") | map(tonumber));

# A line of samples at time $t, between the two that enclose it.
def at($t): . as $all
    | ([range(0; length - 1) | select($all[. + 1][0] > $t)] | first // (($all | length) - 2)) as $i
    | $all[$i] as $a | $all[$i + 1] as $b
    | (($t - $a[0]) / ($b[0] - $a[0])) as $part
    | [range(0; $a | length) | $a[.] + ($b[.] - $a[.]) * $part];

.outcome as $o
| ($ramp / 1000) as $from
| (($ms - $ramp / 2) / 1000) as $to
| ($samples | numbers) as $s
| ($s | at($o.started_at + $from)) as $a
| ($s | at($o.started_at + $to)) as $b
| ([range(0; $a | length) | ($b[.] - $a[.]) / 100]) as $used
| ($o.intervals | map(select(.at_s >= $from - 0.001 and .at_s + .seconds <= $to + 0.001))) as $steady
| (($steady | map(.seconds) | add) // 0) as $seconds
| {
    $subject, $cell, $round, $foreign,
    mpps: (if $seconds > 0 then ($steady | map(.received) | add) / $seconds / 1e6 else 0 end),
    sent_mpps: (if $seconds > 0 then ($steady | map(.sent) | add) / $seconds / 1e6 else 0 end),
    loss: (if $o.sent > 0 then $o.lost / $o.sent else 0 end),
    prime_lost: $o.odd.prime_lost,
    invalid: ($o.invalid | if . == null then null else .why end),
    # The columns of /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice.
    busy: (($used[1] + $used[2] + $used[3] + $used[6] + $used[7]) / ($to - $from)),
    user: (($used[1] + $used[2]) / ($to - $from)),
    system: ($used[3] / ($to - $from)),
    softirq: (($used[6] + $used[7]) / ($to - $from)),
    steal: ($used[8] / ($to - $from)),
    sender: ($used[11] / ($to - $from)),
    program: ($used[12] / ($to - $from)),
    latency: ($o.latency | if . == null then null else {p50: .p50_ns, p99: .p99_ns, p999: .p99_9_ns} end)
}
