/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/keeper_keys_priv.h"

#include "policy/secrets.h"
#include "tls/keys_priv.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define PROBLEMS_ARENA_MAX (4u << 20)
#define SECRETS_ARENA_MAX (4u << 20)
/* Room for private halves: OpenSSL puts them there by itself, once there is some. */
#define SECURE_OCTETS (1u << 20)
#define SECURE_OCTETS_A_KEY (16u << 10)
#define SECURE_OCTETS_MIN_PIECE 32

/* OpenSSL wants a power of two. That it can't be locked is told by none: it is so in many a container. */
static void make_secure_memory(size_t n_keys)
{
	size_t size = SECURE_OCTETS;

	while (size < SECURE_OCTETS + n_keys * SECURE_OCTETS_A_KEY)
		size *= 2;
	(void)CRYPTO_secure_malloc_init(size, SECURE_OCTETS_MIN_PIECE);
}

/* ---- what keys are for ---- */

static unsigned uses_of_versions(const struct tls_options *o)
{
	return (o->version_min < 0x0303 ? KEY_FOR_OLD_TLS : 0) | (o->version_min <= 0x0303 && o->version_max >= 0x0303 ? KEY_FOR_TLS12 : 0) |
	       (o->version_max >= 0x0304 ? KEY_FOR_TLS13 : 0);
}

static bool is_key_of(const struct tls_certificate *certificate, uint32_t key)
{
	return certificate != NULL && certificate->key->index == key;
}

static unsigned uses_of_side(const struct tls_side *side, uint32_t key)
{
	const struct tls_own_certificate *own = &side->own;
	bool shown = is_key_of(own->fallback, key) || (own->bridge != NULL && own->bridge->key->index == key);
	unsigned uses = 0;

	for (size_t i = 0; i < own->n_named && !shown; i++)
		shown = is_key_of(own->named[i].certificate, key);
	if (shown)
		uses |= uses_of_versions(&side->options);
	if (own->bridge != NULL && (is_key_of(own->bridge->trusted_ca, key) || is_key_of(own->bridge->untrusted_ca, key)))
		uses |= KEY_FOR_CERTIFICATES;
	return uses;
}

static void permit(const struct policy *policy, struct key_ring *ring)
{
	for (uint32_t key = 0; key < policy->n_tls_keys; key++) {
		unsigned uses = 0;

		for (size_t i = 0; i < policy->n_encryptions * TLS_ENDS; i++) {
			const struct tls_side *side = &policy->encryptions[i / TLS_ENDS].sides[i % TLS_ENDS];

			if (side->security != TLS_OFF)
				uses |= uses_of_side(side, key);
		}
		key_ring_permit(ring, key, uses);
	}
}

/* ---- all of it ---- */

int keeper_keys_create(const struct policy *policy, struct slice secrets, bool give, struct keeper_keys **out)
{
	struct keeper_keys *k = calloc(1, sizeof(*k));
	int err;

	if (k == NULL)
		return -ENOMEM;
	make_secure_memory(policy->n_tls_keys);
	k->policy = policy;
	k->give = give;
	k->now = calloc(policy->n_tls_keys + 1, sizeof(*k->now));
	k->chains = calloc(policy->n_tls_certificates + 1, sizeof(*k->chains));
	k->ring = key_ring_create(policy->n_tls_keys);
	k->arena = arena_create(SECRETS_ARENA_MAX, 0);
	k->secrets.n = policy->n_secrets;
	err = k->ring == NULL || k->now == NULL || k->chains == NULL || k->arena == NULL ? -ENOMEM :
	      secrets_split(secrets, policy->n_secrets, k->arena, &k->secrets.items);
	if (err != 0) {
		keeper_keys_free(&k);
		return err;
	}
	permit(policy, k->ring);
	*out = k;
	return 0;
}

void keeper_keys_free(struct keeper_keys **kp)
{
	struct keeper_keys *k = *kp;

	if (k == NULL)
		return;
	*kp = NULL;
	for (size_t i = 0; k->now != NULL && i < k->policy->n_tls_keys; i++)
		EVP_PKEY_free(k->now[i]);
	EVP_PKEY_free(k->offer.key);
	free(k->now);
	free(k->chains);
	key_ring_free(&k->ring);
	arena_free(&k->arena);
	free(k);
}

size_t keeper_keys_answer(const struct keeper_keys *k, struct slice request, uint8_t reply[KEY_REPLY_MAX])
{
	return key_ring_answer(k->ring, request, reply);
}

