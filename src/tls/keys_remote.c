/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures over a connection. The caller's coroutine waits; nothing is locked meanwhile, and all
 * that is known of a request stands on its stack and in the lists here. A reply that comes when
 * nobody waits for it any more is dropped, but counts: so many requests are with the keeper.
 */
#include "tls/keys_remote.h"

#include "io/co.h"
#include "io/loop.h"
#include "tls/key_provider.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct pending {
	struct pending *next;
	struct co *co;
	uint32_t number;
	bool done;
	int result;			/* once done: octets in out, or -errno */
	uint8_t *out;			/* KEY_SIGNATURE_MAX octets */
};

struct keys_remote {
	struct key_provider *provider;
	struct loop *loop;
	struct loop_watch watch;	/* fd -1: not connected */
	void (*lost)(void *arg, int err);
	void *arg;
	uint32_t number;		/* of the last request */
	unsigned owed;			/* replies */
	struct pending *sent;
	struct pending *waiting, **waiting_tail;	/* for their turn */
	unsigned n_waiting;
};

#define REMOTE_OF(watch) ((struct keys_remote *)((char *)(watch) - offsetof(struct keys_remote, watch)))

static void finish(struct pending *p, int result)
{
	p->done = true;
	p->result = result;
	co_wake(p->co);
}

static void wake_next(struct keys_remote *r)
{
	if (r->waiting != NULL && r->watch.fd >= 0 && r->owed < KEY_WINDOW)
		co_wake(r->waiting->co);
}

static void disconnect(struct keys_remote *r, int err)
{
	struct pending *p = r->sent;

	if (r->watch.fd < 0)
		return;
	loop_watch_remove(r->loop, &r->watch);
	close(r->watch.fd);
	r->watch.fd = -1;
	r->owed = 0;
	for (; p != NULL; p = p->next)
		if (!p->done)
			finish(p, err);
}

/* ---- replies ---- */

static void take_reply(struct keys_remote *r, const struct key_reply *head, struct slice signature)
{
	struct pending *p = r->sent;

	r->owed--;
	while (p != NULL && (p->done || p->number != head->number))
		p = p->next;
	if (p != NULL) {		/* else: given up */
		if (head->result > 0)
			memcpy(p->out, signature.ptr, signature.len);
		finish(p, head->result != 0 ? head->result : -EBADMSG);
	}
	wake_next(r);
}

/* 0; -EAGAIN; -errno: the connection is of no use any more. */
static int receive(struct keys_remote *r)
{
	_Alignas(struct key_reply) uint8_t packet[KEY_REPLY_MAX + 1];
	const struct key_reply *head = (const struct key_reply *)packet;
	ssize_t n = recv(r->watch.fd, packet, sizeof(packet), MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	if ((size_t)n < sizeof(*head) || (size_t)n > KEY_REPLY_MAX || r->owed == 0 ||
	    (size_t)n - sizeof(*head) != (head->result > 0 ? (size_t)head->result : 0))
		return -EBADMSG;
	take_reply(r, head, slice_of(packet + sizeof(*head), (size_t)n - sizeof(*head)));
	return 0;
}

static void on_ready(struct loop_watch *watch)
{
	struct keys_remote *r = REMOTE_OF(watch);
	int err;

	if ((watch->ready & (LOOP_READ | LOOP_HUP | LOOP_GONE)) == 0)
		return;
	do {
		err = receive(r);
	} while (err == 0);
	if (err == -EAGAIN) {
		watch->ready &= ~LOOP_READ;
		return;
	}
	disconnect(r, -EPIPE);
	r->lost(r->arg, err);
}

/* ---- requests ---- */

static void unlink_pending(struct pending **list, struct pending *p)
{
	while (*list != NULL && *list != p)
		list = &(*list)->next;
	if (*list != NULL)
		*list = p->next;
}

static void leave_queue(struct keys_remote *r, struct pending *p)
{
	unlink_pending(&r->waiting, p);
	r->n_waiting--;
	r->waiting_tail = &r->waiting;
	while (*r->waiting_tail != NULL)
		r->waiting_tail = &(*r->waiting_tail)->next;
}

/* First come, first served: by the keeper's leave, not by who is woken first. */
static co_waits int wait_for_turn(struct keys_remote *r, struct pending *p, deadline_t deadline)
{
	int err = 0;

	if (r->watch.fd >= 0 && r->owed < KEY_WINDOW && r->waiting == NULL)
		return 0;
	if (r->n_waiting == KEYS_QUEUE_MAX)
		return -EBUSY;
	p->next = NULL;
	*r->waiting_tail = p;
	r->waiting_tail = &p->next;
	r->n_waiting++;
	while (err == 0 && (r->watch.fd < 0 || r->owed >= KEY_WINDOW || r->waiting != p))
		err = co_wait(deadline);
	leave_queue(r, p);
	if (err != 0)
		wake_next(r);
	return err;
}

static int send_request(struct keys_remote *r, struct pending *p, uint64_t key, const struct key_scheme *scheme,
			struct slice input)
{
	struct key_request head = { .number = ++r->number, .scheme = scheme->number, .key = key };
	struct iovec iov[] = { { &head, sizeof(head) }, { (void *)input.ptr, input.len } };
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	p->number = head.number;
	while (sendmsg(r->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		if (errno != EINTR)	/* a broken connection is on_ready's business */
			return errno == EAGAIN ? -EBUSY : -EPIPE;
	r->owed++;
	return 0;
}

static co_waits int sign(void *arg, uint64_t key, const struct key_scheme *scheme, struct slice input, uint8_t *out)
{
	struct keys_remote *r = arg;
	struct pending p = { .co = co_current(), .out = out };
	deadline_t deadline;
	int err;

	if (p.co == NULL)
		return -EDEADLK;	/* waiting is what coroutines do */
	if (input.len > KEY_INPUT_MAX)
		return -EMSGSIZE;
	deadline = deadline_in(KEYS_SIGN_MS);
	err = wait_for_turn(r, &p, deadline);
	if (err == 0)
		err = send_request(r, &p, key, scheme, input);
	wake_next(r);
	if (err != 0)
		return err;
	p.next = r->sent;
	r->sent = &p;
	while (err == 0 && !p.done)
		err = co_wait(deadline);
	unlink_pending(&r->sent, &p);
	return p.done ? p.result : err;
}

/* ---- connecting ---- */

int keys_remote_create(struct keys_remote **out)
{
	struct keys_remote *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->watch.fd = -1;
	r->waiting_tail = &r->waiting;
	err = key_provider_create(sign, r, &r->provider);
	if (err != 0) {
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void keys_remote_free(struct keys_remote **rp)
{
	struct keys_remote *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	assert(r->sent == NULL && r->waiting == NULL);
	disconnect(r, -EPIPE);
	key_provider_free(&r->provider);
	free(r);
}

int keys_remote_key(struct keys_remote *r, struct slice spki, EVP_PKEY **out)
{
	return key_provider_key(r->provider, spki, out);
}

int keys_remote_connect(struct keys_remote *r, struct loop *loop, int fd, void (*lost)(void *arg, int err), void *arg)
{
	int err;

	disconnect(r, -EPIPE);
	r->loop = loop;
	r->watch = (struct loop_watch){ .fd = fd, .on_ready = on_ready };
	r->lost = lost;
	r->arg = arg;
	err = loop_watch_add(loop, &r->watch);
	if (err != 0) {
		close(fd);
		r->watch.fd = -1;
		return err;
	}
	wake_next(r);
	return 0;
}
