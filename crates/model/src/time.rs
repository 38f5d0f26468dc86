//! Time: UTC milliseconds inside, RFC 3339 at the edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl Timestamp {
    /// The moment `ms` milliseconds after 1970.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// `ms` milliseconds later (earlier when negative); stays at the ends of time.
    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    fn zoned(self, zone: jiff::tz::TimeZone) -> Option<jiff::ZonedDateTime> {
        jiff::Timestamp::from_millisecond(self.0).ok().map(|t| t.to_zoned_datetime(zone))
    }

    /// The day in the IANA zone `zone`, as `2026-11-25`; UTC where the zone is unknown.
    pub fn date_in(self, zone: &str) -> String {
        let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        self.zoned(zone).map_or_else(String::new, |t| t.date().to_string())
    }

    /// Date, time, zone and offset for people, as `2026-11-25 20:01:22 UTC (+00:00)`.
    pub fn words_in(self, zone: &str) -> String {
        let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        self.zoned(zone).map_or_else(String::new, |t| t.strftime("%Y-%m-%d %H:%M:%S %Z (%:z)").to_string())
    }
}

/// Whether `zone` is an IANA zone that this build knows.
pub fn is_zone(zone: &str) -> bool {
    jiff::tz::TimeZone::get(zone).is_ok()
}

/// Reads an ISO 8601 duration in days, hours, minutes and seconds (`P3D`, `PT36H`), as milliseconds above zero.
pub fn duration_ms(text: &str) -> Option<i64> {
    duration_ms_or_zero(text).filter(|ms| *ms > 0)
}

/// The same, where nothing at all (`PT0S`) is one too.
pub fn duration_ms_or_zero(text: &str) -> Option<i64> {
    // jiff also reads words ("3 days"): ISO 8601 begins with P.
    let span: jiff::SignedDuration = text
        .strip_prefix('P')
        .and(Some(text))?
        .parse::<jiff::Span>()
        .ok()
        .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok())?;
    i64::try_from(span.as_millis()).ok().filter(|ms| *ms >= 0)
}

impl Timestamp {
    /// `2026-11-25T20:01:22.007Z`, for years of four digits. By hand: it is written some times in every request, and costs
    /// a tenth of what a library for every format does.
    fn written(self) -> Option<[u8; 24]> {
        let (days, in_day) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        // From the first of March of year 0 on, a year's leap day is its last (Hinnant, "chrono-compatible low-level date
        // algorithms"): 719,468 days before 1970; 146,097 days are 400 years.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + i64::from(month <= 2);
        if !(0..=9_999).contains(&year) {
            return None;
        }
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let parts = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, in_day / HOUR_MS),
            (14, 2, in_day / MINUTE_MS % 60),
            (17, 2, in_day / SECOND_MS % 60),
            (20, 3, in_day % SECOND_MS),
        ];
        for (start, width, mut rest) in parts {
            for place in text[start..start + width].iter_mut().rev() {
                // A digit: 0 to 9.
                *place = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        Some(text)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written() {
            Some(text) => f.write_str(std::str::from_utf8(&text).unwrap_or_default()),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is RFC 3339 with an offset, such as 2026-11-25T20:01:22Z, before 9999-12-31")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time = text.parse::<jiff::Timestamp>().map_err(|_| NotATime)?;
        let time = Self(time.as_millisecond());
        // What could not be written again as it was read is none of ours.
        if has_offset(text) && time.written().is_some() { Ok(time) } else { Err(NotATime) }
    }
}

/// Whether it ends as RFC 3339, 5.6 has it, with `Z` or an offset of hours and minutes: jiff reads more, such as a zone's name.
fn has_offset(text: &str) -> bool {
    match text.as_bytes() {
        [.., b'Z' | b'z'] => true,
        [.., b'+' | b'-', h1 @ b'0'..=b'2', h2 @ b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9'] => {
            (*h1, *h2) < (b'2', b'4')
        }
        _ => false,
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_edge_is_rfc_3339_with_milliseconds() {
        let time = Timestamp::from_millis(1_764_100_882_007);
        assert_eq!(time.to_string(), "2025-11-25T20:01:22.007Z");
        assert_eq!("2025-11-25T21:01:22.007+01:00".parse(), Ok(time));
        for text in [
            "2025-11-25",
            "2025-11-25T21:01:22",
            "2025-11-25T21:01:22+24:00",
            "2025-11-25T21:01:22+01:00:01",
            "2025-11-25T21:01:22+0100",
            "2025-11-25T21:01:22Z[Europe/Berlin]",
            "-000001-01-01T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
        assert_eq!(time.date_in("Asia/Tokyo"), "2025-11-26");
        assert_eq!(time.words_in("Europe/Berlin"), "2025-11-25 21:01:22 CET (+01:00)");
    }

    proptest! {
        #[test]
        fn every_moment_is_written_as_a_library_does(ms in -62_167_219_200_000_i64..253_402_207_200_000) {
            let library = jiff::Timestamp::from_millisecond(ms).expect("within its range");
            prop_assert_eq!(Timestamp::from_millis(ms).to_string(), format!("{library:.3}"));
        }
    }

    #[test]
    fn leap_days_and_the_ends_of_years_are_written() {
        for text in [
            "0000-01-01T00:00:00.000Z",
            "1900-02-28T23:59:59.999Z",
            "1900-03-01T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00.000Z",
            "2000-02-29T12:34:56.789Z",
            "2024-12-31T23:59:59.999Z",
            "9999-12-30T00:00:00.000Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().expect("a time").to_string(), text);
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), format!("{}ms", i64::MAX));
    }

    #[test]
    fn durations_are_iso_8601_and_positive() {
        assert_eq!(duration_ms("P3D"), Some(3 * DAY_MS));
        assert_eq!(duration_ms("PT36H"), Some(36 * HOUR_MS));
        for text in ["", "3 days", "-P1D", "P1M", "PT0S"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
        assert_eq!((duration_ms_or_zero("PT0S"), duration_ms_or_zero("-P1D")), (Some(0), None));
    }
}
