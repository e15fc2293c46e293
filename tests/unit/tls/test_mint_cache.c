/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of minted certificates: its format, what is not believed of it, several processes, its bounds. */
#include "mint_scene.h"
#include "base/log.h"
#include "tls/mint_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct mint_scene s;
	X509 *original;
	char directory[64];
	char crt[200], orig[200];		/* of the one file */
};

static void begin(struct fixture *f)
{
	struct recipe recipe;

	mint_scene_begin(&f->s, NULL, NULL);
	recipe = mint_scene_original(&f->s);
	f->original = recipe_make(&recipe);
	snprintf(f->directory, sizeof(f->directory), "/tmp/test-mint-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
}

static void remove_all(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	char path[512];

	while ((entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (unlink(path) < 0)
			rmdir(path);
	}
	closedir(dir);
	rmdir(directory);
}

static void end(struct fixture *f)
{
	remove_all(f->directory);
	X509_free(f->original);
	mint_scene_end(&f->s);
}

/* How many names there are with that end; the last one's path, if wanted. */
static int count(const struct fixture *f, const char *suffix, char path[200])
{
	DIR *dir = opendir(f->directory);
	struct dirent *entry;
	int n = 0;

	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (len <= strlen(suffix) || strcmp(entry->d_name + len - strlen(suffix), suffix) != 0)
			continue;
		n++;
		if (path != NULL)
			snprintf(path, 200, "%s/%.100s", f->directory, entry->d_name);
	}
	closedir(dir);
	return n;
}

/* By a mint that has nothing in memory. */
static X509 *mint_at(const struct fixture *f, const struct mint_setup *setup, int64_t now)
{
	struct mint *mint = mint_scene_mint(setup);
	const char *why = NULL;
	X509 *leaf = mint_scene_try(mint, f->original, true, now, &why);

	if (leaf == NULL)
		fail_msg("refused: %s", why);
	mint_free(&mint);
	return leaf;
}

static X509 *mint_fresh(const struct fixture *f)
{
	struct mint_setup setup = mint_scene_setup(&f->s, f->directory);

	return mint_at(f, &setup, NOW);
}

static bool is_same(X509 *a, X509 *b)
{
	bool same = X509_cmp(a, b) == 0;

	X509_free(b);
	return same;
}

static size_t slurp(const char *path, char *octets, size_t size)
{
	FILE *file = fopen(path, "rb");
	size_t n;

	assert_non_null(file);
	n = fread(octets, 1, size, file);
	fclose(file);
	return n;
}

static void put(const char *path, const void *octets, size_t n)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(octets, 1, n, file), n);
	fclose(file);
}

static X509 *read_pem(const char *path)
{
	FILE *file = fopen(path, "rb");
	X509 *x = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

	if (file != NULL)
		fclose(file);
	return x;
}

