/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* L7 services: which node's kernel accepts a flow. src/steer/nodes.rs says the same in Rust, without sockets. */
#ifndef RINGLEAD_NODES_H
#define RINGLEAD_NODES_H

#include "maps.h"
#include "siphash.h"

enum { TCP_SYN = 2 };
/* TCP states of the kernel (include/net/tcp_states.h), stable because programs see them. */
enum { STATE_LISTEN = 10 };

/* The slot of the hash, of a table of nodes: is it ours? A table without slots leaves everything here. */
INLINE int is_own(const struct node_table *table, const struct flow *f)
{
	__u64 hash = flow_hash(table->key[0], table->key[1], f);
	__u64 slot = (hash >> 32) * table->size >> 32;

	if (!table->size || slot >= NODE_SLOTS_MAX)
		return 1;
	return table->own[slot / 64] >> slot % 64 & 1;
}

/* Does this node's kernel have the connection: being made, established or ending, but not a mere listener? */
INLINE int has_socket(struct xdp_md *ctx, const struct flow *f)
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
	int found = socket->state != STATE_LISTEN;

	release_socket(socket);
	return found;
}

/* RULE_NODE when the flow is another node's; RULE_NONE and KEPT leave it to this node's kernel. `opens`: by the table only. */
INLINE enum rule node_rule(struct xdp_md *ctx, __u32 number, const struct flow *f, int opens)
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
	if (!table || is_own(table, f))
		return RULE_NONE;
	return !opens && f->protocol == TCP && has_socket(ctx, f) ? KEPT : RULE_NODE;
}

#endif
