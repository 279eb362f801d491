// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* The L4 director: Direct Routing and tunnelling of TCP and UDP. One core, `decide`, serves two entry points, tc
 * and XDP: each gives it a window of bytes and carries out the verdict.
 *
 * A packet for a service never goes up to the director's own stack, which would answer RST since
 * the VIP is local there: it is forwarded, or dropped and counted by reason.
 */
#include "answer.h"
#include "maps.h"
#include "parse.h"
#include "persist.h"
#include "reset.h"

#define NSEC_PER_MSEC 1000000ULL
#define WAIT 0xfffffffe
#define FRAGMENTS_WAIT_S 30 /* as long as Linux waits for the rest of a datagram */
/* How long a packet of an unknown flow waits for a peer's word: longer than the peers' batch and its
 * way here, shorter than any retransmission (200 ms at least). */
#define WAIT_MS 50

/* ANSWER: dropped, and the sender is to be told (see hop.mtu). */
enum verdict { PASS, DROP, FORWARD, ANSWER };

/* What a client's packet does to a flow. The order is the precedence within one segment. */
enum input { INPUT_SYN, INPUT_FIN, INPUT_ACK, INPUT_RST, INPUT_UDP, INPUT_COUNT };

/* TCP seen from the client's side alone: the INPUT-ONLY rows of IPVS, for the states that can be
 * reached that way. A FIN of the real server is invisible, so only the client's FIN ends ES. */
#define ES STATE_ESTABLISHED
#define SR STATE_SYN_RECV
#define FW STATE_FIN_WAIT
#define TW STATE_TIME_WAIT
#define CL STATE_CLOSE
#define UD STATE_UDP
static const __u8 transitions[8][8] = {
	/*               NO  ES  SR  FW  TW  CL */
	[INPUT_SYN] = { SR, ES, SR, SR, SR, SR },
	[INPUT_FIN] = { CL, FW, TW, FW, TW, CL },
	[INPUT_ACK] = { ES, ES, ES, FW, TW, CL },
	[INPUT_RST] = { CL, CL, SR, CL, CL, CL },
	[INPUT_UDP] = { UD, UD, UD, UD, UD, UD, UD, UD },
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

ALWAYS_INLINE enum input input_of(const struct packet *packet)
{
	__u8 flags = packet->tcp_flags;

	if (packet->protocol == PROTOCOL_UDP)
		return INPUT_UDP;
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
	return transitions[input & 7][state & 7];
}

ALWAYS_INLINE __u16 now_ms(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_MSEC;
}

/* Let the peers know: a service of theirs is one of IPv4 and TCP. A flow in SYN_RECV is not worth it:
 * a flood would be theirs as well. */
NOINLINE void tell_peers(const struct flow_key *key, __u32 real, __u8 state)
{
	struct flow_event event = { .key = *key, .real = real, .state = state };

	if (UNLIKELY(bpf_ringbuf_output(&told, &event, sizeof(event), 0)))
		count(REASON_UNTOLD);
}

ALWAYS_INLINE void tell(const struct service *service, const struct flow_key *key, __u32 real,
			__u8 state)
{
	if (service->flags & SERVICE_SYNC && state != STATE_SYN_RECV)
		tell_peers(key, real, state);
}

/* A SYN on a flow that has ended, or whose real server cannot be reached, starts it afresh; on
 * any other it is a retransmission and stays where it is. A datagram may start one at any time. */
ALWAYS_INLINE int starts_afresh(const struct flow *flow)
{
	__u32 index = flow->real;
	struct real *real;

	if (flow->state != STATE_ESTABLISHED && flow->state != STATE_SYN_RECV &&
	    flow->state != STATE_UDP)
		return 1;
	real = bpf_map_lookup_elem(&reals, &index);
	return !real || !forwards(real);
}

ALWAYS_INLINE int starts(enum input input)
{
	return input == INPUT_SYN || input == INPUT_UDP;
}

ALWAYS_INLINE long pin(const struct packet *packet, const struct flow *flow)
{
	if (packet->is6)
		return bpf_map_update_elem(&flows6, &packet->key6, flow, BPF_ANY);
	return bpf_map_update_elem(&flows, &packet->key, flow, BPF_ANY);
}

/* A flow's first packet here, and the real server it goes to. Anything but a SYN or a datagram is
 * older than this director's table. A lone RST is not pinned. When no pin can be made, the first is
 * hashed too: so its followers, which find no pin, go the same way. `ended`: the flow that was there
 * before. */
NOINLINE __u32 begin(const struct service *service, const struct packet *packet,
		     const struct newcomer *newcomer, const struct flow *ended, enum input input)
{
	__u32 real = newcomer->real;
	struct flow flow = { .real = real, .seen_s = now_s() };
	int waits = !newcomer->by_turn && !ended && service->flags & SERVICE_SYNC;

	if (input == INPUT_RST)
		return real;
	if (ended)
		leave(ended->real, ended->state);
	if (waits) {
		flow.flags = FLOW_WAITING;
		flow.since_ms = now_ms();
	} else {
		flow.state = next_state(STATE_NONE, input);
		flow.flags = newcomer->by_turn ? 0 : FLOW_ADOPTED;
	}
	if (UNLIKELY(pin(packet, &flow))) {
		count(REASON_TABLE_FULL);
		if (newcomer->by_turn && !is_hashed(service->scheduler))
			return guessed(service, newcomer);
		return real;
	}
	enter(flow.real, flow.state);
	if (waits)
		return WAIT;
	if (!newcomer->by_turn)
		count(REASON_ADOPTED);
	return real;
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
		change(flow->real, flow->state, state);
		flow->state = state;
		tell(service, &packet->key, flow->real, state);
	}
}

