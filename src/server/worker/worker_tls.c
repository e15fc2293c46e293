/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/worker_tls.h"

#include "base/log.h"
#include "server/worker/trust_reader.h"
#include "tls/keeper_file.h"
#include "tls/keys_kept.h"
#include "tls/update.h"

#include <errno.h>
#include <stdlib.h>

#define NOSESSION slice_cstr("nosession")

static void on_lost(void *arg, int err)
{
	const struct worker_tls *w = arg;

	log_event(LOG_CORE_ERROR, 1, NOSESSION, "The connection to the keeper of the private keys is lost",
		  F_INT("slot", w->slot), F_TEXT("error", strerror(-err)));
	/* A leader that does not read is none; the worker is about to learn of it by itself. */
	(void)!message_send_simple(w->leader, MSG_KEYS_WANTED, w->slot, 0, 0);
}

void worker_tls_connect(struct worker_tls *w, struct message *m)
{
	int err;

	if (w->keys == NULL || m->n_fds != 1)
		return;
	err = tls_keys_connect(w->keys, w->loop, m->fds[0], on_lost, w);
	m->n_fds = 0;
	if (err != 0)
		on_lost(w, err);
}

void worker_tls_update(struct worker_tls *w, const struct message *m)
{
	uint8_t *records = NULL;
	const char *why;
	size_t len;
	int err;

	if (w->tls == NULL || m->n_fds != 1)
		return;
	err = message_file_read(m->fds[0], KEEPER_FILE_MAX, &records, &len);
	why = strerror(-err);
	if (err == 0)
		err = tls_update(w->tls, w->keys, slice_of(records, len), &why);
	if (records != NULL)
		explicit_bzero(records, len);
	free(records);
	if (err != 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "Changed keys or certificates cannot be used",
			  F_INT("slot", w->slot), F_TEXT("reason", why));
}

static void tell_unused(const struct worker_tls *w, int err)
{
	log_event(LOG_CORE_ERROR, 1, NOSESSION, "Changed CAs, CRLs or pinned certificates cannot be used",
		  F_INT("slot", w->slot), F_TEXT("reason", strerror(-err)));
}

static void on_read(void *arg, int err, uint32_t context, struct tls_trust *trust)
{
	struct worker_tls *w = arg;

	if (err == 0)
		err = tls_update_trust(w->tls, context, trust);
	if (err != 0)
		tell_unused(w, err);
}

void worker_tls_believe(struct worker_tls *w, struct message *m)
{
	int err;

	if (w->reader == NULL || m->n_fds != 1)
		return;
	err = trust_reader_add(w->reader, m->number, m->fds[0]);
	m->n_fds = 0;
	if (err != 0)
		tell_unused(w, err);
}

int worker_tls_start(struct worker_tls *w)
{
	return w->tls == NULL ? 0 : trust_reader_create(w->loop, on_read, w, &w->reader);
}

void worker_tls_stop(struct worker_tls *w)
{
	trust_reader_free(&w->reader);
	tls_free(&w->tls);
	tls_keys_free(&w->keys);
}
