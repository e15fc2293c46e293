/* SPDX-License-Identifier: Apache-2.0 */
/* Reading private keys, and the table behind which they are. */
#include "tls/keys_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_OCTETS 8192u	/* of a file: most are shorter */

EVP_PKEY *tls_keys_get(const struct tls_keys *keys, const struct tls_key *key)
{
	return keys->ops->get(keys, key->index);
}

void tls_keys_free(struct tls_keys **keysp)
{
	struct tls_keys *keys = *keysp;

	if (keys == NULL)
		return;
	*keysp = NULL;
	keys->ops->free(keys);
}

/* Files. */

/* Over what fstat says, for a file may grow; wiped where it moves, since it may be a key. */
static int grow(uint8_t **octets, size_t *room, size_t max)
{
	size_t more = *room > max / 2 ? max : *room * 2;
	uint8_t *moved = malloc(more);

	if (moved == NULL)
		return -ENOMEM;
	memcpy(moved, *octets, *room);
	OPENSSL_cleanse(*octets, *room);
	free(*octets);
	*octets = moved;
	*room = more;
	return 0;
}

/* max is one more than may be there. */
static int read_all(int fd, uint8_t **octets, size_t *room, size_t max, size_t *got)
{
	for (;;) {
		ssize_t n;

		if (*got == *room) {
			int err = *got == max ? -EFBIG : grow(octets, room, max);

			if (err < 0)
				return err;
		}
		n = read(fd, *octets + *got, *room - *got);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0)
			*got += (size_t)n;
	}
}

int tls_read_file(const char *path, size_t max, struct slice *out)
{
	int err, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t got = 0, room = max < FIRST_OCTETS ? max + 1 : FIRST_OCTETS;
	uint8_t *octets;

	if (fd < 0)
		return -errno;
	octets = malloc(room);
	err = octets == NULL ? -ENOMEM : read_all(fd, &octets, &room, max + 1, &got);
	close(fd);
	if (err == 0 && got > 0) {
		*out = slice_of(octets, got);
		return 0;
	}
	if (octets != NULL)
		OPENSSL_cleanse(octets, room);
	free(octets);
	if (err == 0)
		*out = slice_of(NULL, 0);
	return err;
}

void tls_report_unreadable(struct policy_problems *problems, struct policy_place place, const char *what, const char *path,
			   int err)
{
	const char *hint = err == -EACCES ? "it is read as the user that the firewall runs as, which needs the right to" : NULL;

	problems_add(problems, PROBLEM_ERROR, place, hint, "%s %s can't be read: %s", what, path, strerror(-err));
}

void tls_free_secret(struct slice *secret)
{
	if (secret->ptr != NULL) {
		OPENSSL_cleanse((void *)secret->ptr, secret->len);
		free((void *)secret->ptr);
	}
	*secret = slice_of(NULL, 0);
}

/* PEM. */

struct passphrase {
	struct slice text;
	bool asked;
};

static int give_passphrase(char *buf, int size, int writing, void *arg)
{
	struct passphrase *p = arg;

	p->asked = true;
	if (p->text.len == 0 || p->text.len > (size_t)size)
		return -1;
	memcpy(buf, p->text.ptr, p->text.len);
	return (int)p->text.len;
}

/* What no TLS of today would sign with. */
static const char *weakness(const EVP_PKEY *key)
{
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < 1024)
		return "the RSA key is shorter than 1024 bits";
	return NULL;
}

EVP_PKEY *tls_key_parse(struct slice pem, struct slice passphrase, const char **why)
{
	struct passphrase p = { .text = passphrase };
	BIO *bio = BIO_new_mem_buf(pem.len == 0 ? "" : (const void *)pem.ptr, (int)pem.len);
	EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &p);

	BIO_free(bio);
	ERR_clear_error();
	if (key == NULL) {
		*why = !p.asked ? "there is no private key in it" :
		       passphrase.len == 0 ? "it is encrypted, and no passphrase is given" : "the passphrase does not open it";
		return NULL;
	}
	*why = weakness(key);
	if (*why == NULL)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* Declared keys. */

static struct slice secret_at(const struct tls_secrets *secrets, int32_t number)
{
	return number == TLS_NO_SECRET || secrets == NULL || (size_t)number >= secrets->n ? slice_of(NULL, 0) :
											   secrets->items[number];
}

static int copy_secret(struct slice from, struct slice *out)
{
	uint8_t *octets = from.len == 0 ? NULL : malloc(from.len);

	if (from.len > 0 && octets == NULL)
		return -ENOMEM;
	if (octets != NULL)
		memcpy(octets, from.ptr, from.len);
	*out = slice_of(octets, from.len);
	return 0;
}

int tls_key_text(const struct tls_key *key, const struct tls_secrets *secrets, struct policy_problems *problems,
		 struct slice *text, struct slice *passphrase)
{
	int err = key->file != NULL ? tls_read_file(key->file, TLS_KEY_OCTETS_MAX, text) :
				      copy_secret(secret_at(secrets, key->secret), text);

	if (err == 0) {
		err = copy_secret(secret_at(secrets, key->passphrase), passphrase);
		if (err == 0)
			return 0;
		tls_free_secret(text);
	}
	if (key->file != NULL)
		tls_report_unreadable(problems, key->place, "private key", key->file, err);
	else
		problems_add(problems, PROBLEM_ERROR, key->place, NULL, "private key: %s", strerror(-err));
	return -EINVAL;
}

EVP_PKEY *tls_key_load(const struct tls_key *key, const struct tls_secrets *secrets, struct policy_problems *problems)
{
	struct slice text, passphrase;
	const char *why = NULL;
	EVP_PKEY *loaded;

	if (tls_key_text(key, secrets, problems, &text, &passphrase) < 0)
		return NULL;
	loaded = tls_key_parse(text, passphrase, &why);
	tls_free_secret(&text);
	tls_free_secret(&passphrase);
	if (loaded == NULL)
		problems_add(problems, PROBLEM_ERROR, key->place,
			     "a PEM text that begins with -----BEGIN PRIVATE KEY-----, or ENCRYPTED PRIVATE KEY with its passphrase",
			     "private key %s: %s", key->file != NULL ? key->file : "given as a text", why);
	return loaded;
}
