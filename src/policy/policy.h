/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled policy: what a policy document says, checked, as immutable structures on one
 * arena. Built once per generation by its leader and shared with the workers copy-on-write.
 * Everything here is a pure function over (policy, names, flow): no I/O, no own clock.
 */
#ifndef SALLYPORT_POLICY_POLICY_H
#define SALLYPORT_POLICY_POLICY_H

#include "policy/attribute.h"
#include "policy/encryption.h"
#include "policy/flow.h"
#include "policy/problems.h"

struct zone_names;		/* policy/names.h */

struct zone {
	const char *name;
	const struct zone *parent;		/* administrative; NULL = a root */
	uint8_t depth;				/* root = 1, at most 31 */
	uint32_t index;				/* in policy->zones */
	const struct ip_prefix *prefixes;
	size_t n_prefixes;
	const char *const *hostnames;
	size_t n_hostnames;			/* their addresses are in a snapshot, not here */
	struct policy_place place;
};

enum service_kind { SERVICE_PROXY, SERVICE_PF, SERVICE_DENY };

/* A configuration of a proxy class; services with the same class and values share one. */
struct proxy_config {
	const struct proxy_type *type;
	const char *class_name;			/* of the policy: "MySmtp" */
	int32_t class_number;			/* in the policy host; -1 = the host is not needed */
	bool per_session;			/* config() runs for each session, in the host */
	bool startup, shutdown;			/* the class has methods for these, in the host */
	bool has_callbacks;			/* some table, hook or matcher calls the host */
	const struct encryption *encryption;	/* of the class; a service's own counts more; NULL: plain */
	const void *block;			/* type->config_size octets */
	uint32_t index;
};

enum router_kind { ROUTER_TRANSPARENT, ROUTER_DIRECTED, ROUTER_BY_NAME };

/* A server for clients that ask for such a name in their TLS handshake. */
struct router_name {
	const struct matcher *matcher;
	struct endpoint target;			/* port 0 = the client's original one */
};

#define FORGE_PORT_ANY (-1)
#define FORGE_PORT_GROUP (-2)
#define FORGE_PORT_EXACT (-3)
#define FORGE_PORT_RANDOM (-4)

struct router {
	enum router_kind kind;
	bool forge_addr;
	bool overrideable;
	int32_t forge_port;			/* FORGE_PORT_* or 1..65535 */
	uint16_t forced_port;			/* transparent; 0 = the client's original one */
	uint8_t proxy_protocol;			/* version of the PROXY header that the server is sent; 0 = none */
	const struct endpoint *targets;		/* directed: at least one; by name: that of all other clients, or none; port 0 as above */
	size_t n_targets;
	const struct router_name *names;	/* by name, in the policy's order */
	size_t n_names;
};

/* Why a router can't work with an encryption (NULL: none): static; NULL: it can (runnable.c). */
const char *router_flaw(const struct router *router, const struct encryption *encryption);
struct proxy_type;
/* The same of a protocol and an encryption that asks others about the server (dane, mta_sts). */
const char *asking_flaw(const struct proxy_type *type, const struct encryption *encryption);

struct chainer {				/* ConnectChainer */
	uint8_t protocol;			/* 0 as the client's, 6 TCP */
	uint32_t timeout_connect_ms;
};

struct service {
	const char *name;
	enum service_kind kind;
	uint32_t index;				/* in policy->services */
	struct policy_place place;
	/* SERVICE_PROXY */
	const struct proxy_config *proxy;
	struct router router;
	struct chainer chainer;
	const struct encryption *encryption;	/* NULL: the configuration's */
	uint32_t max_instances;			/* 0 = no limit */
	bool keepalive_client, keepalive_server;
	const struct zone *const *target_zones;	/* limit_target_zones_to; n 0 = no check */
	size_t n_target_zones;
	const struct zone *const *header_zones;	/* whose peers must begin with a PROXY header, and are believed */
	size_t n_header_zones;
	/* SERVICE_DENY */
	uint8_t deny_ipv4, deny_ipv6;		/* DenyIPv4, DenyIPv6 numbers of the policy language */
	bool deny_logging;
};

struct port_range { uint16_t first, last; };

