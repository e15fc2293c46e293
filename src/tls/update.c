/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is read and tried before anything is changed. Bridges are built of keys and certificates that are in
 * their places already, so these are exchanged first, and back again when one can't be built: nobody waits
 * meanwhile, and so nobody sees it.
 */
#include "tls/update.h"

#include "tls/keys_kept.h"
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

#define PROBLEMS_ARENA_MAX (4u << 20)

struct context_change {
	struct mint *mint;		/* NULL: it stays */
	struct tls_staple *staple;	/* NULL: it stays */
	uint8_t identity[TLS_IDENTITY];
};

struct change {
	struct tls *tls;
	struct tls_keys *keys;
	EVP_PKEY **new_keys;		/* by index; NULL: it stays */
	struct tls_chain *chains;	/* by index; leaf NULL: it stays */
	struct context_change *contexts;
};

static size_t n_contexts(const struct change *ch)
{
	return ch->tls->policy->n_encryptions * TLS_ENDS;
}

static bool is_on(const struct change *ch, uint32_t context)
{
	return context < n_contexts(ch) && ch->tls->contexts[context].ctx != NULL;
}

/* ---- what the records say ---- */

static int read_key(struct change *ch, const struct keeper_record *record)
{
	const EVP_PKEY *now;
	EVP_PKEY *key;
	int err;

	if (record->index >= ch->tls->policy->n_tls_keys)
		return -EBADMSG;
	err = tls_keys_read(ch->keys, record, &key);
	if (err != 0)
		return err == -EINVAL ? -EBADMSG : err;
	now = tls_keys_get(ch->keys, &ch->tls->policy->tls_keys[record->index]);
	EVP_PKEY_free(ch->new_keys[record->index]);
	ch->new_keys[record->index] = NULL;
	if (now != NULL && EVP_PKEY_eq(now, key) == 1)
		EVP_PKEY_free(key);
	else
		ch->new_keys[record->index] = key;
	ERR_clear_error();
	return 0;
}

static int read_chain(struct change *ch, const struct keeper_record *record)
{
	struct tls_chain chain;
	const char *flaw;
	int err;

	if (record->index >= ch->tls->policy->n_tls_certificates)
		return -EBADMSG;
	err = tls_chain_parse(record->parts[0], &chain, &flaw);
	if (err != 0)
		return err == -EINVAL ? -EBADMSG : err;
	tls_chain_clear(&ch->chains[record->index]);
	ch->chains[record->index] = chain;
	return 0;
}

static int read_ocsp(struct change *ch, const struct keeper_record *record)
{
	int err;

	if (!is_on(ch, record->index))
		return -EBADMSG;
	tls_staple_free(&ch->contexts[record->index].staple);
	err = tls_staple_parse(record->parts[0], &ch->contexts[record->index].staple);
	return err == -EINVAL ? -EBADMSG : err;
}

static int read_record(struct change *ch, const struct keeper_record *record)
{
	switch (record->kind) {
	case KEEPER_KEY_PUBLIC:
	case KEEPER_KEY_WHOLE:
		return read_key(ch, record);
	case KEEPER_CHAIN:
		return read_chain(ch, record);
	case KEEPER_OCSP:
		return read_ocsp(ch, record);
	case KEEPER_ERROR:
	case KEEPER_WARNING:
		return 0;		/* the keeper has said it */
	default:
		return -EBADMSG;
	}
}

/* ---- certificates on trial ---- */

static bool shows(const struct tls_own_certificate *own, const struct tls_certificate *certificate)
{
	bool found = own->fallback == certificate;

	for (size_t i = 0; i < own->n_named && !found; i++)
		found = own->named[i].certificate == certificate;
	return found;
}

static int try_everywhere(const struct change *ch, const struct tls_certificate *certificate, const char **why)
{
	int err = 0;

	for (uint32_t i = 0; i < n_contexts(ch) && err == 0; i++)
		if (is_on(ch, i) && shows(&ch->tls->contexts[i].side->own, certificate))
			err = tls_context_try(&ch->tls->contexts[i], &ch->chains[certificate->index], why);
	return err;
}

static int try_chains(struct change *ch, const char **why)
{
	const struct policy *policy = ch->tls->policy;
	int err = 0;

	for (size_t i = 0; i < policy->n_tls_certificates && err == 0; i++) {
		const struct tls_certificate *c = &policy->tls_certificates[i];
		EVP_PKEY *key = ch->new_keys[c->key->index];

		if (ch->chains[i].leaf == NULL)
			continue;
		err = tls_chain_key(&ch->chains[i], key != NULL ? key : tls_keys_get(ch->keys, c->key));
		if (err == -EINVAL)
			return -EBADMSG;	/* the keeper has tested that */
		if (err == 0)
			err = try_everywhere(ch, c, why);
	}
	return err;
}

/* ---- what is made of them ---- */

/* There and back. */
static void exchange(struct change *ch)
{
	const struct policy *policy = ch->tls->policy;

	for (uint32_t i = 0; i < policy->n_tls_keys; i++)
		if (ch->new_keys[i] != NULL)
			ch->new_keys[i] = tls_keys_exchange(ch->keys, i, ch->new_keys[i]);
	for (size_t i = 0; i < policy->n_tls_certificates; i++) {
		const struct tls_chain now = ch->tls->own[i];

		if (ch->chains[i].leaf == NULL)
			continue;
		ch->tls->own[i] = ch->chains[i];
		ch->chains[i] = now;
	}
}

