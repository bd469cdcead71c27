//! What is wrong with the camera at the moment.

/// Faults, as the commands set them.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// No further frame begins.
    pub(crate) stalled: bool,
    /// No transfer is answered, also in the middle of a frame.
    pub(crate) silent: bool,
    /// So many of the next frames bear the error bit.
    pub(crate) damage: u32,
    /// So many of the next frames end after a third of their bytes.
    pub(crate) truncate: u32,
    /// So many of the next frames are taken but not sent.
    pub(crate) drop: u32,
}

/// What happens to one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Treatment {
    /// It bears the error bit.
    pub(crate) damaged: bool,
    /// It ends after a third of its bytes.
    pub(crate) truncated: bool,
    /// It is not sent.
    pub(crate) dropped: bool,
}

impl Faults {
    /// What happens to the next frame.
    pub(crate) fn treat(&mut self) -> Treatment {
        Treatment {
            damaged: count_down(&mut self.damage),
            truncated: count_down(&mut self.truncate),
            dropped: count_down(&mut self.drop),
        }
    }
}

fn count_down(left: &mut u32) -> bool {
    let is_due = *left > 0;
    *left = left.saturating_sub(1);
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_for_as_many_frames_as_were_asked_for() {
        let mut faults = Faults {
            damage: 2,
            drop: 1,
            ..Faults::default()
        };
        let seen = [(); 3].map(|()| faults.treat());
        assert_eq!(seen.map(|frame| frame.damaged), [true, true, false]);
        assert_eq!(seen.map(|frame| frame.dropped), [true, false, false]);
        assert_eq!(seen.map(|frame| frame.truncated), [false; 3]);
    }
}
