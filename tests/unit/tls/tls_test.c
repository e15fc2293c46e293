/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_test.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files. */

static char folder[64];

void folder_create(void)
{
	snprintf(folder, sizeof(folder), "/tmp/sallyport-tls-XXXXXX");
	assert_non_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void folder_remove(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *folder_path(const char *format, ...)
{
	static char paths[64][256];
	static unsigned n;
	char *path = paths[n++ % 64];
	int at = snprintf(path, 256, "%s/", folder);
	va_list ap;

	va_start(ap, format);
	vsnprintf(path + at, 256 - (size_t)at, format, ap);
	va_end(ap);
	return path;
}

void folder_make(const char *path)
{
	assert_int_equal(mkdir(path, 0700), 0);
}

void file_write(const char *path, struct slice octets)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(octets.ptr, 1, octets.len, f), octets.len);
	assert_int_equal(fclose(f), 0);
}

struct slice file_of_pem(const char *path)
{
	static uint8_t kept[32][16384];
	static unsigned n;
	uint8_t *to = kept[n++ % 32];
	FILE *f = fopen(path, "r");
	size_t got;

	assert_non_null(f);
	got = fread(to, 1, sizeof(kept[0]), f);
	fclose(f);
	return slice_of(to, got);
}

/* Certificates. */

EVP_PKEY *make_key(const char *kind)
{
	EVP_PKEY *key = strcmp(kind, "EC") == 0 ? EVP_EC_gen("P-256") : strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) :
			EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	assert_non_null(key);
	return key;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	if (value == NULL)
		return;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static const EVP_MD *digest_for(EVP_PKEY *key)
{
	return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

X509 *make_cert(const struct cert_spec *spec, EVP_PKEY *key)
{
	X509 *x = X509_new(), *issuer = spec->issuer != NULL ? spec->issuer : x;
	EVP_PKEY *issuer_key = spec->issuer_key != NULL ? spec->issuer_key : key;
	bool fixed = spec->from != 0 || spec->to != 0;

	assert_non_null(x);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), spec->serial != 0 ? spec->serial : 1);
	X509_gmtime_adj(X509_getm_notBefore(x), fixed ? spec->from : -DAY);
	X509_gmtime_adj(X509_getm_notAfter(x), fixed ? spec->to : DAY);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)spec->cn, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer));
	X509_set_pubkey(x, key);
	extend(x, issuer, NID_basic_constraints, spec->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	extend(x, issuer, NID_key_usage, spec->is_ca ? "critical,keyCertSign,cRLSign" : "digitalSignature,keyEncipherment");
	extend(x, issuer, NID_subject_key_identifier, "hash");
	extend(x, issuer, NID_authority_key_identifier, "keyid");
	extend(x, issuer, NID_subject_alt_name, spec->san);
	extend(x, issuer, NID_ext_key_usage, spec->usage);
	assert_true(X509_sign(x, issuer_key, digest_for(issuer_key)) > 0);
	return x;
}

X509_CRL *make_crl(X509 *issuer, EVP_PKEY *key, long revoked_serial)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *next = X509_gmtime_adj(NULL, DAY);

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, now);
	X509_CRL_set1_nextUpdate(crl, next);
	if (revoked_serial != 0) {
		X509_REVOKED *r = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		ASN1_INTEGER_set(serial, revoked_serial);
		X509_REVOKED_set_serialNumber(r, serial);
		X509_REVOKED_set_revocationDate(r, now);
		X509_CRL_add0_revoked(crl, r);
		ASN1_INTEGER_free(serial);
	}
	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	assert_true(X509_CRL_sign(crl, key, digest_for(key)) > 0);
	return crl;
}

void put_key(const char *path, EVP_PKEY *key, const char *passphrase)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, passphrase != NULL ? EVP_aes_256_cbc() : NULL, passphrase,
						   passphrase != NULL ? (int)strlen(passphrase) : 0, NULL, NULL), 1);
	fclose(f);
}

void put_chain(const char *path, X509 *leaf, X509 *next)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, leaf), 1);
	if (next != NULL)
		assert_int_equal(PEM_write_X509(f, next), 1);
	fclose(f);
}

void put_hashed(const char *directory, X509 *ca)
{
	char path[300];

	for (unsigned i = 0;; i++) {
		snprintf(path, sizeof(path), "%s/%08lx.%u", directory, X509_subject_name_hash(ca), i);
		if (access(path, F_OK) < 0)
			break;
	}
	put_chain(path, ca, NULL);
}

