/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of replies that the client is owed, in the order of its commands: those that the
 * server will give, and refusals of our own in their place among them (RFC 2920, 3.2).
 */
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

static struct arena *batch_arena(struct smtp *s)
{
	if (s->batch == NULL)
		s->batch = arena_child(s->proxy->arena, SMTP_QUEUE_OCTETS, 0);
	return s->batch;
}

struct smtp_pending *smtp_queue_add(struct smtp *s, const struct smtp_verb *verb)
{
	struct arena *arena = batch_arena(s);
	struct smtp_pending *p = arena != NULL ? ARENA_NEW(arena, struct smtp_pending) : NULL;

	if (p == NULL)
		return NULL;
	p->verb = verb;
	p->name = slice_cstr(verb->name);
	p->since = co_now();
	if (s->head == NULL) {
		s->tail = &s->head;
		s->server_due = smtp_reply_due(s, p);
	}
	*s->tail = p;
	s->tail = &p->next;
	s->n_pending++;
	return p;
}

struct smtp_pending *smtp_queue_put_first(struct smtp *s, const struct smtp_verb *verb)
{
	struct smtp_pending *first = s->head, *p;

	s->head = NULL;
	p = smtp_queue_add(s, verb);
	s->head = p != NULL ? p : first;
	if (p == NULL || first == NULL)
		return p;
	p->next = first;
	while (*s->tail != NULL)
		s->tail = &(*s->tail)->next;
	return p;
}

int smtp_queue_reply(struct smtp *s, const struct smtp_verb *verb, unsigned code, struct slice text)
{
	struct smtp_pending *p = smtp_queue_add(s, verb);

	if (p == NULL)
		return -ENOMEM;
	p->local = true;
	p->code = code;
	if (verb != &smtp_verbs[SMTP_GREETING])
		smtp_use_reply(s, code);
	p->text = arena_copy(s->batch, text);
	return p->text.ptr == NULL ? -ENOMEM : 0;
}

struct smtp_pending *smtp_queue_last(struct smtp *s)
{
	return (struct smtp_pending *)((uint8_t *)s->tail - offsetof(struct smtp_pending, next));
}

int smtp_queue_refusal(struct smtp *s, const struct smtp_verb *verb, const struct smtp_argument *argument, unsigned code,
		       struct slice text)
{
	struct smtp_pending *p;

	if (smtp_queue_reply(s, verb, code, text) < 0)
		return -ENOMEM;
	p = smtp_queue_last(s);
	p->mail = argument->mail;
	if (argument->has_path)
		p->mailbox = arena_copy(s->batch, argument->path.mailbox);
	return argument->has_path && p->mailbox.ptr == NULL ? -ENOMEM : 0;
}

void smtp_pending_close(struct smtp *s, struct smtp_pending *p, enum fault fault, const char *reason)
{
	p->closes = true;
	p->fault = fault;
	p->reason = reason;
	s->blocked = true;
}

void smtp_pending_say_goodbye(struct smtp *s, struct smtp_pending *p, unsigned code, const char *text, enum fault fault,
			      const char *reason)
{
	p->local = true;
	p->code = code;
	p->text = slice_cstr(text);
	smtp_pending_close(s, p, fault, reason);
}

int smtp_queue_goodbye(struct smtp *s, unsigned code, const char *text, enum fault fault, const char *reason)
{
	struct smtp_pending *p = smtp_queue_add(s, &smtp_unknown_verb);

	if (p == NULL)
		return -ENOMEM;
	smtp_pending_say_goodbye(s, p, code, text, fault, reason);
	return 0;
}

/* The memory of the batch goes when the last reply is given: run-time attributes that pointed
 * into it end with it. */
void smtp_queue_pop(struct smtp *s)
{
	s->pending_octets -= s->head->octets;
	s->head = s->head->next;
	s->n_pending--;
	if (s->head != NULL) {
		s->server_due = smtp_reply_due(s, s->head);
		return;
	}
	s->tail = &s->head;
	s->blocked = false;
	s->assumed = s->state;
	s->assumed_mail = s->mail;
	s->client_due = deadline_in(s->config->timeout_command_ms);
	s->request_cmd = s->request_param = s->response_code = s->response_param = s->hello_said = slice_of(NULL, 0);
	arena_reset(s->batch);
}
