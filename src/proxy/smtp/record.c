/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/record.h"

#include "base/attributes.h"
#include "io/co.h"
#include "proxy/smtp/counters.h"
#include "proxy/smtp/smtp_priv.h"

#include <assert.h>

static const char *const results[SMTP_RESULT_COUNT] = { "accepted", "refused", "aborted" };
static const char *const body_types[] = { "", "7BIT", "8BITMIME", "BINARYMIME" };
static const struct {
	const char *stage, *duration;
} phases[] = {
	[SMTP_PHASE_MAIL] = { "mail", "mail_ms" },
	[SMTP_PHASE_RCPT] = { "rcpt", "rcpt_ms" },
	[SMTP_PHASE_DATA] = { "data", "data_ms" },
	[SMTP_PHASE_BODY] = { "body", "body_ms" },
	[SMTP_PHASE_FINAL] = { "final", "final_ms" },
};
static_assert(ARRAY_LEN(phases) == SMTP_PHASE_COUNT, "a name for each phase");
static_assert(ARRAY_LEN(body_types) == SMTP_TYPE_BINARYMIME + 1, "a name for each type");

/* From when the phase began to when it ended, or now. */
static int64_t duration(const struct smtp_record *r, enum smtp_phase phase)
{
	deadline_t end = r->ended[phase] != 0 ? r->ended[phase] : co_now();

	return r->began[phase] == 0 ? 0 : end - r->began[phase];
}

static const char *stage(const struct smtp_record *r)
{
	enum smtp_phase phase = SMTP_PHASE_COUNT - 1;

	while (phase > SMTP_PHASE_MAIL && r->began[phase] == 0)
		phase--;
	return phases[phase].stage;
}

static const char *tls_version(const struct tls_facts *facts)
{
	return facts != NULL ? facts->version : "none";
}

static const char *tls_cipher(const struct tls_facts *facts)
{
	return facts != NULL ? facts->cipher : "";
}

static void write_record(struct smtp *s, const struct smtp_record *r, const struct smtp_mail_options *mail,
			 enum smtp_result result, unsigned code, struct slice text)
{
	const struct log_list recipients = {
		{ "recipient", "response", "response_param" }, r->rows, r->n_rows, r->accepted + r->refused - r->n_rows
	};
	const struct tls_facts *client_tls = proxy_tls(s->proxy, TLS_CLIENT), *server_tls = proxy_tls(s->proxy, TLS_SERVER);
	const struct zone *zone = proxy_client_zone(s->proxy);
	char client[ENDPOINT_TEXT_MAX], server[ENDPOINT_TEXT_MAX], local[ENDPOINT_TEXT_MAX], digits[4];

	proxy_log(s->proxy, LOG_SMTP_RECORD, SMTP_RECORD_LEVEL, "Message", F_TEXT("result", results[result]),
		  F_TEXT("stage", stage(r)),
		  F_TEXT("client_address", endpoint_log_text(proxy_client_address(s->proxy), client)),
		  F_TEXT("client_zone", zone != NULL ? zone->name : ""),
		  F_TEXT("server_address", endpoint_log_text(proxy_server_address(s->proxy), server)),
		  F_TEXT("server_local", endpoint_log_text(proxy_server_local(s->proxy), local)),
		  F_OCTETS("helo", s->helo_string), F_TEXT("protocol", smtp_protocol_name(s->proxy, mail->utf8)),
		  F_TEXT("client_tls", tls_version(client_tls)), F_TEXT("client_tls_cipher", tls_cipher(client_tls)),
		  F_TEXT("server_tls", tls_version(server_tls)), F_TEXT("server_tls_cipher", tls_cipher(server_tls)),
		  F_INT("server_tls_trusted", server_tls != NULL && server_tls->trusted),
		  F_TEXT("server_dane", proxy_server_dane(s->proxy)), F_TEXT("server_mta_sts", proxy_server_mta_sts(s->proxy)),
		  F_INT("authenticated", s->client_authenticated), F_OCTETS("sender", r->sender),
		  F_TEXT("body", body_types[mail->body]), F_INT("smtputf8", mail->utf8),
		  F_TEXT("transfer", r->bdat ? "BDAT" : r->began[SMTP_PHASE_DATA] != 0 ? "DATA" : ""),
		  F_INT("declared_size", mail->has_size ? (int64_t)mail->size : -1), F_INT("size", s->body_octets),
		  F_OCTETS("response", code != 0 ? smtp_code_text(code, digits) : slice_of(NULL, 0)),
		  F_OCTETS("response_param", slice_take(text, SMTP_RECORD_TEXT)),
		  F_OCTETS("queue_id", result == SMTP_RESULT_ACCEPTED ? smtp_queue_id(text) : slice_of(NULL, 0)),
		  F_TEXT("reason", s->ending && s->proxy->reason != NULL ? s->proxy->reason : ""),
		  F_INT(phases[SMTP_PHASE_MAIL].duration, duration(r, SMTP_PHASE_MAIL)),
		  F_INT(phases[SMTP_PHASE_RCPT].duration, duration(r, SMTP_PHASE_RCPT)),
		  F_INT(phases[SMTP_PHASE_DATA].duration, duration(r, SMTP_PHASE_DATA)),
		  F_INT(phases[SMTP_PHASE_BODY].duration, duration(r, SMTP_PHASE_BODY)),
		  F_INT(phases[SMTP_PHASE_FINAL].duration, duration(r, SMTP_PHASE_FINAL)),
		  F_INT("accepted_recipients", r->accepted), F_INT("refused_recipients", r->refused),
		  F_LIST("recipients", &recipients));
}

