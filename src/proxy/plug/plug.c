/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation of a plug is the relay's. What is left to do here: connect first, let the
 * policy watch the counters, and say whose doing the end was.
 */
#include "proxy/plug/plug.h"
#include "io/relay.h"

#include <errno.h>
#include <stddef.h>

#define ZV_ACCEPT 1
#define CONFIG(member) offsetof(struct plug_config, member)
#define RUN(member) offsetof(struct plug_run, member)
#define ANY_INT32 .min = INT32_MIN, .max = INT32_MAX

static const struct attribute plug_attributes[] = {
	{ .name = "timeout", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R, .offset = CONFIG(timeout_ms),
	  ANY_INT32, .number = 600000,
	  .doc = "Milliseconds without data in both directions together until the session ends; 0 or less: never." },
	{ .name = "timeout_total", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(timeout_total_ms), ANY_INT32, .number = 0,
	  .doc = "Milliseconds that a session may last in all; 0 or less: no limit." },
	{ .name = "copy_to_client", .type = ATTR_BOOL, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(copy_to_client), .number = 1,
	  .doc = "FALSE: what the server sends is read and thrown away." },
	{ .name = "copy_to_server", .type = ATTR_BOOL, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(copy_to_server), .number = 1,
	  .doc = "FALSE: what the client sends is read and thrown away." },
	{ .name = "shutdown_soft", .type = ATTR_BOOL, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(shutdown_soft), .number = 0,
	  .doc = "TRUE: each direction is closed separately; FALSE: the end of either ends both, after what is "
		 "on its way was delivered." },
	{ .name = "buffer_size", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R, .offset = CONFIG(buffer_size),
	  .min = 1, .max = INT32_MAX, .number = 1500,
	  .doc = "The most that counts as one packet for packetStats, up to 16384; without packet statistics "
		 "data moves in larger pieces." },
	{ .name = "packet_stats_interval_packet", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(interval_packet), ANY_INT32, .number = 0,
	  .doc = "packetStats is called after this many packets, both directions together; 0: never." },
	{ .name = "packet_stats_interval", .alias_of = "packet_stats_interval_packet" },
	{ .name = "packet_stats_interval_time", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(interval_time_ms), ANY_INT32, .number = 0,
	  .doc = "packetStats is called each time this many milliseconds passed; 0: never." },
	{ .name = "bandwidth_to_client", .type = ATTR_INT, .access = ATTR_RUN_R | ATTR_HOME_RUN,
	  .offset = RUN(bandwidth_to_client), .min = 0, .max = INT64_MAX,
	  .doc = "Average octets a second towards the client since the start, as of the last packetStats." },
	{ .name = "bandwidth_to_server", .type = ATTR_INT, .access = ATTR_RUN_R | ATTR_HOME_RUN,
	  .offset = RUN(bandwidth_to_server), .min = 0, .max = INT64_MAX,
	  .doc = "Average octets a second towards the server since the start, as of the last packetStats." },
	{ .name = "max_bytes_to_client", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(max_octets_to_client), .min = 0, .max = INT64_MAX, .number = 0,
	  .doc = "The session ends when the server sent this many octets; 0: no limit." },
	{ .name = "max_bytes_to_server", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = CONFIG(max_octets_to_server), .min = 0, .max = INT64_MAX, .number = 0,
	  .doc = "The session ends when the client sent this many octets; 0: no limit." },
	{ .name = "stack_proxy", .type = ATTR_STACK, .access = ATTR_CONFIG,
	  .doc = "The proxy or program that inspects the data." },
	{ .name = "secondary_sessions", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_NO_EFFECT,
	  .offset = CONFIG(secondary_sessions), ANY_INT32, .number = 10, .doc = "Without effect." },
	{ .name = "secondary_mask", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_NO_EFFECT,
	  .offset = CONFIG(secondary_mask), ANY_INT32, .number = 0xf, .doc = "Without effect." },
};

