/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of minted certificates. Any number of processes use it at a time, of several
 * generations or even firewalls, and an operator may read it, copy it and delete in it:
 *
 *	trusted-<hash>.crt, untrusted-<hash>.crt	a leaf, PEM
 *	the same name with .orig			the original it was made for, PEM
 *	.lock						flock: who replaces or deletes files
 *	.new-<random>					a file that is being written
 *
 * Readers need no lock, since a name appears when its file is whole. The .orig appears first, so
 * that a .crt without one is none. Nobody ever waits for the lock: a worker has other sessions.
 * What is read is trusted no more than a peer's octets; mint_leaf_is() judges it.
 */
#include "tls/mint_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX (2 * MINT_ORIGINAL_MAX)	/* octets; PEM is a third longer than DER */
#define AGE_MAX (90 * 24 * 3600)		/* seconds; then made anew if still wanted */
#define PARTIAL_AGE_MAX 3600			/* of a file that a dead process left half written */
#define FILE_MODE 0640				/* not secret, but says who visits what */
#define PATH_ROOM (MINT_NAME_MAX + 8)

/* No descriptor: workers close what they do not know after they were forked. */
struct mint_cache {
	char *path;
	size_t max;
	size_t written;			/* since this process looked at how much is there */
	bool looked;
};