ALWAYS_INLINE void account(__u32 index, const struct window *window, const struct packet *packet,
			   int is_new)
{
	struct counters *value = bpf_map_lookup_elem(&counters, &index);

	if (!value)
		return;
	value->packets += window->segments;
	value->bytes += packet->ip_length + (__u64)(window->segments - 1) * packet->header_length;
	value->connections += is_new;
}

/* The service at an address; port 0 and protocol 0: whether there is any. */
ALWAYS_INLINE struct service *service_at(const struct packet *packet, __be16 port, __u8 protocol,
					 const int is6)
{
	if (is6) {
		struct service_key6 key = { .port = port, .protocol = protocol };

		__builtin_memcpy(key.address, packet->key6.address, 16);
		return bpf_map_lookup_elem(&services6, &key);
	}
	struct service_key key = {
		.address = packet->key.address,
		.port = port,
		.protocol = protocol,
	};
	return bpf_map_lookup_elem(&services, &key);
}

ALWAYS_INLINE struct service *service_of(const struct packet *packet, const int is6)
{
	__be16 port = is6 ? packet->key6.port : packet->key.port;
	struct service *service = service_at(packet, port, packet->protocol, is6);

	return LIKELY(service) ? service : service_at(packet, 0, packet->protocol, is6);
}

/* What becomes of a packet without readable ports: it concerns us only if its address does. */
ALWAYS_INLINE enum verdict refuse(const struct packet *packet, enum reason reason, const int is6)
{
	return service_at(packet, 0, 0, is6) ? drop(reason) : PASS;
}

/* Dropped, and told so unless too many were lately. */
ALWAYS_INLINE enum verdict send_back(enum reason reason)
{
	count(reason);
	if (!may_answer())
		return DROP;
	count(REASON_ANSWERED);
	return ANSWER;
}

ALWAYS_INLINE struct fragment_key fragment_key_of(const struct packet *packet, const int is6)
{
	struct fragment_key key = {
		.id = packet->fragment_id,
		.protocol = packet->protocol,
		.version = is6 ? 6 : 4,
	};

	if (is6) {
		__builtin_memcpy(key.source_address, packet->key6.source_address, 16);
		__builtin_memcpy(key.address, packet->key6.address, 16);
	} else {
		key.source_address[0] = packet->key.source_address;
		key.address[0] = packet->key.address;
	}
	return key;
}

NOINLINE void expect_fragments(const struct packet *packet, __u32 index, int is6)
{
	struct fragment_key key = fragment_key_of(packet, is6);
	struct fragment fragment = { .real = index, .seen_s = now_s() };

	bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY);
}

