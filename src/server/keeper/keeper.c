/* SPDX-License-Identifier: Apache-2.0 */
#include "server/keeper/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "policy/secrets.h"
#include "server/keeper/certificate_records.h"
#include "server/keeper/keeper_watch.h"
#include "server/message.h"
#include "server/poller.h"
#include "server/run_options.h"
#include "server/statistics.h"
#include "tls/keeper_keys.h"
#include "tls/keys_remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOSESSION slice_cstr("nosession")
#define VERDICT_MAX 512

struct keeper {
	const struct keeper_setup *setup;
	struct poller poller;
	struct keeper_keys *keys;
	uint8_t *secrets;
	struct keeper_watch *watch;
	struct certificate_records certificates;
	int64_t linger_ms;		/* so long a replaced key signs */
	struct poller_timer expiry;
	struct message_room room;
	int peers[WORKERS_MAX];		/* workers, by slot; -1 = none */
	uint8_t request[KEY_REQUEST_MAX + 1], reply[KEY_REPLY_MAX];
};

/* ---- workers ---- */

static void drop_peer(struct keeper *k, uint32_t slot)
{
	if (k->peers[slot] < 0)
		return;
	poller_remove(&k->poller, k->peers[slot]);
	close(k->peers[slot]);
	k->peers[slot] = -1;
}

static uint32_t slot_of(const struct keeper *k, int fd)
{
	uint32_t slot = 0;

	while (k->peers[slot] != fd)
		slot++;
	return slot;
}

