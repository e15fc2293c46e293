/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule is matched against. */
#ifndef SALLYPORT_POLICY_FLOW_H
#define SALLYPORT_POLICY_FLOW_H

#include "base/addr.h"

#define IFNAME_MAX 16			/* octets, with the NUL */

struct flow {
	uint8_t protocol;		/* IP protocol number: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6 */
	struct endpoint src, dst;	/* dst: the original destination; ports 0 where there are none */
	char iface[IFNAME_MAX];		/* incoming interface; "" = none known */
	int32_t ifgroup;		/* of the incoming interface; -1 = none known */
	char dst_iface[IFNAME_MAX];	/* this host's interface that owns dst *and* took the packet in; "" = none */
	int32_t dst_ifgroup;		/* -1 = none */
	int64_t reqid;			/* IPsec; -1 = none */
	int16_t icmp_type, icmp_code;	/* -1 = not ICMP */
};

#endif
