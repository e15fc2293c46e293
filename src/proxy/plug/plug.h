/* SPDX-License-Identifier: Apache-2.0 */
/* The plug proxy: octets from one side to the other, counted and limited, not understood. */
#ifndef SALLYPORT_PROXY_PLUG_PLUG_H
#define SALLYPORT_PROXY_PLUG_PLUG_H

#include "session/proxy.h"

struct plug_config {
	int64_t timeout_ms, timeout_total_ms;		/* 0 or less = none */
	bool copy_to_client, copy_to_server;
	bool shutdown_soft;
	int64_t buffer_size;				/* octets */
	int64_t interval_packet, interval_time_ms;	/* 0 or less = never */
	int64_t max_octets_to_client, max_octets_to_server;	/* 0 = no limit */
	int64_t secondary_sessions, secondary_mask;
	struct policy_call packet_stats, request_stack;
};

struct plug_run {
	int64_t bandwidth_to_client, bandwidth_to_server;	/* octets a second since the start */
	int64_t start_ms;
};

extern const struct proxy_type plug_type;

#endif
