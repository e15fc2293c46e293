/* SPDX-License-Identifier: Apache-2.0 */
#include "server/leader/host.h"

#include "base/buffer.h"
#include "base/log.h"
#include "policy/fingerprint.h"
#include "policy/policy.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 32u
#define DOCUMENT_OCTETS_MAX ((size_t)256 << 20)
#define PACKET_MAX 2048
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 10000		/* a zygote, or a server, that lived so long is started again at once */
#define LEAVING_MS 30000		/* a server that nobody is connected to must be gone by then */
#define LEAVING_MAX 8			/* of a slot; the oldest is killed to make room */

struct host_slot {
	pid_t server;			/* 0 = none */
	bool wanted;
	unsigned forking, unwanted;	/* answers still to come; so many of the first are not needed any more */
	int64_t started_ms, backoff_ms, not_before_ms;
	struct { pid_t pid; int64_t until_ms; } leaving[LEAVING_MAX];
};

struct host {
	struct host_setup setup;
	struct host_process zygote;	/* pid 0 = none */
	struct buffer document;		/* what it wrote so far */
	bool checked, greeted;		/* its document is right; it said that it is ready */
	int64_t started_ms, backoff_ms;
	struct poller_timer restart, work;
	struct host_slot *slots;
};

static void log_host(int level, const char *summary, const char *reason)
{
	log_event(LOG_CORE_ERROR, level, slice_cstr("nosession"), summary, F_TEXT("reason", reason));
}

static int64_t grow(int64_t backoff_ms)
{
	if (backoff_ms == 0)
		return BACKOFF_FIRST_MS;
	return backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
}

static bool is_ready(const struct host *h)
{
	return h->zygote.pid != 0 && h->checked && h->greeted;
}

/* --- the zygote goes */

static void close_watched(struct host *h, int *fd)
{
	if (*fd < 0)
		return;
	poller_remove(h->setup.poller, *fd);
	close(*fd);
	*fd = -1;
}

static void restart(void *arg);

static void zygote_lost(struct host *h, const char *reason)
{
	if (h->zygote.pid == 0)
		return;
	log_host(1, "Policy host ended, it is started again", reason);
	kill(h->zygote.pid, SIGKILL);	/* its servers die with it; SIGCHLD reaps it */
	h->zygote.pid = 0;
	close_watched(h, &h->zygote.control);
	close_watched(h, &h->zygote.document);
	buffer_release(&h->document);
	h->checked = h->greeted = false;
	for (unsigned i = 0; i < h->setup.slots; i++)
		h->slots[i] = (struct host_slot){ .wanted = h->slots[i].wanted };
	h->backoff_ms = poller_now() - h->started_ms >= HEALTHY_MS ? BACKOFF_FIRST_MS : grow(h->backoff_ms);
	h->restart.fn = restart;
	h->restart.arg = h;
	poller_timer_set(h->setup.poller, &h->restart, h->backoff_ms);
}

