/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which frames are ours. Ours go to the AF_XDP socket of their port and queue, or are dropped where there is none (a dead
 * daemon: the kernel would reset the flows); everything else stays with the kernel.
 *
 * src/steer/front.rs says the same in Rust; tests/steer_agree.rs runs both over the same frames. Change both. */
#include "maps.h"
#include "walk.h"
#include "nodes.h"

INLINE void key_of(struct key *k, const union address *address, __u8 protocol, __u16 port)
{
	k->address = *address;
	k->zero = 0;
	k->protocol = protocol;
	k->port = port;
}

/* An L4 service, a SNAT range or an l7 service of several nodes on this address and protocol? */
INLINE int has_address(const union address *address, __u8 protocol)
{
	struct key k;

	key_of(&k, address, protocol, 0);
	return map_lookup(&addresses, &k) != 0;
}

INLINE int is_local(const union address *address)
{
	struct key k;

	key_of(&k, address, 0, 0);
	return map_lookup(&local_addresses, &k) != 0;
}

/* What this address, port and protocol are: an L4 service (RULE_SERVICE), a SNAT range (RULE_SNAT), or an l7 service (RULE_NODE),
 * whose `nodes` then have the word. */
INLINE enum rule front_rule(const union address *address, __u8 protocol, __u16 port, __u32 *nodes)
{
	struct prefix_key p;
	__u32 *number;

	if (!has_address(address, protocol))
		return RULE_NONE;
	key_of(&p.key, address, protocol, port);
	if (map_lookup(&services, &p.key))
		return RULE_SERVICE;
	number = map_lookup(&l7_services, &p.key);
	if (number) {
		*nodes = *number;
		return RULE_NODE;
	}
	p.bits = 8 * sizeof(struct key);
	if (map_lookup(&snat, &p))
		return RULE_SNAT;
	p.key.port = 0;
	return map_lookup(&services, &p.key) ? RULE_SERVICE : RULE_NONE;
}

/* A server of a `nat` pool, on this port or on any? */
INLINE int is_server(const union address *address, __u8 protocol, __u16 port)
{
	struct key k;

	key_of(&k, address, protocol, port);
	if (map_lookup(&servers, &k))
		return 1;
	k.port = 0;
	return map_lookup(&servers, &k) != 0;
}

struct port_pair {
	__u16 source;
	__u16 destination;
};

/* A packet from a client to an l7 service, or an ICMP error about the answer to one. */
INLINE void flow_of(struct flow *f, const union address *client, __u16 client_port, const union address *service,
		    __u16 service_port, __u8 protocol)
{
	f->client = *client;
	f->service = *service;
	f->client_port = client_port;
	f->service_port = service_port;
	f->protocol = protocol;
}

/* A segment that opens a connection. One that is cut short before its flags counts as such: no socket could want it. */
INLINE int opens(struct xdp_md *ctx, struct packet *p)
{
	__u8 *tcp = bytes_at(ctx, p->transport, 14);

	return !tcp || tcp[13] & TCP_SYN;
}

/* Rules (a), (b), (c), (f). */
INLINE enum rule transport_rule(struct xdp_md *ctx, struct packet *p)
{
	struct port_pair *port = bytes_at(ctx, p->transport, sizeof(*port));
	struct flow flow;
	enum rule rule;
	__u32 nodes = NODES_ALONE;

	if (!port)
		return RULE_NONE;
	/* Read once: the packet stays where it is, but the registers do not. */
	__u16 source = port->source;
	__u16 destination = port->destination;

	rule = front_rule(&p->destination, p->protocol, destination, &nodes);
	if (rule == RULE_NODE) {
		flow_of(&flow, &p->source, source, &p->destination, destination, p->protocol);
		return node_rule(ctx, nodes, &flow, opens(ctx, p), bytes_at(ctx, p->transport, TCP_LENGTH));
	}
	if (rule != RULE_NONE)
		return rule;
	/* Answers to this node's own health checks come from servers too: the kernel's. */
	return is_server(&p->source, p->protocol, source) && !is_local(&p->destination) ? RULE_SERVER : RULE_NONE;
}

/* Rule (e). Later fragments have no ports, so an address and its protocol decide for all of them. */
INLINE enum rule fragment_rule(struct packet *p)
{
	struct key k;

	/* The protocol hides behind further extension headers: whatever an L4 address gets is ours, as with a long chain. */
	if (is_extension(p->protocol))
		return has_address(&p->destination, TCP) || has_address(&p->destination, UDP) ? RULE_FRAGMENT : RULE_NONE;
	if (has_address(&p->destination, p->protocol))
		return RULE_FRAGMENT;
	/* A fragmented answer of a `nat` server would otherwise reach the client from the server's own address. */
	key_of(&k, &p->source, p->protocol, 0);
	return map_lookup(&server_addresses, &k) && !is_local(&p->destination) ? RULE_FRAGMENT : RULE_NONE;
}

