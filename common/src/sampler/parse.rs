//! The kernel's text files under `/proc`, as numbers. Pure functions, no files.
//!
//! Source of every layout: proc(5). A kernel may add fields at the end of a line and lines
//! anywhere; neither disturbs these parsers.

/// The fields of `/proc/PID/stat` that a sample needs. All of them count the whole process,
/// threads that have ended included, except `threads` and what is said to be of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// `R`, `S`, `D`, …; `Z` and `X` are a process that has ended.
    pub(super) state: char,
    /// Whose child it is; that changes when a parent ends.
    pub(super) parent: u32,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// Clock ticks in user mode.
    pub(super) user_ticks: u64,
    /// Clock ticks in the kernel.
    pub(super) system_ticks: u64,
    /// Clock ticks in user mode of children that have been waited for, and of theirs.
    pub(super) reaped_user_ticks: u64,
    /// The same in the kernel.
    pub(super) reaped_system_ticks: u64,
    /// Threads alive now.
    pub(super) threads: u64,
    /// Clock ticks from the machine's start to the process's start: with the pid, its identity.
    pub(super) started_ticks: u64,
}

/// Reads one line of `/proc/PID/stat`. The error names the first field that is missing.
///
/// The second field is the program's own name in parentheses, which may itself contain spaces,
/// line ends and parentheses; all that follows are numbers, so the last `)` ends it.
pub(super) fn stat(text: &str) -> Result<Stat, &'static str> {
    let (_, after_name) = text.rsplit_once(')').ok_or("process name")?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let number = |position: usize, what: &'static str| {
        // proc(5) counts from 1 and the state is field 3.
        let field = fields.get(position - 3).ok_or(what)?;
        field.parse::<u64>().map_err(|_| what)
    };
    let parent = number(4, "ppid")?;
    let state = fields.first().and_then(|field| field.chars().next());
    Ok(Stat {
        state: state.ok_or("state")?,
        parent: u32::try_from(parent).map_err(|_| "ppid")?,
        minor_faults: number(10, "minflt")?,
        major_faults: number(12, "majflt")?,
        user_ticks: number(14, "utime")?,
        system_ticks: number(15, "stime")?,
        reaped_user_ticks: number(16, "cutime")?,
        reaped_system_ticks: number(17, "cstime")?,
        threads: number(20, "num_threads")?,
        started_ticks: number(22, "starttime")?,
    })
}

/// The number on the line that starts with `key` (colon included).
///
/// A program cannot forge such a line in `/proc/PID/status`: line ends in its name are escaped
/// there.
pub(super) fn value(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// The same for a line in the kernel's "kB" (1024 bytes), in bytes.
pub(super) fn bytes(text: &str, key: &str) -> Option<u64> {
    value(text, key).map(|kilobytes| kilobytes.saturating_mul(1024))
}

/// The number after the word `name` on the line that starts with `key`:
/// `TCP: inuse 3 orphan 0`.
pub(super) fn named(text: &str, key: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let mut words = rest.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "S 1 81 81 0 -1 4194304 900 11 7 12 345 678 13 14 20 0 29 0 425497 \
                          3133440 416 18446744073709551615 1 2 3 0 0 0 0 0 0 0 0 0 17 0 0 0";

    #[test]
    fn odd_names_do_not_move_the_fields() {
        let wanted = Stat {
            state: 'S',
            parent: 1,
            minor_faults: 900,
            major_faults: 7,
            user_ticks: 345,
            system_ticks: 678,
            reaped_user_ticks: 13,
            reaped_system_ticks: 14,
            threads: 29,
            started_ticks: 425_497,
        };
        for name in [
            "sleep",
            "",
            "tokio worker 1",
            "a) R 1 2 3 4 5 6 7",
            "(((",
            ")))",
            ") (",
            "line\nend",
            "\u{fffd}",
        ] {
            let text = format!("4711 ({name}) {FIELDS}\n");
            assert_eq!(stat(&text), Ok(wanted), "{name:?}");
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_an_error_or_complete() {
        let text = format!("4711 (a b) {FIELDS}");
        let whole = stat(&text);
        let needed = text.find("425497").expect("the start time is in there");
        for end in 0..needed {
            assert!(stat(&text[..end]).is_err(), "{:?}", &text[..end]);
        }
        assert_eq!(stat(&text[..needed + 6]), whole);
        assert_eq!(stat("4711 (a b) S"), Err("ppid"));
        assert_eq!(stat("4711 (a b) S 1 2 3"), Err("minflt"));
    }

    #[test]
    fn keyed_lines() {
        let status = "Name:\tVmHWM: 5 kB\nVmHWM:\t    1776 kB\nvoluntary_ctxt_switches:\t12\n\
                      nonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(bytes(status, "VmHWM:"), Some(1776 * 1024));
        assert_eq!(value(status, "voluntary_ctxt_switches:"), Some(12));
        assert_eq!(value(status, "nonvoluntary_ctxt_switches:"), Some(3));
        assert_eq!(value(status, "VmRSS:"), None);
        // `Pss:` must not take `Pss_Dirty:`.
        assert_eq!(
            bytes("Pss_Dirty: 9 kB\nPss: 315 kB\n", "Pss:"),
            Some(322_560)
        );
    }

    #[test]
    fn named_numbers() {
        let sockstat = "sockets: used 19\nTCP: inuse 3 orphan 4 tw 2 alloc 5 mem 186\n";
        assert_eq!(named(sockstat, "TCP:", "inuse"), Some(3));
        assert_eq!(named(sockstat, "TCP:", "mem"), Some(186));
        assert_eq!(named(sockstat, "TCP:", "memory"), None);
        assert_eq!(named(sockstat, "UDP:", "mem"), None);
    }
}
