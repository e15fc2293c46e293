/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker is to believe, read on a thread. */
#include "tls_test.h"

#include "server/message.h"
#include "server/worker/trust_reader.h"
#include "tls/keeper_file.h"

#include <errno.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define REVOKED 40000		/* entries: seconds, were it not for a thread */
#define FILES_MAX (256u << 20)

static struct loop *loop;
static struct trust_reader *reader;
static unsigned started;
static bool no_threads;

struct call {
	int err;
	uint32_t context;
	unsigned pins;
	bool has_store;
};

static struct call calls[8];
static unsigned n_calls;

/* --wrap: the system may have no threads to give. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg)
{
	if (no_threads)
		return EAGAIN;
	started++;
	return __real_pthread_create(thread, attributes, fn, arg);
}

static void on_read(void *arg, int err, uint32_t context, struct tls_trust *trust)
{
	assert_true(n_calls < ARRAY_LEN(calls));
	calls[n_calls++] = (struct call){ err, context, err == 0 ? (unsigned)trust->n_pins : 0, err == 0 && trust->store != NULL };
}

static int setup(void **state)
{
	loop = loop_create(&clock_system);
	assert_non_null(loop);
	assert_int_equal(trust_reader_create(loop, on_read, NULL, &reader), 0);
	n_calls = started = 0;
	no_threads = false;
	return 0;
}

static int teardown(void **state)
{
	trust_reader_free(&reader);
	loop_free(&loop);
	return 0;
}

static void add_file(struct buffer *to, const char *name, struct slice octets)
{
	const struct keeper_record file = { .kind = KEEPER_FILE, .parts = { slice_cstr(name), octets } };

	keeper_record_write(to, &file);
}

/* So many pins, so that it is known again; and perhaps a CRL. */
static int file_with(uint32_t context, unsigned pins, struct slice crl)
{
	struct buffer all = BUFFER_INIT(FILES_MAX), crls = BUFFER_INIT(FILES_MAX), names = BUFFER_INIT(FILES_MAX);
	struct keeper_record record = { .kind = KEEPER_TRUST, .index = context };
	int fd;

	for (unsigned i = 0; i < pins; i++)
		add_file(&names, "192.0.2.1", SLICE("nothing"));
	if (crl.len > 0)
		add_file(&crls, "00000000.r0", crl);
	record.parts[1] = buffer_slice(&crls);
	record.parts[3] = buffer_slice(&names);
	keeper_record_write(&all, &record);
	fd = message_file(buffer_slice(&all));
	assert_true(fd >= 0);
	buffer_release(&all);
	buffer_release(&crls);
	buffer_release(&names);
	return fd;
}

static void add(uint32_t context, unsigned pins, struct slice crl)
{
	assert_int_equal(trust_reader_add(reader, context, file_with(context, pins, crl)), 0);
}

static void wait_for_calls(unsigned n)
{
	for (int i = 0; i < 60000 && n_calls < n; i++)
		loop_turn(loop, 10);
	assert_int_equal(n_calls, n);
}

static struct slice large_crl(void)
{
	EVP_PKEY *key = make_key("EC");
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	BIO *bio = BIO_new(BIO_s_mem());
	X509_NAME *name = X509_NAME_new();
	char *text;
	long n;
	void *copy;

	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"CA", -1, -1, 0), 1);
	assert_int_equal(X509_CRL_set_issuer_name(crl, name), 1);
	assert_int_equal(X509_CRL_set1_lastUpdate(crl, now), 1);
	for (uint64_t i = 0; i < REVOKED; i++) {
		X509_REVOKED *one = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		ASN1_INTEGER_set_uint64(serial, i + 1);
		X509_REVOKED_set_serialNumber(one, serial);
		X509_REVOKED_set_revocationDate(one, now);
		assert_int_equal(X509_CRL_add0_revoked(crl, one), 1);
		ASN1_INTEGER_free(serial);
	}
	assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509_CRL(bio, crl), 1);
	n = BIO_get_mem_data(bio, &text);
	copy = malloc((size_t)n);
	memcpy(copy, text, (size_t)n);
	BIO_free(bio);
	X509_NAME_free(name);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
	EVP_PKEY_free(key);
	return slice_of(copy, (size_t)n);
}

/* The worker goes on: whoever adds does not wait, and the loop turns before it is told. */
static void sessions_go_on(void **state)
{
	struct slice crl = large_crl();

	add(3, 1, crl);
	assert_int_equal(n_calls, 0);
	assert_int_equal(started, 1);
	wait_for_calls(1);
	assert_int_equal(calls[0].err, 0);
	assert_int_equal(calls[0].context, 3);
	assert_int_equal(calls[0].pins, 1);
	assert_true(calls[0].has_store);
	free((void *)crl.ptr);
}

static void the_last_one_of_each_counts(void **state)
{
	struct slice crl = large_crl();

	add(0, 1, crl);			/* begun */
	add(0, 2, slice_of(NULL, 0));
	add(1, 3, slice_of(NULL, 0));
	add(0, 4, slice_of(NULL, 0));
	wait_for_calls(3);
	assert_true(calls[0].context == 0 && calls[0].pins == 1);
	assert_true(calls[1].context == 1 && calls[1].pins == 3);
	assert_true(calls[2].context == 0 && calls[2].pins == 4);
	free((void *)crl.ptr);
}

static void what_is_none(void **state)
{
	int fd = message_file(SLICE("nonsense")), pair[2];

	assert_true(fd >= 0);
	assert_int_equal(trust_reader_add(reader, 5, fd), 0);
	wait_for_calls(1);
	assert_int_equal(calls[0].err, -EBADMSG);
	assert_int_equal(calls[0].context, 5);
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(trust_reader_add(reader, 6, pair[0]), 0);
	wait_for_calls(2);
	assert_int_equal(calls[1].err, -EBADMSG);
	close(pair[1]);
	add(7, 1, slice_of(NULL, 0));
	wait_for_calls(3);
	assert_int_equal(calls[2].err, 0);
}

static void given_up(void **state)
{
	struct slice crl = large_crl();

	add(0, 1, crl);
	add(1, 1, crl);
	trust_reader_free(&reader);
	loop_turn(loop, 0);
	assert_int_equal(n_calls, 0);
	free((void *)crl.ptr);
}

/* Late is better than never: who was revoked has to be refused. */
static void no_threads_to_be_had(void **state)
{
	no_threads = true;
	add(0, 1, slice_of(NULL, 0));
	add(1, 2, slice_of(NULL, 0));
	assert_int_equal(n_calls, 2);
	assert_true(calls[1].context == 1 && calls[1].pins == 2);
	assert_int_equal(started, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sessions_go_on), TEST(the_last_one_of_each_counts), TEST(what_is_none), TEST(given_up), TEST(no_threads_to_be_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
