/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/keys's inner loop: signatures with a key in this process, and with the same key in a
 * keeper, which is the real one. Prints a JSON object a line; microseconds.
 */
#include "base/log.h"
#include "io/co.h"
#include "io/loop.h"
#include "server/keeper/keeper.h"
#include "server/message.h"
#include "tls/keys_kept.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIGNERS 32

struct signers {
	struct loop *loop;
	EVP_PKEY *key;
	const char *digest;
	bool pss;
	unsigned todo, running;
};

static struct message_room room;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "keys-loop: %s\n", what);
	exit(1);
}

static double clock_us(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t) != 0)
		die("no clock");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static co_waits void sign(EVP_PKEY *key, const char *digest, bool pss)
{
	static const unsigned char text[130] = "as long as what TLS 1.3 signs";
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	unsigned char out[1024];
	size_t n = sizeof(out);

	if (EVP_DigestSignInit_ex(ctx, &pctx, digest, NULL, NULL, key, NULL) != 1 ||
	    (pss && (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1 ||
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) != 1)) ||
	    EVP_DigestSign(ctx, out, &n, text, sizeof(text)) != 1)
		die("a signature failed");
	EVP_MD_CTX_free(ctx);
}

static void run_signer(void *arg)
{
	struct signers *s = arg;

	while (s->todo > 0) {
		s->todo--;
		sign(s->key, s->digest, s->pss);
	}
	if (--s->running == 0)
		loop_stop(s->loop);
}

static void run(struct signers *s, unsigned n, unsigned at_once)
{
	s->todo = n;
	s->running = at_once;
	for (unsigned i = 0; i < at_once; i++)
		if (co_spawn(s->loop, run_signer, s) == NULL)
			die("no memory");
	loop_run(s->loop);
}

static void on_lost(void *arg, int err)
{
	die("the keeper is lost");
}

static pid_t start_keeper(const struct policy *policy, int *sock)
{
	int pair[2];
	pid_t pid;

	if (message_pair(pair) != 0)
		die("no sockets");
	pid = fork();
	if (pid == 0) {
		const struct keeper_setup setup = { .policy = policy, .leader = pair[1], .secrets = -1, .certificates = -1 };

		close(pair[0]);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(keeper_run(&setup));
	}
	close(pair[1]);
	*sock = pair[0];
	return pid;
}

static struct tls_keys *load(const struct policy *policy, int sock)
{
	struct pollfd polled = { .fd = sock, .events = POLLIN };
	struct arena *arena = arena_create(1 << 20, 0);
	struct policy_problems problems;
	struct tls_keys *keys;
	struct message m;
	uint8_t *records;
	size_t len;

	problems_init(&problems, arena);
	if (poll(&polled, 1, 10000) != 1 || message_receive(sock, &m, &room) != 1 || m.type != MSG_KEEPER_LOADED ||
	    message_file_read(m.fds[0], 1 << 20, &records, &len) != 0 ||
	    tls_keys_kept(policy, slice_of(records, len), &problems, &keys) != 0)
		die("the keeper has no keys");
	message_close_fds(&m);
	free(records);
	arena_free(&arena);
	return keys;
}

static void connect_keeper(struct tls_keys *keys, struct loop *loop, int sock)
{
	struct message m = { .type = MSG_KEEPER_PEER, .n_fds = 1 };
	int pair[2];

	if (message_pair(pair) != 0)
		die("no sockets");
	m.fds[0] = pair[0];
	if (message_send(sock, &m) != 0 || tls_keys_connect(keys, loop, pair[1], on_lost, NULL) != 0)
		die("no connection");
	close(pair[0]);
}

static EVP_PKEY *read_local(const char *path)
{
	struct tls_key declared = { .file = path, .secret = TLS_NO_SECRET, .passphrase = TLS_NO_SECRET };
	const struct policy policy = { .tls_keys = &declared, .n_tls_keys = 1 };
	struct arena *arena = arena_create(1 << 20, 0);
	struct policy_problems problems;
	struct tls_keys *keys;

	problems_init(&problems, arena);
	if (tls_keys_load(&policy, NULL, &problems, &keys) != 0)
		die("the key can't be read");
	return tls_keys_get(keys, &declared);
}

static void measure(const char *name, const char *path, const char *digest, bool pss, unsigned n)
{
	struct tls_key declared = { .file = path, .secret = TLS_NO_SECRET, .passphrase = TLS_NO_SECRET };
	const struct policy policy = { .tls_keys = &declared, .n_tls_keys = 1 };
	struct signers s = { .loop = loop_create(&clock_system), .digest = digest, .pss = pss };
	double local, alone[3], many[3];
	struct tls_keys *keys;
	clockid_t keeper_clock;
	int sock;
	pid_t keeper = start_keeper(&policy, &sock);

	keys = load(&policy, sock);
	connect_keeper(keys, s.loop, sock);
	if (clock_getcpuclockid(keeper, &keeper_clock) != 0)
		die("no clock of the keeper");
	s.key = read_local(path);
	run(&s, n / 10, 1);
	local = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	run(&s, n, 1);
	local = (clock_us(CLOCK_PROCESS_CPUTIME_ID) - local) / n;
	s.key = tls_keys_get(keys, &declared);
	run(&s, n / 10, 1);
	for (int i = 0; i < 2; i++) {
		double *to = i == 0 ? alone : many;
		double wall = clock_us(CLOCK_MONOTONIC), own = clock_us(CLOCK_PROCESS_CPUTIME_ID), its = clock_us(keeper_clock);

		run(&s, n, i == 0 ? 1 : SIGNERS);
		to[0] = (clock_us(CLOCK_MONOTONIC) - wall) / n;
		to[1] = (clock_us(CLOCK_PROCESS_CPUTIME_ID) - own) / n;
		to[2] = (clock_us(keeper_clock) - its) / n;
	}
	printf("{\"key\":\"%s\",\"own_us\":%.1f,\"latency_us\":%.1f,\"worker_us\":%.1f,\"keeper_us\":%.1f,"
	       "\"many_worker_us\":%.1f,\"many_keeper_us\":%.1f,\"many_per_second\":%.0f}\n", name, local, alone[0], alone[1], alone[2],
	       many[1], many[2], 1e6 / many[0]);
	fflush(stdout);
	kill(keeper, SIGKILL);
	(void)waitpid(keeper, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: keys-loop RSA-KEY EC-KEY ED25519-KEY\n");
		return 2;
	}
	(void)log_open(STDERR_FILENO, LOG_FORMAT_TEXT, 3, NULL, NULL);
	measure("RSA-2048", argv[1], "SHA256", true, 3000);
	measure("P-256", argv[2], "SHA256", false, 20000);
	measure("Ed25519", argv[3], NULL, false, 20000);
	return 0;
}
