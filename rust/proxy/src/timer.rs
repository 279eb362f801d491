//! A coarse timing wheel. One node per connection, indexed by its slot, so memory is bounded by the
//! connections and nothing is left behind by closed ones. A deadline that moves later is not moved
//! in the wheel: the owner looks at its real deadline when the node comes up, and sets it again.

const TICK_MS: u64 = 32;
const BUCKETS: usize = 2048; // 65 s ahead; what lies beyond comes up early and is set again
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    tick: u64, // 0: not in the wheel
}

pub struct Wheel {
    heads: Vec<u32>,
    nodes: Vec<Node>,
    now_tick: u64,
    next_tick: u64, // no node is due before
}

impl Wheel {
    pub fn new(now_ms: u64) -> Wheel {
        Wheel {
            heads: vec![NONE; BUCKETS],
            nodes: Vec::new(),
            now_tick: now_ms / TICK_MS,
            next_tick: u64::MAX,
        }
    }

    /// Wake `index` no later than the first tick after `deadline_ms`.
    pub fn set(&mut self, index: u32, deadline_ms: u64) {
        let most = self.now_tick + BUCKETS as u64 - 1;
        let tick = (deadline_ms / TICK_MS + 1).clamp(self.now_tick + 1, most);
        if self.nodes.len() <= index as usize {
            let empty = Node {
                previous: NONE,
                next: NONE,
                tick: 0,
            };
            self.nodes.resize(index as usize + 1, empty);
        }
        let current = self.nodes[index as usize].tick;
        if current != 0 && current <= tick {
            return;
        }
        self.remove(index);
        let head = &mut self.heads[tick as usize % BUCKETS];
        self.nodes[index as usize] = Node {
            previous: NONE,
            next: *head,
            tick,
        };
        if *head != NONE {
            self.nodes[*head as usize].previous = index;
        }
        *head = index;
        self.next_tick = self.next_tick.min(tick);
    }

    pub fn remove(&mut self, index: u32) {
        let Some(&Node {
            previous,
            next,
            tick,
        }) = self.nodes.get(index as usize)
        else {
            return;
        };
        if tick == 0 {
            return;
        }
        if previous == NONE {
            self.heads[tick as usize % BUCKETS] = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        self.nodes[index as usize].tick = 0;
    }

    /// Take out every node that is due.
    pub fn due(&mut self, now_ms: u64, out: &mut Vec<u32>) {
        let now_tick = now_ms / TICK_MS;
        if now_tick < self.next_tick {
            self.now_tick = now_tick;
            return;
        }
        let first = self.next_tick;
        let last = now_tick.min(first + BUCKETS as u64 - 1);
        for tick in first..=last {
            while self.heads[tick as usize % BUCKETS] != NONE {
                let index = self.heads[tick as usize % BUCKETS];
                self.remove(index);
                out.push(index);
            }
        }
        self.now_tick = now_tick;
        self.next_tick = (now_tick + 1..now_tick + BUCKETS as u64)
            .find(|tick| self.heads[*tick as usize % BUCKETS] != NONE)
            .unwrap_or(u64::MAX);
    }

    /// Milliseconds until something may be due; None if nothing ever is.
    pub fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        (self.next_tick != u64::MAX).then(|| (self.next_tick * TICK_MS).saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.due(now, &mut out);
        out.sort_unstable();
        out
    }

    #[test]
    fn comes_up_once_and_never_early() {
        let mut wheel = Wheel::new(10_000);
        wheel.set(3, 10_500);
        wheel.set(4, 10_500);
        assert!(due(&mut wheel, 10_499).is_empty());
        assert_eq!(due(&mut wheel, 10_600), [3, 4]);
        assert!(due(&mut wheel, 20_000).is_empty());
        assert_eq!(wheel.wait_ms(20_000), None);
    }

    #[test]
    fn an_earlier_deadline_moves_and_a_later_one_does_not() {
        let mut wheel = Wheel::new(0);
        wheel.set(1, 5_000);
        wheel.set(1, 1_000);
        wheel.set(1, 9_000);
        assert_eq!(due(&mut wheel, 1_100), [1]);
    }

    #[test]
    fn a_removed_node_stays_away_and_its_neighbours_stay() {
        let mut wheel = Wheel::new(0);
        for index in 0..5 {
            wheel.set(index, 700);
        }
        wheel.remove(2);
        wheel.remove(4);
        assert_eq!(due(&mut wheel, 1_000), [0, 1, 3]);
    }

    #[test]
    fn far_deadlines_come_up_within_the_wheel() {
        let mut wheel = Wheel::new(0);
        wheel.set(1, 10_000_000);
        assert_eq!(due(&mut wheel, 70_000), [1]);
    }
}
