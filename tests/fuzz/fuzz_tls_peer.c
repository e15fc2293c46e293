/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that sends what it likes and hangs up. Whatever it was, the handshake ends, says why and
 * whose fault it was, and leaves nothing behind. First octet: which end of ours it talks to, and
 * how many octets come at a time.
 */
#include "fuzz.h"
#include "io/co.h"
#include "io/loop.h"
#include "tls/tls.h"

#include <errno.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <unistd.h>

struct virtual_clock {
	struct clock clock;
	int64_t now;
};

static int64_t now(struct clock *clock)
{
	return ((struct virtual_clock *)clock)->now;
}

static void advance(struct clock *clock, int64_t to)
{
	((struct virtual_clock *)clock)->now = to;
}

/* The policy: one encryption, a certificate made here. */

static struct tls_key key = { .secret = 0, .passphrase = TLS_NO_SECRET };
static struct tls_certificate certificate = { .key = &key };
static struct encryption encryption = { .name = "fuzz", .handshake_timeout_ms = 1000 };
static struct policy policy = { .encryptions = &encryption, .n_encryptions = 1, .tls_keys = &key, .n_tls_keys = 1,
				.tls_certificates = &certificate, .n_tls_certificates = 1 };
static struct tls *tls;

static struct slice text_of(BIO *bio)
{
	char *text;
	long n = BIO_get_mem_data(bio, &text);

	return slice_of(text, (size_t)n);
}

static void make_certificate(BIO *cert_pem, BIO *key_pem)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x = X509_new();

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 864000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)"fuzz", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, pkey);
	FUZZ_CHECK(X509_sign(x, pkey, EVP_sha256()) > 0);
	FUZZ_CHECK(PEM_write_bio_X509(cert_pem, x) == 1);
	FUZZ_CHECK(PEM_write_bio_PrivateKey(key_pem, pkey, NULL, NULL, 0, NULL, NULL) == 1);
	X509_free(x);
	EVP_PKEY_free(pkey);
}

static void make_policy(void)
{
	static const char *const alpn[] = { "smtp" };
	struct arena *arena = arena_create(1 << 20, 0);
	BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
	struct policy_problems problems;
	struct tls_secrets secrets;
	struct tls_keys *keys;
	struct slice items[1];

	make_certificate(cert_pem, key_pem);
	items[0] = text_of(key_pem);
	secrets = (struct tls_secrets){ items, 1 };
	certificate.pem = text_of(cert_pem);
	for (int end = 0; end < TLS_ENDS; end++)
		encryption.sides[end] = (struct tls_side){
			.security = TLS_FORCE,
			.own = { .fallback = &certificate, .setup_key = { -1, NULL } },
			.verifier = { .type = TLS_VERIFY_OPTIONAL_UNTRUSTED, .depth = 4, .permit_invalid = true,
				      .verify = { -1, NULL } },
			.options = { .version_min = 0x0303, .version_max = 0x0304, .tickets = true, .session_seconds = 300,
				     .alpn = alpn, .n_alpn = 1 },
		};
	problems_init(&problems, arena);
	FUZZ_CHECK(tls_keys_load(&policy, &secrets, &problems, &keys) == 0);
	FUZZ_CHECK(tls_build(&policy, keys, &problems, &tls) == 0);
	BIO_free(cert_pem);
	BIO_free(key_pem);
	arena_free(&arena);
}

/* One peer. */

struct meeting {
	struct stream *stream;
	struct tls_handshake h;
	int fd, result;
	struct slice octets;
	size_t step;
};

static co_waits void shake(void *arg)
{
	struct meeting *m = arg;

	m->result = tls_handshake(tls, m->stream, &m->h, DEADLINE_NEVER);
	stream_close(&m->stream);
}

static co_waits void send_all(void *arg)
{
	struct meeting *m = arg;
	char buf[1024];

	while (m->octets.len > 0) {
		ssize_t n = send(m->fd, m->octets.ptr, m->octets.len < m->step ? m->octets.len : m->step, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		m->octets = slice_skip(m->octets, n < 0 ? 0 : (size_t)n);
		(void)!recv(m->fd, buf, sizeof(buf), 0);
		if (co_sleep(co_now() + 1) < 0)
			break;
	}
	shutdown(m->fd, SHUT_WR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtual_clock clock = { .clock = { now, now, advance }, .now = 1000 };
	struct meeting m = { .result = 1 };
	struct loop *loop;
	int fd[2];

	if (size == 0)
		return 0;
	if (tls == NULL)
		make_policy();
	loop = loop_create(&clock.clock);
	FUZZ_CHECK(loop != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
	m.stream = stream_open(loop, fd[0]);
	m.fd = fd[1];
	m.octets = slice_of(data + 1, size - 1);
	m.step = 1 + (data[0] >> 1) * 100u;
	m.h = (struct tls_handshake){ .encryption = &encryption, .end = data[0] & 1, .arena = arena_create(1 << 20, 0) };
	FUZZ_CHECK(co_spawn(loop, shake, &m) != NULL && co_spawn(loop, send_all, &m) != NULL);
	loop_run(loop);
	/* Nobody guesses the keys: it can't succeed. */
	FUZZ_CHECK(m.result < 0 && m.h.error[0] != '\0' && m.h.peer_fault);
	FUZZ_CHECK(loop_coroutines(loop) == 0 && stream_pool_in_use(loop) == 0);
	close(fd[1]);
	loop_free(&loop);
	arena_free(&m.h.arena);
	return 0;
}