void put_hashed_crl(const char *directory, X509_CRL *crl)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%08lx.r0", directory, X509_NAME_hash_ex(X509_CRL_get_issuer(crl), NULL, NULL, NULL));
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509_CRL(f, crl), 1);
	fclose(f);
}

/* Policies. */

static struct tls_side plain_side(void)
{
	return (struct tls_side){
		.security = TLS_FORCE,
		.own = { .setup_key = { -1, NULL } },
		.verifier = { .type = TLS_VERIFY_NONE, .depth = 4, .verify = { -1, NULL } },
		.options = { .version_min = 0x0303, .version_max = 0x0304, .ciphers = "HIGH:!aNULL:@STRENGTH", .tickets = true,
			     .session_seconds = 300 },
	};
}

void sample_init(struct sample *s)
{
	*s = (struct sample){ 0 };
	s->encryption = (struct encryption){ .name = "sample", .handshake_timeout_ms = 30000, .place = { "policy.py", 7 } };
	s->encryption.sides[TLS_CLIENT] = plain_side();
	s->encryption.sides[TLS_SERVER] = plain_side();
}

const struct tls_certificate *sample_add(struct sample *s, const char *cert_path, const char *key_path)
{
	struct tls_key *key = &s->keys[s->n_keys];
	struct tls_certificate *c = &s->certificates[s->n_certificates];

	*key = (struct tls_key){ .file = key_path, .secret = TLS_NO_SECRET, .passphrase = TLS_NO_SECRET,
				 .index = (uint32_t)s->n_keys++, .place = { "policy.py", 1 } };
	*c = (struct tls_certificate){ .file = cert_path, .pem = file_of_pem(cert_path), .key = key,
				       .index = (uint32_t)s->n_certificates++, .place = { "policy.py", 2 } };
	return c;
}

void build(struct sample *s, struct built *out)
{
	*out = (struct built){ .arena = arena_create(1 << 20, 0) };
	problems_init(&out->problems, out->arena);
	s->policy = (struct policy){ .encryptions = &s->encryption, .n_encryptions = 1, .tls_keys = s->keys,
				     .n_tls_keys = s->n_keys, .tls_certificates = s->certificates,
				     .n_tls_certificates = s->n_certificates };
	out->err = tls_keys_load(&s->policy, NULL, &out->problems, &out->keys);
	if (out->err == 0)
		out->err = tls_build(&s->policy, out->keys, &out->problems, &out->tls);
	assert_true((out->err == 0) == (out->tls != NULL));
	assert_true((out->err == -EINVAL) == (out->problems.n_errors > 0));
}

void unbuild(struct built *b)
{
	tls_free(&b->tls);
	tls_keys_free(&b->keys);
	arena_free(&b->arena);
}

bool has_problem(const struct built *b, const char *words)
{
	for (const struct policy_problem *p = b->problems.first; p != NULL; p = p->next)
		if (strstr(p->message, words) != NULL)
			return true;
	for (const struct policy_problem *p = b->problems.first; p != NULL; p = p->next)
		print_message("# %s (%s)\n", p->message, p->hint != NULL ? p->hint : "-");
	return false;
}

/* Conversations. */

static struct end make_end(struct stream *stream, const struct built *b, const struct sample *s, enum tls_end end)
{
	struct end e = { .stream = stream, .tls = b != NULL ? b->tls : NULL, .deadline = DEADLINE_NEVER, .result = 1,
			 .arena = arena_create(1 << 20, 0) };

	e.h.encryption = s != NULL ? &s->encryption : NULL;
	e.h.end = end;
	e.h.arena = e.arena;
	return e;
}

