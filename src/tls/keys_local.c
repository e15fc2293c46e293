/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys in the memory of this process. */
#include "tls/keys_priv.h"

#include <errno.h>
#include <stdlib.h>

struct local_keys {
	struct tls_keys keys;
	size_t n;
	EVP_PKEY *items[];
};

static EVP_PKEY *local_get(const struct tls_keys *keys, uint32_t index)
{
	const struct local_keys *local = (const struct local_keys *)keys;

	return index < local->n ? local->items[index] : NULL;
}

static void local_free(struct tls_keys *keys)
{
	struct local_keys *local = (struct local_keys *)keys;

	for (size_t i = 0; i < local->n; i++)
		EVP_PKEY_free(local->items[i]);
	free(local);
}

static const struct tls_keys_ops local_ops = { .get = local_get, .free = local_free };

int tls_keys_load(const struct policy *policy, const struct tls_secrets *secrets, struct policy_problems *problems,
		  struct tls_keys **out)
{
	struct local_keys *local = calloc(1, sizeof(*local) + policy->n_tls_keys * sizeof(local->items[0]));
	struct tls_keys *keys;
	bool failed = false;

	if (local == NULL)
		return -ENOMEM;
	keys = &local->keys;
	keys->ops = &local_ops;
	local->n = policy->n_tls_keys;
	for (size_t i = 0; i < local->n; i++) {
		local->items[i] = tls_key_load(&policy->tls_keys[i], secrets, problems);
		failed |= local->items[i] == NULL;
	}
	if (failed) {
		tls_keys_free(&keys);
		return -EINVAL;
	}
	*out = keys;
	return 0;
}
