// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The L4 director: Direct Routing of TCP over IPv4. One core, `direct`, decides; an entry point
 * per hook gives it a window of bytes and carries out the verdict.
 *
 * A packet for a service never goes up to the director's own stack, which would answer RST since
 * the VIP is local there: it is forwarded, or dropped and counted by reason.
 */
#include "maps.h"
#include "parse.h"

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define PACKET_HOST 0
#define NSEC_PER_SEC 1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NO_REAL MAX_REALS
#define WAIT (MAX_REALS + 1)
/* How long a packet of an unknown flow waits for a peer's word: longer than the peers' batch and its
 * way here, shorter than any retransmission (200 ms at least). */
#define WAIT_MS 50

enum verdict { PASS, DROP, FORWARD };

/* What a client's segment does to a flow. The order is the precedence within one segment. */
enum input { INPUT_SYN, INPUT_FIN, INPUT_ACK, INPUT_RST, INPUT_COUNT };

/* TCP seen from the client's side alone: the INPUT-ONLY rows of IPVS, for the states that can be
 * reached that way. A FIN of the real server is invisible, so only the client's FIN ends ES. */
#define ES STATE_ESTABLISHED
#define SR STATE_SYN_RECV
#define FW STATE_FIN_WAIT
#define TW STATE_TIME_WAIT
#define CL STATE_CLOSE
static const __u8 transitions[INPUT_COUNT][8] = {
	/*               NO  ES  SR  FW  TW  CL */
	[INPUT_SYN] = { SR, ES, SR, SR, SR, SR },
	[INPUT_FIN] = { CL, FW, TW, FW, TW, CL },
	[INPUT_ACK] = { ES, ES, ES, FW, TW, CL },
	[INPUT_RST] = { CL, CL, SR, CL, CL, CL },
};

ALWAYS_INLINE void count(enum reason reason)
{
	__u32 key = reason;
	__u64 *value = bpf_map_lookup_elem(&reasons, &key);

	if (value)
		*value += 1;
}

ALWAYS_INLINE enum verdict drop(enum reason reason)
{
	count(reason);
	return DROP;
}

ALWAYS_INLINE enum input input_of(__u8 flags)
{
	if (flags & TCP_RST)
		return INPUT_RST;
	if (flags & TCP_SYN)
		return INPUT_SYN;
	if (flags & TCP_FIN)
		return INPUT_FIN;
	return INPUT_ACK;
}

ALWAYS_INLINE __u8 next_state(__u8 state, enum input input)
{
	return transitions[input & 3][state & 7];
}

/* Equal on every director, so that they adopt an unknown flow alike. murmur3's finaliser. */
ALWAYS_INLINE __u32 hash_of(const struct flow_key *key)
{
	__u64 h = ((__u64)key->source_address << 32 | key->address) * 0x9e3779b97f4a7c15ULL;

	h ^= (__u64)key->source_port << 16 | key->port;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h >> 32;
}

ALWAYS_INLINE __u32 now_s(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_SEC;
}

ALWAYS_INLINE __u16 now_ms(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_MSEC;
}

/* Let the peers know. A flow in SYN_RECV is not worth it: a flood would be theirs as well. */
ALWAYS_INLINE void tell(const struct service *service, const struct flow_key *key, __u32 real,
			__u8 state)
{
	struct flow_event event = { .key = *key, .real = real, .state = state };

	if (!(service->flags & SERVICE_SYNC) || state == STATE_SYN_RECV)
		return;
	if (UNLIKELY(bpf_ringbuf_output(&told, &event, sizeof(event), 0)))
		count(REASON_UNTOLD);
}

/* The next real in turn, or the hashed one; NO_REAL when the table is empty. */
ALWAYS_INLINE __u32 choose(__u32 service, const struct flow_key *key, int by_turn)
{
	__u32 zero = 0, slot, turn = 0;
	__u32 *length, *real;
	__u64 *cursor;
	void *table = bpf_map_lookup_elem(&tables, &service);

	if (!table)
		return NO_REAL;
	length = bpf_map_lookup_elem(table, &zero);
	if (!length || !*length)
		return NO_REAL;
	if (by_turn) {
		cursor = bpf_map_lookup_elem(&cursors, &service);
		if (!cursor)
			return NO_REAL;
		slot = 1 + __sync_fetch_and_add(cursor, 1) % *length;
	} else {
		turn = hash_of(key);
		slot = 1 + turn % *length;
	}
	real = bpf_map_lookup_elem(table, &slot);
	return real ? *real : NO_REAL;
}

