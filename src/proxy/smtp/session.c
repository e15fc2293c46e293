/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SMTP conversation, from greeting to close, on its coroutine.
 *
 * The loop gives the client what replies are there, takes what commands may go on, sends, and
 * waits for whichever side is next. Between the two stands a queue of replies owed (queue.c);
 * everything else follows from it: a group of pipelined commands is a longer queue, a refusal
 * of our own is an entry that needs no server.
 */
#include "io/loop.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

deadline_t smtp_due(const struct smtp *s)
{
	return smtp_due_in(s, s->config->timeout_ms);
}

struct slice smtp_code_text(unsigned code, char buf[4])
{
	buf[0] = (char)('0' + code / 100 % 10);
	buf[1] = (char)('0' + code / 10 % 10);
	buf[2] = (char)('0' + code % 10);
	buf[3] = '\0';
	return slice_of(buf, 3);
}

void smtp_end_transaction(struct smtp *s)
{
	if (s->chunks_open)
		smtp_account_message(s, 421, SLICE("Message was not finished"), false);
	smtp_record_end(s);
	s->sender = s->recipients = slice_of(NULL, 0);
	s->recipients_room = (struct arena_room){ NULL, 0 };
	s->n_recipients = 0;
	s->accounted = false;
	s->body_octets = 0;
	s->mail = (struct smtp_mail_options){ .has_size = false };
	if (s->transaction == NULL)
		return;
	arena_reset(s->transaction);
	s->spare = s->transaction;
	s->transaction = NULL;
}

/* The server has the first chunks of a message and said nothing of them yet. */
static bool chunk_is_unanswered(const struct smtp *s)
{
	return s->transaction != NULL && s->state == SMTP_STATE_RCPT && s->head != NULL && !s->head->local &&
	       s->head->verb == &smtp_verbs[SMTP_BDAT] && s->head != s->chunk.reply;
}

int smtp_end(struct smtp *s, enum fault fault, const char *reason, int err)
{
	bool first = !s->ending;

	if (first)
		proxy_end(s->proxy, fault, reason, err);
	s->ending = true;
	if (!s->final_owed && chunk_is_unanswered(s)) {
		s->chunks_open = true;
		s->body_octets = s->chunks_octets;
	}
	if (s->final_owed || s->chunks_open)
		smtp_account_message(s, 421, s->final_owed ? SLICE("No final reply") : SLICE("Message was not finished"), false);
	if (first && fault == FAULT_SERVER)
		smtp_account_lost(s);
	/* A server that waits for a message must not take what it has for one. */
	if (s->in_message || (s->chunk.reply != NULL && s->chunk.forward))
		proxy_drop_server(s->proxy);
	s->in_message = false;
	return -ECONNABORTED;
}

int smtp_fail(struct smtp *s, enum fault fault, const char *reason, int err)
{
	bool first = !s->ending;

	smtp_end(s, fault, reason, err);
	if (first && !s->client_gone &&
	    stream_write(s->proxy->client, SLICE("421 4.3.0 Service not available, closing transmission channel\r\n"),
			 smtp_due(s)) < 0)
		s->client_gone = true;
	return -ECONNABORTED;
}

void smtp_on_hello(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (!smtp_code_is_positive(code))
		return;
	smtp_forget_offers(s);
	s->reset_by_us = false;
	s->in_message = false;
	s->state = SMTP_STATE_EHLO;
	smtp_end_transaction(s);
	smtp_hello_accept(s, p->verb);
}

void smtp_begin_anew(struct smtp *s)
{
	smtp_end_transaction(s);
	s->state = s->assumed = SMTP_STATE_INITIAL;
	smtp_hello_forget(s);
	smtp_forget_offers(s);
	s->server_extensions = 0;
	s->client_authenticated = s->in_message = false;
	s->announced = s->reset_by_us = s->connected = false;
}

static int no_memory(struct smtp *s)
{
	return smtp_fail(s, FAULT_RESOURCE, "no-memory", -ENOMEM);
}