static bool is_wanted(void)
{
	return log_wants(LOG_SMTP_RECORD, SMTP_RECORD_LEVEL);
}

void smtp_record_begin(struct smtp *s, const struct smtp_pending *mail)
{
	struct smtp_record *r = is_wanted() ? ARENA_NEW(s->transaction, struct smtp_record) : NULL;

	s->record = r;
	if (r == NULL)
		return;
	r->began[SMTP_PHASE_MAIL] = mail->since;
	r->ended[SMTP_PHASE_MAIL] = co_now();
	r->sender = s->sender;
}

/* A MAIL command that got no transaction: a record of its own. */
static void write_mail(struct smtp *s, const struct smtp_pending *p, enum smtp_result result, unsigned code, struct slice text)
{
	struct smtp_record r = { .sender = p->mailbox };

	r.began[SMTP_PHASE_MAIL] = p->since;
	if (is_wanted())
		write_record(s, &r, &p->mail, result, code, text);
}

void smtp_record_unanswered(struct smtp *s, const struct smtp_pending *mail, unsigned code, struct slice text)
{
	write_mail(s, mail, SMTP_RESULT_ABORTED, code, text);
}

static bool make_room(struct smtp *s, struct smtp_record *r)
{
	unsigned room = r->room == 0 ? 2 : 2 * r->room;
	struct log_row *rows;

	if (r->n_rows < r->room)
		return true;
	if (r->n_rows == SMTP_RECORD_RECIPIENTS)
		return false;
	rows = arena_array(s->transaction, room, sizeof(*rows));
	if (rows == NULL)
		return false;
	if (r->n_rows > 0)
		memcpy(rows, r->rows, r->n_rows * sizeof(*rows));
	r->rows = rows;
	r->room = room;
	return true;
}

/* Without room, or memory, it is only counted. */
static void add_recipient(struct smtp *s, struct smtp_record *r, const struct smtp_pending *p, unsigned code, struct slice text)
{
	struct log_row row;
	char digits[4];

	if (smtp_code_is_positive(code))
		r->accepted++;
	else
		r->refused++;
	if (!make_room(s, r))
		return;
	row.cells[0] = arena_copy(s->transaction, p->mailbox);
	row.cells[1] = arena_copy(s->transaction, smtp_code_text(code, digits));
	row.cells[2] = arena_copy(s->transaction, slice_take(text, SMTP_RECORD_TEXT));
	if (row.cells[0].ptr != NULL && row.cells[1].ptr != NULL && row.cells[2].ptr != NULL)
		r->rows[r->n_rows++] = row;
}

static void keep_refusal(struct smtp *s, struct smtp_record *r, unsigned code, struct slice text)
{
	r->text = arena_copy(s->transaction, slice_take(text, SMTP_RECORD_TEXT));
	r->code = r->text.ptr != NULL ? code : 0;
}

void smtp_record_chunk(struct smtp *s, const struct smtp_pending *p)
{
	struct smtp_record *r = s->record;

	if (r == NULL)
		return;
	r->bdat = true;
	if (r->began[SMTP_PHASE_BODY] == 0)
		r->began[SMTP_PHASE_BODY] = p->since;
	r->ended[SMTP_PHASE_BODY] = p->sent;
	if (p->chunk_last && p->sent != 0)
		r->began[SMTP_PHASE_FINAL] = p->sent;
}

void smtp_record_told(struct smtp *s, const struct smtp_pending *p, unsigned code, struct slice text)
{
	struct smtp_record *r = s->record;

	smtp_count_told(s, p, code);
	/* What no path was read from was no sender and no recipient. */
	if (p->verb == &smtp_verbs[SMTP_MAIL] && p->mailbox.ptr != NULL && !smtp_code_is_positive(code))
		write_mail(s, p, SMTP_RESULT_REFUSED, code, text);
	if (r == NULL)
		return;
	if (p->verb == &smtp_verbs[SMTP_RCPT] && p->mailbox.ptr != NULL) {
		if (r->began[SMTP_PHASE_RCPT] == 0)
			r->began[SMTP_PHASE_RCPT] = p->since;
		r->ended[SMTP_PHASE_RCPT] = co_now();
		add_recipient(s, r, p, code, text);
	} else if (p->verb == &smtp_verbs[SMTP_DATA] && !p->local) {
		r->began[SMTP_PHASE_DATA] = p->since;
		r->ended[SMTP_PHASE_DATA] = co_now();
		if (code != 354)
			keep_refusal(s, r, code, text);
	} else if (p->verb == &smtp_verbs[SMTP_BDAT]) {
		smtp_record_chunk(s, p);
		if (!smtp_code_is_positive(code))
			keep_refusal(s, r, code, text);
	}
}

void smtp_record_phase(struct smtp *s, enum smtp_phase phase, bool begins)
{
	struct smtp_record *r = s->record;

	if (r != NULL && begins)
		r->began[phase] = co_now();
	else if (r != NULL)
		r->ended[phase] = co_now();
}

void smtp_record_write(struct smtp *s, enum smtp_result result, unsigned code, struct slice text)
{
	struct smtp_record *r = s->record;

	s->record = NULL;
	if (r != NULL)
		write_record(s, r, &s->mail, result, code, text);
}

void smtp_record_end(struct smtp *s)
{
	const struct smtp_record *r = s->record;
	bool refused = r != NULL && (r->code != 0 || (r->accepted == 0 && r->refused > 0));

	if (r != NULL)
		smtp_record_write(s, refused ? SMTP_RESULT_REFUSED : SMTP_RESULT_ABORTED, r->code, r->text);
}