/* RFC 792; RFC 4443 section 2.1 with the four errors it defines. */
INLINE int is_icmp_error(__u8 protocol, __u8 type)
{
	if (protocol == ICMP)
		return type == 3 || type == 11 || type == 12;
	return type >= 1 && type <= 4;
}

/* Rule (d): the error is about a packet that we sent, or would have. The outer addresses say nothing. */
INLINE enum rule icmp_rule(struct xdp_md *ctx, struct packet *outer)
{
	__u8 *icmp = bytes_at(ctx, outer->transport, 8);
	struct packet about;
	struct flow flow;
	enum rule rule;
	__u32 nodes = NODES_ALONE;

	if (!icmp || !is_icmp_error(outer->protocol, icmp[0]))
		return RULE_NONE;
	if (outer->protocol == ICMP)
		walk_v4(ctx, outer->transport + 8, &about);
	else
		walk_v6(ctx, outer->transport + 8, &about);
	/* A first fragment has ports too. */
	if (about.shape != SHAPE_WHOLE && !(about.shape == SHAPE_FRAGMENT && about.first))
		return RULE_NONE;
	if (about.protocol != TCP && about.protocol != UDP)
		return RULE_NONE;

	struct port_pair *port = bytes_at(ctx, about.transport, sizeof(*port));

	if (!port)
		return RULE_NONE;
	__u16 source = port->source;
	__u16 destination = port->destination;

	rule = front_rule(&about.source, about.protocol, source, &nodes);
	if (rule == RULE_NODE) {
		/* The service's answer: its destination is the client. */
		flow_of(&flow, &about.destination, destination, &about.source, source, about.protocol);
		rule = node_rule(ctx, nodes, &flow, 0, 0);
		return rule == RULE_NODE ? RULE_ICMP_ERROR : rule;
	}
	if (rule != RULE_NONE)
		return RULE_ICMP_ERROR;
	/* About one of this node's own health checks: the kernel's, like the answer to it. */
	return is_server(&about.destination, about.protocol, destination) && !is_local(&about.source) ? RULE_ICMP_ERROR
												      : RULE_NONE;
}

INLINE enum rule packet_rule(struct xdp_md *ctx, struct packet *p, int v4)
{
	if (p->shape == SHAPE_FRAGMENT)
		return fragment_rule(p);
	if (p->shape == SHAPE_LONG)
		return has_address(&p->destination, TCP) || has_address(&p->destination, UDP) ? RULE_CHAIN : RULE_NONE;
	if (p->shape != SHAPE_WHOLE)
		return RULE_NONE;
	if (p->protocol == TCP || p->protocol == UDP)
		return transport_rule(ctx, p);
	if (p->protocol == (v4 ? ICMP : ICMPV6))
		return icmp_rule(ctx, p);
	return RULE_NONE;
}

/* Up to two VLAN tags (IEEE 802.1Q, 802.1ad), then IP. */
INLINE enum rule frame_rule(struct xdp_md *ctx)
{
	__u32 offset = 12;
	struct packet p;
	__u16 type = 0;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u16 *t = bytes_at(ctx, offset, 2);

		if (!t)
			return RULE_NONE;
		type = *t;
		offset += 2;
		if (i == 2 || (type != BE16(0x8100) && type != BE16(0x88a8)))
			break;
		offset += 2;
	}
	if (type == BE16(0x0800))
		walk_v4(ctx, offset, &p);
	else if (type == BE16(0x86dd))
		walk_v6(ctx, offset, &p);
	else
		return RULE_NONE;
	return packet_rule(ctx, &p, type == BE16(0x0800));
}

INLINE int to_socket(struct xdp_md *ctx, struct counters *count)
{
	__u32 ifindex = ctx->ingress_ifindex;
	__u32 queue = ctx->rx_queue_index;
	__u32 *base = map_lookup(&ports, &ifindex);
	long action = XDP_DROP;

	if (base && queue < QUEUES_MAX)
		action = redirect_map(&sockets, *base + queue, XDP_DROP);
	if (count)
		*(action == XDP_REDIRECT ? &count->redirected : &count->unowned) += 1;
	return action;
}

SECTION("xdp")
int ringlead(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct counters *count = map_lookup(&counters, &zero);
	enum rule rule = frame_rule(ctx);

	if (rule == RULE_NONE || rule == KEPT) {
		if (count) {
			count->passed += 1;
			count->kept += rule == KEPT;
		}
		return XDP_PASS;
	}
	if (count && rule < RULES)
		count->rules[rule] += 1;
	return to_socket(ctx, count);
}

/* The source is MIT OR Apache-2.0; this string only tells the kernel which helpers may be called. */
char _license[] SECTION("license") = "Dual MIT/GPL";