void smtp_on_mail(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (!smtp_code_is_positive(code))
		return;
	smtp_end_transaction(s);
	s->reset_by_us = false;
	s->state = SMTP_STATE_MAIL;
	s->mail = p->mail;
	s->transaction = s->spare != NULL ? s->spare : arena_child(s->proxy->arena, SMTP_TRANSACTION_OCTETS, 0);
	s->spare = NULL;
	if (s->transaction != NULL)
		s->sender = arena_copy(s->transaction, p->mailbox);
	if (s->sender.ptr == NULL)
		(void)no_memory(s);
	else
		smtp_record_begin(s, p);
}

/* recipients: one string, joined by a space. */
static bool add_recipient(struct smtp *s, struct slice mailbox)
{
	const uint8_t *own = s->recipients_room.ptr;
	size_t n = s->recipients.len;
	uint8_t *text = arena_room_take(s->transaction, &s->recipients_room, n + 1 + mailbox.len);

	if (text == NULL)
		return false;
	/* Policy code may have put a string of its own there. */
	if (n > 0 && s->recipients.ptr != own)
		memcpy(text, s->recipients.ptr, n);
	if (n > 0)
		text[n++] = ' ';
	memcpy(text + n, mailbox.ptr, mailbox.len);
	s->recipients = slice_of(text, n + mailbox.len);
	s->n_recipients++;
	return true;
}

void smtp_on_rcpt(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (!smtp_code_is_positive(code) || s->transaction == NULL)
		return;
	s->state = SMTP_STATE_RCPT;
	if (!add_recipient(s, p->mailbox))
		(void)no_memory(s);
}

void smtp_on_data(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (code != 354)
		return;
	s->in_message = true;
	s->transfer = true;
	smtp_record_phase(s, SMTP_PHASE_BODY, true);
}

void smtp_on_body(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	s->state = SMTP_STATE_EHLO;
}

void smtp_on_rset(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (!smtp_code_is_positive(code))
		return;
	if (s->state != SMTP_STATE_INITIAL)
		s->state = SMTP_STATE_EHLO;
	s->reset_by_us = false;
	s->in_message = false;
	smtp_end_transaction(s);
}

void smtp_on_quit(struct smtp *s, struct smtp_pending *p, unsigned code)
{
}

/* The server's greeting is owed to the client like any other reply. */
static int expect_greeting(struct smtp *s)
{
	struct smtp_pending *p = smtp_queue_add(s, &smtp_verbs[SMTP_GREETING]);

	if (p == NULL)
		return -ENOMEM;
	s->blocked = true;
	s->connected = true;
	return 0;
}

co_waits int smtp_connect(struct smtp *s)
{
	unsigned code = (unsigned)s->config->unconnected_response_code;
	int err = smtp_reuse_start(s);

	if (err == -ENOENT)
		err = proxy_connect_server(s->proxy);
	if (err == 0)
		return expect_greeting(s);
	if (err == -ECANCELED)
		return err;
	/* What is wrong with a server's zone is mended sooner or later, and must not cost anybody a mail. */
	if (proxy_server_is_doubtful(s->proxy) && code >= 500)
		code = 451;
	return smtp_queue_reply(s, &smtp_verbs[SMTP_GREETING], code, SLICE("Server not available"));
}

static co_waits int read_client(struct smtp *s)
{
	ssize_t n = stream_fill_now(s->proxy->client);

	if (n >= 0)
		s->client_due = n == 0 ? s->client_due :
				deadline_in(s->chunk.reply != NULL ? s->config->timeout_data_block_ms : s->config->timeout_command_ms);
	else
		s->client_eof = true;
	s->client_gone = n < 0 && n != -EPIPE;
	if (s->client_gone && s->chunk.reply != NULL && s->chunk.forward)
		return smtp_client_lost(s, "client-closed", (int)n);
	return n == -EPIPE || n >= 0 ? 0 : (int)n;
}

