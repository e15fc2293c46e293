/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/trust_reader.h"

#include "base/arena.h"
#include "io/loop.h"
#include "server/message.h"
#include "tls/keeper_file.h"
#include "tls/update.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROBLEMS_ARENA_MAX (4u << 20)
#define THREAD_STACK (512u << 10)
#define THREAD_NICE 10			/* behind the sessions; they have one thread */

struct waiting {
	struct waiting *next;
	uint32_t context;
	int fd;
};

/* The thread's alone, while it runs. */
struct job {
	struct tls_trust old;		/* to be cleared first */
	int fd;				/* -1: nothing to read */
	int err;
	uint32_t context;
	struct tls_trust trust;
	int event;			/* written to in the end */
};

struct trust_reader {
	struct loop *loop;
	struct loop_watch watch;	/* of an eventfd */
	trust_read_fn done;
	void *arg;
	struct waiting *first;
	struct tls_trust old;		/* what the last one left */
	bool has_old;
	bool running;
	pthread_t thread;
	struct job job;
};

#define READER_OF(w) ((struct trust_reader *)((char *)(w) - offsetof(struct trust_reader, watch)))

/* ---- on the thread ---- */

static int parse(struct job *job)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;	/* the leader has said them */
	uint8_t *octets = NULL;
	size_t len;
	int err = arena == NULL ? -ENOMEM : message_file_read(job->fd, KEEPER_FILE_MAX, &octets, &len);

	if (err == 0) {
		problems_init(&problems, arena);
		err = tls_update_read_trust(slice_of(octets, len), &problems, &job->context, &job->trust);
	}
	free(octets);
	arena_free(&arena);
	return err;
}

static void work(struct job *job)
{
	tls_trust_clear(&job->old);
	if (job->fd < 0)
		return;
	job->err = parse(job);
	close(job->fd);
}

static void *run(void *arg)
{
	struct job *job = arg;
	const uint64_t one = 1;

	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), THREAD_NICE);
	work(job);
	while (write(job->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

/* ---- on the loop ---- */

/* Signals are the worker's. */
static int start_thread(struct trust_reader *r)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int err = pthread_attr_init(&attributes);

	if (err != 0)
		return -err;
	sigfillset(&all);
	err = pthread_attr_setstacksize(&attributes, THREAD_STACK);
	if (err == 0)
		err = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (err == 0) {
		err = pthread_create(&r->thread, &attributes, run, &r->job);
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attributes);
	return -err;
}

static void finish(struct trust_reader *r)
{
	struct job job = r->job;

	if (job.fd < 0)
		return;
	r->done(r->arg, job.err, job.context, &job.trust);
	if (job.err == 0) {
		r->old = job.trust;
		r->has_old = true;
	}
}

/* Where there can be no thread sessions wait: a certificate that was revoked must not go on being accepted. */
static void next(struct trust_reader *r)
{
	while (!r->running && (r->first != NULL || r->has_old)) {
		struct waiting *w = r->first;

		r->job = (struct job){ .old = r->old, .fd = w != NULL ? w->fd : -1, .context = w != NULL ? w->context : 0, .event = r->watch.fd };
		r->old = (struct tls_trust){ 0 };
		r->has_old = false;
		if (w != NULL)
			r->first = w->next;
		free(w);
		r->running = start_thread(r) == 0;
		if (!r->running) {
			work(&r->job);
			finish(r);
		}
	}
}

static void on_done(struct loop_watch *watch)
{
	struct trust_reader *r = READER_OF(watch);
	uint64_t count;

	watch->ready &= ~LOOP_READ;
	if (read(watch->fd, &count, sizeof(count)) != sizeof(count) || !r->running)
		return;
	(void)pthread_join(r->thread, NULL);	/* that was its last word */
	r->running = false;
	finish(r);
	next(r);
}

int trust_reader_add(struct trust_reader *r, uint32_t context, int fd)
{
	struct waiting **to = &r->first, *new = malloc(sizeof(*new));

	if (new == NULL) {
		close(fd);
		return -ENOMEM;
	}
	*new = (struct waiting){ .context = context, .fd = fd };
	while (*to != NULL) {
		struct waiting *w = *to;

		if (w->context != context) {
			to = &w->next;
			continue;
		}
		*to = w->next;
		close(w->fd);
		free(w);
	}
	*to = new;
	next(r);
	return 0;
}

int trust_reader_create(struct loop *loop, trust_read_fn done, void *arg, struct trust_reader **out)
{
	struct trust_reader *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (r == NULL)
		return err;
	*r = (struct trust_reader){ .loop = loop, .done = done, .arg = arg };
	r->watch = (struct loop_watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .on_ready = on_done };
	err = r->watch.fd < 0 ? -errno : loop_watch_add(loop, &r->watch);
	if (err != 0)
		trust_reader_free(&r);
	else
		*out = r;
	return err;
}

void trust_reader_free(struct trust_reader **rp)
{
	struct trust_reader *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	if (r->running) {
		(void)pthread_join(r->thread, NULL);
		tls_trust_clear(&r->job.trust);
	}
	while (r->first != NULL) {
		struct waiting *w = r->first;

		r->first = w->next;
		close(w->fd);
		free(w);
	}
	tls_trust_clear(&r->old);
	loop_watch_remove(r->loop, &r->watch);
	if (r->watch.fd >= 0)
		close(r->watch.fd);
	free(r);
}
