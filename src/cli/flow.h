/* SPDX-License-Identifier: Apache-2.0 */
/* Flows as people and programs write them, for explain and test. */
#ifndef SALLYPORT_CLI_FLOW_H
#define SALLYPORT_CLI_FLOW_H

#include "policy/flow.h"

struct json_t;

/* Nothing known but that there is one. */
void flow_init(struct flow *flow);

/*
 * Set one property by its name in the JSON form ("proto", "src", "sport", "iface" ...); text
 * is what stands on a command line. 0; -EINVAL, with the reason in why.
 */
int flow_set(struct flow *flow, const char *name, const char *text, char *why, size_t why_size);

/* An object of the form of docs/reference/command-line.md. */
int flow_from_json(const struct json_t *json, struct flow *flow, char *why, size_t why_size);

/*
 * To be called when all is set: protocol and both addresses must be there, of one family; and
 * the interface that owns the destination only counts when the packet came in through it. *local (may be
 * NULL): the destination is this host's own address, as far as that was said.
 */
int flow_finish(struct flow *flow, bool *local, char *why, size_t why_size);

#endif