/* Where the first fragment of its datagram went. */
NOINLINE __u32 real_of_fragment(const struct packet *packet, int is6)
{
	struct fragment_key key = fragment_key_of(packet, is6);
	struct fragment *fragment = bpf_map_lookup_elem(&fragments, &key);

	if (!fragment || now_s() - fragment->seen_s > FRAGMENTS_WAIT_S)
		return NO_REAL;
	return fragment->real;
}

ALWAYS_INLINE __u32 longest_segment(const struct window *window, const struct packet *packet)
{
	return window->gso_size ? window->gso_size + packet->header_length : packet->ip_length;
}

/* The way to a real server, if it can be gone. `answerable`: errors may be sent to the client. */
ALWAYS_INLINE enum verdict send_to(__u32 index, const struct window *window,
				   struct packet *packet, int is_new, int answerable,
				   struct next_hop *hop)
{
	struct real *real = bpf_map_lookup_elem(&reals, &index);

	if (!real)
		return drop(REASON_INTERNAL);
	if (UNLIKELY(!(real->flags & REAL_LISTED)))
		return drop(REASON_REAL_SERVER_DOWN);
	if (UNLIKELY(real->flags & REAL_LOCAL)) {
		account(index, window, packet, is_new);
		return PASS;
	}
	*hop = real->hops[real->current & 1];
	if (UNLIKELY(!hop->interface))
		return drop(REASON_NO_MAC);
	if (UNLIKELY(packet->ttl <= 1)) {
		hop->mtu = 0;
		return answerable ? send_back(REASON_TTL) : drop(REASON_TTL);
	}
	if (UNLIKELY(longest_segment(window, packet) > hop->mtu))
		return answerable && !packet->may_fragment ? send_back(REASON_MTU) :
							     drop(REASON_MTU);
	account(index, window, packet, is_new);
	packet->real = index;
	packet->forward = real->flags & REAL_TUNNEL;
	return FORWARD;
}

ALWAYS_INLINE int is_down(__u32 index)
{
	struct real *real = bpf_map_lookup_elem(&reals, &index);

	return !real || !(real->flags & REAL_LISTED);
}

/* A segment of a flow whose real server is down ends it, so that the client learns at once. */
ALWAYS_INLINE enum verdict reset(const struct service *service, const struct packet *packet,
				 struct flow *flow, enum input input, struct next_hop *hop)
{
	change(flow->real, flow->state, STATE_CLOSE);
	flow->state = STATE_CLOSE;
	tell(service, &packet->key, flow->real, STATE_CLOSE);
	if (input == INPUT_RST || !(packet->tcp_flags & TCP_ACK))
		return drop(REASON_REAL_SERVER_DOWN);
	count(REASON_RESET);
	hop->mtu = ANSWER_RESET;
	return ANSWER;
}

/* The core. FORWARD sets `hop`, ANSWER its mtu (0: the TTL was the matter; ANSWER_RESET: the flow is
 * over); nothing of the packet is changed here. */
ALWAYS_INLINE enum verdict direct(const struct window *window, enum shape shape,
				  struct packet *packet, struct next_hop *hop, const int is6)
{
	struct service *service;
	struct flow *flow;
	enum input input;
	enum verdict verdict;
	__u32 index;
	int is_new, is_error, is_once;

