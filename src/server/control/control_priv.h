/* SPDX-License-Identifier: Apache-2.0 */
/* What the control process knows, and how it says it. */
#ifndef SALLYPORT_SERVER_CONTROL_PRIV_H
#define SALLYPORT_SERVER_CONTROL_PRIV_H

#include "server/keeper/certificate_records.h"
#include "policy/names.h"
#include "server/control/control.h"
#include "server/statistics.h"

#include <jansson.h>

/* The statistics of one worker slot of one generation. */
struct view_worker {
	struct view_worker *next;
	uint32_t generation, slot;
	struct stats stats;
};

/* What generations that are gone left to the sums, by service name and proxy. */
struct view_retired {
	struct view_retired *next;
	struct stats_service sum;
	uint64_t counters[COUNTERS_MAX];
};

/* What a generation's keeper shows. */
struct view_certificates {
	struct view_certificates *next;
	uint32_t generation;
	struct certificate_records records;
};

struct control_view {
	struct status_record status;
	bool have_status;
	struct view_worker *workers;
	struct view_certificates *certificates;
	struct view_retired *retired;
	struct arena *names_arena;	/* of what follows; NULL: nothing is known */
	struct names_snapshot names;
	uint64_t retired_accepted, retired_refused, retired_dropped, retired_kept, retired_reused;
};

void control_view_status(struct control_view *v, struct slice record);
void control_view_channel(struct control_view *v, struct message *m);	/* takes the descriptor over */

void control_view_names(struct control_view *v, const struct message *m);	/* MSG_SNAPSHOT (control_names.c) */
json_t *control_names(const struct control_view *v);

void control_view_certificates(struct control_view *v, struct message *m);	/* likewise */
/* Of the current generation: an array (control_certificates.c). */
json_t *control_certificates(const struct control_view *v, uint32_t generation);
void control_certificates_forget(struct control_view *v, uint32_t generation);

/* The answer to one request line; or NULL: the supervisor must be asked *r. */
json_t *control_answer(struct control_view *v, struct slice line, struct control_request *r);
/* What the supervisor's answer means to the client. */
json_t *control_outcome(const struct message *m);
json_t *control_refusal(int exit_status, const char *why);

#endif
