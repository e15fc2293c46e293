/* SPDX-License-Identifier: Apache-2.0 */
/* Key bridging in handshakes: which certificate the other side sees, and when it sees none. */
#include "tls_test.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdlib.h>

static EVP_PKEY *trusted_key, *untrusted_key, *site_key, *root_key;
static X509 *trusted, *untrusted, *site, *root;
static struct slice site_der;
static const char *trusted_file, *untrusted_file, *trusted_key_file, *untrusted_key_file, *site_file, *site_key_file, *trust, *root_trust;
static const char *const usual[] = { "keyUsage", "subjectAltName", "extendedKeyUsage" };

static struct sample near, far;
static struct built near_built, far_built;
static struct tls_bridge bridge;
static struct tls_peer_certificate shown;
static struct tls_facts other;		/* what the other end of the session saw */

static const char *keep(const char *path)
{
	return strdup(path);
}

static void make_authorities(void)
{
	struct cert_spec spec = { .cn = "Root", .is_ca = true };

	root_key = make_key("EC");
	root = make_cert(&spec, root_key);
	trusted_key = make_key("EC");
	spec = (struct cert_spec){ .cn = "Trusted", .is_ca = true, .issuer = root, .issuer_key = root_key };
	trusted = make_cert(&spec, trusted_key);
	untrusted_key = make_key("EC");
	spec = (struct cert_spec){ .cn = "Untrusted", .is_ca = true };
	untrusted = make_cert(&spec, untrusted_key);
}

static void make_files(void)
{
	trusted_file = keep(folder_path("trusted.pem"));
	trusted_key_file = keep(folder_path("trusted.key"));
	untrusted_file = keep(folder_path("untrusted.pem"));
	untrusted_key_file = keep(folder_path("untrusted.key"));
	site_file = keep(folder_path("site.pem"));
	site_key_file = keep(folder_path("site.key"));
	put_chain(trusted_file, trusted, root);
	put_key(trusted_key_file, trusted_key, NULL);
	put_chain(untrusted_file, untrusted, NULL);
	put_key(untrusted_key_file, untrusted_key, NULL);
	put_chain(site_file, site, NULL);
	put_key(site_key_file, site_key, NULL);
	trust = keep(folder_path("trust"));
	folder_make(trust);
	put_hashed(trust, root);
	put_hashed(trust, untrusted);
	root_trust = keep(folder_path("root-trust"));
	folder_make(root_trust);
	put_hashed(root_trust, root);
}

static int prepare(void **state)
{
	struct cert_spec spec = { .cn = "site.example", .san = "DNS:site.example", .serial = 99 };
	uint8_t *der = NULL;
	int n;

	folder_create();
	make_authorities();
	site_key = make_key("EC");
	site = make_cert(&spec, site_key);
	n = i2d_X509(site, &der);
	site_der = slice_of(der, (size_t)n);
	make_files();
	return 0;
}

static int finish(void **state)
{
	EVP_PKEY *keys[] = { root_key, trusted_key, untrusted_key, site_key };
	X509 *certificates[] = { root, trusted, untrusted, site };
	const char *paths[] = { trusted_file, untrusted_file, trusted_key_file, untrusted_key_file, site_file, site_key_file, trust, root_trust };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		EVP_PKEY_free(keys[i]);
	for (size_t i = 0; i < ARRAY_LEN(certificates); i++)
		X509_free(certificates[i]);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		free((void *)paths[i]);
	OPENSSL_free((void *)site_der.ptr);
	folder_remove();
	return 0;
}

static int setup(void **state)
{
	sample_init(&near);
	bridge = (struct tls_bridge){ .extensions = usual, .n_extensions = ARRAY_LEN(usual) };
	bridge.trusted_ca = sample_add(&near, trusted_file, trusted_key_file);
	bridge.untrusted_ca = sample_add(&near, untrusted_file, untrusted_key_file);
	bridge.key = sample_add(&near, site_file, site_key_file)->key;
	sample_init(&far);
	shown = (struct tls_peer_certificate){ .der = site_der };
	other = (struct tls_facts){ .peer = &shown, .n_peer = 1, .trusted = true };
	return 0;
}