ALWAYS_INLINE int forwards(const struct real *real)
{
	return real->flags & REAL_LISTED && real->hops[real->current & 1].interface;
}

/* A SYN on a flow that has ended, or whose real server cannot be reached, starts it afresh; on
 * any other it is a retransmission and stays where it is. */
ALWAYS_INLINE int starts_afresh(const struct flow *flow)
{
	__u32 index = flow->real;
	struct real *real;

	if (flow->state != STATE_ESTABLISHED && flow->state != STATE_SYN_RECV)
		return 1;
	real = bpf_map_lookup_elem(&reals, &index);
	return !real || !forwards(real);
}

/* A flow's first packet here: a SYN takes its turn; anything else is older than this director's
 * table, and the hash is the best guess that every director shares. A lone RST is not pinned.
 * When no pin can be made, the SYN is hashed too: so its followers, which find no pin, go the same
 * way. */
ALWAYS_INLINE __u32 begin(const struct service *service, const struct packet *packet,
			  enum input input)
{
	struct flow flow = { .seen_s = now_s() };
	int is_syn = input == INPUT_SYN;
	int waits = !is_syn && service->flags & SERVICE_SYNC;

	flow.real = choose(service->index, &packet->key, is_syn);
	if (flow.real == NO_REAL || input == INPUT_RST)
		return flow.real;
	if (waits) {
		flow.flags = FLOW_WAITING;
		flow.since_ms = now_ms();
	} else {
		flow.state = next_state(STATE_NONE, input);
		flow.flags = is_syn ? 0 : FLOW_ADOPTED;
	}
	if (UNLIKELY(bpf_map_update_elem(&flows, &packet->key, &flow, BPF_ANY))) {
		count(REASON_TABLE_FULL);
		return is_syn ? choose(service->index, &packet->key, 0) : flow.real;
	}
	if (waits)
		return WAIT;
	if (!is_syn)
		count(REASON_ADOPTED);
	return flow.real;
}

/* The second packet of a flow that nothing is known of: no peer spoke up, so the guess holds. */
ALWAYS_INLINE int still_waits(const struct flow *flow)
{
	return flow->flags & FLOW_WAITING && (__u16)(now_ms() - flow->since_ms) < WAIT_MS;
}

ALWAYS_INLINE void touch(const struct service *service, const struct packet *packet,
			 struct flow *flow, enum input input)
{
	__u32 now = now_s();
	__u8 state = next_state(flow->state, input);

	/* A write dirties a cache line that other CPUs may share: only when something changes. */
	if (flow->seen_s != now)
		flow->seen_s = now;
	if (UNLIKELY(flow->flags & (FLOW_SYNCED | FLOW_WAITING))) {
		if (flow->flags & FLOW_WAITING)
			count(REASON_ADOPTED);
		flow->flags = flow->flags & FLOW_WAITING ? FLOW_ADOPTED : 0;
	}
	if (flow->state != state) {
		flow->state = state;
		tell(service, &packet->key, flow->real, state);
	}
}

ALWAYS_INLINE void account(__u32 index, const struct packet *packet, __u32 segments, int is_new)
{
	struct counters *value = bpf_map_lookup_elem(&counters, &index);

	if (!value)
		return;
	value->packets += segments;
	value->bytes += packet->ip_length + (__u64)(segments - 1) * packet->header_length;
	value->connections += is_new;
}

/* What becomes of a packet without readable ports: it concerns us only if its address does. */
ALWAYS_INLINE enum verdict refuse(const struct packet *packet, enum reason reason)
{
	struct service_key key = { .address = packet->key.address };

	return bpf_map_lookup_elem(&services, &key) ? drop(reason) : PASS;
}

