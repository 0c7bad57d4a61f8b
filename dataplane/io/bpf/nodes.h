/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* L7 services: which node's kernel accepts a flow. src/steer/nodes.rs says the same in Rust, without sockets. */
#ifndef RINGLEAD_NODES_H
#define RINGLEAD_NODES_H

#include "ip.h"
#include "maps.h"
#include "siphash.h"

enum { TCP_SYN = 2 };
/* Without options (RFC 9293 section 3.1). */
enum { TCP_LENGTH = 20 };
/* TCP states of the kernel (include/net/tcp_states.h), stable because programs see them. */
enum { STATE_LISTEN = 10 };

/* The slot of the hash, of a table of nodes: whose is it? */
enum whose { OWN, GUESTS, ANOTHERS };

/* A table without slots leaves everything here. */
INLINE enum whose whose_is(const struct node_table *table, const struct flow *f)
{
	__u64 hash = flow_hash(table->key[0], table->key[1], f);
	__u64 slot = (hash >> 32) * table->size >> 32;

	if (!table->size || slot >= NODE_SLOTS_MAX)
		return OWN;
	if (!(table->own[slot / 64] >> slot % 64 & 1))
		return ANOTHERS;
	return table->guests[slot / 64] >> slot % 64 & 1 ? GUESTS : OWN;
}

/* Is it the answer to a SYN cookie of this listener? There is no socket of the connection yet, and only the kernel can make it. */
INLINE int answers_cookie(struct socket_common *listener, const struct flow *f, void *tcp)
{
	if (is_mapped(&f->client)) {
		struct ipv4 ip = { .version_words = 0x45 };

		ip.source = f->client.words[3];
		ip.destination = f->service.words[3];
		return !tcp_cookie(listener, &ip, sizeof(ip), tcp, TCP_LENGTH);
	}
	struct ipv6 ip = { .version_class = 0x60 };

	__builtin_memcpy(ip.source, f->client.bytes, 16);
	__builtin_memcpy(ip.destination, f->service.bytes, 16);
	return !tcp_cookie(listener, &ip, sizeof(ip), tcp, TCP_LENGTH);
}

/* Does this node's kernel have the connection: being made, established or ending? A mere listener does not, unless the segment
 * at `tcp`, which is 0 where there is none, answers a SYN cookie of it. */
INLINE int has_connection(struct xdp_md *ctx, const struct flow *f, void *tcp)
{
	struct socket_tuple tuple = {};
	struct socket_common *socket;

	if (is_mapped(&f->client)) {
		tuple.v4.source = f->client.words[3];
		tuple.v4.destination = f->service.words[3];
		tuple.v4.source_port = f->client_port;
		tuple.v4.destination_port = f->service_port;
		socket = tcp_socket(ctx, &tuple, sizeof(tuple.v4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.v6.source, f->client.bytes, 16);
		__builtin_memcpy(tuple.v6.destination, f->service.bytes, 16);
		tuple.v6.source_port = f->client_port;
		tuple.v6.destination_port = f->service_port;
		socket = tcp_socket(ctx, &tuple, sizeof(tuple.v6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return 0;
	int found = socket->state != STATE_LISTEN || (tcp && answers_cookie(socket, f, tcp));

	release_socket(socket);
	return found;
}

/* RULE_NODE when the flow is another node's, or may be; RULE_NONE and KEPT leave it to this node's kernel. `opens`: by the table
 * only. `tcp`: the segment's header, or 0. */
INLINE enum rule node_rule(struct xdp_md *ctx, __u32 number, const struct flow *f, int opens, void *tcp)
{
	__u32 zero = 0;
	void *map;
	struct node_table *table;

	if (number == NODES_ALONE)
		return RULE_NONE;
	map = map_lookup(&node_tables, &number);
	if (!map)
		return RULE_NONE;
	table = map_lookup(map, &zero);
	if (!table)
		return RULE_NONE;
	enum whose whose = whose_is(table, f);

	if (whose == OWN || (whose == GUESTS && opens))
		return RULE_NONE;
	return !opens && f->protocol == TCP && has_connection(ctx, f, tcp) ? KEPT : RULE_NODE;
}

#endif