/* Names, contents, permissions; who comes later gets the same certificate. */
static void test_format(void **state)
{
	struct fixture f;
	struct mint_setup setup;
	struct mint *mint;
	X509 *leaf, *untrusted;
	struct stat st;
	char sum[EVP_MAX_MD_SIZE * 2 + 1] = "", *octets;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len;
	const char *why;
	BIO *pem = BIO_new(BIO_s_mem());
	long len;

	begin(&f);
	umask(022);
	leaf = mint_fresh(&f);
	assert_int_equal(count(&f, ".crt", f.crt), 1);
	assert_int_equal(count(&f, ".orig", f.orig), 1);
	assert_true(is_same(leaf, read_pem(f.crt)));
	assert_true(is_same(f.original, read_pem(f.orig)));
	assert_int_equal(stat(f.crt, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);

	/* The name: SHA-256 over the original, the CA and the bridge's key (its public half), as PEM. */
	PEM_write_bio_X509(pem, f.original);
	PEM_write_bio_X509(pem, f.s.trusted.certificate);
	PEM_write_bio_PUBKEY(pem, f.s.leaf_key);
	len = BIO_get_mem_data(pem, &octets);
	EVP_Digest(octets, (size_t)len, digest, &digest_len, EVP_sha256(), NULL);
	for (unsigned i = 0; i < digest_len; i++)
		snprintf(sum + 2 * i, 3, "%02x", digest[i]);
	BIO_free(pem);
	assert_non_null(strstr(f.crt, sum));
	assert_non_null(strstr(f.crt, "/trusted-"));

	assert_true(is_same(leaf, mint_fresh(&f)));
	setup = mint_scene_setup(&f.s, f.directory);
	mint = mint_scene_mint(&setup);
	untrusted = mint_scene_try(mint, f.original, false, NOW, &why);
	assert_false(is_same(leaf, untrusted));
	assert_int_equal(count(&f, ".crt", NULL), 2);
	assert_int_equal(count(&f, ".orig", NULL), 2);
	mint_free(&mint);
	X509_free(leaf);
	end(&f);
}

/* What is in the directory is believed only if it is what would be made now. */
static void test_disbelieved(void **state)
{
	static const char encrypted[] = "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
					"AAAA\n-----END CERTIFICATE-----\n";
	struct fixture f;
	char *octets = calloc(1, 8192), *big = calloc(1, 70000);
	X509 *leaf, *next;
	size_t n;

	begin(&f);
	leaf = mint_fresh(&f);
	count(&f, ".crt", f.crt);
	count(&f, ".orig", f.orig);
	n = slurp(f.crt, octets, 8192);
	memset(big, '\n', 70000);

	for (int i = 0; i < 8; i++) {
		switch (i) {
		case 0: put(f.crt, "", 0); break;
		case 1: put(f.crt, octets, n / 2); break;
		case 2: put(f.crt, "\0\xff\x80", 3); break;
		case 3: octets[n / 2] ^= 1; put(f.crt, octets, n); break;
		case 4: put(f.crt, encrypted, sizeof(encrypted) - 1); break;
		case 5: put(f.crt, big, 70000); break;
		case 6: unlink(f.orig); break;
		case 7: put(f.orig, "", 0); break;
		}
		next = mint_fresh(&f);
		assert_false(X509_cmp(leaf, next) == 0);
		X509_free(leaf);
		leaf = next;
		/* It was replaced, and counts from now on. */
		assert_true(is_same(leaf, mint_fresh(&f)));
		n = slurp(f.crt, octets, 8192);
	}

	/* Neither regular file nor readable: used without, and nothing hangs. */
	assert_int_equal(unlink(f.crt), 0);
	assert_int_equal(mkfifo(f.crt, 0600), 0);
	next = mint_fresh(&f);
	assert_false(is_same(leaf, next));
	assert_int_equal(count(&f, ".crt", NULL), 1);
	unlink(f.crt);
	assert_int_equal(symlink("/dev/zero", f.crt), 0);
	next = mint_fresh(&f);
	assert_false(is_same(leaf, next));
	unlink(f.crt);
	assert_int_equal(mkdir(f.crt, 0700), 0);
	next = mint_fresh(&f);
	assert_false(is_same(leaf, next));
	assert_int_equal(rmdir(f.crt), 0);
	X509_free(leaf);
	free(octets);
	free(big);
	end(&f);
}

static void write_pem(const char *path, X509 *x)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	PEM_write_X509(file, x);
	fclose(file);
}

