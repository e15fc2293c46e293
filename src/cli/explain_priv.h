/* SPDX-License-Identifier: Apache-2.0 */
/* How explain says it. */
#ifndef SALLYPORT_CLI_EXPLAIN_PRIV_H
#define SALLYPORT_CLI_EXPLAIN_PRIV_H

#include "policy/names.h"

#include <jansson.h>
#include <stdio.h>

/* One line of JSON. names may be NULL. */
void explain_json(const struct policy *policy, const struct zone_names *names, const struct flow *flow, FILE *out);
void explain_json_error(const char *why, FILE *out);

/* What the decision leads to: to the members of a JSON answer (there must be a service), and for people. */
void explain_route_json(const struct decision *d, const struct flow *flow, json_t *answer);
void explain_route_text(const struct decision *d, const struct flow *flow, FILE *out);

/* For people. */
void explain_text(const struct policy *policy, const struct zone_names *names, const struct flow *flow, FILE *out);

#endif
