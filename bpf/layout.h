/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the kernel side and user space both read: the truth about every map's keys and values.
 * rust/datapath/src/layout.rs repeats it, and a test compares the two through the object's BTF.
 * Any change here raises LAYOUT_VERSION, so that pinned maps of another shape are not adopted.
 *
 * Byte order: members called address, *_port and mac are as on the wire; the rest is the machine's.
 */
#ifndef TRIMARAN_LAYOUT_H
#define TRIMARAN_LAYOUT_H

#include <linux/types.h>

#define LAYOUT_VERSION 5
#define MAX_SERVICES 16384 /* also the address-only entries of `services` */
#define MAX_REALS 16384
#define MAX_SLOTS 65536
#define DEFAULT_MAX_FLOWS (1 << 20)
#define DEFAULT_MAX_CLIENTS (1 << 16) /* of persistent services */
#define MOST_FAVOURITES 16            /* real servers of one service that lblcr keeps to */
#define MAX_FRAGMENTED 16384 /* datagrams whose later fragments are awaited */

/* A virtual service; port 0 is every port that has no service of its own. Protocol 0 (and port 0)
 * marks an address that carries at least one service: it is looked up only for packets whose
 * ports cannot be read. */
struct service_key {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

struct service_key6 {
	__be32 address[4];
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

enum service_flags {
	/* There are peers: tell them of its flows, and wait for their word. IPv4 and TCP only. */
	SERVICE_SYNC = 1,
	SERVICE_FALLBACK = 2,   /* sh-fallback, mh-fallback */
	SERVICE_PORT = 4,       /* sh-port, mh-port */
	SERVICE_ONE_PACKET = 8, /* UDP: every datagram is a flow of its own */
	/* What becomes of the flows of a real server that is down: these, or they wait for it. */
	SERVICE_UNPIN = 16, /* they go on to another */
	SERVICE_RESET = 32, /* TCP is answered with RST */
};

/* What is done with a service's table (schedule.h). */
enum scheduler {
	SCHEDULER_TURNS, /* rr, wrr */
	SCHEDULER_FO,
	SCHEDULER_OVF,
	SCHEDULER_SH,
	SCHEDULER_DH,
	SCHEDULER_MH,
	SCHEDULER_LC,
	SCHEDULER_WLC,
	SCHEDULER_SED,
	SCHEDULER_NQ,
	SCHEDULER_TWOS,
	SCHEDULER_LBLC,
	SCHEDULER_LBLCR,
	SCHEDULER_COUNT,
};

struct service {
	__u32 index; /* of `tables` and `cursors` */
	__u16 flags;
	__u8 scheduler;
	__u8 granularity;    /* how many bits of its address make a client, where it persists */
	__u32 persistence_s; /* 0: it does not */
};

struct next_hop {
	__u8 destination_mac[6];
	__u8 source_mac[6];
	__u32 interface; /* 0: the MAC is not known */
	__u32 mtu;
};

enum real_flags {
	REAL_USED = 1,   /* the index is taken */
	REAL_LISTED = 2, /* well: its flows are forwarded */
	REAL_LOCAL = 4,  /* this machine: its flows go up */
	REAL_TUNNEL = 8, /* behind a tunnel; else DR */
};

/* A real server of one service. Its index never changes while it is in use, so flows may hold it.
 * A next hop is replaced by writing the other one and then turning `current`, a single byte: a
 * reader never sees half of each. 64 bytes: a cache line. */
struct real {
	__be32 address[4]; /* IPv4 in the first, then zeros */
	__be16 port;
	__u8 current; /* which of `hops` */
	__u8 flags;
	__u32 service;
	struct next_hop hops[2];
};

enum tunnel_kind {
	TUNNEL_IPIP,
	TUNNEL_GUE,
	TUNNEL_GRE,
};

enum tunnel_flags {
	TUNNEL_CHECKSUM = 1,
	TUNNEL_OVER_IPV6 = 2,
};

/* How a real server with REAL_TUNNEL is reached; the MTU of its hop is that inside the tunnel. */
struct tunnel {
	__be32 source[4]; /* IPv4 in the first, then zeros */
	__be16 port;
	__u8 kind;
	__u8 flags;
};

/* Slot 0 of a table holds how many follow; each other slot is a real's index. With this bit the
 * slots are the members of an interleaved cycle, and behind them stands how many levels follow,
 * and these: the turn that ends each, the least weight that reaches it, and how many do. */
#define TABLE_HAS_LEVELS 0x80000000

/* A real server's flows of now and what bounds them; user space shares the memory. */
struct load {
	__u32 active;
	__u32 inactive;
	__u32 weight;
	__u32 upper; /* with so many flows it is overloaded ... */
	__u32 lower; /* ... and with fewer than these no longer */
	__u32 overloaded;
	__u32 zero[2];
};

/* Who came before, of a persistent service. */
struct client_key {
	__u32 service;
	__be32 address[4]; /* masked; IPv4 in the first, then zeros */
};

struct client {
	__u32 real;
	__u32 seen_s;
};

/* The real servers that a service of lblc or lblcr keeps to. */
struct favourites {
	__u32 count;
	__u32 changed_s;
	__u32 reals[MOST_FAVOURITES];
};

struct flow_key {
	__be32 source_address;
	__be32 address;
	__be16 source_port;
	__be16 port;
	__u32 protocol;
};

/* In a map of its own, so that IPv4 keeps its smaller footprint. */
struct flow_key6 {
	__be32 source_address[4];
	__be32 address[4];
	__be16 source_port;
	__be16 port;
	__u32 protocol;
};

/* A datagram in fragments: only the first has ports, and tells the others the way. */
struct fragment_key {
	__be32 source_address[4]; /* IPv4 in the first, then zeros */
	__be32 address[4];
	__be32 id;
	__u16 protocol;
	__u16 version; /* 4 or 6 */
};

struct fragment {
	__u32 real;
	__u32 seen_s;
};

/* The states that a connection seen from the client's side alone can be in. */
enum flow_state {
	STATE_NONE,
	STATE_ESTABLISHED,
	STATE_SYN_RECV,
	STATE_FIN_WAIT,
	STATE_TIME_WAIT,
	STATE_CLOSE,
	STATE_UDP,
	STATE_COUNT,
};

enum flow_flags {
	FLOW_ADOPTED = 1, /* its start was not seen here */
	FLOW_SYNCED = 2,  /* a peer told of it, and no packet of it was seen here since */
	FLOW_WAITING = 4, /* nothing is known of it; a peer's word may be on its way */
};

struct flow {
	__u32 real;
	__u32 seen_s; /* CLOCK_MONOTONIC, seconds */
	__u8 state;
	__u8 flags;
	__u16 since_ms; /* FLOW_WAITING: when that began, CLOCK_MONOTONIC modulo 65,536 */
};

/* What peers are told: a flow that was established, or that ended. */
struct flow_event {
	struct flow_key key;
	__u32 real;
	__u8 state;
	__u8 zero[3];
};
_Static_assert(sizeof(struct flow_event) == 24, "as src/layout.rs has it");
_Static_assert(__builtin_offsetof(struct flow_event, real) == 16, "as src/layout.rs has it");
_Static_assert(__builtin_offsetof(struct flow_event, state) == 20, "as src/layout.rs has it");

/* How many ICMP errors one CPU sent in one second. */
struct answers {
	__u32 second;
	__u32 sent;
};

struct counters {
	__u64 packets;
	__u64 bytes; /* of IP, as IPVS counts them */
	__u64 connections;
};

/* Why a packet for a service was not forwarded, and what was unusual about one that was. */
enum reason {
	REASON_MALFORMED,
	REASON_FRAGMENT,
	REASON_TTL,
	REASON_NO_REAL_SERVER,
	REASON_REAL_SERVER_DOWN,
	REASON_NO_MAC,
	REASON_INTERNAL,
	REASON_TABLE_FULL, /* forwarded by hash, without a pin */
	REASON_ADOPTED,    /* forwarded by hash, and pinned */
	REASON_WAITING,    /* dropped once: a peer's word about the flow may be on its way */
	REASON_UNTOLD,     /* forwarded; the peers are told later, with the whole table */
	REASON_EXTENSION_HEADERS,
	REASON_MTU,
	REASON_ANSWERED, /* dropped, and the sender was told why by ICMP */
	REASON_ENCAPSULATION,
	REASON_RESET,    /* its real server is down: answered with RST */
	REASON_UNPINNED, /* likewise: forwarded to another */
	REASON_COUNT,
};

#endif