/* False: the zygote is gone. */
static bool tell(struct host *h, const char *packet, const int *fds, size_t n_fds)
{
	char room[CMSG_SPACE(CONNECTIONS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (char *)packet, .iov_len = strlen(packet) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = room;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	if (sendmsg(h->zygote.control, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return true;
	zygote_lost(h, errno == EAGAIN ? "it reads nothing" : strerror(errno));
	return false;
}

static void kill_server(struct host *h, pid_t pid)
{
	char packet[64];

	snprintf(packet, sizeof(packet), "{\"op\":\"kill\",\"pid\":%d}", (int)pid);
	if (is_ready(h) && pid != 0)
		(void)tell(h, packet, NULL, 0);
}

/* --- servers */

/* Both ends of a server's connections. 0 or -errno. */
static int make_connections(unsigned n, int *ours, int *theirs)
{
	for (unsigned i = 0; i < n; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
			int err = -errno;

			while (i-- > 0) {
				close(ours[i]);
				close(theirs[i]);
			}
			return err;
		}
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	return 0;
}

static void start_server(struct host *h, unsigned slot)
{
	struct host_slot *s = &h->slots[slot];
	int ours[CONNECTIONS_MAX], theirs[CONNECTIONS_MAX];
	unsigned n = h->setup.conversations + 1;
	char packet[64];
	int err = make_connections(n, ours, theirs);
	bool sent = false;

	s->started_ms = poller_now();
	s->backoff_ms = grow(s->backoff_ms);
	s->not_before_ms = s->started_ms + s->backoff_ms;
	if (err < 0) {
		log_host(1, "No connections for a server of the policy host", strerror(-err));
		return;			/* still wanted: the timer tries again */
	}
	snprintf(packet, sizeof(packet), "{\"op\":\"fork\",\"slot\":%u}", slot);
	sent = tell(h, packet, theirs, n);
	if (sent) {
		s->forking++;
		s->wanted = false;
		h->setup.connected(h->setup.arg, slot, ours, n);
	}
	for (unsigned i = 0; i < n; i++) {
		close(ours[i]);
		close(theirs[i]);
	}
}

static void set_timer(struct host *h, int64_t at_ms)
{
	int64_t in_ms = at_ms - poller_now();

	poller_timer_set(h->setup.poller, &h->work, in_ms > 0 ? in_ms : 1);
}

/* Whatever is due: servers to start, servers that took too long to end. */
static void work(void *arg)
{
	struct host *h = arg;
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < h->setup.slots && is_ready(h); i++) {
		struct host_slot *s = &h->slots[i];

		if (s->wanted && poller_now() >= s->not_before_ms)
			start_server(h, i);
		if (s->wanted && s->not_before_ms < next)
			next = s->not_before_ms;
		for (unsigned j = 0; j < LEAVING_MAX && is_ready(h); j++) {
			if (s->leaving[j].pid == 0)
				continue;
			if (poller_now() >= s->leaving[j].until_ms) {
				kill_server(h, s->leaving[j].pid);
				s->leaving[j].pid = 0;
			} else if (s->leaving[j].until_ms < next) {
				next = s->leaving[j].until_ms;
			}
		}
	}
	if (is_ready(h) && next != INT64_MAX)
		set_timer(h, next);
}

static void let_leave(struct host *h, struct host_slot *s)
{
	unsigned oldest = 0;

	for (unsigned j = 0; j < LEAVING_MAX; j++) {
		if (s->leaving[j].pid == 0) {
			oldest = j;
			break;
		}
		if (s->leaving[j].until_ms < s->leaving[oldest].until_ms)
			oldest = j;
	}
	kill_server(h, s->leaving[oldest].pid);
	s->leaving[oldest].pid = s->server;
	s->leaving[oldest].until_ms = poller_now() + LEAVING_MS;
}

void host_want(struct host *h, unsigned slot, bool kill)
{
	struct host_slot *s = &h->slots[slot];

	if (s->server != 0 && poller_now() - s->started_ms >= HEALTHY_MS)
		s->backoff_ms = s->not_before_ms = 0;
	if (kill)
		kill_server(h, s->server);
	else if (s->server != 0)
		let_leave(h, s);
	s->server = 0;
	s->unwanted = s->forking;
	s->wanted = true;
	work(h);
}

/* --- what the zygote says */

static void on_forked(struct host *h, const json_t *packet)
{
	json_int_t slot = json_integer_value(json_object_get(packet, "slot"));
	json_int_t pid = json_integer_value(json_object_get(packet, "pid"));
	const char *message = json_string_value(json_object_get(packet, "message"));
	struct host_slot *s;

	if (slot < 0 || slot >= (json_int_t)h->setup.slots || pid < 0 || pid > INT32_MAX) {
		zygote_lost(h, "it says nonsense");
		return;
	}
	s = &h->slots[slot];
	if (s->forking == 0) {
		zygote_lost(h, "it says nonsense");
		return;
	}
	s->forking--;
	if (pid == 0) {			/* its connections are closed: the worker asks again */
		log_host(1, "Policy host cannot fork a server", message != NULL ? message : "");
	} else if (s->unwanted == 0) {
		s->server = (pid_t)pid;
	} else {			/* given up while it was born */
		kill_server(h, (pid_t)pid);
	}
	if (s->unwanted > 0)
		s->unwanted--;
}

static void on_ended(struct host *h, const json_t *packet)
{
	json_int_t pid = json_integer_value(json_object_get(packet, "pid"));

	for (unsigned i = 0; i < h->setup.slots; i++) {
		struct host_slot *s = &h->slots[i];

		if (s->server == pid)
			s->server = 0;
		for (unsigned j = 0; j < LEAVING_MAX; j++)
			if (s->leaving[j].pid == pid)
				s->leaving[j].pid = 0;
	}
}

static void take_packet(struct host *h, const json_t *packet)
{
	const char *op = json_string_value(json_object_get(packet, "op"));

	if (op != NULL && strcmp(op, "ready") == 0) {
		h->greeted = true;
		work(h);
	} else if (op != NULL && strcmp(op, "forked") == 0) {
		on_forked(h, packet);
	} else if (op != NULL && strcmp(op, "ended") == 0) {
		on_ended(h, packet);
	} else {
		zygote_lost(h, "it says nonsense");
	}
}

static void on_control(void *arg, int fd, short revents)
{
	struct host *h = arg;
	char buf[PACKET_MAX];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	json_t *packet;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		zygote_lost(h, n == 0 ? "it closed its connection" : strerror(errno));
		return;
	}
	packet = json_loadb(buf, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	take_packet(h, packet);
	json_decref(packet);
}

static bool is_same(const struct host *h, struct arena *arena)
{
	struct slice document = buffer_slice(&h->document);
	const char *digest = fingerprint(document, arena);

	if (digest != NULL && strcmp(digest, h->setup.fingerprint) == 0)
		return true;
	if (h->setup.fingerprint_without_files == NULL)
		return false;
	digest = policy_fingerprint_without_files(document, arena);
	return digest != NULL && strcmp(digest, h->setup.fingerprint_without_files) == 0;
}

static void check_document(struct host *h)
{
	struct arena *arena = arena_create(65536, 0);
	bool same = arena != NULL && is_same(h, arena);

	arena_free(&arena);
	buffer_release(&h->document);
	close_watched(h, &h->zygote.document);
	if (!same) {
		zygote_lost(h, "the policy is not what it was when it was loaded; a reload takes the new one");
		return;
	}
	h->checked = true;
	work(h);
}

static void on_document(void *arg, int fd, short revents)
{
	struct host *h = arg;
	uint8_t chunk[3072];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n > 0) {
		buffer_append(&h->document, slice_of(chunk, (size_t)n));
		if (h->document.broken)
			zygote_lost(h, "its document is too large");
	} else if (n == 0) {
		check_document(h);
	} else if (errno != EAGAIN && errno != EINTR) {
		zygote_lost(h, strerror(errno));
	}
}

/* --- it starts, and starts again */

static int watch(struct host *h, const struct host_process *process)
{
	int err = poller_add(h->setup.poller, process->control, POLLIN, on_control, h);

	h->zygote = *process;
	h->document = (struct buffer)BUFFER_INIT(DOCUMENT_OCTETS_MAX);
	h->checked = process->document < 0;
	h->greeted = false;
	h->started_ms = poller_now();
	if (err == 0 && process->document >= 0)
		err = poller_add(h->setup.poller, process->document, POLLIN, on_document, h);
	return err;
}

static void restart(void *arg)
{
	struct host *h = arg;
	struct host_process process = { .pid = 0, .control = -1, .document = -1 };
	int err = h->setup.spawn(h->setup.arg, &process);

	if (err == 0) {
		err = watch(h, &process);
		if (err < 0)
			zygote_lost(h, strerror(-err));
		return;
	}
	log_host(1, "Policy host cannot be started", strerror(-err));
	h->backoff_ms = grow(h->backoff_ms);
	poller_timer_set(h->setup.poller, &h->restart, h->backoff_ms);
}

struct host *host_create(const struct host_setup *setup, const struct host_process *process)
{
	struct host *h = calloc(1, sizeof(*h));
	int err = 0;

	if (h == NULL)
		return NULL;
	h->setup = *setup;
	h->zygote = (struct host_process){ .control = -1, .document = -1 };
	h->work.fn = work;
	h->work.arg = h;
	h->restart.fn = restart;
	h->restart.arg = h;
	h->slots = calloc(setup->slots, sizeof(*h->slots));
	if (h->slots == NULL || setup->conversations + 1 > CONNECTIONS_MAX) {
		free(h->slots);
		free(h);
		errno = ENOMEM;
		return NULL;
	}
	if (process->pid != 0)
		err = watch(h, process);
	else
		restart(h);
	if (err < 0) {
		host_free(&h);
		errno = -err;
	}
	return h;
}

bool host_child_ended(struct host *h, pid_t pid)
{
	if (h->zygote.pid != pid || pid == 0)
		return false;
	zygote_lost(h, "its process ended");
	return true;
}

void host_free(struct host **hp)
{
	struct host *h = *hp;

	if (h == NULL)
		return;
	*hp = NULL;
	poller_timer_clear(h->setup.poller, &h->restart);
	poller_timer_clear(h->setup.poller, &h->work);
	close_watched(h, &h->zygote.control);
	close_watched(h, &h->zygote.document);
	if (h->zygote.pid != 0)
		kill(h->zygote.pid, SIGKILL);
	buffer_release(&h->document);
	free(h->slots);
	free(h);
}
