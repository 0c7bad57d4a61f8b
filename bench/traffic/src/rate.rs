//! How fast: packets a second, bits a second, a share of the line, or as fast as it goes.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes that a frame takes on the wire besides itself: preamble, start delimiter and the gap (IEEE 802.3 §3.1.1, §4.4.2).
pub const WIRE_OVERHEAD: f64 = 20.0;

/// A requested rate.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// Packets a second.
    Pps(f64),
    /// Bits a second of whole frames, checksum (FCS) included, gaps not: the layer 2 rate.
    Bps(f64),
    /// Percent of what the sending ports' line carries, gaps counted (RFC 2544 §20).
    Percent(f64),
    /// As a capture was recorded, frame by frame; captures only.
    Recorded,
    /// As fast as the sender can; there is no plan to fall behind.
    Full,
}

impl Rate {
    /// Packets a second for frames of `mean_len` bytes, FCS included, on ports of `line_bps` bits a second together.
    /// `None` for [`Full`](Self::Full) and [`Recorded`](Self::Recorded).
    ///
    /// # Errors
    /// When a share of the line is wanted and the line's speed is not known.
    pub fn pps(self, mean_len: f64, line_bps: Option<f64>) -> Result<Option<f64>, String> {
        match self {
            Self::Pps(pps) => Ok(Some(pps)),
            Self::Bps(bps) => Ok(Some(bps / 8.0 / mean_len)),
            Self::Percent(percent) => {
                let line = line_bps.ok_or("the port does not tell its speed: give the rate in pps or bps")?;
                Ok(Some(line * percent / 100.0 / 8.0 / (mean_len + WIRE_OVERHEAD)))
            }
            Self::Full | Self::Recorded => Ok(None),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    /// `500kpps`, `1.5Mpps`, `250000` (packets a second), `10Gbps`, `50%`, `full`, `recorded`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("full") {
            return Ok(Self::Full);
        }
        if text.eq_ignore_ascii_case("recorded") {
            return Ok(Self::Recorded);
        }
        let lower = text.to_ascii_lowercase();
        let (number, make): (&str, fn(f64) -> Self) = if let Some(number) = lower.strip_suffix("pps") {
            (number, Self::Pps)
        } else if let Some(number) = lower.strip_suffix("bps").or_else(|| lower.strip_suffix("bit/s")) {
            (number, Self::Bps)
        } else if let Some(number) = lower.strip_suffix('%') {
            (number, Self::Percent)
        } else {
            (lower.as_str(), Self::Pps)
        };
        let value = scaled(number).filter(|value| value.is_finite() && *value > 0.0);
        let rate = value.map(make).ok_or_else(|| {
            format!("'{text}' is no rate: 500kpps, 1.5Mpps, 10Gbps, 50% or full, and above zero")
        })?;
        match rate {
            Self::Percent(percent) if percent > 100.0 => Err(format!("{text}: a line has 100 %")),
            Self::Pps(pps) if pps > 1e9 => Err(format!("{text}: more than 1000 Mpps")),
            Self::Bps(bps) if bps > 1e13 => Err(format!("{text}: more than 10 Tbit/s")),
            Self::Percent(_) | Self::Pps(_) | Self::Bps(_) | Self::Full | Self::Recorded => Ok(rate),
        }
    }
}

/// A number with a unit prefix: `500k`, `1.5M`, `10G`.
pub(crate) fn scaled(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 1e3),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 1e6),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 1e9),
        _ => (text, 1.0),
    };
    number.trim().parse::<f64>().ok().map(|number| number * scale)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pps(pps) => write!(f, "{}pps", Short(*pps)),
            Self::Bps(bps) => write!(f, "{}bps", Short(*bps)),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Recorded => f.write_str("recorded"),
            Self::Full => f.write_str("full"),
        }
    }
}

/// A number with a unit prefix, three digits behind the point at most.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, prefix) = match self.0 {
            value if value >= 1e9 => (1e9, "G"),
            value if value >= 1e6 => (1e6, "M"),
            value if value >= 1e3 => (1e3, "k"),
            _ => (1.0, ""),
        };
        let text = format!("{:.3}", self.0 / scale);
        write!(f, "{}{prefix}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, rate, shown) in [
            ("500kpps", Rate::Pps(500e3), "500kpps"),
            ("1.5Mpps", Rate::Pps(1.5e6), "1.5Mpps"),
            ("250000", Rate::Pps(250e3), "250kpps"),
            ("10Gbps", Rate::Bps(10e9), "10Gbps"),
            ("50%", Rate::Percent(50.0), "50%"),
            ("full", Rate::Full, "full"),
            ("recorded", Rate::Recorded, "recorded"),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string(), shown);
        }
        for text in ["", "pps", "-1kpps", "0", "101%", "fast", "nanpps", "2000Mpps"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_of_ten_gigabits_carries_14_88_mpps_of_64_bytes() {
        let pps = Rate::Percent(100.0).pps(64.0, Some(10e9)).unwrap().unwrap();
        assert!((pps - 14_880_952.0).abs() < 1.0, "{pps}");
        assert!(Rate::Percent(100.0).pps(64.0, None).is_err());
        assert_eq!(Rate::Bps(512e6).pps(64.0, None), Ok(Some(1e6)));
        assert_eq!(Rate::Full.pps(64.0, None), Ok(None));
    }
}
