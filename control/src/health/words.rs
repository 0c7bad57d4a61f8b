//! Durations for people.

use std::time::Duration;

/// "1 s", "250 ms", "1.5 s", "2 min": as short as it can be said without lying by more than a millisecond.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => format!("{} µs", duration.as_micros()),
        1..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{} s", thousandths(ms)),
        _ if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ => format!("{} min {} s", ms / 60_000, thousandths(ms % 60_000)),
    }
}

/// 1500 -> "1.5", 2000 -> "2".
fn thousandths(ms: u128) -> String {
    let fraction = format!("{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{}", ms / 1000) } else { format!("{}.{fraction}", ms / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_person_would_say() {
        let cases = [
            (0, "0 µs"),
            (400, "400 µs"),
            (250_000, "250 ms"),
            (1_000_000, "1 s"),
            (1_500_000, "1.5 s"),
            (2_050_000, "2.05 s"),
            (10_000_000, "10 s"),
            (120_000_000, "2 min"),
            (61_500_000, "1 min 1.5 s"),
        ];
        for (micros, words) in cases {
            assert_eq!(in_words(Duration::from_micros(micros)), words);
        }
    }
}
