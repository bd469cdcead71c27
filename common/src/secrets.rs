//! Passwords stay out of what is printed.

/// What stands in their place.
const MASK: &str = "***";

/// The text with the password of every address in it masked: what stands between the first `:` and
/// the last `@` before the path.
///
/// ```
/// assert_eq!(common::secrets::mask("http://me:secret@cam/"), "http://me:***@cam/");
/// ```
#[must_use]
pub fn mask(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find("://") {
        let (scheme, behind) = rest.split_at(begin + 3);
        masked += scheme;
        let end = behind.find(|char: char| matches!(char, '/' | '?' | '#') || char.is_whitespace());
        // In a list the next address may follow at once.
        let next = behind.find(",amqp").unwrap_or(behind.len());
        let (authority, behind) = behind.split_at(end.unwrap_or(behind.len()).min(next));
        masked += &masked_user(authority);
        rest = behind;
    }
    masked + rest
}

/// The same for a text that was to be an address and is none, so that nobody knows where its
/// password ends: masked up to the last `@`, which may be more than the password.
#[must_use]
pub fn mask_refused(text: &str) -> String {
    let scheme = text.find("://").map_or(0, |begin| begin + 3);
    let (scheme, behind) = text.split_at(scheme);
    scheme.to_owned() + &masked_user(behind)
}

/// `USER:PASSWORD@HOST` without the password.
fn masked_user(text: &str) -> String {
    let parts = text.rsplit_once('@');
    let parts = parts.and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
    match parts {
        Some((user, host)) => format!("{user}:{MASK}@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_and_nothing_else() {
        for (text, masked) in [
            ("http://cam/video?a=b:c@d", "http://cam/video?a=b:c@d"),
            ("http://me@cam/", "http://me@cam/"),
            ("http://me:secret@cam:80/", "http://me:***@cam:80/"),
            ("http://me:se@cr:et@cam", "http://me:***@cam"),
            ("tcp://[::1]:7400/main", "tcp://[::1]:7400/main"),
            (
                "amqp://a:b@one:1/%2f,amqp://c:d@two",
                "amqp://a:***@one:1/%2f,amqp://c:***@two",
            ),
            (
                "amqp://a:b@one,amqp://c:d@two",
                "amqp://a:***@one,amqp://c:***@two",
            ),
            ("amqp://a:b,c@one", "amqp://a:***@one"),
            ("pattern?bytes=9000", "pattern?bytes=9000"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    #[test]
    fn what_is_no_address_shows_no_password_wherever_it_may_be() {
        for (text, masked) in [
            ("nonsense", "nonsense"),
            ("me:secret@cam/stream", "me:***@cam/stream"),
            ("http//me:secret@cam", "http//me:***@cam"),
            ("http://me:sec/r?e#t t@cam/", "http://me:***@cam/"),
            ("tcp:me:secret@cam:7400", "tcp:***@cam:7400"),
            ("http://cam:port/", "http://cam:port/"),
        ] {
            assert_eq!(mask_refused(text), masked);
        }
    }
}
