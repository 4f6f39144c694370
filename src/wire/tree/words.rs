//! What numbers mean, in words: error codes, API keys, times.
//!
//! Rules this file keeps: a number is explained by its field's name, never replaced; what is not known stays a number.

use crate::wire::{ApiKey, ErrorCode, Kind};

/// What the number of a field means, if that can be said in a word: `UNKNOWN_TOPIC_OR_PARTITION`, `Fetch`, a time.
pub fn words(name: &str, kind: &Kind, number: i64) -> Option<String> {
    match kind {
        Kind::Int16 if is_error_code(name) => {
            let code = ErrorCode(i16::try_from(number).ok()?);
            Some(code.name().to_owned())
        }
        Kind::Int16 if matches!(name, "api_key" | "request_api_key") => {
            let key = ApiKey(i16::try_from(number).ok()?);
            Some(key.name().to_owned())
        }
        Kind::Int64 if is_time(name) => utc(number),
        _ => meaning(name, number).map(str::to_owned),
    }
}

pub(super) fn is_error_code(name: &str) -> bool {
    name == "error_code" || name.ends_with("_error_code")
}

fn is_time(name: &str) -> bool {
    name.contains("timestamp") || matches!(name, "log_append_time_ms" | "transaction_start_time_ms")
}

/// Small sets of numbers with a meaning each.
fn meaning(name: &str, number: i64) -> Option<&'static str> {
    Some(match (name, number) {
        ("acks", -1) => "all",
        ("isolation_level", 0) => "read uncommitted",
        ("isolation_level", 1) => "read committed",
        ("key_type", 0) => "group",
        ("key_type", 1) => "transaction",
        ("key_type", 2) => "share group",
        _ => return None,
    })
}

/// Milliseconds since 1970 as text, such as `2026-11-21T15:04:05.678Z`; `None` before 1970 and after 9999.
pub fn utc(milliseconds: i64) -> Option<String> {
    if !(0..AFTER_9999).contains(&milliseconds) {
        return None;
    }
    let (days, rest) = (milliseconds / DAY, milliseconds % DAY);
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    // Years that begin in March end with their leap day; an era is 400 of them.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let millisecond = rest % 1000;
    Some(format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millisecond:03}Z"))
}

const DAY: i64 = 86_400_000;
const AFTER_9999: i64 = 253_402_300_800_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let table = [
            (0, Some("1970-01-01T00:00:00.000Z")),
            (951_782_400_000, Some("2000-02-29T00:00:00.000Z")),
            (1_709_251_199_999, Some("2024-02-29T23:59:59.999Z")),
            (1_709_251_200_000, Some("2024-03-01T00:00:00.000Z")),
            (1_735_689_599_001, Some("2024-12-31T23:59:59.001Z")),
            (4_107_542_400_000, Some("2100-03-01T00:00:00.000Z")),
            (AFTER_9999 - 1, Some("9999-12-31T23:59:59.999Z")),
            (AFTER_9999, None),
            (-1, None),
            (i64::MIN, None),
        ];
        for (milliseconds, text) in table {
            assert_eq!(utc(milliseconds).as_deref(), text, "{milliseconds}");
        }
    }

    #[test]
    fn numbers_are_explained_by_their_names() {
        let table: [(&str, Kind, i64, Option<&str>); 8] = [
            ("error_code", Kind::Int16, 3, Some("UNKNOWN_TOPIC_OR_PARTITION")),
            ("partition_error_code", Kind::Int16, 0, Some("NONE")),
            ("error_code", Kind::Int16, 9999, Some("UNKNOWN")),
            ("error_code", Kind::Int32, 3, None),
            ("api_key", Kind::Int16, 18, Some("ApiVersions")),
            ("max_timestamp", Kind::Int64, 0, Some("1970-01-01T00:00:00.000Z")),
            ("retention_time_ms", Kind::Int64, 0, None),
            ("acks", Kind::Int16, -1, Some("all")),
        ];
        for (name, kind, number, expected) in table {
            assert_eq!(words(name, &kind, number).as_deref(), expected, "{name} {number}");
        }
    }
}
