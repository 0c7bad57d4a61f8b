/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Runs bpf/siphash.h outside the kernel. Input, a line a flow, all in hex as on the wire: k0 and k1 as numbers, client and service
 * (16 bytes each), their ports (2 bytes each), protocol. Output: its hash. */
#include <stdio.h>

#include "siphash.h"

static int hex(void *to, int length)
{
	for (int i = 0; i < length; i++)
		if (scanf("%2hhx", (__u8 *)to + i) != 1)
			return 0;
	return 1;
}

int main(void)
{
	struct flow f;
	__u64 k0, k1;

	while (scanf("%llx %llx ", &k0, &k1) == 2) {
		if (!hex(&f.client, 16) || !hex(&f.service, 16) || !hex(&f.client_port, 2) || !hex(&f.service_port, 2) ||
		    !hex(&f.protocol, 1))
			return 1;
		printf("%016llx\n", flow_hash(k0, k1, &f));
	}
	return 0;
}
