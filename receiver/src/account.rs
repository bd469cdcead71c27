//! What one receiver got and what it missed, told by the frames' identities alone.
//!
//! A placeholder changes nothing but its own count: it bears the identity of a frame that was
//! counted already.

use std::ops::{Add, Sub};

use common::{Head, Identity};

/// Counts of one receiver, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames that were new.
    pub frames: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// Jumps in the sequence.
    pub gaps: u64,
    /// Frames missing in these jumps.
    pub skipped: u64,
    /// Frames that were not ahead of the last one of the same epoch.
    pub duplicates: u64,
    /// Changes of the epoch.
    pub restarts: u64,
    /// Stand-ins for a picture that is missing.
    pub placeholders: u64,
    /// Messages or parts that were not what they should be.
    pub damaged: u64,
}

impl Counts {
    /// Share of the frames that came, of those and the skipped ones; 1 when nothing was skipped.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 53 bits"
    )]
    pub fn delivered(&self) -> f64 {
        if self.skipped == 0 {
            return 1.0;
        }
        self.frames as f64 / (self.frames as f64 + self.skipped as f64)
    }

    /// Frames of one receiver that came since `earlier` because time went by. All new ones but its
    /// very first: that one was there already, and tells nothing of the rate.
    #[must_use]
    pub const fn flow_since(&self, earlier: &Self) -> u64 {
        let frames = self.frames.saturating_sub(earlier.frames);
        match earlier.frames {
            0 => frames.saturating_sub(1),
            _ => frames,
        }
    }

    fn zip(self, other: Self, each: fn(u64, u64) -> u64) -> Self {
        Self {
            frames: each(self.frames, other.frames),
            bytes: each(self.bytes, other.bytes),
            gaps: each(self.gaps, other.gaps),
            skipped: each(self.skipped, other.skipped),
            duplicates: each(self.duplicates, other.duplicates),
            restarts: each(self.restarts, other.restarts),
            placeholders: each(self.placeholders, other.placeholders),
            damaged: each(self.damaged, other.damaged),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

/// What was counted between an earlier state of the same counts and this one.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }
}

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A frame that was not there before.
    New,
    /// A frame that was, or that comes too late.
    Duplicate,
    /// No frame at all.
    Placeholder,
}

/// The account of one receiver.
///
/// ```
/// use common::{Flags, Format, Head, Identity, Timestamp};
/// use receiver::account::{Account, Kind};
///
/// let head = |seq| Head {
///     identity: Identity { epoch: 1, seq },
///     captured_at: Timestamp::default(),
///     format: Format::Opaque,
///     width: 0,
///     height: 0,
///     flags: Flags::KEY,
///     hops: 0,
/// };
/// let mut account = Account::default();
/// account.add(&head(5), 100);
/// account.add(&head(8), 100);
/// assert_eq!(account.add(&head(8), 100), Kind::Duplicate);
/// assert_eq!(account.counts().skipped, 2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Account {
    counts: Counts,
    last: Option<Identity>,
}

impl Account {
    /// Counts a frame of `bytes` encoded bytes and says what it is.
    pub fn add(&mut self, head: &Head, bytes: usize) -> Kind {
        if head.is_placeholder() {
            self.counts.placeholders += 1;
            return Kind::Placeholder;
        }
        let Identity { epoch, seq } = head.identity;
        match self.last {
            Some(last) if last.epoch != epoch => self.counts.restarts += 1,
            Some(last) if seq <= last.seq => {
                self.counts.duplicates += 1;
                return Kind::Duplicate;
            }
            Some(last) if seq - last.seq > 1 => {
                self.counts.gaps += 1;
                self.counts.skipped = self.counts.skipped.saturating_add(seq - last.seq - 1);
            }
            _ => {}
        }
        self.last = Some(head.identity);
        self.counts.frames += 1;
        self.counts.bytes += bytes as u64;
        Kind::New
    }

    /// All counts so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Flags, Format, Timestamp};

    fn head((epoch, seq): (u64, u64), flags: Flags) -> Head {
        Head {
            identity: Identity { epoch, seq },
            captured_at: Timestamp::default(),
            format: Format::Jpeg,
            width: 1,
            height: 1,
            flags,
            hops: 0,
        }
    }

    fn counts(identities: &[(u64, u64)]) -> Counts {
        let mut account = Account::default();
        for &identity in identities {
            account.add(&head(identity, Flags::KEY), 10);
        }
        account.counts()
    }

    #[test]
    fn jumps_are_gaps_and_what_they_jump_over_is_skipped() {
        let counts = counts(&[(1, 7), (1, 8), (1, 10), (1, 20)]);
        assert_eq!((counts.frames, counts.bytes), (4, 40));
        assert_eq!((counts.gaps, counts.skipped), (2, 10));
        assert!((counts.delivered() - 4.0 / 14.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_ahead_is_a_duplicate_and_leaves_the_place() {
        let counts = counts(&[(1, 7), (1, 7), (1, 3), (1, 8)]);
        assert_eq!((counts.frames, counts.duplicates, counts.gaps), (2, 2, 0));
    }

    #[test]
    fn another_epoch_is_a_restart_never_a_gap() {
        let counts = counts(&[(1, 7), (2, 900), (2, 901), (1, 5)]);
        assert_eq!((counts.restarts, counts.gaps, counts.duplicates), (2, 0, 0));
        assert_eq!(counts.frames, 4);
    }

    #[test]
    fn placeholders_count_as_nothing_else() {
        let mut account = Account::default();
        account.add(&head((1, 7), Flags::KEY), 10);
        let kind = account.add(&head((1, 7), Flags::KEY.with(Flags::PLACEHOLDER)), 10);
        assert_eq!(kind, Kind::Placeholder);
        account.add(&head((1, 8), Flags::KEY), 10);
        let expected = Counts {
            frames: 2,
            bytes: 20,
            placeholders: 1,
            ..Counts::default()
        };
        assert_eq!(account.counts(), expected);
    }

    #[test]
    fn the_first_frame_is_no_part_of_the_flow() {
        let at = |frames| Counts {
            frames,
            ..Counts::default()
        };
        assert_eq!(at(0).flow_since(&at(0)), 0);
        assert_eq!(at(31).flow_since(&at(0)), 30);
        assert_eq!(at(61).flow_since(&at(31)), 30);
    }

    #[test]
    fn the_widest_jump_overflows_nothing() {
        let counts = counts(&[(1, 0), (1, u64::MAX), (2, 0), (2, u64::MAX)]);
        assert_eq!(counts.skipped, u64::MAX);
        assert!(counts.delivered() < 1e-9);
    }

    #[test]
    fn nothing_at_all_counts_as_delivered() {
        assert!((Counts::default().delivered() - 1.0).abs() < f64::EPSILON);
    }
}
