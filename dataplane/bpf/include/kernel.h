/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs need of the kernel's stable interface, so that no header package has to match the build machine. */
#ifndef RINGLEAD_KERNEL_H
#define RINGLEAD_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;

/* The context of an XDP program. */
struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

enum xdp_action { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_XSKMAP = 17,
	BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20,
};
enum { BPF_F_NO_PREALLOC = 1 };

/* Helpers are called by number; of these only `tcp_cookie` is reserved to programs that may be had under the GPL. */
static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
/* Moves the packet's start by `delta` bytes, negative towards its front; every pointer into the packet is void afterwards. */
static long (*const adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static long (*const redirect_map)(void *map, __u64 index, __u64 otherwise) = (void *)51;

/* What a TCP connection is looked up by, as its packets towards us have it; every number in network order. */
struct socket_tuple {
	union {
		struct {
			__u32 source, destination;
			__u16 source_port, destination_port;
		} v4;
		struct {
			__u32 source[4], destination[4];
			__u16 source_port, destination_port;
		} v6;
	};
};

/* `struct bpf_sock`: what a program may read of any socket. */
struct socket_common {
	__u32 bound_device, family, type, protocol, mark, priority, source_v4, source_v6[4], source_port;
	__u16 destination_port;
	__u16 : 16;
	__u32 destination_v4, destination_v6[4], state;
};

/* The network namespace of the device. */
#define BPF_F_CURRENT_NETNS (~0ULL)

/* Sockets in any state, also one that is being made; what it returns is given back with `release_socket`. */
static struct socket_common *(*const tcp_socket)(void *ctx, struct socket_tuple *tuple, __u32 length, __u64 netns,
						 __u64 flags) = (void *)99;
static long (*const release_socket)(struct socket_common *socket) = (void *)86;
/* 0: the segment answers a SYN cookie of this listener. Of the IP header it reads the version and the addresses. */
static long (*const tcp_cookie)(struct socket_common *socket, void *ip, __u32 ip_length, void *tcp, __u32 tcp_length) =
	(void *)100;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define UINT(name, value) int(*name)[value]
#define TYPE(name, value) typeof(value) *name

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(x) ((__u16)((((x) & 0xff) << 8) | (((x) >> 8) & 0xff)))
#define BE32(x) __builtin_bswap32(x)
#define LE16(x) ((__u16)(x))
#define LE64(x) ((__u64)(x))
#else
#define BE16(x) ((__u16)(x))
#define BE32(x) ((__u32)(x))
#define LE16(x) __builtin_bswap16(x)
#define LE64(x) __builtin_bswap64(x)
#endif

#endif
