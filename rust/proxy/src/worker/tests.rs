use super::*;
use crate::address::Address;
use crate::balance::{Group, Keepalive, Peer};
use crate::Engine;
use std::io::Write;
use std::net::{TcpListener, TcpStream};

pub const SNAPSHOT: &str = r#"{"servers": [{"listen": [{"address": "127.0.0.1", "port": 1,
    "default_server": true}], "names": [], "locations": [], "keepalive_timeout_ms": 60000,
    "access_log": null}], "upstreams": [], "types": {}, "default_type": "text/plain",
    "limits": {"body_size": 0, "header_line": 8192, "header_timeout_ms": 60000,
    "body_timeout_ms": 60000, "send_timeout_ms": 60000}}"#;

#[test]
fn a_panic_ends_the_connection_that_it_happened_in() {
    let engine = Engine::start(SNAPSHOT, &[], 1).unwrap();
    let wake = Arc::new(sys::event_fd().unwrap());
    let mut worker = Worker::new(engine.shared.clone(), wake, 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        worker.adopt(OwnedFd::from(socket), address, address);
    }
    let first = worker.slots[0].client.take().unwrap();
    worker.drive(0, first, |_, _| panic!("a bug, on purpose"));
    assert_eq!(worker.core.shared.counters.panics.load(Relaxed), 1);
    assert!(worker.slots[0].client.is_none());
    assert_eq!(worker.live, 1);
    // The other one is served, and the slot may be used again.
    worker.go_on(1);
    assert!(worker.slots[1].client.is_some());
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, address) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    worker.adopt(OwnedFd::from(socket), address, address);
    assert!(worker.slots[0].client.is_some());
    drop((peer, clients));
}

#[test]
fn whoever_waits_for_an_inner_request_that_panics_is_told() {
    let engine = Engine::start(SNAPSHOT, &[], 1).unwrap();
    let wake = Arc::new(sys::event_fd().unwrap());
    let mut worker = Worker::new(engine.shared.clone(), wake, 1).unwrap();
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let mut client = Box::new(Client::new(sys::event_fd().unwrap(), 0, address, address));
    client.inner = Some(Box::new(crate::inner::Inner::asked_by((7, 9))));
    worker.slots.push(Slot {
        generation: 0,
        client: None,
    });
    worker.live += 1;
    worker.drive(0, client, |_, _| panic!("a bug, on purpose"));
    let askers: Vec<_> = worker.core.verdicts.iter().map(|each| each.asker).collect();
    assert_eq!(askers, [(7, 9)]);
}

#[test]
fn an_event_from_before_its_idleness_costs_no_connection() {
    let engine = Engine::start(SNAPSHOT, &[], 1).unwrap();
    let wake = Arc::new(sys::event_fd().unwrap());
    let mut worker = Worker::new(engine.shared.clone(), wake, 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let keepalive = Keepalive {
        most: 8,
        timeout_ms: 60_000,
        requests: 1000,
        time_ms: 3_600_000,
    };
    let peers = vec![Peer::new("peer", address.clone())];
    let group = Group::new(1, "up".into(), peers, keepalive);
    let core = &mut worker.core;
    let connection = core.connect(&address, None, 0).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let slot = connection.slot;
    let generation = core.routes[slot as usize].generation;
    core.keep_connection(&group, connection);

    worker.peer_event(slot, generation, sys::READ | sys::WRITE);
    let kept = worker.core.pool.take(1, &address, &None);
    worker
        .core
        .keep_connection(&group, kept.expect("nothing came: it serves again"));

    peer.write_all(b"what nobody asked for").unwrap();
    for _ in 0..10_000 {
        if worker.core.pool.has_input(1, slot) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    worker.peer_event(slot, generation, sys::READ);
    assert!(worker.core.pool.take(1, &address, &None).is_none());
}