/* Our end that bridges towards a client; the far end stands for the client. */
static void setup_client_end(void)
{
	near.encryption.sides[TLS_CLIENT].own.bridge = &bridge;
	near.encryption.sides[TLS_SERVER].security = TLS_OFF;
	far.encryption.sides[TLS_CLIENT].security = TLS_OFF;
	far.encryption.sides[TLS_SERVER].verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
	far.encryption.sides[TLS_SERVER].verifier.ca_directory = trust;
}

/* And towards a server, which the far end stands for. */
static void setup_server_end(void)
{
	near.encryption.sides[TLS_SERVER].own.bridge = &bridge;
	near.encryption.sides[TLS_CLIENT].security = TLS_OFF;
	far.encryption.sides[TLS_SERVER].security = TLS_OFF;
	far.encryption.sides[TLS_CLIENT].verifier.type = TLS_VERIFY_OPTIONAL_TRUSTED;
	far.encryption.sides[TLS_CLIENT].verifier.ca_directory = trust;
	far.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&far, site_file, site_key_file);
}

static void build_both(void)
{
	build(&near, &near_built);
	build(&far, &far_built);
	assert_int_equal(near_built.err, 0);
	assert_int_equal(far_built.err, 0);
}

static int teardown(void **state)
{
	unbuild(&near_built);
	unbuild(&far_built);
	return 0;
}

static X509 *certificate_of(const struct tls_facts *facts, size_t n)
{
	const unsigned char *der;
	X509 *x;

	assert_true(n < facts->n_peer);
	der = facts->peer[n].der.ptr;
	x = d2i_X509(NULL, &der, (long)facts->peer[n].der.len);
	assert_non_null(x);
	return x;
}

static void assert_issued(const struct tls_facts *facts, X509 *ca)
{
	X509 *leaf = certificate_of(facts, 0);

	assert_int_equal(X509_verify(leaf, X509_get0_pubkey(ca)), 1);
	assert_int_equal(X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_subject_name(site)), 0);
	X509_free(leaf);
}

static void run_client_end(struct pair *p, const struct tls_facts *bridged)
{
	build_both();
	pair_open(p, &near_built, &near, &far_built, &far);
	p->client.h.bridged = bridged;
	p->server.h.server_name = SLICE("site.example");
	p->server.h.must_fit = SLICE("site.example");
	pair_run(p);
}

/* The CA says whether the server was trusted; an intermediate one is sent along, its root is not. */
static void client_trusted(void **state)
{
	struct pair p;

	setup_client_end();
	far.encryption.sides[TLS_SERVER].verifier.ca_directory = root_trust;
	run_client_end(&p, &other);
	assert_string_equal(p.client.h.error, "");
	assert_string_equal(p.server.h.error, "");
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	assert_issued(&p.server.h.facts, trusted);
	assert_int_equal(p.server.h.facts.n_peer, 2);
	pair_close(&p);
}

static void client_untrusted(void **state)
{
	struct pair p;

	setup_client_end();
	other.trusted = false;
	run_client_end(&p, &other);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	assert_issued(&p.server.h.facts, untrusted);
	assert_int_equal(p.server.h.facts.n_peer, 1);
	pair_close(&p);
}

/* Trusted as one host by its zone, with the names of others in it. */
static void client_narrow(void **state)
{
	struct pair p;

	setup_client_end();
	other.narrow = true;
	run_client_end(&p, &other);
	assert_int_equal(p.client.result, 0);
	assert_issued(&p.server.h.facts, untrusted);
	assert_int_equal(p.server.h.facts.n_peer, 1);
	pair_close(&p);
}

/* Who trusts only the one does not get past the other. */
static void client_warned(void **state)
{
	struct pair p;

	setup_client_end();
	far.encryption.sides[TLS_SERVER].verifier.ca_directory = root_trust;
	other.trusted = false;
	run_client_end(&p, &other);
	assert_true(p.server.result < 0);
	assert_true(p.client.result < 0);
	pair_close(&p);
}

/* No certificate of the server's, or one that is none: no handshake, and it says why. */
static void client_without(void **state)
{
	static const struct tls_facts empty;
	struct pair p;

	setup_client_end();
	run_client_end(&p, &empty);
	assert_int_equal(p.client.result, -EACCES);
	assert_non_null(strstr(p.client.h.error, "there is no certificate of the server's that one for the client could be made from"));
	assert_false(p.client.h.peer_fault);
	assert_true(p.server.result < 0);
	pair_close(&p);
}

