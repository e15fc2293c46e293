/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the conversation, each in one row. */
#include "run.h"
#include "session/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void check_end(struct run *r, const char *words)
{
	char want_fault[32] = "", want_reason[64] = "";

	r->ends = true;
	if (sscanf(words, " fault=%31s reason=%63s", want_fault, want_reason) < 1)
		fail(r, "end fault=... reason=...");
	settle(r);
	/* Behind its last reply a session may wait a moment for the client to hang up. */
	if (!r->h.ended) {
		r->h.now_ms += 3000;
		settle(r);
	}
	if (!r->h.ended) {
		fail(r, "the session has not ended");
		return;
	}
	if (strcmp(fault_names[r->h.fault], want_fault) != 0 || strcmp(r->h.reason, want_reason) != 0)
		fail(r, "ended with fault=%s reason=%s", fault_names[r->h.fault], r->h.reason);
}

/* Another client, when the session before was looked at. */
static void do_c_connects(struct run *r, char *rest)
{
	if (!r->h.ended || !r->ends)
		fail(r, "the session before has not ended, or no line says how");
	if (r->from_proxy[CLIENT].len > 0)
		fail(r, "the client before received what the transcript does not show");
	r->ends = r->eof[CLIENT] = false;
	tls_peer_free(&r->tls[CLIENT]);
	if (harness_connect(&r->h, *rest != '\0' ? rest : r->client_address) < 0)
		fail(r, "the session does not start");
	settle(r);
}

static void do_c_sends(struct run *r, char *rest) { send_octets(r, CLIENT, rest); }
static void do_s_sends(struct run *r, char *rest) { send_octets(r, SERVER, rest); }
static void do_c_receives(struct run *r, char *rest) { receive_octets(r, CLIENT, rest); }
static void do_s_receives(struct run *r, char *rest) { receive_octets(r, SERVER, rest); }
static void do_c_close(struct run *r, char *rest) { close_side(r, CLIENT); }
static void do_s_close(struct run *r, char *rest) { close_side(r, SERVER); }
static void do_c_shutdown(struct run *r, char *rest) { shut_down_side(r, CLIENT); }
static void do_s_shutdown(struct run *r, char *rest) { shut_down_side(r, SERVER); }
static void do_c_any(struct run *r, char *rest) { settle(r); r->from_proxy[CLIENT].len = 0; }
static void do_s_any(struct run *r, char *rest) { settle(r); r->from_proxy[SERVER].len = 0; }
static void do_c_tls(struct run *r, char *rest) { speak_tls(r, CLIENT, rest); }
static void do_s_tls(struct run *r, char *rest) { speak_tls(r, SERVER, rest); }
static void do_c_sees(struct run *r, char *rest) { check_subject(r, CLIENT, rest); }
static void do_s_sees(struct run *r, char *rest) { check_subject(r, SERVER, rest); }
static void do_s_asked(struct run *r, char *rest) { check_name(r, rest); }
static void do_c_waits(struct run *r, char *rest) { check_waits(r, CLIENT); }
static void do_s_waits(struct run *r, char *rest) { check_waits(r, SERVER); }
static void do_c_end(struct run *r, char *rest) { check_cut_off(r, CLIENT); }
static void do_s_end(struct run *r, char *rest) { check_cut_off(r, SERVER); }
static void do_f_receives(struct run *r, char *rest) { receive_octets(r, FORMER, rest); }
static void do_f_end(struct run *r, char *rest) { check_cut_off(r, FORMER); }
static void do_shut(struct run *r, char *rest) { pool_shut(r->h.env.pool); settle(r); }
static void do_s_lost(struct run *r, char *rest) { check_lost(r); }
static void do_wait(struct run *r, char *rest) { settle(r); r->h.now_ms += strtoll(rest, NULL, 10); settle(r); }
static void do_end(struct run *r, char *rest) { check_end(r, rest); }
static void do_log(struct run *r, char *rest) { check_log(r, rest, true); }
static void do_nolog(struct run *r, char *rest) { check_log(r, rest, false); }
static void do_record(struct run *r, char *rest) { check_record(r, rest); }
static void do_messages(struct run *r, char *rest) { settle(r); check_messages(r, rest); }

static void do_asked(struct run *r, char *rest) { check_asked(r, rest); }
static void do_count(struct run *r, char *rest) { check_counts(r, rest); }

static void do_stop(struct run *r, char *rest)
{
	if (session_newest(&r->h.env) != NULL)
		session_stop(session_newest(&r->h.env), strcmp(rest, "now") == 0);
	settle(r);
}

static void do_connect(struct run *r, char *rest)
{
	if (strcmp(rest, "fails") != 0)
		fail(r, "connect fails");
	r->h.connect_error = -ECONNREFUSED;
}

static const struct step {
	const char *word;
	void (*run)(struct run *r, char *rest);
} steps[] = {
	{ "C waits", do_c_waits }, { "S waits", do_s_waits },
	{ "C close", do_c_close }, { "S close", do_s_close }, { "C shutdown", do_c_shutdown }, { "S shutdown", do_s_shutdown },
	{ "C any", do_c_any }, { "S any", do_s_any }, { "C tls", do_c_tls }, { "S tls", do_s_tls }, { "C sees", do_c_sees }, { "S sees", do_s_sees }, { "S asked", do_s_asked },
	{ "C connect", do_c_connects }, { "F<", do_f_receives }, { "F end", do_f_end }, { "pool shut", do_shut },
	{ "C end", do_c_end }, { "S end", do_s_end }, { "S lost", do_s_lost },
	{ "C>", do_c_sends }, { "C<", do_c_receives }, { "S>", do_s_sends }, { "S<", do_s_receives },
	{ "wait", do_wait }, { "end", do_end }, { "log", do_log }, { "nolog", do_nolog }, { "record", do_record },
	{ "messages", do_messages }, { "count", do_count }, { "asked", do_asked },
	{ "stop", do_stop }, { "connect", do_connect },
};

bool step_line(struct run *r, char *line, int (*start)(struct run *r))
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		size_t n = strlen(steps[i].word);
		char *rest = line + n;

		if (strncmp(line, steps[i].word, n) != 0 || (*rest != ' ' && *rest != '\0'))
			continue;
		if (start(r) < 0)
			return true;
		while (*rest == ' ')
			rest++;
		steps[i].run(r, rest);
		return true;
	}
	return false;
}
