//! The contracts, each written once and kept by everything that claims to keep it.
//!
//! * [`laws`]: what a reader gets of what a writer publishes, for every [`pairs::Pair`] of them.
//! * [`service`]: how a viewer is treated, for every driver and protocol.
//!
//! Each law is a test for each of them, so that a failure names both.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "../support/broker.rs"]
#[expect(dead_code, reason = "nothing is done to the broker here")]
mod broker;
mod exchange;
mod frames;
mod hall;
mod journal;
mod laws;
mod pairs;
mod peer;
mod service;

use broadcaster::config::DriverConfig;
use broadcaster::egress::Protocol;

use hall::Way;

/// A module with a test for each law that `$subject` keeps.
macro_rules! keeps {
    ($name:ident: $subject:expr => $laws:ident { $($law:ident),+ $(,)? }) => {
        mod $name {
            $(
                #[test]
                fn $law() {
                    crate::$laws::$law(&$subject);
                }
            )+
        }
    };
}

macro_rules! pair {
    ($name:ident: $pair:expr) => {
        keeps!($name: $pair => laws {
            a_reader_that_keeps_up_gets_every_payload,
            a_late_joiner_begins_at_the_newest_key_frame,
            an_overtaken_reader_goes_on_at_the_newest_key_frame,
            resuming_passes_over_all_before_the_newest_key_frame,
            the_count_is_kept_whatever_the_rhythm,
            publishing_never_waits_for_a_stopped_reader,
            many_readers_get_the_same_bytes,
            readers_come_and_go_and_nobody_else_notices,
            times_to_wait_are_kept,
            frames_published_together_arrive_in_order,
            what_is_left_is_handed_out_before_the_end,
        });
    };
}

macro_rules! service {
    ($name:ident: $way:expr, and over tcp) => {
        service!($name: $way, and {
            pings_are_answered_while_nothing_is_sent,
            garbage_ends_its_sender_at_once_and_nobody_else,
        });
    };
    ($name:ident: $way:expr, and over http) => {
        service!($name: $way, and {
            what_a_viewer_says_is_ignored,
        });
    };
    ($name:ident: $way:expr, and over ws) => {
        service!($name: $way, and {
            who_acknowledges_nothing_is_sent_two_frames_and_then_closed,
            questions_are_answered_while_nothing_is_sent,
            a_channel_is_sent_from_when_to_when_it_is_asked_for,
            nonsense_ends_its_sender_at_once_and_nobody_else,
        });
    };
    ($name:ident: $way:expr, and { $($own:ident),+ $(,)? }) => {
        keeps!($name: $way => service {
            the_newest_frame_comes_at_once_on_joining,
            every_frame_comes_in_order,
            stopped_viewers_cost_the_others_nothing,
            a_viewer_that_was_stopped_goes_on_with_the_newest_frame,
            a_slow_viewer_gets_fewer_frames_each_whole_and_fresh,
            a_stopped_viewer_is_closed_after_the_stall_limit,
            a_viewer_that_takes_little_but_steadily_is_kept,
            who_leaves_is_noticed_while_nothing_is_sent,
            the_end_comes_behind_a_whole_frame,
            what_viewers_got_is_counted_for_all_of_them_together,
            each_payload_is_counted_as_sent_or_skipped,
            $($own),+
        });
    };
}

const MULTIPLEX_TCP: Way = Way {
    driver: DriverConfig::Multiplex { workers: 2 },
    protocol: Protocol::Tcp,
};
const MULTIPLEX_HTTP: Way = Way {
    driver: DriverConfig::Multiplex { workers: 2 },
    protocol: Protocol::Http,
};
const MULTIPLEX_WS: Way = Way {
    driver: DriverConfig::Multiplex { workers: 2 },
    protocol: Protocol::Ws,
};
const THREADS_WS: Way = Way {
    driver: DriverConfig::Threads,
    protocol: Protocol::Ws,
};
const THREADS_TCP: Way = Way {
    driver: DriverConfig::Threads,
    protocol: Protocol::Tcp,
};
const THREADS_HTTP: Way = Way {
    driver: DriverConfig::Threads,
    protocol: Protocol::Http,
};

mod reader_of {
    pair!(ring: crate::pairs::InRing);
    pair!(exchange: crate::exchange::ThroughExchange);
    pair!(multiplex_tcp: crate::pairs::OverSockets(crate::MULTIPLEX_TCP));
    pair!(multiplex_http: crate::pairs::OverSockets(crate::MULTIPLEX_HTTP));
    pair!(threads_tcp: crate::pairs::OverSockets(crate::THREADS_TCP));
    pair!(threads_http: crate::pairs::OverSockets(crate::THREADS_HTTP));
    pair!(multiplex_ws: crate::pairs::OverSockets(crate::MULTIPLEX_WS));
    pair!(threads_ws: crate::pairs::OverSockets(crate::THREADS_WS));
}

mod viewer_of {
    service!(multiplex_tcp: crate::MULTIPLEX_TCP, and over tcp);
    service!(multiplex_http: crate::MULTIPLEX_HTTP, and over http);
    service!(threads_tcp: crate::THREADS_TCP, and over tcp);
    service!(threads_http: crate::THREADS_HTTP, and over http);
    service!(multiplex_ws: crate::MULTIPLEX_WS, and over ws);
    service!(threads_ws: crate::THREADS_WS, and over ws);
}