int keeper_keys_write(const struct keeper_keys *k, uint32_t index, EVP_PKEY *key, struct buffer *records)
{
	struct keeper_record record = { .kind = k->give ? KEEPER_KEY_WHOLE : KEEPER_KEY_PUBLIC, .index = index };
	unsigned char *der = NULL;
	int n = k->give ? i2d_PrivateKey(key, &der) : i2d_PUBKEY(key, &der);

	ERR_clear_error();
	if (n <= 0)
		return -ENOMEM;
	record.parts[0] = slice_of(der, (size_t)n);
	keeper_record_write(records, &record);
	OPENSSL_clear_free(der, (size_t)n);
	return 0;
}

int keeper_keys_offer(struct keeper_keys *k, uint32_t index, EVP_PKEY *key, struct policy_problems *problems)
{
	const struct tls_key *declared = &k->policy->tls_keys[index];
	int err = key_ring_offer(k->ring, index, key);

	if (err != 0) {
		problems_add(problems, PROBLEM_ERROR, declared->place, "an RSA key of at most 8192 bits, an EC key, Ed25519 or Ed448",
			     "private key %s: %s", declared->file != NULL ? declared->file : "given as a text",
			     err == -EINVAL ? "a key of this kind can't sign in TLS" : strerror(-err));
		return err;
	}
	EVP_PKEY_free(k->offer.key);
	k->offer.key = key;
	k->offer.key_index = index;
	return 0;
}

/* Several certificates may have one key, and get another one after each other. */
static bool is_needed(const struct keeper_keys *k, uint32_t index)
{
	uint64_t name;

	if (key_name_of(k->now[index], &name) != 0)
		return false;
	for (size_t i = 0; i < k->policy->n_tls_certificates; i++)
		if (k->policy->tls_certificates[i].key->index == index && k->chains[i].key != 0 && k->chains[i].key != name)
			return true;
	return false;
}

void keeper_keys_accept(struct keeper_keys *k, int64_t until_ms)
{
	struct keeper_offer *offer = &k->offer;

	if (offer->has_chain)
		k->chains[offer->certificate] = offer->chain;
	if (offer->key != NULL) {
		EVP_PKEY_free(k->now[offer->key_index]);
		k->now[offer->key_index] = offer->key;
		key_ring_accept(k->ring, offer->key_index, is_needed(k, offer->key_index) ? KEY_RING_NEEDED : until_ms);
	}
	*offer = (struct keeper_offer){ .key = NULL };
}

void keeper_keys_refuse(struct keeper_keys *k)
{
	if (k->offer.key != NULL)
		key_ring_refuse(k->ring, k->offer.key_index);
	EVP_PKEY_free(k->offer.key);
	k->offer = (struct keeper_offer){ .key = NULL };
}

int64_t keeper_keys_expire(struct keeper_keys *k, int64_t now_ms)
{
	return key_ring_expire(k->ring, now_ms);
}

static void load_one(struct keeper_keys *k, uint32_t index, struct policy_problems *problems, struct buffer *records)
{
	EVP_PKEY *key = tls_key_load(&k->policy->tls_keys[index], &k->secrets, problems);

	if (key == NULL)
		return;
	if (keeper_keys_offer(k, index, key, problems) != 0) {
		EVP_PKEY_free(key);
		return;
	}
	keeper_keys_accept(k, 0);
	if (keeper_keys_write(k, index, key, records) != 0)
		problems_add(problems, PROBLEM_ERROR, k->policy->tls_keys[index].place, NULL, "private key: %s", strerror(ENOMEM));
}

static void write_problems(uint32_t index, const struct policy_problems *problems, struct buffer *records)
{
	for (const struct policy_problem *p = problems->first; p != NULL; p = p->next) {
		struct keeper_record record = { .kind = p->severity == PROBLEM_ERROR ? KEEPER_ERROR : KEEPER_WARNING,
						.index = index };

		record.parts[0] = slice_cstr(p->message);
		record.parts[1] = slice_cstr(p->hint);
		keeper_record_write(records, &record);
	}
}

void keeper_keys_load(struct keeper_keys *k, bool again, struct buffer *records)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;

	for (uint32_t i = 0; arena != NULL && i < k->policy->n_tls_keys; i++) {
		problems_init(&problems, arena);
		load_one(k, i, &problems, records);
		write_problems(i, &problems, records);
		arena_reset(arena);
	}
	arena_free(&arena);
	if (!again)
		keeper_keys_know(k);
}