/* The standard class's packetStats: the counters are fine, go on. */
static co_waits int packet_stats_accept(struct proxy *proxy, const struct call_value *args, size_t n_args,
					struct call_value *result)
{
	if (n_args != 4)
		return -EBADMSG;
	*result = (struct call_value){ .kind = CALL_INT, .number = ZV_ACCEPT };
	return 0;
}

/* The standard class's requestStack: what stack_proxy says, and that can't be set yet. */
static co_waits int request_stack_none(struct proxy *proxy, const struct call_value *args, size_t n_args,
				       struct call_value *result)
{
	if (n_args != 0)
		return -EBADMSG;
	*result = (struct call_value){ .kind = CALL_NONE };
	return 0;
}

static const struct hook plug_hooks[] = {
	{ "packetStats", "AbstractPlugProxy PlugProxy", "client_bytes client_pkts server_bytes server_pkts",
	  packet_stats_accept, CONFIG(packet_stats),
	  "Told the counters at the set intervals; any answer but ZV_ACCEPT ends the session." },
	{ "requestStack", "AbstractPlugProxy PlugProxy", "", request_stack_none, CONFIG(request_stack),
	  "The proxy or program to stack for this session, or None." },
};

static int64_t positive(int64_t n)
{
	return n > 0 ? n : 0;
}

static int64_t octets_a_second(uint64_t octets, int64_t ms)
{
	return ms <= 0 ? 0 : (int64_t)((double)octets * 1000.0 / (double)ms);
}

/* The relay reached an interval. 0: go on. */
static co_waits int plug_interval(void *arg, const struct relay_counts *counts)
{
	struct proxy *proxy = arg;
	const struct plug_config *config = proxy->config;
	struct plug_run *run = proxy->run;
	int64_t ms = co_now() - run->start_ms;
	const struct call_value args[] = {
		{ .kind = CALL_INT, .number = (int64_t)counts->to_client },
		{ .kind = CALL_INT, .number = (int64_t)counts->reads_to_client },
		{ .kind = CALL_INT, .number = (int64_t)counts->to_server },
		{ .kind = CALL_INT, .number = (int64_t)counts->reads_to_server },
	};
	struct call_value result = { .kind = CALL_NONE };
	int err;

	run->bandwidth_to_client = octets_a_second(counts->to_client, ms);
	run->bandwidth_to_server = octets_a_second(counts->to_server, ms);
	if (!policy_call_is_set(&config->packet_stats))
		return 0;
	err = proxy_call(proxy, &config->packet_stats, args, ARRAY_LEN(args), &result);
	if (err == -ECANCELED)
		return err;
	if (err != 0 || result.kind != CALL_INT) {
		proxy_log(proxy, LOG_PLUG_POLICY, 1, "packetStats gave no usable verdict",
			  F_TEXT("error", err != 0 ? strerror(-err) : "not a number"));
		proxy_end(proxy, FAULT_CALLBACK, "packet-stats-failed", err);
		return -EPERM;
	}
	if (result.number != ZV_ACCEPT) {
		proxy_log(proxy, LOG_PLUG_POLICY, 1, "packetStats ended the session", F_INT("verdict", result.number));
		proxy_end(proxy, FAULT_POLICY, "packet-stats-verdict", 0);
		return -EPERM;
	}
	return 0;
}

static struct relay_options relay_options_of(struct proxy *proxy)
{
	const struct plug_config *config = proxy->config;
	bool watched = config->interval_packet > 0 || config->interval_time_ms > 0;
	struct relay_options options = {
		.idle_ms = positive(config->timeout_ms),
		.total_ms = positive(config->timeout_total_ms),
		.half_close = config->shutdown_soft,
		.discard_to_client = !config->copy_to_client,
		.discard_to_server = !config->copy_to_server,
		.max_to_client = (uint64_t)config->max_octets_to_client,
		.max_to_server = (uint64_t)config->max_octets_to_server,
	};

