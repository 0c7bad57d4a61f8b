/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The maps that the daemon fills. Their layout is part of the pin directory's name (v<LAYOUT>, src/steer/keys.rs): whoever
 * changes a key, a value or a meaning here raises LAYOUT there. */
#ifndef RINGLEAD_MAPS_H
#define RINGLEAD_MAPS_H

#include "kernel.h"

/* An address of either family: IPv4 as ::ffff:a.b.c.d. */
union address {
	__u8 bytes[16];
	__u32 words[4];
	__u64 halves[2];
};

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
SET(local_addresses, 4096);

/* SNAT ranges, cut into prefixes of the port (at most 30 a range), so that a changed range is a difference of two sets. */
struct {
	UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	UINT(max_entries, 65536);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct prefix_key);
	TYPE(value, __u8);
} snat SECTION(".maps");

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
	RULES,
};

struct counters {
	__u64 passed;
	__u64 redirected;
	__u64 unowned; /* ours, but the queue has no socket: dropped */
	__u64 rules[RULES];
};

struct {
	UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct counters);
} counters SECTION(".maps");

#endif
