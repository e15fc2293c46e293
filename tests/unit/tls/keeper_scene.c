/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_scene.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

EVP_PKEY *ca_key;
X509 *ca;
struct sample ours, theirs;
struct built kept, peer;
struct keeper_keys *keeper;
struct buffer records;
struct arena *arena;
struct policy_problems problems;
const char *leaf_file, *key_file, *ca_directory;
struct slice leaf_pem;

int scene_prepare(void **state)
{
	const struct cert_spec spec = { .cn = "CA", .is_ca = true };

	ca_key = make_key("EC");
	ca = make_cert(&spec, ca_key);
	return 0;
}

int scene_finish(void **state)
{
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return 0;
}

struct cert_spec leaf_spec(long serial)
{
	return (struct cert_spec){ .cn = "mail", .san = "DNS:mail.example", .issuer = ca, .issuer_key = ca_key, .serial = serial };
}

/* A new pair on the disk. */
void put_pair(const char *kind, const struct cert_spec *spec)
{
	EVP_PKEY *key = make_key(kind);
	X509 *leaf = make_cert(spec, key);

	put_key(key_file, key, NULL);
	put_chain(leaf_file, leaf, NULL);
	X509_free(leaf);
	EVP_PKEY_free(key);
}

int scene_setup(void **state)
{
	folder_create();
	leaf_file = strdup(folder_path("leaf.pem"));
	key_file = strdup(folder_path("leaf.key"));
	ca_directory = strdup(folder_path("ca"));
	folder_make(ca_directory);
	put_hashed(ca_directory, ca);
	records = (struct buffer)BUFFER_INIT(1 << 20);
	arena = arena_create(1 << 20, 0);
	problems_init(&problems, arena);
	sample_init(&ours);
	ours.encryption.sides[TLS_SERVER].security = TLS_OFF;
	sample_init(&theirs);
	theirs.encryption.sides[TLS_CLIENT].security = TLS_OFF;
	theirs.encryption.sides[TLS_SERVER].verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
	theirs.encryption.sides[TLS_SERVER].verifier.ca_directory = ca_directory;
	build(&theirs, &peer);
	assert_int_equal(peer.err, 0);
	return 0;
}

int scene_teardown(void **state)
{
	unbuild(&kept);
	unbuild(&peer);
	keeper_keys_free(&keeper);
	buffer_release(&records);
	arena_free(&arena);
	free((void *)leaf_file);
	free((void *)key_file);
	free((void *)ca_directory);
	folder_remove();
	return 0;
}

/* ---- as leader and keeper do it ---- */

void make_policy(void)
{
	ours.policy = (struct policy){ .encryptions = &ours.encryption, .n_encryptions = 1, .tls_keys = ours.keys,
				       .n_tls_keys = ours.n_keys, .tls_certificates = ours.certificates,
				       .n_tls_certificates = ours.n_certificates, .n_secrets = ours.policy.n_secrets };
}

void keep(bool give, struct slice secrets)
{
	make_policy();
	assert_int_equal(keeper_keys_create(&ours.policy, secrets, give, &keeper), 0);
	keeper_keys_load(keeper, false, &records);
	kept = (struct built){ .arena = arena_create(1 << 20, 0) };
	problems_init(&kept.problems, kept.arena);
	kept.err = tls_keys_kept(&ours.policy, buffer_slice(&records), &kept.problems, &kept.keys);
	if (kept.err == 0)
		kept.err = tls_build(&ours.policy, kept.keys, &kept.problems, &kept.tls);
	buffer_clear(&records);
}

void begin(const char *kind, bool give)
{
	const struct cert_spec spec = leaf_spec(7);

	put_pair(kind, &spec);
	ours.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&ours, leaf_file, key_file);
	/* The test's own copy: the file changes. */
	leaf_pem = ours.certificates[0].pem;
	keep(give, slice_of(NULL, 0));
	assert_int_equal(kept.err, 0);
}

/* The keeper's end of a connection, served from the loop. */
struct served {
	struct loop_watch watch;
	struct loop *loop;
	unsigned requests;
	bool hangs_up;
};

static void serve(struct loop_watch *watch)
{
	struct served *s = (struct served *)watch;
	static uint8_t request[KEY_REQUEST_MAX], reply[KEY_REPLY_MAX];
	ssize_t n;

	while ((n = recv(watch->fd, request, sizeof(request), MSG_DONTWAIT)) > 0) {
		size_t len = keeper_keys_answer(keeper, slice_of(request, (size_t)n), reply);

		s->requests++;
		assert_true(len > 0);
		if (s->hangs_up) {
			loop_watch_remove(s->loop, watch);
			shutdown(watch->fd, SHUT_RDWR);
			return;
		}
		assert_int_equal(send(watch->fd, reply, len, 0), (ssize_t)len);
	}
	watch->ready &= ~LOOP_READ;
}

static void on_lost(void *arg, int err)
{
	(*(unsigned *)arg)++;
}

/* One handshake; how it ended is in p, which the caller closes. Returns the requests that it took. */
unsigned shake_kept(struct pair *p, bool hangs_up)
{
	unsigned lost = 0;
	struct served s = { .hangs_up = hangs_up };
	int pair[2];

	pair_open(p, &kept, &ours, &peer, &theirs);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(tls_keys_connect(kept.keys, p->loop, pair[1], on_lost, &lost), 0);
	s.watch = (struct loop_watch){ .fd = pair[0], .on_ready = serve };
	s.loop = p->loop;
	assert_int_equal(loop_watch_add(p->loop, &s.watch), 0);
	pair_run(p);
	if (!hangs_up) {
		loop_watch_remove(p->loop, &s.watch);
		shutdown(pair[0], SHUT_RDWR);
		loop_turn(p->loop, 0);
	}
	assert_int_equal(lost, 1);
	close(pair[0]);
	return s.requests;
}

void shows(const char *serial)
{
	struct pair p;

	(void)shake_kept(&p, false);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	assert_true(p.server.h.facts.n_peer > 0);
	assert_true(slice_is(p.server.h.facts.peer[0].serial, serial));
	pair_close(&p);
}

void fails(void)
{
	struct pair p;

	(void)shake_kept(&p, false);
	assert_true(p.client.result < 0);
	pair_close(&p);
}

bool has_problem_of_file(const char *words)
{
	for (const struct policy_problem *f = problems.first; f != NULL; f = f->next)
		if (strstr(f->message, words) != NULL)
			return true;
	for (const struct policy_problem *f = problems.first; f != NULL; f = f->next)
		print_message("# %s\n", f->message);
	return false;
}