static void client_never_asked(void **state)
{
	struct pair p;

	setup_client_end();
	run_client_end(&p, NULL);
	assert_int_equal(p.client.result, -EACCES);
	pair_close(&p);
}

static void client_garbage(void **state)
{
	struct pair p;

	setup_client_end();
	shown.der = slice_take(site_der, site_der.len - 1);
	run_client_end(&p, &other);
	assert_int_equal(p.client.result, -EACCES);
	assert_non_null(strstr(p.client.h.error, "no certificate can be made from the server's: it can't be parsed"));
	pair_close(&p);
}

/* Server first: its handshake runs when the client's hello is there, and what it saw counts. */
static co_waits int server_first(void *arg, const struct tls_facts *facts)
{
	struct pair *p = arg;

	assert_memory_equal(facts->server_name.ptr, "site.example", facts->server_name.len);
	assert_int_equal(co_sleep(co_now() + 50), 0);
	other.trusted = true;
	p->client.h.bridged = &other;
	return 0;
}

static void client_hello_first(void **state)
{
	struct pair p;

	setup_client_end();
	build_both();
	other.trusted = false;
	pair_open(&p, &near_built, &near, &far_built, &far);
	p.client.h.asks = (struct tls_asks){ .arg = &p, .hello = server_first };
	p.server.h.server_name = SLICE("site.example");
	pair_run(&p);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	assert_issued(&p.server.h.facts, trusted);
	pair_close(&p);
}

/* The mirror image: a client's certificate towards the server. */
static void run_server_end(struct pair *p, const struct tls_facts *bridged)
{
	setup_server_end();
	build_both();
	pair_open(p, &far_built, &far, &near_built, &near);
	p->server.h.bridged = bridged;
	pair_run(p);
	assert_string_equal(p->server.h.error, "");
	assert_int_equal(p->server.result, 0);
	assert_int_equal(p->client.result, 0);
}

static void server_mirrored(void **state)
{
	struct pair p;

	run_server_end(&p, &other);
	assert_issued(&p.client.h.facts, trusted);
	assert_true(p.client.h.facts.trusted);
	pair_close(&p);
}

static void server_without(void **state)
{
	static const struct tls_facts empty;
	struct pair p;

	run_server_end(&p, &empty);
	assert_int_equal(p.client.h.facts.n_peer, 0);
	pair_close(&p);
}

/* Made once for all workers to come: found in the directory by the next generation. */
static void directory(void **state)
{
	X509 *first, *second;
	struct pair p;

	setup_client_end();
	bridge.cache_directory = folder_path("cache");
	folder_make(bridge.cache_directory);
	run_client_end(&p, &other);
	assert_int_equal(p.client.result, 0);
	first = certificate_of(&p.server.h.facts, 0);
	pair_close(&p);
	teardown(NULL);
	run_client_end(&p, &other);
	assert_int_equal(p.client.result, 0);
	second = certificate_of(&p.server.h.facts, 0);
	assert_int_equal(X509_cmp(first, second), 0);
	X509_free(first);
	X509_free(second);
	pair_close(&p);
}

static void refused(const char *words)
{
	setup_client_end();
	build(&near, &near_built);
	build(&far, &far_built);
	assert_int_equal(near_built.err, -EINVAL);
	assert_true(has_problem(&near_built, words));
}

static void refused_extension(void **state)
{
	static const char *const list[] = { "subjectAltName", "subjectOtherName" };

	bridge.extensions = list;
	bridge.n_extensions = 2;
	refused("no extension of certificates is called subjectOtherName");
}

static void refused_authority(void **state)
{
	bridge.untrusted_ca = &near.certificates[2];
	refused("the bridge of encryption sample can't make certificates: the CA's certificate has no CA flag");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(client_trusted),	  TEST(client_untrusted),   TEST(client_narrow),      TEST(client_warned),      TEST(client_without),
		TEST(client_never_asked), TEST(client_garbage),	    TEST(client_hello_first), TEST(server_mirrored),
		TEST(server_without), TEST(directory),	    TEST(refused_extension),  TEST(refused_authority),
	};

	return cmocka_run_group_tests(tests, prepare, finish);
}
