/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates made when the test runs, policies made by hand, and two coroutines that shake hands
 * over a pair of sockets: our end towards a client with our end towards a server.
 */
#ifndef TESTS_UNIT_TLS_TLS_TEST_H
#define TESTS_UNIT_TLS_TLS_TEST_H

#include "../io/io_test.h"

#include "io/stream.h"
#include "tls/tls.h"

#include <openssl/x509.h>

#define DAY 86400L

#define assert_slice(s, text) \
	do { \
		struct slice s_ = (s); \
		assert_int_equal(s_.len, strlen(text)); \
		assert_memory_equal(s_.ptr, (text), s_.len); \
	} while (0)

/* A folder for the files of one program; removed at its end. */
void folder_create(void);
void folder_remove(void);
/* Text in static memory of the test; each call another. */
const char *folder_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
void folder_make(const char *path);
void file_write(const char *path, struct slice octets);
struct slice file_of_pem(const char *path);		/* in static memory, the last 32 */

struct cert_spec {
	const char *cn;
	const char *san;		/* "DNS:a.example,IP:192.0.2.1"; NULL: none */
	bool is_ca;
	long from, to;			/* seconds from now; both 0: a day before to a day behind */
	long serial;			/* 0: 1 */
	X509 *issuer;			/* NULL: by itself */
	EVP_PKEY *issuer_key;
	const char *usage;		/* extendedKeyUsage; NULL: none */
};

EVP_PKEY *make_key(const char *kind);			/* "EC", "RSA", "ED25519" */
X509 *make_cert(const struct cert_spec *spec, EVP_PKEY *key);
X509_CRL *make_crl(X509 *issuer, EVP_PKEY *key, long revoked_serial);	/* 0: none */
void put_key(const char *path, EVP_PKEY *key, const char *passphrase);
void put_chain(const char *path, X509 *leaf, X509 *next);		/* next: NULL or the issuer */
void put_hashed(const char *directory, X509 *ca);			/* HASH.0 or the next free one */
void put_hashed_crl(const char *directory, X509_CRL *crl);

/* A policy of one encryption, with room for what tests set in it. */
struct sample {
	struct policy policy;
	struct encryption encryption;
	struct tls_key keys[8];
	struct tls_certificate certificates[8];
	size_t n_keys, n_certificates;
};

void sample_init(struct sample *s);		/* both sides TLS_FORCE; the client end needs a certificate yet */
const struct tls_certificate *sample_add(struct sample *s, const char *cert_path, const char *key_path);

struct built {
	struct arena *arena;
	struct policy_problems problems;
	struct tls_keys *keys;
	struct tls *tls;
	int err;
};

void build(struct sample *s, struct built *out);
void unbuild(struct built *b);
bool has_problem(const struct built *b, const char *words);

/* One side of a conversation. */
struct end {
	struct stream *stream;
	struct tls_handshake h;
	const struct tls *tls;
	int result;
	deadline_t deadline;
	void (*then)(struct end *);	/* co_waits; when the handshake succeeded; NULL */
	struct arena *arena;
};

struct pair {
	struct virtual_clock clock;
	struct loop *loop;
	struct end client, server;	/* ours towards the client, ours towards the server */
	int fd[2];			/* raw descriptors; -1 where a stream has it */
	unsigned descriptors;
};

void pair_open(struct pair *p, const struct built *toward_client, const struct sample *cs, const struct built *toward_server,
	       const struct sample *ss);
void pair_run(struct pair *p);
void pair_close(struct pair *p);	/* nothing may be left */

/* A CA, "mail" that it signed (serial 7, names of the tests), a client (serial 9), and policies that use them: the client end
 * shows "mail", the server end demands it. Made anew for each program, the policies for each test. */
struct world {
	EVP_PKEY *ca_key, *leaf_key, *client_key;
	X509 *ca, *leaf, *client;
	const char *ca_directory;
	const char *leaf_file, *leaf_key_file, *client_file, *client_key_file;
	struct sample client_side, server_side;
	struct built toward_client, toward_server;
};

extern struct world w;

int world_create(void **state);
int world_remove(void **state);
int world_setup(void **state);			/* the policies; not built */
int world_teardown(void **state);
void world_build(void);				/* both, which must succeed */
void world_rebuild(void);			/* after a change, with new everything */
void world_open(struct pair *p);
void world_shake(struct pair *p);		/* both ends; closed when a result is negative */

static inline struct tls_side *client_end(void)
{
	return &w.client_side.encryption.sides[TLS_CLIENT];
}

static inline struct tls_side *server_end(void)
{
	return &w.server_side.encryption.sides[TLS_SERVER];
}

/* The client end wants a certificate, and the server end's peer shows one. */
void world_mutual(enum tls_verify type);

#endif