/* The core. FORWARD sets `hop`; nothing of the packet is changed here. */
ALWAYS_INLINE enum verdict direct(const struct window *window, __u32 segments, struct next_hop *hop)
{
	struct packet packet = {};
	struct service_key key = { .protocol = PROTOCOL_TCP };
	struct service *service;
	struct flow *flow;
	struct real *real;
	enum input input;
	__u32 index;
	int is_new;

	switch (parse(window, &packet)) {
	case SHAPE_TCP:
		break;
	case SHAPE_FRAGMENT:
		return refuse(&packet, REASON_FRAGMENT);
	case SHAPE_BROKEN:
		return refuse(&packet, REASON_MALFORMED);
	default:
		return PASS;
	}
	key.address = packet.key.address;
	key.port = packet.key.port;
	service = bpf_map_lookup_elem(&services, &key);
	if (!service)
		return PASS;
	if (packet.ttl <= 1)
		return drop(REASON_TTL);

	input = input_of(packet.tcp_flags);
	flow = bpf_map_lookup_elem(&flows, &packet.key);
	is_new = !flow || (input == INPUT_SYN && starts_afresh(flow));
	if (is_new) {
		index = begin(service, &packet, input);
		if (index == WAIT)
			return drop(REASON_WAITING);
		if (index == NO_REAL)
			return drop(REASON_NO_REAL_SERVER);
	} else {
		if (UNLIKELY(still_waits(flow)))
			return drop(REASON_WAITING);
		index = flow->real;
		touch(service, &packet, flow, input);
	}
	real = bpf_map_lookup_elem(&reals, &index);
	if (!real)
		return drop(REASON_INTERNAL);
	if (!(real->flags & REAL_LISTED))
		return drop(REASON_REAL_SERVER_DOWN);
	*hop = real->hops[real->current & 1];
	if (!hop->interface)
		return drop(REASON_NO_MAC);
	account(index, &packet, segments, is_new);
	return FORWARD;
}

/* RFC 1624 equation 3, for a TTL that falls by one. */
ALWAYS_INLINE void decrement_ttl(struct ipv4 *ip)
{
	__u32 sum = ip->checksum + be16(0x0100);

	ip->checksum = sum + (sum >= 0xffff);
	ip->ttl--;
}

/* Direct Routing: a new pair of MACs, one hop fewer, everything else as it came. */
ALWAYS_INLINE int rewrite(const struct window *window, const struct next_hop *hop)
{
	struct ethernet *ethernet = window->data;
	struct ipv4 *ip = (void *)(ethernet + 1);

	if ((void *)(ip + 1) > window->end)
		return 0;
	__builtin_memcpy(ethernet->destination, hop->destination_mac, 6);
	__builtin_memcpy(ethernet->source, hop->source_mac, 6);
	decrement_ttl(ip);
	return 1;
}

ALWAYS_INLINE struct window window_of(struct __sk_buff *skb)
{
	return (struct window){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.length = skb->len,
	};
}

ALWAYS_INLINE int direct_tc(struct __sk_buff *skb)
{
	struct next_hop hop;
	struct window window;
	__u32 wanted = skb->len < HEADERS_LENGTH ? skb->len : HEADERS_LENGTH;

	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TC_ACT_OK;
	window = window_of(skb);
	if (UNLIKELY(window.data + wanted > window.end)) {
		/* Headers beyond the linear part. Cannot fail for lack of bytes. */
		if (skb->protocol != be16(ETHERTYPE_IPV4))
			return TC_ACT_OK;
		if (bpf_skb_pull_data(skb, wanted))
			return TC_ACT_SHOT;
		window = window_of(skb);
	}
	switch (direct(&window, skb->gso_segs ? skb->gso_segs : 1, &hop)) {
	case PASS:
		return TC_ACT_OK;
	case DROP:
		return TC_ACT_SHOT;
	case FORWARD:
		break;
	}
	if (!rewrite(&window, &hop))
		return TC_ACT_SHOT;
	return bpf_redirect(hop.interface, 0);
}

SEC("classifier") int director_tc(struct __sk_buff *skb)
{
	return direct_tc(skb);
}

/* GPL-compatible, as helpers that are marked GPL-only ask; the sources are under either licence. */
char _license[] SEC("license") = "GPL";
