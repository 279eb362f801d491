use super::*;

fn address(index: usize) -> Address {
    Address::Ip(([127, 0, 0, 1], 1000 + index as u16).into())
}

fn group(weights: &[i64]) -> Group {
    let peer = |(index, weight): (usize, &i64)| Peer {
        weight: *weight,
        ..Peer::new(&format!("p{index}"), address(index))
    };
    let peers = weights.iter().enumerate().map(peer).collect();
    let keepalive = Keepalive {
        most: 32,
        timeout_ms: 60_000,
        requests: 1000,
        time_ms: 3_600_000,
    };
    Group::new(0, "g".into(), peers, keepalive)
}

fn order(group: &Group, count: usize, now: u64) -> String {
    let letter = |index: usize| char::from(b'a' + index as u8);
    let pick = || group.pick(&[], now, b"", b"").map_or('-', letter);
    (0..count).map(|_| pick()).collect()
}

#[test]
fn is_as_smooth_as_nginx() {
    assert_eq!(order(&group(&[5, 1, 1]), 7, 0), "aabacaa");
    assert_eq!(order(&group(&[1, 1]), 4, 0), "abab");
    assert_eq!(order(&group(&[3, 2, 1]), 6, 0), "abacba");
}

#[test]
fn a_failed_peer_is_passed_over_then_tried_by_one_request() {
    let group = group(&[1, 1]);
    assert_eq!(group.failed(0, 1_000), Change::Down);
    assert_eq!(order(&group, 4, 2_000), "bbbb");
    assert_eq!(order(&group, 1, 11_000), "b"); // the window is closed, not open, at its end
    let later = order(&group, 4, 11_001);
    assert_eq!(later.matches('a').count(), 1, "{later}");
    assert_eq!(group.succeeded(0, 11_001), Change::Up);
    assert!(order(&group, 4, 11_002).matches('a').count() >= 1);
}

#[test]
fn an_answer_from_before_the_failure_does_not_forgive() {
    let group = group(&[1, 1]);
    group.failed(0, 1_000);
    assert_eq!(group.succeeded(0, 11_001), Change::None);
    assert_eq!(order(&group, 3, 1_001), "bbb");
}

#[test]
fn few_connections_win() {
    let mut group = group(&[1, 1]);
    group.method = Method::LeastConnections;
    assert_eq!(order(&group, 3, 0), "abb");
    group.released(0, 0, None);
    assert_eq!(order(&group, 2, 0), "aa");
}

#[test]
fn a_full_peer_is_passed_over() {
    let mut group = group(&[1, 1]);
    group.peers[0].max_conns = 1;
    assert_eq!(order(&group, 4, 0), "abbb");
    group.released(0, 0, None);
    assert!(order(&group, 2, 0).contains('a'));
}

#[test]
fn a_lone_peer_is_never_lost_and_a_tried_one_is_not_tried_again() {
    let group = group(&[1]);
    group.failed(0, 1_000);
    assert_eq!(order(&group, 2, 1_001), "aa");
    assert_eq!(group.pick(&[0], 1_001, b"", b""), None);
}

#[test]
fn backups_serve_when_nobody_else_may() {
    let mut group = group(&[1, 1, 1]);
    group.peers[2].backup = true;
    assert_eq!(order(&group, 4, 0), "abab");
    group.failed(0, 1_000);
    group.failed(1, 1_000);
    assert_eq!(order(&group, 2, 1_001), "cc");
    group.peers[2].down = true;
    assert_eq!(order(&group, 1, 1_001), "-");
}

#[test]
fn state_survives_a_change_of_configuration_by_address() {
    let (old, mut new) = (group(&[1, 1]), group(&[1, 1, 1]));
    old.failed(1, 1_000);
    new.peers.swap(0, 1);
    new.inherit(&old);
    assert_eq!(new.states()[0].fails, 1);
    assert_eq!(new.states()[1].fails, 0);
}

#[test]
fn failures_add_up_until_a_try_after_the_window() {
    let mut group = group(&[1, 1]);
    group.peers[0].max_fails = 3;
    for at in [1_000, 1_010, 1_020] {
        group.failed(0, at);
        group.succeeded(0, at + 5);
    }
    assert_eq!(group.states()[0].fails, 3);
    assert_eq!(order(&group, 3, 1_030), "bbb");
}

#[test]
fn told_down_is_down_and_told_to_drain_serves_whom_it_knows() {
    let group = group(&[1, 1]);
    assert_eq!(group.set_peer("p0", Told::Down, 1), Some(Change::Down));
    assert_eq!(order(&group, 3, 1), "bbb");
    assert_eq!(
        group.set_peer("127.0.0.1:1000", Told::Up, 2),
        Some(Change::Up)
    );
    assert!(order(&group, 2, 2).contains('a'));
    group.set_peer("p0", Told::Drain, 3);
    assert_eq!(order(&group, 3, 3), "bbb");
    let id = group.peers[0].id.clone();
    assert_eq!(group.pick(&[], 3, b"", id.as_bytes()), Some(0));
    assert_eq!(group.set_peer("p9", Told::Up, 3), None);
}

#[test]
fn a_peer_that_comes_back_starts_slowly() {
    let mut group = group(&[1, 1]);
    group.peers[0].slow_start_ms = 10_000;
    group.set_peer("p0", Told::Down, 1);
    group.set_peer("p0", Told::Up, 1_000);
    assert!(order(&group, 100, 2_000).matches('a').count() < 15);
    let half = order(&group, 90, 6_000).matches('a').count();
    assert!((28..=32).contains(&half), "{half}");
    assert_eq!(order(&group, 100, 11_000).matches('a').count(), 50);
}

#[test]
fn short_answers_win() {
    let mut group = group(&[1, 1]);
    group.method = Method::LeastTime {
        header: false,
        inflight: false,
    };
    group.measured(0, 1, 300);
    group.measured(1, 1, 10);
    assert_eq!(order(&group, 3, 0), "bbb");
}