/* Well-formed certificates under the right name, which still are not those. */
static void test_planted(void **state)
{
	struct fixture f;
	struct mint_setup setup;
	const char *const list[] = { "subjectAltName" };
	X509 *leaf, *planted, *next;

	begin(&f);
	leaf = mint_fresh(&f);
	count(&f, ".crt", f.crt);

	/* Signed by another. */
	planted = X509_dup(leaf);
	X509_sign(planted, f.s.untrusted.key, EVP_sha256());
	write_pem(f.crt, planted);
	X509_free(planted);
	next = mint_fresh(&f);
	assert_int_equal(X509_verify(next, f.s.trusted.key), 1);
	X509_free(next);

	/* By the CA, but a weaker hash, another key, other extensions, other names, another time. */
	for (int i = 0; i < 5; i++) {
		planted = X509_dup(leaf);
		switch (i) {
		case 1: X509_set_pubkey(planted, f.s.site_key); break;
		case 2: recipe_add_raw(planted, "nsComment", false, "\x16\x01x", 3); break;
		case 3: X509_set_subject_name(planted, X509_get_subject_name(f.s.trusted.certificate)); break;
		case 4: ASN1_TIME_set(X509_getm_notAfter(planted), (time_t)(NOW + DAYS(71))); break;
		}
		X509_sign(planted, f.s.trusted.key, i == 0 ? EVP_sha1() : EVP_sha256());
		write_pem(f.crt, planted);
		next = mint_fresh(&f);
		assert_false(is_same(planted, next));
		X509_free(planted);
	}

	/* A policy with another list: made anew, and the other way round. */
	next = mint_fresh(&f);
	X509_free(leaf);
	leaf = next;
	setup = mint_scene_setup(&f.s, f.directory);
	setup.extensions = list;
	setup.n_extensions = 1;
	next = mint_at(&f, &setup, NOW);
	assert_int_equal(X509_get_ext_count(next), 3);
	X509_free(next);
	next = mint_fresh(&f);
	assert_int_equal(X509_get_ext_count(next), 5);
	assert_false(is_same(leaf, next));
	X509_free(leaf);
	end(&f);
}

/* A capped certificate is replaced before it ends. */
static void test_validity(void **state)
{
	struct fixture f;
	struct mint_setup setup;
	struct recipe recipe;
	X509 *leaf, *later;

	begin(&f);
	recipe = mint_scene_original(&f.s);
	recipe.not_after = NOW + DAYS(3000);
	X509_free(f.original);
	f.original = recipe_make(&recipe);
	setup = mint_scene_setup(&f.s, f.directory);
	leaf = mint_fresh(&f);
	assert_true(is_same(leaf, mint_at(&f, &setup, NOW + DAYS(300))));
	later = mint_at(&f, &setup, NOW + DAYS(360));
	assert_int_equal(X509_cmp_time(X509_get0_notAfter(later), &(time_t){ NOW + DAYS(700) }), 1);
	assert_true(is_same(later, mint_at(&f, &setup, NOW + DAYS(361))));
	X509_free(later);
	X509_free(leaf);
	end(&f);
}

/* Somebody has the lock: nobody waits; what is new comes in, what is there stays as it is. */
static void test_locked(void **state)
{
	struct fixture f;
	char path[100];
	X509 *leaf, *next;
	int fd;

	begin(&f);
	snprintf(path, sizeof(path), "%s/.lock", f.directory);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	leaf = mint_fresh(&f);
	assert_int_equal(count(&f, ".crt", f.crt), 1);
	assert_true(is_same(leaf, mint_fresh(&f)));
	put(f.crt, "x", 1);
	next = mint_fresh(&f);
	assert_false(is_same(leaf, next));
	assert_null(read_pem(f.crt));
	close(fd);
	X509_free(leaf);
	leaf = mint_fresh(&f);
	assert_true(is_same(leaf, read_pem(f.crt)));
	X509_free(leaf);
	end(&f);
}