void pair_open(struct pair *p, const struct built *toward_client, const struct sample *cs, const struct built *toward_server,
	       const struct sample *ss)
{
	*p = (struct pair){ .descriptors = open_descriptors() };
	virtual_clock_init(&p->clock);
	p->loop = loop_create(&p->clock.clock);
	assert_non_null(p->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
	p->client = make_end(toward_client != NULL ? stream_open(p->loop, p->fd[0]) : NULL, toward_client, cs, TLS_CLIENT);
	p->server = make_end(toward_server != NULL ? stream_open(p->loop, p->fd[1]) : NULL, toward_server, ss, TLS_SERVER);
	if (p->client.stream != NULL)
		p->fd[0] = -1;
	if (p->server.stream != NULL)
		p->fd[1] = -1;
}

static void run_end(void *arg)
{
	struct end *e = arg;

	e->result = tls_handshake(e->tls, e->stream, &e->h, e->deadline);
	if (e->result == 0 && e->then != NULL)
		e->then(e);
	if (e->result < 0)
		stream_close(&e->stream);
}

void pair_run(struct pair *p)
{
	if (p->client.tls != NULL)
		assert_non_null(co_spawn(p->loop, run_end, &p->client));
	if (p->server.tls != NULL)
		assert_non_null(co_spawn(p->loop, run_end, &p->server));
	loop_run(p->loop);
}

void pair_close(struct pair *p)
{
	stream_close(&p->client.stream);
	stream_close(&p->server.stream);
	for (int i = 0; i < 2; i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
	assert_int_equal(loop_coroutines(p->loop), 0);
	assert_int_equal(stream_pool_in_use(p->loop), 0);
	loop_free(&p->loop);
	arena_free(&p->client.arena);
	arena_free(&p->server.arena);
	assert_int_equal(open_descriptors(), p->descriptors);
}

/* The world. */

struct world w;

static const char *keep(const char *path)
{
	char *copy = strdup(path);

	assert_non_null(copy);
	return copy;
}

int world_create(void **state)
{
	struct cert_spec spec = { .cn = "CA", .is_ca = true };

	folder_create();
	w.ca_key = make_key("EC");
	w.ca = make_cert(&spec, w.ca_key);
	w.leaf_key = make_key("EC");
	spec = (struct cert_spec){ .cn = "mail", .san = "DNS:mail.example,DNS:*.wild.example,DNS:xn--bcher-kva.example,IP:192.0.2.1,"
							"IP:2001:db8::1",
				   .issuer = w.ca, .issuer_key = w.ca_key, .serial = 7 };
	w.leaf = make_cert(&spec, w.leaf_key);
	w.client_key = make_key("EC");
	spec = (struct cert_spec){ .cn = "client", .issuer = w.ca, .issuer_key = w.ca_key, .serial = 9 };
	w.client = make_cert(&spec, w.client_key);
	w.ca_directory = keep(folder_path("ca"));
	folder_make(w.ca_directory);
	put_hashed(w.ca_directory, w.ca);
	w.leaf_file = keep(folder_path("leaf.pem"));
	w.leaf_key_file = keep(folder_path("leaf.key"));
	w.client_file = keep(folder_path("client.pem"));
	w.client_key_file = keep(folder_path("client.key"));
	put_chain(w.leaf_file, w.leaf, NULL);
	put_key(w.leaf_key_file, w.leaf_key, NULL);
	put_chain(w.client_file, w.client, NULL);
	put_key(w.client_key_file, w.client_key, NULL);
	return 0;
}

int world_remove(void **state)
{
	const char *paths[] = { w.ca_directory, w.leaf_file, w.leaf_key_file, w.client_file, w.client_key_file };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		free((void *)paths[i]);
	X509_free(w.ca);
	X509_free(w.leaf);
	X509_free(w.client);
	EVP_PKEY_free(w.ca_key);
	EVP_PKEY_free(w.leaf_key);
	EVP_PKEY_free(w.client_key);
	folder_remove();
	return 0;
}

int world_setup(void **state)
{
	sample_init(&w.client_side);
	w.client_side.encryption.sides[TLS_SERVER].security = TLS_OFF;
	client_end()->own.fallback = sample_add(&w.client_side, w.leaf_file, w.leaf_key_file);
	sample_init(&w.server_side);
	w.server_side.encryption.sides[TLS_CLIENT].security = TLS_OFF;
	server_end()->verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
	server_end()->verifier.ca_directory = w.ca_directory;
	return 0;
}

int world_teardown(void **state)
{
	unbuild(&w.toward_client);
	unbuild(&w.toward_server);
	return 0;
}

void world_build(void)
{
	build(&w.client_side, &w.toward_client);
	build(&w.server_side, &w.toward_server);
	if (w.toward_client.err != 0 || w.toward_server.err != 0) {
		(void)has_problem(&w.toward_client, "\n");
		(void)has_problem(&w.toward_server, "\n");
	}
	assert_int_equal(w.toward_client.err, 0);
	assert_int_equal(w.toward_server.err, 0);
}

void world_rebuild(void)
{
	world_teardown(NULL);
	world_build();
}

void world_open(struct pair *p)
{
	pair_open(p, &w.toward_client, &w.client_side, &w.toward_server, &w.server_side);
}

void world_shake(struct pair *p)
{
	world_open(p);
	pair_run(p);
}

void world_mutual(enum tls_verify type)
{
	client_end()->verifier.type = type;
	client_end()->verifier.ca_directory = w.ca_directory;
	server_end()->own.fallback = sample_add(&w.server_side, w.client_file, w.client_key_file);
}
