//! Quantities and names as people and viewers type them.

use std::time::Duration;

use common::wire::MAX_CHANNEL;

use crate::args::Hold;

/// Longest duration that is read. Far longer ones can add up to more seconds than a [`Duration`]
/// holds, and humantime 2.4 panics at the edge.
const MAX_DURATION_BYTES: usize = 16;

/// `250ms`, `2s`, `1m 30s`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let right = "right would be 250ms or 2s";
    if text.len() > MAX_DURATION_BYTES {
        return Err(format!("longer than {MAX_DURATION_BYTES} bytes; {right}"));
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; {right}"))
}

/// `10s`, or `off`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse_hold(text: &str) -> Result<Hold, String> {
    if text == "off" {
        return Ok(Hold(None));
    }
    let hold = parse_duration(text).map_err(|error| format!("{error}, or off"))?;
    Ok(Hold(Some(hold)))
}

/// `256MB`, `64MiB`, `1GB` or plain bytes.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `1280x720`, each side from 1 to `most`.
pub(super) fn parse_size(text: &str, most: u16) -> Option<(u16, u16)> {
    let (width, height) = text.split_once(['x', 'X'])?;
    let size = (width.parse().ok()?, height.parse().ok()?);
    let sides = 1..=most;
    (sides.contains(&size.0) && sides.contains(&size.1)).then_some(size)
}

/// `name=value`, neither of them empty.
pub(super) fn parse_pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let pair = (name.trim().to_owned(), value.trim().to_owned());
    (!pair.0.is_empty() && !pair.1.is_empty()).then_some(pair)
}

/// `[a-z0-9][a-z0-9_-]{0,63}`.
pub(super) fn is_channel_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins_well = name.bytes().next().is_some_and(is_plain);
    begins_well
        && name.len() <= MAX_CHANNEL
        && name
            .bytes()
            .all(|byte| is_plain(byte) || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_understood_and_never_overflow() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        let overflowing = parse_duration("18446744073709551615s1000ms");
        assert!(overflowing.is_err_and(|error| error.contains("longer than 16 bytes")));
        assert!(parse_duration("soon").is_err_and(|error| error.contains("right would be")));
    }

    #[test]
    fn units_are_understood() {
        assert_eq!(parse_bytes("256MB"), Some(256_000_000));
        assert_eq!(parse_bytes("64 MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("12"), Some(12));
        assert_eq!(parse_bytes("99999999999999999999"), None);
        for wrong in ["", "MB", "-1", "1.5GB", "12mb", "12 parsecs"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }
}
