//! Identities for pictures from servers that give none, or only half of one.
//!
//! What a part says of itself holds. What is missing is made up so that frames never repeat an
//! identity: the epoch is when the first part came, the sequence goes on over reconnects,
//! and a server whose own sequence begins anew after a reconnect has restarted.

use common::wire::mjpeg::PartHead;
use common::{Identity, Timestamp};

/// The last identity given, and what it takes to give the next.
#[derive(Debug, Default)]
pub(in crate::ingress) struct Numbering {
    last: Option<Identity>,
    is_reconnected: bool,
}

impl Numbering {
    /// Everything that comes from now on comes over another connection.
    pub(in crate::ingress) fn reconnect(&mut self) {
        self.is_reconnected = true;
    }

    /// The identity of a part that arrived at `arrived_at`.
    pub(super) fn identify(&mut self, head: &PartHead, arrived_at: Timestamp) -> Identity {
        let identity = Identity {
            epoch: head.epoch.unwrap_or_else(|| self.epoch(head, arrived_at)),
            seq: head.seq.unwrap_or_else(|| self.seq(head)),
        };
        self.is_reconnected = false;
        self.last = Some(identity);
        identity
    }

    fn epoch(&self, head: &PartHead, arrived_at: Timestamp) -> u64 {
        match (self.last, head.seq) {
            (None, _) => arrived_at.as_nanos(),
            // A placeholder repeats the last identity, and that is no restart.
            (Some(last), Some(seq)) if self.is_reconnected && seq < last.seq => {
                arrived_at.as_nanos()
            }
            (Some(last), _) => last.epoch,
        }
    }

    fn seq(&self, head: &PartHead) -> u64 {
        match self.last {
            None => 0,
            Some(last) if head.placeholder => last.seq,
            Some(last) => last.seq.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(seq: Option<u64>, epoch: Option<u64>) -> PartHead {
        PartHead {
            seq,
            epoch,
            ..PartHead::default()
        }
    }

    fn identify(numbering: &mut Numbering, head: &PartHead, at: u64) -> (u64, u64) {
        let identity = numbering.identify(head, Timestamp::from_nanos(at));
        (identity.epoch, identity.seq)
    }

    #[test]
    fn what_a_part_says_holds() {
        let mut numbering = Numbering::default();
        assert_eq!(
            identify(&mut numbering, &part(Some(9), Some(3)), 100),
            (3, 9)
        );
        numbering.reconnect();
        assert_eq!(
            identify(&mut numbering, &part(Some(2), Some(3)), 200),
            (3, 2)
        );
    }

    #[test]
    fn our_own_numbers_go_on_over_reconnects() {
        let mut numbering = Numbering::default();
        let bare = part(None, None);
        assert_eq!(identify(&mut numbering, &bare, 100), (100, 0));
        assert_eq!(identify(&mut numbering, &bare, 200), (100, 1));
        numbering.reconnect();
        assert_eq!(identify(&mut numbering, &bare, 300), (100, 2));
        let placeholder = PartHead {
            placeholder: true,
            ..bare
        };
        assert_eq!(identify(&mut numbering, &placeholder, 400), (100, 2));
    }

    #[test]
    fn a_foreign_sequence_that_begins_anew_after_a_reconnect_is_a_restart() {
        let mut numbering = Numbering::default();
        assert_eq!(
            identify(&mut numbering, &part(Some(50), None), 100),
            (100, 50)
        );
        // Without a reconnect it is a repetition.
        assert_eq!(
            identify(&mut numbering, &part(Some(49), None), 200),
            (100, 49)
        );
        numbering.reconnect();
        assert_eq!(
            identify(&mut numbering, &part(Some(60), None), 300),
            (100, 60)
        );
        numbering.reconnect();
        assert_eq!(
            identify(&mut numbering, &part(Some(0), None), 400),
            (400, 0)
        );
        assert_eq!(
            identify(&mut numbering, &part(Some(1), None), 500),
            (400, 1)
        );
    }
}
