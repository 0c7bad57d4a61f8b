/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The maps that the daemon fills. Their layout is part of the pin directory's name (v<LAYOUT>, src/steer/keys.rs): whoever
 * changes a key, a value or a meaning here raises LAYOUT there. */
#ifndef RINGLEAD_MAPS_H
#define RINGLEAD_MAPS_H

#include "address.h"

/* One key for all sets. What a set does not look at is 0. Ports are in network order. */
struct key {
	union address address __attribute__((aligned(4)));
	__u8 zero;
	__u8 protocol;
	__u16 port;
} __attribute__((packed, aligned(4)));

struct prefix_key {
	__u32 bits;
	struct key key;
};

#define SET(name, entries)                       \
	struct {                                 \
		UINT(type, BPF_MAP_TYPE_HASH);   \
		UINT(max_entries, entries);      \
		TYPE(key, struct key);           \
		TYPE(value, __u8);               \
	} name SECTION(".maps")

/* (address, port or 0 = any, protocol) of the L4 services. */
SET(services, 65536);
/* (address, protocol) that has an L4 service or a SNAT range: the first question asked of every packet. */
SET(addresses, 65536);
/* (address, port or 0 = any, protocol) of the servers of `nat` pools. */
SET(servers, 65536);
/* (address, protocol) of the same: for their fragments. */
SET(server_addresses, 65536);
/* Addresses of this node. */
SET(local_addresses, 65536);

/* SNAT ranges, cut into prefixes of the port (at most 30 a range), so that a changed range is a difference of two sets. */
struct {
	UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	UINT(max_entries, 65536);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct prefix_key);
	TYPE(value, __u8);
} snat SECTION(".maps");

/* L7 services: (address, port, protocol) -> the number of their table in `node_tables`, or NODES_ALONE. */
#define NODES_ALONE 0xffffffff
struct {
	UINT(type, BPF_MAP_TYPE_HASH);
	UINT(max_entries, 4096);
	TYPE(key, struct key);
	TYPE(value, __u32);
} l7_services SECTION(".maps");

/* Slots of the largest node table: the largest Maglev size. */
#define NODE_SLOTS_MAX 65537
#define NODE_WORDS ((NODE_SLOTS_MAX + 63) / 64)

/* A Maglev table over nodes, of which only "this node or not" counts here. Slot n is bit n % 64 of word n / 64. */
struct node_table {
	__u64 key[2]; /* of the front's hash: k0, k1 */
	__u64 size;   /* slots in use */
	__u64 own[NODE_WORDS];
	/* Own slots that have been another's: its connections may still come in here, and a worker knows where they go. */
	__u64 guests[NODE_WORDS];
};

/* A table is never changed: the daemon makes another map, puts it into a slot that no service names, then changes the services.
 * The kernel frees a replaced one when no program looks at it, so every packet sees one whole table. */
struct {
	UINT(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	UINT(max_entries, 128);
	TYPE(key, __u32);
	struct {
		UINT(type, BPF_MAP_TYPE_ARRAY);
		UINT(max_entries, 1);
		/* By their sizes: clang leaves a struct that is only pointed to from here out of the object's types. */
		UINT(key_size, sizeof(__u32));
		UINT(value_size, sizeof(struct node_table));
	} *values[];
} node_tables SECTION(".maps");

/* Queues of one port. */
#define QUEUES_MAX 64

/* ifindex -> the port's first slot in `sockets`. */
struct {
	UINT(type, BPF_MAP_TYPE_HASH);
	UINT(max_entries, 64);
	TYPE(key, __u32);
	TYPE(value, __u32);
} ports SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_XSKMAP);
	UINT(max_entries, 64 * QUEUES_MAX);
	TYPE(key, __u32);
	TYPE(value, __u32);
} sockets SECTION(".maps");

/* Why a frame is ours: the index of its counter. NONE is the kernel's. */
enum rule {
	RULE_NONE,
	RULE_SERVICE,
	RULE_SNAT,
	RULE_SERVER,
	RULE_ICMP_ERROR,
	RULE_FRAGMENT,
	RULE_CHAIN,
	RULE_NODE,
	RULES,
	KEPT, /* no rule: this node's kernel has the connection, or else a worker would get it */
};

struct counters {
	__u64 passed;
	__u64 redirected;
	__u64 unowned; /* ours, but the queue has no socket: dropped */
	__u64 kept;    /* of the passed ones, those that are KEPT */
	__u64 rules[RULES];
};

struct {
	UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct counters);
} counters SECTION(".maps");

#endif
