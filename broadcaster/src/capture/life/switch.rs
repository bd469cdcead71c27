//! A channel goes over from one of its sources to another.

use std::sync::{Arc, Mutex};

use common::Clock;
use tracing::{error, info};

use super::super::watch::Backoff;
use super::{Life, State};
use crate::fanout::Publish;

impl<P: Publish, C: Clock> Life<P, C> {
    /// Goes over to another source of the channel if one is wanted. Until that is open the last picture
    /// stays, and its frames are numbered on. One that is opened on demand stays closed until somebody
    /// wants its pictures.
    pub(super) fn follow(&mut self) {
        let wanted = self.channel.sources.wanted();
        if wanted == self.place {
            return;
        }
        self.place = wanted;
        let source = self.channel.sources.name(wanted).to_owned();
        match (self.prepare)(wanted) {
            Ok(spare) => {
                info!(%source, "going over to another source");
                self.opener = Arc::new(Mutex::new(spare.opener));
                self.encoder = spare.encoder;
                self.backoff = Backoff::default();
                self.flowing_since = None;
                let until = self.clock.monotonic();
                self.close(match self.state {
                    State::Idle => State::Idle,
                    _ => State::Waiting { until },
                });
            }
            // The one there is goes on.
            Err(error) => error!(%source, %error, "not gone over to another source"),
        }
    }
}
