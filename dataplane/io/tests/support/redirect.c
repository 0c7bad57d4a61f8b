/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Redirects every frame to the socket of its queue: the least program that AF_XDP works with. Declares what it needs
 * itself, so that no header has to be installed. */
#define SECTION(name) __attribute__((section(name), used))
#define UINT(name, value) int (*name)[value]

struct xdp_md {
	unsigned int data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct {
	UINT(type, 17); /* BPF_MAP_TYPE_XSKMAP */
	UINT(max_entries, 8);
	UINT(key_size, 4);
	UINT(value_size, 4);
} sockets SECTION(".maps");

static long (*const redirect_map)(void *map, unsigned long long key, unsigned long long flags) = (void *)51;

SECTION("xdp") int redirect(struct xdp_md *frame)
{
	return (int)redirect_map(&sockets, frame->rx_queue_index, 2 /* XDP_PASS when the slot is empty */);
}