/* A directory that can't be used costs one line, not the certificate. */
static void test_unusable(void **state)
{
	struct fixture f;
	struct mint_setup setup;
	struct mint *mint;
	char text[2048], *found;
	const char *why;
	int log[2], lines = 0;
	ssize_t n;

	begin(&f);
	assert_int_equal(pipe2(log, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(log_open(log[1], LOG_FORMAT_TEXT, 3, "", NULL), 0);
	setup = mint_scene_setup(&f.s, "/nonexistent/directory");
	mint = mint_scene_mint(&setup);
	X509_free(mint_scene_try(mint, f.original, true, NOW, &why));
	mint_free(&mint);
	n = read(log[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "core.error(2)"));
	assert_non_null(strstr(text, "directory='/nonexistent/directory'"));

	/* It vanishes while in use. */
	setup = mint_scene_setup(&f.s, f.directory);
	mint = mint_scene_mint(&setup);
	assert_int_equal(rmdir(f.directory), 0);
	for (int i = 0; i < 2; i++) {
		X509 *leaf = mint_scene_try(mint, f.original, i == 0, NOW, &why);

		assert_non_null(leaf);
		X509_free(leaf);
	}
	mint_free(&mint);
	n = read(log[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	for (found = text; (found = strstr(found, "Cannot write")) != NULL; found++)
		lines++;
	assert_int_equal(lines, 1);
	close(log[0]);
	close(log[1]);
	log_open(2, LOG_FORMAT_TEXT, 3, "", NULL);
	assert_int_equal(mkdir(f.directory, 0700), 0);
	end(&f);
}

static void age(const char *path, int64_t seconds)
{
	const struct timespec then = { .tv_sec = time(NULL) - seconds }, times[2] = { then, then };

	assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void put_named(const struct fixture *f, const char *name, int64_t seconds)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	put(path, "7\n", 2);
	age(path, seconds);
}

/* Too many, too old, left half written: thrown out; what is not ours stays. */
static void test_bounds(void **state)
{
	struct fixture f;
	struct mint_setup setup;
	struct mint *mint;
	const char *why;
	char name[200], newest[200];

	begin(&f);
	/* One for each hex digit, the older the higher; two that are too old. */
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "%strusted-%064x.crt", i % 2 == 0 ? "un" : "", i);
		put_named(&f, name, i < 14 ? DAYS(i) + 10 : DAYS(91));
		snprintf(name, sizeof(name), "%strusted-%064x.orig", i % 2 == 0 ? "un" : "", i);
		put_named(&f, name, i < 14 ? DAYS(i) + 10 : DAYS(91));
	}
	put_named(&f, "serial.txt", DAYS(500));
	put_named(&f, "notes.crt", DAYS(500));
	put_named(&f, "trusted-0123.crt", DAYS(500));
	put_named(&f, ".new-00112233445566778899aabbccddeeff", 3700);
	put_named(&f, ".new-ffeeddccbbaa99887766554433221100", 3000);
	setup = mint_scene_setup(&f.s, f.directory);
	setup.disk_max = 8;
	mint = mint_scene_mint(&setup);
	X509_free(mint_scene_try(mint, f.original, true, NOW, &why));
	/* 15 are young enough, one of them new; 7 stay, and the two that are not ours. */
	assert_int_equal(count(&f, ".crt", NULL), 7 + 2);
	assert_int_equal(count(&f, ".orig", NULL), 7);
	snprintf(newest, sizeof(newest), "%s/untrusted-%064x.crt", f.directory, 0);
	assert_int_equal(access(newest, F_OK), 0);
	snprintf(newest, sizeof(newest), "%s/untrusted-%064x.crt", f.directory, 6);
	assert_int_equal(access(newest, F_OK), -1);
	assert_int_equal(count(&f, "serial.txt", NULL), 0);	/* no name in front of it: */
	assert_int_equal(count(&f, "erial.txt", NULL), 1);
	assert_int_equal(count(&f, "eeff", NULL), 0);
	assert_int_equal(count(&f, "1100", NULL), 1);

	/* However many come, there are never more than so many and those since the last look. */
	for (int i = 0; i < 40; i++) {
		struct recipe recipe = mint_scene_original(&f.s);
		char host[32];
		X509 *other;

		snprintf(host, sizeof(host), "host%d.example", i);
		recipe.common_name = host;
		other = recipe_make(&recipe);
		X509_free(mint_scene_try(mint, other, true, NOW, &why));
		X509_free(other);
		assert_true(count(&f, ".crt", NULL) <= 8 + 2 + 1);
	}
	mint_free(&mint);
	end(&f);
}

#define PROCESSES 6
#define ORIGINALS 30

/* Every process mints all, each in another order, and says what it got. */
static int one_process(const struct fixture *f, X509 *const originals[ORIGINALS], int number, int fd)
{
	struct mint_setup setup = mint_scene_setup(&f->s, f->directory);
	struct mint *mint = mint_scene_mint(&setup);
	const char *why;

	for (int i = 0; i < ORIGINALS; i++) {
		int which = (i + number) % ORIGINALS;
		X509 *leaf = mint_scene_try(mint, originals[which], true, NOW, &why);
		uint8_t line[1 + 16];

		if (leaf == NULL)
			return 1;
		line[0] = (uint8_t)which;
		memcpy(line + 1, ASN1_STRING_get0_data(X509_get0_serialNumber(leaf)), 16);
		if (write(fd, line, sizeof(line)) != sizeof(line))
			return 1;
		X509_free(leaf);
	}
	mint_free(&mint);
	return 0;
}

/* All see one certificate for an original, nothing is torn, nothing is left over. */
static void test_processes(void **state)
{
	struct fixture f;
	X509 *originals[ORIGINALS];
	uint8_t line[1 + 16], serials[ORIGINALS][16] = { 0 };
	int fds[2], status, n = 0;
	pid_t pids[PROCESSES];

	begin(&f);
	for (int i = 0; i < ORIGINALS; i++) {
		struct recipe recipe = mint_scene_original(&f.s);
		char host[32];

		snprintf(host, sizeof(host), "host%d.example", i);
		recipe.common_name = host;
		originals[i] = recipe_make(&recipe);
	}
	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		/* All but the last in nearly the same order, so that they meet. */
		if (pids[i] == 0)
			_exit(one_process(&f, originals, i == PROCESSES - 1 ? ORIGINALS / 2 : i % 2, fds[1]));
	}
	close(fds[1]);
	while (read(fds[0], line, sizeof(line)) == sizeof(line)) {
		uint8_t *serial = serials[line[0]];

		if (serial[0] != 0)
			assert_memory_equal(serial, line + 1, 16);
		memcpy(serial, line + 1, 16);
		n++;
	}
	assert_int_equal(n, PROCESSES * ORIGINALS);
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	close(fds[0]);
	assert_int_equal(count(&f, ".crt", NULL), ORIGINALS);
	assert_int_equal(count(&f, ".orig", NULL), ORIGINALS);
	assert_int_equal(count(&f, "", NULL), 2 * ORIGINALS + 1 + 2);	/* .lock, . and .. */
	for (int i = 0; i < ORIGINALS; i++)
		X509_free(originals[i]);
	end(&f);
}

/* Workers are forked after the mint was made, and close all descriptors that they do not know. */
static void test_forked(void **state)
{
	struct fixture f;
	struct mint_setup setup;
	struct mint *mint;
	const char *why;
	int status;
	pid_t pid;

	begin(&f);
	setup = mint_scene_setup(&f.s, f.directory);
	mint = mint_scene_mint(&setup);
	pid = fork();
	if (pid == 0) {
		closefrom(3);
		_exit(mint_scene_try(mint, f.original, true, NOW, &why) == NULL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count(&f, ".crt", NULL), 1);
	mint_free(&mint);
	end(&f);
}

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static void test_descriptors(void **state)
{
	unsigned before = descriptors();
	struct fixture f;

	begin(&f);
	for (int i = 0; i < 3; i++)
		X509_free(mint_fresh(&f));
	end(&f);
	assert_int_equal(descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),	   cmocka_unit_test(test_disbelieved), cmocka_unit_test(test_planted),
		cmocka_unit_test(test_validity),   cmocka_unit_test(test_locked),      cmocka_unit_test(test_unusable),
		cmocka_unit_test(test_bounds),	   cmocka_unit_test(test_processes),   cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_forked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