static bool is_new(const struct change *ch, const struct tls_bridge *bridge)
{
	return ch->new_keys[bridge->key->index] != NULL || ch->chains[bridge->trusted_ca->index].leaf != NULL ||
	       ch->chains[bridge->untrusted_ca->index].leaf != NULL;
}

static int build_bridge(const struct tls_context *c, struct mint **out, const char **why)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;
	int err;

	if (arena == NULL)
		return -ENOMEM;
	problems_init(&problems, arena);
	err = tls_bridge_make(c, &problems, out);
	arena_free(&arena);
	if (err == -EINVAL)
		*why = "a bridge can't make certificates with it";
	return err == -EINVAL ? -EKEYREJECTED : err;
}

static int build(struct change *ch, const char **why)
{
	int err = 0;

	for (uint32_t i = 0; i < n_contexts(ch) && err == 0; i++) {
		const struct tls_context *c = &ch->tls->contexts[i];

		if (!is_on(ch, i))
			continue;
		err = tls_resume_identity(c, ch->contexts[i].identity);
		if (err == 0 && c->side->own.bridge != NULL && is_new(ch, c->side->own.bridge))
			err = build_bridge(c, &ch->contexts[i].mint, why);
	}
	return err;
}

/* Can't fail. */
static void install(struct change *ch)
{
	for (uint32_t i = 0; i < n_contexts(ch); i++) {
		struct context_change *new = &ch->contexts[i];
		struct tls_context *c = &ch->tls->contexts[i];

		if (!is_on(ch, i))
			continue;
		tls_resume_become(c, new->identity);
		if (new->mint != NULL) {
			mint_free(&c->mint);	/* handshakes that use it keep it */
			c->mint = new->mint;
			new->mint = NULL;
		}
		if (new->staple != NULL) {
			tls_staple_free(&c->staple);
			c->staple = new->staple;
			c->staple_told = false;
			new->staple = NULL;
		}
	}
}

/* ---- the whole ---- */

static int begin(struct change *ch)
{
	const struct policy *policy = ch->tls->policy;

	ch->new_keys = calloc(policy->n_tls_keys + 1, sizeof(*ch->new_keys));
	ch->chains = calloc(policy->n_tls_certificates + 1, sizeof(*ch->chains));
	ch->contexts = calloc(n_contexts(ch) + 1, sizeof(*ch->contexts));
	return ch->new_keys != NULL && ch->chains != NULL && ch->contexts != NULL ? 0 : -ENOMEM;
}

/* What was replaced, or what came to nothing. */
static void end(struct change *ch)
{
	for (size_t i = 0; ch->new_keys != NULL && i < ch->tls->policy->n_tls_keys; i++)
		EVP_PKEY_free(ch->new_keys[i]);
	for (size_t i = 0; ch->chains != NULL && i < ch->tls->policy->n_tls_certificates; i++)
		tls_chain_clear(&ch->chains[i]);
	for (size_t i = 0; ch->contexts != NULL && i < n_contexts(ch); i++) {
		mint_free(&ch->contexts[i].mint);
		tls_staple_free(&ch->contexts[i].staple);
	}
	free(ch->new_keys);
	free(ch->chains);
	free(ch->contexts);
}

static int change(struct change *ch, struct slice records, const char **why)
{
	struct keeper_record record;
	int n, err = begin(ch);

	while (err == 0 && (n = keeper_record_next(&records, &record)) != 0)
		err = n < 0 ? n : read_record(ch, &record);
	if (err == 0)
		err = try_chains(ch, why);
	if (err != 0)
		return err;
	exchange(ch);
	err = build(ch, why);
	if (err == 0)
		install(ch);
	else
		exchange(ch);
	return err;
}

int tls_update(struct tls *tls, struct tls_keys *keys, struct slice records, const char **why)
{
	struct change ch = { .tls = tls, .keys = keys };
	int err;

	*why = NULL;
	err = change(&ch, records, why);
	end(&ch);
	if (err != 0 && *why == NULL)
		*why = strerror(-err);
	return err;
}

static bool is_loaded(struct slice records, uint32_t key)
{
	struct keeper_record record;

	while (keeper_record_next(&records, &record) == 1)
		if ((record.kind == KEEPER_KEY_PUBLIC || record.kind == KEEPER_KEY_WHOLE) && record.index == key)
			return true;
	return false;
}

bool tls_has_key(const struct tls *tls, const struct tls_keys *keys, struct slice records, uint32_t certificate)
{
	const struct tls_key *key = tls->policy->tls_certificates[certificate].key;
	const X509 *leaf = tls->own[certificate].leaf;
	const EVP_PKEY *now = tls_keys_get(keys, key);
	bool fits = now != NULL && EVP_PKEY_eq(X509_get0_pubkey(leaf), now) == 1;

	ERR_clear_error();
	return fits && is_loaded(records, key->index);
}