/* One request a call, and the poller calls everybody in turn. */
static void on_peer(void *arg, int fd, short revents)
{
	struct keeper *k = arg;
	ssize_t n = recv(fd, k->request, sizeof(k->request), MSG_DONTWAIT);
	size_t len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	len = n > 0 ? keeper_keys_answer(k->keys, slice_of(k->request, (size_t)n), k->reply) : 0;
	if (len > 0 && send(fd, k->reply, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		return;
	if (n > 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "A worker's connection to the keeper is closed",
			  F_INT("slot", slot_of(k, fd)),
			  F_TEXT("reason", len == 0 ? "it sends nonsense" : errno == EAGAIN ? "it reads no replies" : strerror(errno)));
	drop_peer(k, slot_of(k, fd));
}

static void take_peer(struct keeper *k, struct message *m)
{
	if (m->n_fds != 1 || m->slot >= WORKERS_MAX)
		return;
	drop_peer(k, m->slot);
	if (poller_add(&k->poller, m->fds[0], POLLIN, on_peer, k) != 0)
		return;
	k->peers[m->slot] = m->fds[0];
	m->n_fds = 0;
}

/* ---- the leader ---- */

static void set_log(const struct message *m)
{
	char spec[LOG_SPEC_MAX];

	if (slice_to_cstr(m->body, spec, sizeof(spec)) == 0)
		(void)log_set_spec((int)m->number, spec, NULL);
}

/* ---- replaced keys ---- */

/* A worker hears of the change, a handshake of before it comes to its signature, and may wait for that. */
#define HEARD_MS 10000
#define HANDSHAKE_PARTS 2		/* its time begins again when the other side's took some of it */

static int64_t linger_ms(const struct policy *policy)
{
	int64_t longest_ms = 0;

	for (size_t i = 0; i < policy->n_encryptions; i++)
		if (policy->encryptions[i].handshake_timeout_ms > longest_ms)
			longest_ms = policy->encryptions[i].handshake_timeout_ms;
	return HEARD_MS + HANDSHAKE_PARTS * longest_ms + KEYS_SIGN_MS;
}

static void expire(void *arg)
{
	struct keeper *k = arg;
	int64_t now_ms = poller_now(), next_ms = keeper_keys_expire(k->keys, now_ms);

	/* Of keys that are needed, no end is known. */
	if (next_ms != 0)
		poller_timer_set(&k->poller, &k->expiry, next_ms - now_ms < k->linger_ms ? next_ms - now_ms : k->linger_ms);
}

static void settle(struct keeper *k, const struct message *m)
{
	char why[VERDICT_MAX];

	if (slice_to_cstr(slice_take(m->body, sizeof(why) - 1), why, sizeof(why)) != 0)
		snprintf(why, sizeof(why), "the leader does not say why");
	keeper_watch_settle(k->watch, m->value == 0 ? NULL : why, poller_now() + k->linger_ms);
	expire(k);
}

static void on_leader(void *arg, int fd, short revents)
{
	struct keeper *k = arg;
	struct message m;
	int n = message_receive(fd, &m, &k->room);

	if (n == -EAGAIN)
		return;
	if (n <= 0)
		_exit(n == 0 ? 0 : 1);
	if (m.type == MSG_KEEPER_PEER)
		take_peer(k, &m);
	else if (m.type == MSG_KEEPER_VERDICT)
		settle(k, &m);
	else if (m.type == MSG_LOG)
		set_log(&m);
	message_close_fds(&m);
}

/* ---- start ---- */

/* Nobody looks into this process, not even its own user; and where there is no limit to it, nothing of it is swapped out. */
static int seclude(void)
{
	const struct rlimit no_core = { 0, 0 };
	struct rlimit locked;

	if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0)
		return -errno;
	/* With a limit, memory that is asked for later could fail for it. */
	if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur == RLIM_INFINITY)
		(void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	return 0;
}

static int tell(struct keeper *k, enum message_type type, const struct buffer *records)
{
	struct message m = { .type = type, .n_fds = 1 };
	int err;

	m.fds[0] = records->broken ? -ENOMEM : message_file(buffer_slice(records));
	if (m.fds[0] < 0)
		return m.fds[0];
	err = message_send(k->setup->leader, &m);
	close(m.fds[0]);
	return err;
}

/* ---- what is shown ---- */

static void show(struct keeper *k, uint32_t index, bool replaced, bool refused)
{
	const struct tls_certificate *c = &k->setup->policy->tls_certificates[index];
	struct certificate_record *r;

	if (index >= k->certificates.n)
		return;
	r = &k->certificates.all[index];
	stats_write_begin(&r->seq);
	if (!refused) {
		keeper_keys_dates(k->keys, index, &r->not_before_s, &r->not_after_s);
		r->since_wall_ms = clock_system.wall_ms(&clock_system);
	}
	r->replaced += replaced;
	r->refused += refused;
	stats_text(r->file, sizeof(r->file), c->file != NULL ? c->file : "");
	stats_write_end(&r->seq);
}

static void on_tried(void *arg, uint32_t certificate, bool used)
{
	show(arg, certificate, used, !used);
}

static void show_all(struct keeper *k)
{
	for (uint32_t i = 0; i < k->certificates.n && i < k->setup->policy->n_tls_certificates; i++) {
		struct certificate_record *r = &k->certificates.all[i];

		r->seq = (r->seq + 1) & ~1u;	/* the one before may have died in the middle */
		if (!k->setup->again)
			show(k, i, false, false);
	}
}

static void on_offer(void *arg, bool is_trust, const struct buffer *records)
{
	struct keeper *k = arg;

	/* A leader that does not read is none. */
	if (tell(k, is_trust ? MSG_KEEPER_TRUST : MSG_KEEPER_UPDATE, records) != 0)
		_exit(1);
}

static int read_secrets(struct keeper *k, struct slice *out)
{
	size_t len = 0;
	int err = 0;

	if (k->setup->secrets >= 0) {
		err = message_file_read(k->setup->secrets, SECRETS_FILE_MAX, &k->secrets, &len);
		close(k->setup->secrets);
	}
	if (err == 0)
		*out = slice_of(k->secrets, len);
	return err;
}

/* How the files look is noted before they are read: what changes meanwhile is read again. */
static int load(struct keeper *k)
{
	const struct keeper_setup *setup = k->setup;
	struct buffer records = BUFFER_INIT(KEEPER_FILE_MAX);
	struct slice secrets;
	int err = read_secrets(k, &secrets);

	if (err == 0)
		err = keeper_keys_create(setup->policy, secrets, setup->give, &k->keys);
	if (err == 0)
		err = keeper_watch_create(&(struct keeper_watch_setup){ .poller = &k->poller, .policy = setup->policy, .keys = k->keys,
					  .again = setup->again, .offer = on_offer, .tried = on_tried, .arg = k }, &k->watch);
	if (err == 0 && setup->certificates >= 0)
		err = certificate_records_open(&k->certificates, setup->certificates, true);
	if (err != 0)
		return err;
	keeper_keys_load(k->keys, setup->again, &records);
	err = tell(k, MSG_KEEPER_LOADED, &records);
	if (records.data != NULL)
		explicit_bzero(records.data, records.size);
	buffer_release(&records);
	show_all(k);
	keeper_watch_start(k->watch);
	return err;
}

int keeper_run(const struct keeper_setup *setup)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int err = k != NULL ? seclude() : -ENOMEM;

	if (err == 0) {
		k->setup = setup;
		k->linger_ms = linger_ms(setup->policy);
		k->expiry = (struct poller_timer){ .fn = expire, .arg = k };
		poller_init(&k->poller);
		for (size_t i = 0; i < WORKERS_MAX; i++)
			k->peers[i] = -1;
		err = load(k);
	}
	if (err == 0)
		err = poller_add(&k->poller, setup->leader, POLLIN, on_leader, k);
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The keeper of the private keys cannot start",
			  F_TEXT("error", strerror(-err)));
		return 1;
	}
	for (;;)
		poller_turn(&k->poller);
}