/* End of file behind whole replies is noticed when they were given. */
static co_waits int read_server(struct smtp *s)
{
	ssize_t n = stream_fill_now(s->proxy->server);

	if (n >= 0)
		return 0;
	n = n == -EPIPE ? 0 : n;
	if (s->chunk.reply != NULL && s->chunk.forward) {
		smtp_chunk_lose_server(s, "server-closed", (int)n);
		return 0;
	}
	return smtp_server_lost(s, s->parser.done > 0 || stream_peek(s->proxy->server).len > 0 ? "reply-cut" :
				"server-closed", (int)n);
}

static co_waits int send_what_is_queued(struct smtp *s)
{
	int err = stream_push(s->proxy->client);

	if (err < 0) {
		s->client_gone = true;
		return smtp_end(s, FAULT_CLIENT, "client-closed", err);
	}
	err = s->proxy->server != NULL ? stream_push(s->proxy->server) : 0;
	return err < 0 ? smtp_server_lost(s, "server-closed", err) : 0;
}

/* Replies owed are the server's business, else it is the client's turn; in a chunk it can be both. */
static bool client_is_next(const struct smtp *s)
{
	if (!smtp_chunk_wants_more(s))
		return s->head == NULL;
	return s->head == s->chunk.reply || s->client_due <= s->server_due;
}

static co_waits int chunk_or_client_lost(struct smtp *s, const char *reason)
{
	if (smtp_chunk_wants_more(s) && s->chunk.forward)
		return smtp_client_lost(s, reason, -ETIMEDOUT);
	return smtp_fail(s, FAULT_CLIENT, reason, -ETIMEDOUT);
}

static co_waits int timed_out(struct smtp *s)
{
	const char *reason = smtp_due_reason(s, s->head == NULL);
	bool client = client_is_next(s) || s->usage.session_due <= co_now();

	proxy_log(s->proxy, LOG_CORE_ERROR, 3, "Timeout", F_TEXT("side", client ? "client" : "server"), F_TEXT("reason", reason));
	return client ? chunk_or_client_lost(s, reason) : smtp_server_lost(s, reason, -ETIMEDOUT);
}

static bool may_read_client(const struct smtp *s)
{
	if (s->client_eof)
		return false;
	if (s->chunk.reply != NULL)
		return smtp_chunk_wants_more(s);
	return !s->blocked && s->n_pending < SMTP_BATCH_COMMANDS && s->pending_octets < SMTP_BATCH_OCTETS;
}

/* 0: look what is there. */
static co_waits int wait_in_time(struct smtp *s, struct stream_wait *set, size_t n)
{
	deadline_t start = co_now(), due = client_is_next(s) ? smtp_client_due(s) : s->server_due;
	bool chunk = smtp_chunk_wants_more(s);
	int err;

	s->proxy->idle = s->head == NULL && s->transaction == NULL;
	err = streams_wait(set, n, chunk ? smtp_rate_due(s, due) : due);
	s->proxy->idle = false;
	if (err < 0 && err != -ETIMEDOUT)
		return err;
	if (err < 0 && due <= co_now())
		return timed_out(s);
	return chunk && !smtp_rate_is_fine(s, co_now() - start) ? chunk_or_client_lost(s, "too-slow") : 0;
}

/* Wait for whichever side is next. */
static co_waits int wait_for_more(struct smtp *s)
{
	struct stream_wait set[2] = { { .stream = s->proxy->client }, { .stream = s->proxy->server, .want = LOOP_READ } };
	int err = send_what_is_queued(s);

	if (err < 0)
		return err;
	s->proxy->doing = smtp_chunk_wants_more(s) ? "receiving a message from the client" :
			  s->head != NULL ? "waiting for a reply" : "waiting for a command";
	if (may_read_client(s))
		set[0].want |= LOOP_READ;
	if (stream_unsent(s->proxy->client) > 0)
		set[0].want |= LOOP_WRITE;
	if (s->proxy->server != NULL && stream_unsent(s->proxy->server) > 0)
		set[1].want |= LOOP_WRITE;
	if (set[0].want == 0)
		set[0].stream = NULL;
	err = wait_in_time(s, set, ARRAY_LEN(set));
	if (err < 0)
		return err;
	if (set[0].stream != NULL && (set[0].got & LOOP_READ) != 0)
		err = read_client(s);
	if (err >= 0 && s->proxy->server != NULL && (set[1].got & LOOP_READ) != 0)
		err = read_server(s);
	return err < 0 ? err : 0;
}

