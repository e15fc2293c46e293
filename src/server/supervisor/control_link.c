/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's side of the control process: requests in fixed records, each field checked. */
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void control_link_reply(struct supervisor *s, uint32_t request, int exit_status, const char *text)
{
	struct message m = { .type = MSG_CONTROL_REPLY, .number = request, .value = exit_status };

	if (request == 0 || s->control.sock < 0)
		return;
	m.body = slice_take(slice_cstr(text), MESSAGE_BODY_MAX);
	(void)!message_send(s->control.sock, &m);	/* a client that gets no answer runs into its limit */
}

static void fill_generations(const struct supervisor *s, struct status_record *r)
{
	for (const struct generation *g = s->generations; g != NULL && r->n_generations < GENERATIONS_MAX; g = g->next) {
		struct status_generation *to = &r->generations[r->n_generations++];

		to->number = g->number;
		to->state = g->state;
		to->leader_pid = g->pid;
		to->n_services = g->head.n_services;
		to->n_rules = g->head.n_rules;
		to->n_callbacks = g->head.n_callbacks;
		to->loaded_wall_ms = g->loaded_wall_ms;
		snprintf(to->fingerprint, sizeof(to->fingerprint), "%s", g->head.fingerprint);
	}
}

void control_link_status(struct supervisor *s)
{
	struct status_record *r;
	struct message m = { .type = MSG_STATUS };

	if (s->control.sock < 0)
		return;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return;
	r->supervisor_pid = s->pid;
	r->lookout_pid = s->lookout.child.pid;
	r->workers = s->options->workers;
	r->worker_restarts = s->worker_restarts;
	r->kernel = s->kernel;
	r->stopping = s->stopping;
	r->can_forge = s->can_forge;
	r->verbosity = s->verbosity;
	r->start_wall_ms = s->start_wall_ms;
	r->reload_wall_ms = s->reload_wall_ms;
	r->reload_ok = s->reload_ok;
	snprintf(r->policy, sizeof(r->policy), "%s", s->options->policy);
	snprintf(r->logspec, sizeof(r->logspec), "%s", s->logspec);
	snprintf(r->reload_error, sizeof(r->reload_error), "%s", s->reload_error);
	fill_generations(s, r);
	m.body = slice_of(r, sizeof(*r));
	(void)!message_send(s->control.sock, &m);
	free(r);
}

void control_link_channel(struct supervisor *s, const struct generation *g, uint32_t slot)
{
	struct message m = { .type = MSG_CHANNEL, .slot = slot, .number = g->number, .n_fds = 1 };

	m.fds[0] = g->stats_fds[slot];
	if (s->control.sock >= 0 && m.fds[0] >= 0)
		(void)!message_send(s->control.sock, &m);
}

void control_link_certificates(struct supervisor *s, const struct generation *g)
{
	struct message m = { .type = MSG_CERTIFICATES, .number = g->number, .n_fds = 1 };

	m.fds[0] = g->certificates;
	if (s->control.sock >= 0 && m.fds[0] >= 0)
		(void)!message_send(s->control.sock, &m);
}

void control_link_names(struct supervisor *s)
{
	struct message m = { .type = MSG_SNAPSHOT, .n_fds = 1 };

	m.fds[0] = s->lookout.snapshot;
	if (s->control.sock >= 0 && s->lookout.snapshot >= 0)
		(void)!message_send(s->control.sock, &m);
}

/* ---- requests ---- */

static void stop_session(struct supervisor *s, uint32_t request, const char *id)
{
	struct message m = { .type = MSG_STOP_SESSION, .number = request, .body = slice_cstr(id) };
	uint32_t answers = 0;

	if (s->session_request != 0)	/* one at a time; the one before gets what is known of it */
		control_link_reply(s, s->session_request, EXIT_NO, "there is no such session");
	for (struct generation *g = s->generations; g != NULL; g = g->next)
		if ((g->state == GENERATION_CURRENT || g->state == GENERATION_DRAINING) &&
		    message_send(g->sock, &m) == 0)
			answers += s->options->workers;
	s->session_request = answers > 0 ? request : 0;
	s->session_answers = answers;
	s->session_found = false;
	if (answers == 0)
		control_link_reply(s, request, EXIT_NO, "there is no such session");
}

static void on_request(struct supervisor *s, const struct message *m)
{
	struct control_request r;

	if (m->body.len != sizeof(r) || m->number == 0)
		return;
	memcpy(&r, m->body.ptr, sizeof(r));
	r.text[sizeof(r.text) - 1] = '\0';
	switch (r.op) {
	case CONTROL_RELOAD:
		generation_reload(s, m->number);
		break;
	case CONTROL_STOP:
		control_link_reply(s, m->number, EXIT_FINE, "");
		supervisor_stop(s, r.number == 1);
		break;
	case CONTROL_STOP_SESSION:
		stop_session(s, m->number, r.text);
		break;
	case CONTROL_LOG:
		if (r.number > 10 || r.number < -1 || (r.has_text && strlen(r.text) >= LOGSPEC_MAX) ||
		    log_set_spec(r.number >= 0 ? r.number : s->verbosity, r.has_text ? r.text : s->logspec, NULL) != 0) {
			control_link_reply(s, m->number, EXIT_NO, "a level is 0 to 10, a specification is "
					   "PATTERN:LEVEL[,PATTERN:LEVEL]...");
			break;
		}
		supervisor_set_log(s, r.number >= 0 ? r.number : s->verbosity, r.has_text ? r.text : s->logspec);
		control_link_reply(s, m->number, EXIT_FINE, "");
		break;
	default:
		control_link_reply(s, m->number, EXIT_NO, "unknown request");
	}
}

static void said(struct supervisor *s, struct message *m)
{
	if (m->type == MSG_CONTROL_REQUEST)
		on_request(s, m);
}

/* ---- the process ---- */

static int be_control(struct supervisor *s, int sock)
{
	const int keep[] = { sock, s->control_listener };

	privileges_close_others(keep, ARRAY_LEN(keep));
	(void)setsid();
	if (privileges_drop(&s->user, 0, s->pid) != 0 ||
	    log_open(STDERR_FILENO, s->options->log_format, s->verbosity, s->logspec, NULL) != 0)
		return EXIT_REFUSED;
	return control_run(s->control_listener, sock, s->user.change ? 0 : geteuid());
}

static void begins(struct supervisor *s)
{
	for (struct generation *g = s->generations; g != NULL; g = g->next) {
		for (uint32_t i = 0; i < s->options->workers; i++)
			control_link_channel(s, g, i);
		control_link_certificates(s, g);
	}
	control_link_names(s);
	control_link_status(s);
}

static const struct child_kind control_process = {
	.ended = "The control process ended; it is started again",
	.not_started = "The control process cannot be started",
	.be = be_control, .begins = begins, .says = said,
};

void control_link_init(struct supervisor *s)
{
	child_link_init(&s->control, &control_process, s);
}

int control_link_start(struct supervisor *s)
{
	return child_link_start(&s->control);
}

/* Nothing depends on it but who asks. */
void control_link_ended(struct supervisor *s)
{
	s->reload_request = s->session_request = 0;
	child_link_ended(&s->control);
}

void control_link_close(struct supervisor *s)
{
	if (s->control_listener >= 0) {
		(void)unlink(s->control_path);
		close(s->control_listener);
	}
	child_link_close(&s->control);
}