struct rule {
	uint32_t id;				/* >= 1, unique in its instance */
	uint16_t instance;			/* index in policy->instances */
	const struct service *service;
	struct policy_place place;
	/* Each dimension: alternatives; n 0 = not given. */
	const char *const *ifaces;	size_t n_ifaces;
	const uint32_t *ifgroups;	size_t n_ifgroups;
	const uint32_t *reqids;		size_t n_reqids;
	const uint8_t *protocols;	size_t n_protocols;
	const uint8_t *icmp_types;	size_t n_icmp_types;
	const uint8_t *icmp_codes;	size_t n_icmp_codes;
	const struct port_range *src_ports;	size_t n_src_ports;
	const struct port_range *dst_ports;	size_t n_dst_ports;
	const struct ip_prefix *src_subnets;	size_t n_src_subnets;
	const struct ip_prefix *dst_subnets;	size_t n_dst_subnets;
	const struct zone *const *src_zones;	size_t n_src_zones;
	const struct zone *const *dst_zones;	size_t n_dst_zones;
	const char *const *dst_ifaces;	size_t n_dst_ifaces;
	const uint32_t *dst_ifgroups;	size_t n_dst_ifgroups;
};

struct policy {
	const char *file;			/* the policy's main file */
	const char *fingerprint;		/* hex of the document's SHA-256-like digest, for logs */
	const char *const *instances;	size_t n_instances;
	const struct zone *zones;	size_t n_zones;
	size_t n_hostnames;			/* of all zones; at most POLICY_HOSTS_MAX */
	const struct service *services;	size_t n_services;
	const struct rule *rules;	size_t n_rules;
	const struct proxy_config *const *configs;	size_t n_configs;
	const struct matchers *matchers;	/* NULL: none */
	const char *const *matcher_files;	size_t n_matcher_files;	/* whose lines became patterns of matchers */
	const char *fingerprint_without_files;	/* NULL: nothing of it comes from files that are watched */
	const struct encryption *encryptions;	size_t n_encryptions;
	const struct tls_certificate *tls_certificates;	size_t n_tls_certificates;
	const struct tls_key *tls_keys;	size_t n_tls_keys;
	bool keys_in_workers;			/* the private keys may be where the traffic is */
	uint32_t n_secrets;			/* that the policy host hands over apart from the document */
	uint32_t n_callbacks;			/* 0: runs without a policy host */
	bool needs_host;			/* callbacks, or a configuration per session */
	struct zone_tree *zone_tree;		/* private to policy/ */
	struct hash *service_names;		/* private to policy/ */
	struct rule_index *rule_index;		/* private to policy/ */
};

/* The protocols that exist; NULL-terminated. Given by the program, so that policy/ knows none. */
struct proxy_registry {
	const struct proxy_type *const *types;
};

/*
 * Build from a policy document (docs/policy-document.md). The document is not trusted: sizes,
 * depth, references and ranges are checked. arena owns everything. Returns 0; -EINVAL with at
 * least one error in problems; -ENOMEM. Warnings may be added on success.
 */
int policy_build(struct slice document, const struct proxy_registry *registry, struct arena *arena,
		 struct policy_problems *problems, const struct policy **out) MUST_CHECK;

/* The fingerprint of a document without what came from files that are watched: patterns, certificates.
 * It stays the same when nothing but these files changes. NULL: no document, or no memory. */
const char *policy_fingerprint_without_files(struct slice document, struct arena *arena);

/* Adds an error for each thing that the policy says rightly but this version can't do yet. Called
 * by whoever is going to run it, and by `check`. */
void policy_check_runnable(const struct policy *policy, struct policy_problems *problems);

/* By host name, else the longest prefix; NULL = in no zone. names: what zones have by their host names now; NULL: nothing. */
const struct zone *policy_zone_of(const struct policy *policy, const struct zone_names *names, const struct ip_addr *ip);
const struct zone *policy_zone_named(const struct policy *policy, struct slice name);	/* NULL: none */
const struct service *policy_service_named(const struct policy *policy, struct slice name);
/* zone is ancestor or one of its administrative descendants. NULL zone: false. */
bool zone_is_within(const struct zone *zone, const struct zone *ancestor);
bool zone_is_within_any(const struct zone *zone, const struct zone *const *ancestors, size_t n);

struct decision {
	const struct rule *rule;		/* NULL: none matches */
	const struct service *service;
	const struct zone *src_zone, *dst_zone;	/* NULL = none */
	const struct rule *tie;			/* another rule with the same score, or NULL */
};

/* The best match of all rules. Never fails, allocates nothing. names as above. */
void policy_decide(const struct policy *policy, const struct zone_names *names, const struct flow *flow, struct decision *out);

#endif