	/* The size of a packet matters only to who counts packets; else speed does. */
	if (watched) {
		options.buffer_octets = config->buffer_size < STREAM_CHUNK ? (size_t)config->buffer_size
									   : STREAM_CHUNK;
		options.on_interval = plug_interval;
		options.arg = proxy;
		options.interval_reads = (unsigned)positive(config->interval_packet);
		options.interval_ms = positive(config->interval_time_ms);
	}
	return options;
}

static void report_end(struct proxy *proxy, int err, bool fault_server)
{
	const struct plug_config *config = proxy->config;

	switch (err) {
	case 0:
		proxy_end(proxy, FAULT_NONE, "closed", 0);
		return;
	case -ETIMEDOUT:
		proxy_log(proxy, LOG_PLUG_SESSION, 3, "Session timed out", F_INT("timeout", config->timeout_ms));
		proxy_end(proxy, FAULT_NONE, "timeout", err);
		return;
	case -EDQUOT:
		proxy_end(proxy, FAULT_POLICY, "too-many-octets", 0);
		return;
	case -ECANCELED:
		proxy_end(proxy, FAULT_ADMIN, "stopped", 0);
		return;
	case -ENOMEM:
		proxy_end(proxy, FAULT_RESOURCE, "no-memory", err);
		return;
	default:
		proxy_end(proxy, fault_server ? FAULT_SERVER : FAULT_CLIENT, "connection-lost", err);
	}
}

static co_waits int connect_server(struct proxy *proxy)
{
	int err = proxy_connect_server(proxy);

	if (err == -EACCES)
		proxy_end(proxy, FAULT_POLICY, "target-refused", 0);
	else if (err == -ECANCELED)
		proxy_end(proxy, FAULT_ADMIN, "stopped", 0);
	else if (err != 0)
		proxy_end(proxy, FAULT_SERVER, "connect-failed", err);
	return err;
}

/* A policy that wants something stacked must not get an uninspected connection instead. */
static co_waits int refuse_stacking(struct proxy *proxy)
{
	const struct plug_config *config = proxy->config;
	struct call_value result = { .kind = CALL_NONE };
	int err = 0;

	if (policy_call_is_set(&config->request_stack))
		err = proxy_call(proxy, &config->request_stack, NULL, 0, &result);
	if (err == 0 && result.kind == CALL_NONE)
		return 0;
	if (err == -ECANCELED)
		proxy_end(proxy, FAULT_ADMIN, "stopped", 0);
	else
		proxy_end(proxy, FAULT_CALLBACK, err != 0 ? "request-stack-failed" : "stacking-unavailable", err);
	return -EPERM;
}

static co_waits void plug_run(struct proxy *proxy)
{
	struct plug_run *run = proxy->run;
	struct relay_options options;
	struct relay_counts counts = { 0 };
	bool fault_server = false;
	int err;

	if (connect_server(proxy) != 0 || refuse_stacking(proxy) != 0)
		return;
	proxy->doing = "relaying";
	run->start_ms = co_now();
	options = relay_options_of(proxy);
	err = relay_run(proxy->client, proxy->server, &options, &counts, &fault_server);
	report_end(proxy, err, fault_server);
	proxy_log(proxy, LOG_PLUG_ACCOUNTING, 4, "Accounting",
		  F_INT("octets_to_client", counts.to_client), F_INT("octets_to_server", counts.to_server),
		  F_INT("packets_to_client", counts.reads_to_client),
		  F_INT("packets_to_server", counts.reads_to_server),
		  F_INT("duration_ms", co_now() - run->start_ms),
		  F_TEXT("fault", fault_names[proxy->fault]), F_TEXT("reason", proxy->reason));
}

const struct proxy_type plug_type = {
	.name = "plug",
	.attributes = plug_attributes,
	.n_attributes = ARRAY_LEN(plug_attributes),
	.hooks = plug_hooks,
	.n_hooks = ARRAY_LEN(plug_hooks),
	.config_size = sizeof(struct plug_config),
	.run_size = sizeof(struct plug_run),
	.run = plug_run,
};