/* The client is gone, and owed nothing any more. */
static int check_client(struct smtp *s)
{
	if (!s->client_eof || s->head != NULL)
		return 0;
	return smtp_end(s, FAULT_CLIENT, stream_peek(s->proxy->client).len > 0 ? "command-cut" : "client-closed", 0);
}

static co_waits int converse(struct smtp *s)
{
	int err = smtp_delay_greeting(s);

	if (err == 0)
		err = smtp_connect(s);
	while (err == 0 && !s->ending) {
		if (s->head == NULL && proxy_should_stop(s->proxy))
			return smtp_fail(s, FAULT_ADMIN, "stopped", 0);
		err = smtp_answer(s);
		if (err == 0 && s->transfer) {
			err = smtp_transfer(s);
			continue;
		}
		if (err == 0 && s->switching != SMTP_NO_SWITCH) {
			err = smtp_switch_to_tls(s);
			continue;
		}
		if (err == 0)
			err = smtp_take_commands(s);
		if (err < 0 || smtp_answer_is_ready(s))
			continue;
		/* Told to stop while something was under way, and now nothing is. */
		if (s->head == NULL && s->transaction == NULL && proxy_should_stop(s->proxy))
			continue;
		err = check_client(s);
		if (err == 0)
			err = wait_for_more(s);
	}
	return err;
}

/*
 * The last reply must reach the client. A close while its octets are still coming in would make
 * the kernel answer with RST, which can overtake the reply; so they are read and dropped first.
 */
static co_waits void say_goodbye(struct smtp *s)
{
	struct stream *client = s->proxy->client;
	deadline_t until = co_now() + SMTP_GOODBYE_MS;
	size_t dropped = 0;

	s->proxy->doing = "closing";
	if (s->client_gone || stream_flush(client, until) < 0 || (!s->linger && s->chunk.reply == NULL) || stream_shutdown_write(client, until) < 0)
		return;
	while (dropped < SMTP_LINGER_OCTETS) {
		size_t buffered = stream_peek(client).len;

		stream_consume(client, buffered);
		dropped += buffered;
		if (stream_fill(client, until) <= 0)
			return;
	}
}

co_waits void smtp_run(struct proxy *proxy)
{
	struct smtp *s = smtp_of(proxy);
	int err;

	s->proxy = proxy;
	s->config = proxy->config;
	s->state = s->assumed = SMTP_STATE_INITIAL;
	smtp_usage_start(s);
	s->client_due = deadline_in(s->config->timeout_command_ms);
	s->may_announce = smtp_may_announce(s);
	err = converse(s);
	co_shield_begin();
	if (err == -ECANCELED)
		smtp_fail(s, FAULT_ADMIN, "stopped", 0);
	else if (err < 0 && !s->ending)
		smtp_fail(s, err == -ENOMEM ? FAULT_RESOURCE : s->client_eof ? FAULT_CLIENT : FAULT_OWN,
			  err == -ENOMEM ? "no-memory" : s->client_eof ? "client-closed" : "internal", err);
	say_goodbye(s);
	smtp_reuse_leave(s);
	co_shield_end();
	smtp_end_transaction(s);
	/* Policy code that runs behind the conversation may read what pointed there. */
	s->request_cmd = s->request_param = s->response_code = s->response_param = slice_of(NULL, 0);
	smtp_set_error(s, "500", "");
	arena_free(&s->spare);
	arena_free(&s->batch);
}
