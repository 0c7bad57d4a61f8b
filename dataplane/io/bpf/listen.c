/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which worker's listener accepts a connection: the lower half of the front's hash, times the number of listeners, divided by
 * 2^32. src/listen/mod.rs says the same in Rust. The upper half chose the node, so it would not spread what is left to us. */
#include "siphash.h"

enum { SK_PASS = 1, TCP = 6, NET_HEADER = 1 };

/* `struct sk_reuseport_md`, the context. The packet starts at the transport header. */
struct reuseport {
	__u64 data, data_end;
	__u32 length, eth_protocol, ip_protocol, bind_any, hash;
	__u64 socket, migrating;
};

static long (*const load_bytes)(struct reuseport *ctx, __u32 offset, void *to, __u32 length) = (void *)26;
static long (*const load_from)(struct reuseport *ctx, __u32 offset, void *to, __u32 length, __u32 header) = (void *)68;
static long (*const select_listener)(struct reuseport *ctx, void *map, __u32 *index, __u64 flags) = (void *)82;

/* The workers' listeners. A listener that closes leaves its place by itself. */
struct {
	UINT(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	UINT(max_entries, 256);
	TYPE(key, __u32);
	TYPE(value, __u32);
} listeners SECTION(".maps");

struct settings {
	__u64 key[2]; /* of the front's hash: k0, k1 */
	__u64 listeners;
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct settings);
} settings SECTION(".maps");

/* The flow of the packet at hand; 0 when it cannot be read. */
INLINE int flow_of(struct reuseport *ctx, struct flow *f)
{
	__u32 v4[2];
	__u16 ports[2];

	if (load_bytes(ctx, 0, ports, sizeof(ports)))
		return 0;
	f->client_port = ports[0];
	f->service_port = ports[1];
	f->protocol = TCP;
	if (ctx->eth_protocol == BE16(0x0800)) {
		if (load_from(ctx, 12, v4, sizeof(v4), NET_HEADER))
			return 0;
		map_v4(&f->client, v4[0]);
		map_v4(&f->service, v4[1]);
		return 1;
	}
	return !load_from(ctx, 8, &f->client, 16, NET_HEADER) && !load_from(ctx, 24, &f->service, 16, NET_HEADER);
}

/* Without a choice of ours the kernel chooses among the group by its own hash. So it is for the connections that wait at a
 * listener which closes ("migrate"): they go to the others instead of being reset. */
SECTION("sk_reuseport/migrate")
int listener(struct reuseport *ctx)
{
	__u32 zero = 0;
	struct settings *s = map_lookup(&settings, &zero);
	struct flow flow;

	if (!s || ctx->migrating || !flow_of(ctx, &flow))
		return SK_PASS;
	__u64 hash = flow_hash(s->key[0], s->key[1], &flow);
	__u32 index = (hash & 0xffffffff) * s->listeners >> 32;

	select_listener(ctx, &listeners, &index, 0);
	return SK_PASS;
}

char _license[] SECTION("license") = "Dual MIT/GPL";
