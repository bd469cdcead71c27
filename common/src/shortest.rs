//! The shortest duration of late: what a line takes for itself, as far as it has shown.

use std::time::Duration;

use crate::Monotonic;

/// The shortest of what was added within one span to two.
#[derive(Debug, Clone)]
pub struct Shortest {
    span: Duration,
    /// Of the span before.
    before: Duration,
    /// Of this span.
    now: Duration,
    /// When this span ends.
    until: Monotonic,
}

impl Shortest {
    /// Nothing yet; what was added is forgotten after one `span` at least and two at most.
    #[must_use]
    pub const fn within(span: Duration) -> Self {
        Self {
            span,
            before: Duration::MAX,
            now: Duration::MAX,
            until: Monotonic::from_nanos(0),
        }
    }

    /// Takes one in; the shortest of late, this one included.
    pub fn add(&mut self, duration: Duration, now: Monotonic) -> Duration {
        if now >= self.until {
            let is_next = now < self.until + self.span;
            self.before = if is_next { self.now } else { Duration::MAX };
            self.now = duration;
            self.until = now + self.span;
        }
        self.now = self.now.min(duration);
        self.now.min(self.before)
    }

    /// The shortest of late; `None` before the first.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        let shortest = self.now.min(self.before);
        (shortest < Duration::MAX).then_some(shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_counts_until_it_is_long_ago() {
        let mut shortest = Shortest::within(Duration::from_secs(5));
        assert_eq!(shortest.get(), None);
        let mut add = |at: u64, millis: u64| {
            let now = Monotonic::from_nanos(0) + Duration::from_secs(100 + at);
            let least = shortest.add(Duration::from_millis(millis), now);
            assert_eq!(shortest.get(), Some(least));
            least.as_millis()
        };
        assert_eq!(add(0, 10), 10);
        assert_eq!(add(1, 400), 10);
        assert_eq!(add(6, 300), 10, "of the span before");
        assert_eq!(add(7, 200), 10);
        assert_eq!(add(11, 250), 200, "two spans later");
        assert_eq!(add(11, 20), 20);
        assert_eq!(add(30, 70), 70, "after a long pause");
    }
}
