/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/keys_kept.h"

#include "tls/keys_priv.h"
#include "tls/keys_remote.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <unistd.h>

struct kept_keys {
	struct tls_keys keys;
	struct keys_remote *remote;
	size_t n;
	EVP_PKEY *items[];
};

static struct kept_keys *kept_of(struct tls_keys *keys)
{
	return (struct kept_keys *)keys;
}

static EVP_PKEY *kept_get(const struct tls_keys *keys, uint32_t index)
{
	const struct kept_keys *kept = (const struct kept_keys *)keys;

	return index < kept->n ? kept->items[index] : NULL;
}

static void kept_free(struct tls_keys *keys)
{
	struct kept_keys *kept = kept_of(keys);

	for (size_t i = 0; i < kept->n; i++)
		EVP_PKEY_free(kept->items[i]);
	keys_remote_free(&kept->remote);
	free(kept);
}

static const struct tls_keys_ops kept_ops = { .get = kept_get, .free = kept_free };

static int read_whole(struct slice der, EVP_PKEY **out)
{
	const unsigned char *at = der.ptr;
	EVP_PKEY *key = der.len <= LONG_MAX ? d2i_AutoPrivateKey(NULL, &at, (long)der.len) : NULL;

	ERR_clear_error();
	if (key == NULL)
		return -EINVAL;
	*out = key;
	return 0;
}

int tls_keys_read(struct tls_keys *keys, const struct keeper_record *record, EVP_PKEY **out)
{
	int err;

	if (record->kind == KEEPER_KEY_WHOLE)
		return read_whole(record->parts[0], out);
	err = keys_remote_key(kept_of(keys)->remote, record->parts[0], out);
	ERR_clear_error();
	return err;
}

EVP_PKEY *tls_keys_exchange(struct tls_keys *keys, uint32_t index, EVP_PKEY *key)
{
	struct kept_keys *kept = kept_of(keys);
	EVP_PKEY *before = kept->items[index];

	kept->items[index] = key;
	return before;
}

int tls_keys_connect(struct tls_keys *keys, struct loop *loop, int fd, void (*lost)(void *arg, int err), void *arg)
{
	return keys_remote_connect(kept_of(keys)->remote, loop, fd, lost, arg);
}

/* ---- loading ---- */

static void complain(const struct policy *policy, const struct keeper_record *record, struct policy_problems *problems)
{
	char hint[1024], message[2048];

	if (slice_to_cstr(slice_take(record->parts[0], sizeof(message) - 1), message, sizeof(message)) != 0 ||
	    slice_to_cstr(slice_take(record->parts[1], sizeof(hint) - 1), hint, sizeof(hint)) != 0)
		return;
	problems_add(problems, record->kind == KEEPER_ERROR ? PROBLEM_ERROR : PROBLEM_WARNING,
		     policy->tls_keys[record->index].place, hint[0] != '\0' ? hint : NULL, "%s", message);
}

static int take(struct kept_keys *kept, const struct policy *policy, const struct keeper_record *record,
		struct policy_problems *problems)
{
	EVP_PKEY *key = NULL;
	int err;

	if (record->index >= kept->n)
		return -EBADMSG;
	switch (record->kind) {
	case KEEPER_KEY_PUBLIC:
	case KEEPER_KEY_WHOLE:
		err = tls_keys_read(&kept->keys, record, &key);
		if (err == 0)
			EVP_PKEY_free(tls_keys_exchange(&kept->keys, record->index, key));
		return err == -EINVAL ? -EBADMSG : err;
	case KEEPER_ERROR:
	case KEEPER_WARNING:
		complain(policy, record, problems);
		return 0;
	default:
		return -EBADMSG;
	}
}

static int take_all(struct kept_keys *kept, const struct policy *policy, struct slice records,
		    struct policy_problems *problems)
{
	struct keeper_record record;
	int n, err = 0;

	while (err == 0 && (n = keeper_record_next(&records, &record)) != 0)
		err = n < 0 ? n : take(kept, policy, &record, problems);
	if (err != 0)
		return err;
	if (problems->n_errors > 0)
		return -EINVAL;
	for (size_t i = 0; i < kept->n; i++)
		if (kept->items[i] == NULL)
			return -EBADMSG;
	return 0;
}

int tls_keys_kept(const struct policy *policy, struct slice records, struct policy_problems *problems,
		  struct tls_keys **out)
{
	struct kept_keys *kept = calloc(1, sizeof(*kept) + policy->n_tls_keys * sizeof(kept->items[0]));
	struct tls_keys *keys;
	int err;

	if (kept == NULL)
		return -ENOMEM;
	keys = &kept->keys;
	keys->ops = &kept_ops;
	kept->n = policy->n_tls_keys;
	err = keys_remote_create(&kept->remote);
	if (err == 0)
		err = take_all(kept, policy, records, problems);
	if (err < 0)
		tls_keys_free(&keys);
	else
		*out = keys;
	return err;
}
