/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clients of bench/tls: some processes, each with one connection at a time.
 *
 *	tls-load PORT full|resumed N		N sessions: handshake, one octet, close_notify
 *	tls-load PORT bulk N			N MiB through one connection of each process
 *	tls-load PORT idle N			N sessions, kept open until standard input ends
 *
 * "full" and "resumed" are what they say, or it fails. At the end (idle: when all are there) it prints
 * a JSON object with what was negotiated.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 8
#define MIB (1024 * 1024)

struct job {
	uint16_t port;
	const char *kind;
	long n;				/* of this process */
	SSL_CTX *ctx;
	SSL_SESSION *session;		/* to resume; NULL: none yet */
	char told[100];			/* what was negotiated */
};

static void fail(const char *what)
{
	fprintf(stderr, "tls-load: %s: ", what);
	if (ERR_peek_error() != 0)
		ERR_print_errors_fp(stderr);
	else
		perror("");
	exit(1);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* Keeps the newest session: TLS 1.3 gives tickets behind the handshake, and each is good for one time. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct job *job = SSL_get_app_data(ssl);

	SSL_SESSION_free(job->session);
	job->session = session;
	return 1;
}

static SSL *open_session(struct job *job)
{
	SSL *ssl = SSL_new(job->ctx);

	if (ssl == NULL || SSL_set_app_data(ssl, job) != 1 || SSL_set_fd(ssl, connect_to(job->port)) != 1 ||
	    SSL_set_tlsext_host_name(ssl, "bench.example") != 1)
		fail("SSL_new");
	if (job->session != NULL && SSL_set_session(ssl, job->session) != 1)
		fail("SSL_set_session");
	if (SSL_connect(ssl) != 1)
		fail("handshake");
	snprintf(job->told, sizeof(job->told), "\"version\":\"%s\",\"cipher\":\"%s\"", SSL_get_version(ssl), SSL_get_cipher(ssl));
	return ssl;
}

static void ask(SSL *ssl, long octets)
{
	static char room[65536];
	char request[16];
	int n;

	snprintf(request, sizeof(request), "%08ld", octets);
	if (SSL_write(ssl, request, 8) != 8)
		fail("write");
	while (octets > 0) {
		n = SSL_read(ssl, room, sizeof(room));
		if (n <= 0)
			fail("read");
		octets -= n;
	}
}

static void close_session(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

static void forget_session(struct job *job)
{
	SSL_SESSION_free(job->session);
	job->session = NULL;
}

static void handshakes(struct job *job, bool resumed)
{
	for (long i = 0; i < job->n; i++) {
		SSL *ssl = open_session(job);

		/* The first has nothing to go on with. */
		if (SSL_session_reused(ssl) != (resumed && i > 0)) {
			fprintf(stderr, "tls-load: session %ld was %sresumed\n", i, resumed ? "not " : "");
			exit(1);
		}
		ask(ssl, 1);
		close_session(ssl);
		if (!resumed)
			forget_session(job);
	}
}

static void bulk(struct job *job)
{
	SSL *ssl = open_session(job);

	for (long i = 0; i < job->n; i++)
		ask(ssl, MIB);
	close_session(ssl);
}

/* The parent ends it. */
static void idle(struct job *job, int ready)
{
	for (long i = 0; i < job->n; i++) {
		ask(open_session(job), 1);
		forget_session(job);
	}
	if (write(ready, "x", 1) != 1)
		fail("write");
	for (;;)
		pause();
}

static void run(struct job *job, int ready)
{
	SSL_CTX_set_session_cache_mode(job->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(job->ctx, on_session);
	if (strcmp(job->kind, "idle") == 0)
		idle(job, ready);
	else if (strcmp(job->kind, "bulk") == 0)
		bulk(job);
	else
		handshakes(job, strcmp(job->kind, "resumed") == 0);
	dprintf(ready, "%s\n", job->told);
	exit(0);
}

static int wait_all(const pid_t pids[PROCESSES])
{
	int failed = 0, status;

	for (int i = 0; i < PROCESSES; i++)
		failed |= waitpid(pids[i], &status, 0) != pids[i] || status != 0;
	return failed;
}

/* All are there: say so, and keep them until whoever started this has seen enough. */
static int keep(const pid_t pids[PROCESSES], int ready)
{
	char octet;

	for (int i = 0; i < PROCESSES; i++)
		if (read(ready, &octet, 1) != 1)
			return 1;
	puts("ready");
	fflush(stdout);
	while (read(0, &octet, 1) > 0)
		;
	for (int i = 0; i < PROCESSES; i++)
		kill(pids[i], SIGKILL);
	(void)wait_all(pids);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: tls-load PORT full|resumed|bulk|idle N\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct job job = { .ctx = SSL_CTX_new(TLS_client_method()) };
	const char *version = getenv("TLS_LOAD_VERSION");
	pid_t pids[PROCESSES];
	char told[100] = "";
	int pipes[2];
	long n;

	if (argc != 4 || (n = atol(argv[3])) < PROCESSES || pipe(pipes) < 0 || job.ctx == NULL)
		return usage();
	job.port = (uint16_t)atoi(argv[1]);
	job.kind = argv[2];
	if (version != NULL && strcmp(version, "1.2") == 0)
		SSL_CTX_set_max_proto_version(job.ctx, TLS1_2_VERSION);
	for (int i = 0; i < PROCESSES; i++) {
		job.n = n / PROCESSES + (i < n % PROCESSES);
		pids[i] = fork();
		if (pids[i] < 0)
			fail("fork");
		if (pids[i] == 0)
			run(&job, pipes[1]);
	}
	close(pipes[1]);
	if (strcmp(job.kind, "idle") == 0)
		return keep(pids, pipes[0]);
	if (wait_all(pids) != 0)
		return 1;
	if (read(pipes[0], told, sizeof(told) - 1) <= 0)
		return 1;
	told[strcspn(told, "\n")] = '\0';
	printf("{%s}\n", told);
	return 0;
}