	switch (shape) {
	case SHAPE_PORTS:
	case SHAPE_ERROR:
		break;
	case SHAPE_FRAGMENT:
		index = real_of_fragment(packet, is6);
		if (index == NO_REAL)
			return refuse(packet, REASON_FRAGMENT, is6);
		packet->header_length = 0;
		return send_to(index, window, packet, 0, 0, hop);
	case SHAPE_BROKEN:
		return refuse(packet, REASON_MALFORMED, is6);
	case SHAPE_EXTENSIONS:
		return refuse(packet, REASON_EXTENSION_HEADERS, is6);
	default:
		return PASS;
	}
	service = service_of(packet, is6);
	if (!service)
		return PASS;
	flow = is6 ? bpf_map_lookup_elem(&flows6, &packet->key6) :
		     bpf_map_lookup_elem(&flows, &packet->key);
	input = input_of(packet);
	is_error = shape == SHAPE_ERROR;
	is_once = is_error || service->flags & SERVICE_ONE_PACKET;
	is_new = !flow || (!is_error && starts(input) && starts_afresh(flow));
	if (UNLIKELY(!is_new && service->flags & (SERVICE_UNPIN | SERVICE_RESET) &&
		     is_down(flow->real))) {
		if (service->flags & SERVICE_RESET && !is_error)
			return reset(service, packet, flow, input, hop);
		count(REASON_UNPINNED);
		is_new = 1;
	}
	if (is_new) {
		struct newcomer newcomer = newcomer_of(packet, !is_error && starts(input));

		index = newcomer.real = place(service, packet, &newcomer);
		if (index != NO_REAL && LIKELY(!is_once))
			index = begin(service, packet, &newcomer, flow, input);
		if (index == WAIT)
			return drop(REASON_WAITING);
		if (index == NO_REAL)
			return drop(REASON_NO_REAL_SERVER);
	} else {
		if (UNLIKELY(still_waits(flow)) && !is_error)
			return drop(REASON_WAITING);
		index = flow->real;
		if (!is_error)
			touch(service, packet, flow, input);
	}
	/* An ICMP error goes where its flow does; none is sent about it. */
	verdict = send_to(index, window, packet, is_new && !is_error, !is_error, hop);
	if (UNLIKELY(packet->fragmentation == FIRST_FRAGMENT) && verdict == FORWARD)
		expect_fragments(packet, index, is6);
	return verdict;
}

/* Apart, so that IPv4's path stays short. */
NOINLINE enum verdict decide6(const struct window *window, __u32 network, struct packet *packet,
			      struct next_hop *hop)
{
	enum shape shape = forgotten(parse6(window, network, packet), window->length);

	packet->protocol = forgotten(packet->protocol, window->length);
	packet->fragmentation = forgotten(packet->fragmentation, window->length);
	packet->ip_headers = forgotten(packet->ip_headers, window->length);
	packet->header_length = forgotten(packet->header_length, window->length);
	return direct(window, shape, packet, hop, 1);
}

ALWAYS_INLINE enum verdict decide(const struct window *window, struct packet *packet,
				  struct next_hop *hop)
{
	__be16 type;
	__u32 network = forgotten(network_of(window, &type), window->length) & 31;

	if (LIKELY(type == be16(ETHERTYPE_IPV4)))
		return direct(window, parse4(window, network, packet), packet, hop, 0);
	if (type == be16(ETHERTYPE_IPV6))
		return decide6(window, network, packet, hop);
	return PASS;
}

/* RFC 1624 equation 3, for a TTL that falls by one. */
ALWAYS_INLINE void decrement_ttl(struct ipv4 *ip)
{
	__u32 sum = ip->checksum + be16(0x0100);

	ip->checksum = sum + (sum >= 0xffff);
	ip->ttl--;
}

ALWAYS_INLINE int take_hop(const struct window *window, const struct packet *packet)
{
	struct ipv4 *ip = network_header(window, packet);
	struct ipv6 *ip6 = (void *)ip;

	if ((void *)(ip + 1) > window->end)
		return 0;
	if (packet->is6)
		ip6->hop_limit--;
	else
		decrement_ttl(ip);
	return 1;
}

/* Direct Routing: a new pair of MACs, one hop fewer, everything else (VLAN tags too) as it came. */
ALWAYS_INLINE int rewrite(const struct window *window, const struct packet *packet,
			  const struct next_hop *hop)
{
	struct ethernet *ethernet = window->data;

	if (!take_hop(window, packet))
		return 0;
	__builtin_memcpy(ethernet->destination, hop->destination_mac, 6);
	__builtin_memcpy(ethernet->source, hop->source_mac, 6);
	return 1;
}

#include "tunnel.h"
#include "tc.h"
#include "xdp.h"

SEC("classifier") int director_tc(struct __sk_buff *skb)
{
	return direct_tc(skb);
}

SEC("xdp.frags") int director_xdp(struct xdp_md *xdp)
{
	return direct_xdp(xdp);
}

/* GPL-compatible, as helpers that are marked GPL-only ask; the sources are under either licence. */
char _license[] SEC("license") = "GPL";