static int open_directory(const struct mint_cache *cache)
{
	int fd = open(cache->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

int mint_cache_open(const char *directory, size_t max, struct mint_cache **out)
{
	struct mint_cache *cache = calloc(1, sizeof(*cache));
	int fd = -ENOMEM;

	if (cache == NULL)
		return -ENOMEM;
	cache->max = max;
	cache->path = strdup(directory);
	if (cache->path != NULL)
		fd = open_directory(cache);
	if (fd < 0) {
		mint_cache_close(&cache);
		return fd;
	}
	close(fd);
	*out = cache;
	return 0;
}

void mint_cache_close(struct mint_cache **cp)
{
	struct mint_cache *cache = *cp;

	if (cache == NULL)
		return;
	*cp = NULL;
	free(cache->path);
	free(cache);
}

/* A description of its own each time: one that was inherited would be locked for all who have it. */
int mint_cache_lock(const struct mint_cache *cache)
{
	int directory = open_directory(cache), fd;

	if (directory < 0)
		return -1;
	fd = openat(directory, ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
	close(directory);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A whole file; allocated. NULL: there is none, or none that could be one of ours. */
static BIO *read_file(int directory, const char *name, const char *suffix, bool *present)
{
	char path[PATH_ROOM];
	struct stat st;
	BIO *bio = NULL;
	uint8_t *octets = NULL;
	int fd;

	snprintf(path, sizeof(path), "%s%s", name, suffix);
	/* Not waiting for whoever writes into it, should it be a pipe. */
	fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	*present = fd >= 0 || errno != ENOENT;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= FILE_MAX &&
	    (octets = malloc((size_t)st.st_size)) != NULL && read(fd, octets, (size_t)st.st_size) == st.st_size &&
	    (bio = BIO_new(BIO_s_mem())) != NULL && BIO_write(bio, octets, (int)st.st_size) != (int)st.st_size) {
		BIO_free(bio);
		bio = NULL;
	}
	free(octets);
	close(fd);
	return bio;
}

/* PEM can be encrypted, and the library would ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	return -1;
}

static X509 *read_pair(int directory, const char *name, struct slice original_pem, bool *present)
{
	bool has_original;
	BIO *certificate = read_file(directory, name, ".crt", present), *original;
	X509 *leaf = NULL;
	char *octets;
	long len;

	if (certificate == NULL)
		return NULL;
	original = read_file(directory, name, ".orig", &has_original);
	if (original != NULL && (len = BIO_get_mem_data(original, &octets)) > 0 &&
	    slice_equal(slice_of(octets, (size_t)len), original_pem))
		leaf = PEM_read_bio_X509(certificate, NULL, no_passphrase, NULL);
	ERR_clear_error();
	BIO_free(original);
	BIO_free(certificate);
	return leaf;
}

X509 *mint_cache_read(const struct mint_cache *cache, const char *name, struct slice original_pem, bool *present)
{
	int directory = open_directory(cache);
	X509 *leaf;

	*present = false;
	if (directory < 0)
		return NULL;
	leaf = read_pair(directory, name, original_pem, present);
	close(directory);
	return leaf;
}

static int write_all(int fd, struct slice octets)
{
	while (octets.len > 0) {
		ssize_t n = write(fd, octets.ptr, octets.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		octets = slice_skip(octets, (size_t)n);
	}
	return 0;
}

/* A name that no other process thinks of. */
static int partial_name(char *path, size_t size)
{
	uint8_t r[16];
	int n;

	if (RAND_bytes(r, sizeof(r)) != 1)
		return -EIO;
	n = snprintf(path, size, ".new-");
	for (size_t i = 0; i < sizeof(r); i++)
		n += snprintf(path + n, size - (size_t)n, "%02x", r[i]);
	return 0;
}

/* The file gets its name when it is whole. It is not synced: a torn one is found out when it is read. */
static int write_file(int directory, const char *name, const char *suffix, struct slice octets, bool replace)
{
	char path[PATH_ROOM], partial[PATH_ROOM];
	int fd, err = partial_name(partial, sizeof(partial));

	if (err < 0)
		return err;
	snprintf(path, sizeof(path), "%s%s", name, suffix);
	fd = openat(directory, partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0)
		return -errno;
	err = write_all(fd, octets);
	if (close(fd) < 0 && err == 0)
		err = -errno;
	if (err == 0 && replace) {
		if (renameat(directory, partial, directory, path) == 0)
			return 0;
		err = -errno;
	} else if (err == 0 && linkat(directory, partial, directory, path, 0) < 0) {
		err = -errno;
	}
	unlinkat(directory, partial, 0);
	return err;
}

static int write_pair(int directory, const char *name, X509 *leaf, struct slice original_pem, bool replace)
{
	BIO *pem = BIO_new(BIO_s_mem());
	char *octets;
	long len;
	int err = -ENOMEM;

	if (pem != NULL && PEM_write_bio_X509(pem, leaf) == 1 && (len = BIO_get_mem_data(pem, &octets)) > 0) {
		/* Everybody writes the same original under this name; replacing it harms nobody. */
		err = write_file(directory, name, ".orig", original_pem, true);
		if (err == 0)
			err = write_file(directory, name, ".crt", slice_of(octets, (size_t)len), replace);
	}
	BIO_free(pem);
	return err;
}

int mint_cache_write(struct mint_cache *cache, const char *name, X509 *leaf, struct slice original_pem, bool replace)
{
	int directory = open_directory(cache), err;

	if (directory < 0)
		return directory;
	err = write_pair(directory, name, leaf, original_pem, replace);
	close(directory);
	if (err == 0)
		cache->written++;
	return err;
}

/* One certificate of the directory. */
struct kept {
	int64_t written;		/* wall seconds */
	char name[MINT_NAME_MAX];
};

struct listing {
	struct kept *kept;
	size_t n, room;
};

static int by_age(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return (x->written > y->written) - (x->written < y->written);
}

/* "trusted-" or "untrusted-", 64 hex digits, and this suffix. */
static bool is_ours(struct slice file, const char *suffix)
{
	struct slice name = slice_take(file, file.len - strlen(suffix));

	if (file.len <= strlen(suffix) || !slice_is(slice_skip(file, name.len), suffix))
		return false;
	if (slice_starts_with(name, SLICE("trusted-")))
		name = slice_skip(name, strlen("trusted-"));
	else if (slice_starts_with(name, SLICE("untrusted-")))
		name = slice_skip(name, strlen("untrusted-"));
	else
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_digit(name.ptr[i]) && (name.ptr[i] < 'a' || name.ptr[i] > 'f'))
			return false;
	return name.len == 64;
}

/* Count the file, or delete it if it is too old for its kind. Files of others are left alone. */
static void look_at(int directory, const char *file, int64_t now, struct listing *list)
{
	struct slice name = slice_cstr(file);
	bool partial = slice_starts_with(name, SLICE(".new-")), leaf = is_ours(name, ".crt");
	struct stat st;

	if ((!partial && !leaf && !is_ours(name, ".orig")) || fstatat(directory, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (now - st.st_mtime > (partial ? PARTIAL_AGE_MAX : AGE_MAX)) {
		unlinkat(directory, file, 0);
	} else if (leaf && list->n < list->room) {
		struct kept *kept = &list->kept[list->n++];

		kept->written = st.st_mtime;
		snprintf(kept->name, sizeof(kept->name), "%.*s", SLICE_ARG(slice_take(name, name.len - strlen(".crt"))));
	}
}

static void delete_pair(int directory, const char *name)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof(path), "%s.crt", name);
	unlinkat(directory, path, 0);
	snprintf(path, sizeof(path), "%s.orig", name);
	unlinkat(directory, path, 0);
}

/* Room for twice as many as may stay; were there more, the next time will see the rest. */
static void throw_out(struct mint_cache *cache, DIR *dir)
{
	struct listing list = { .room = 2 * cache->max };
	int64_t now = (int64_t)time(NULL);	/* the clock that dates files */
	struct dirent *entry;

	list.kept = calloc(list.room, sizeof(*list.kept));
	if (list.kept == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		look_at(dirfd(dir), entry->d_name, now, &list);
	if (list.n > cache->max) {
		/* An eighth more, so that not each look finds one too many. */
		size_t surplus = list.n - (cache->max - cache->max / 8);

		qsort(list.kept, list.n, sizeof(*list.kept), by_age);
		for (size_t i = 0; i < surplus; i++)
			delete_pair(dirfd(dir), list.kept[i].name);
	}
	free(list.kept);
}

/* Looking costs some milliseconds: so at the first time, and after a sixteenth of the maximum was added. */
void mint_cache_tidy(struct mint_cache *cache)
{
	DIR *dir;

	if (cache->looked && cache->written <= cache->max / 16)
		return;
	dir = opendir(cache->path);
	if (dir == NULL)
		return;
	cache->looked = true;
	cache->written = 0;
	throw_out(cache, dir);
	closedir(dir);
}
