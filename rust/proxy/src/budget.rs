//! The retry budget of an upstream: tries of a next peer are at most a share of its requests, so that
//! peers that are in trouble are not asked twice as much just then.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Thousandths of a retry.
const ONE: i64 = 1000;
/// What may be saved up: an upstream of few requests gets its retries too.
const MOST: i64 = 10 * ONE;

pub struct Budget {
    /// What each request adds.
    share: i64,
    left: AtomicI64,
}

impl Budget {
    pub fn new(percent: u32) -> Budget {
        Budget {
            share: i64::from(percent) * ONE / 100,
            left: AtomicI64::new(MOST),
        }
    }

    pub fn note_request(&self) {
        let more = |left: i64| Some((left + self.share).min(MOST));
        let _ = self.left.fetch_update(Relaxed, Relaxed, more);
    }

    /// Whether another peer may be tried; it is then counted.
    pub fn take(&self) -> bool {
        let less = |left: i64| (left >= ONE).then_some(left - ONE);
        self.left.fetch_update(Relaxed, Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let budget = Budget::new(20);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.note_request();
            retries += i32::from(budget.take());
        }
        assert_eq!(retries, 10 + 200 - 1); // the first share was above what may be saved
    }
}
