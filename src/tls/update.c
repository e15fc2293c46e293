/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/update.h"

#include "tls/keys_kept.h"
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

#define PROBLEMS_ARENA_MAX (4u << 20)

/* ---- bridges ---- */

static bool is_ca_of(const struct tls_bridge *bridge, const struct tls_certificate *certificate)
{
	return bridge != NULL && (bridge->trusted_ca == certificate || bridge->untrusted_ca == certificate);
}

static int build_bridge(struct tls_context *c, const char **why)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;
	int err;

	if (arena == NULL)
		return -ENOMEM;
	problems_init(&problems, arena);
	err = tls_bridge_build(c, &problems);
	arena_free(&arena);
	if (err == -EINVAL)
		*why = "a bridge can't make certificates with it";
	return err == -EINVAL ? -EKEYREJECTED : err;
}

/* Those that use the certificate as a CA, or the key for their leaves. */
static int build_bridges(struct tls *tls, const struct tls_certificate *certificate, const struct tls_key *key, const char **why)
{
	int err = 0;

	for (size_t i = 0; i < tls->policy->n_encryptions * TLS_ENDS && err == 0; i++) {
		struct tls_context *c = &tls->contexts[i];
		const struct tls_bridge *bridge = c->ctx != NULL ? c->side->own.bridge : NULL;

		if (bridge != NULL && ((certificate != NULL && is_ca_of(bridge, certificate)) || (key != NULL && bridge->key == key)))
			err = build_bridge(c, why);
	}
	return err;
}

/* ---- keys ---- */

static int take_key(struct tls *tls, struct tls_keys *keys, const struct keeper_record *record, const char **why)
{
	const struct tls_key *declared;
	EVP_PKEY *key, *now;
	int err;

	if (record->index >= tls->policy->n_tls_keys)
		return -EBADMSG;
	declared = &tls->policy->tls_keys[record->index];
	err = tls_keys_read(keys, record, &key);
	if (err != 0)
		return err == -EINVAL ? -EBADMSG : err;
	now = tls_keys_get(keys, declared);
	if (now != NULL && EVP_PKEY_eq(now, key) == 1) {
		EVP_PKEY_free(key);
		return 0;
	}
	ERR_clear_error();
	tls_keys_replace(keys, record->index, key);
	return build_bridges(tls, NULL, declared, why);
}

/* ---- certificates ---- */

static int identify_all(struct tls *tls)
{
	int err = 0;

	for (size_t i = 0; i < tls->policy->n_encryptions * TLS_ENDS && err == 0; i++)
		if (tls->contexts[i].ctx != NULL)
			err = tls_resume_identify(&tls->contexts[i]);
	return err;
}

static bool shows(const struct tls_own_certificate *own, const struct tls_certificate *certificate)
{
	bool found = own->fallback == certificate;

	for (size_t i = 0; i < own->n_named && !found; i++)
		found = own->named[i].certificate == certificate;
	return found;
}

static int try_everywhere(const struct tls *tls, uint32_t index, const struct tls_chain *chain, const char **why)
{
	int err = 0;

	for (size_t i = 0; i < tls->policy->n_encryptions * TLS_ENDS && err == 0; i++) {
		const struct tls_context *c = &tls->contexts[i];

		if (c->ctx != NULL && shows(&c->side->own, &tls->policy->tls_certificates[index]))
			err = tls_context_try(c, chain, why);
	}
	return err;
}

/* A bridge that does not work with the new one keeps what it has, and so does everybody else. */
static int replace(struct tls *tls, uint32_t index, struct tls_chain *chain, const char **why)
{
	struct tls_chain old = tls->own[index];
	int err;

	tls->own[index] = *chain;
	err = build_bridges(tls, &tls->policy->tls_certificates[index], NULL, why);
	if (err != 0) {
		tls->own[index] = old;
		return err;
	}
	tls_chain_clear(&old);
	*chain = (struct tls_chain){ 0 };
	return identify_all(tls);
}

static int take_chain(struct tls *tls, const struct tls_keys *keys, const struct keeper_record *record, const char **why)
{
	struct tls_chain chain;
	const char *flaw;
	int err;

	if (record->index >= tls->policy->n_tls_certificates)
		return -EBADMSG;
	err = tls_chain_parse(record->parts[0], &chain, &flaw);
	if (err != 0)
		return err == -EINVAL ? -EBADMSG : err;
	err = tls_chain_key(&chain, tls_keys_get(keys, tls->policy->tls_certificates[record->index].key));
	if (err == 0)
		err = try_everywhere(tls, record->index, &chain, why);
	if (err == 0)
		err = replace(tls, record->index, &chain, why);
	tls_chain_clear(&chain);
	return err == -EINVAL ? -EBADMSG : err;
}

/* ---- CAs, CRLs, pins ---- */

static int read_file(const struct keeper_record *record, struct tls_file *file)
{
	const struct slice name = record->parts[0], octets = record->parts[1];
	void *copy = malloc(octets.len + 1);

	if (copy == NULL)
		return -ENOMEM;
	if (octets.len > 0)
		memcpy(copy, octets.ptr, octets.len);
	*file = (struct tls_file){ .name = strndup((const char *)name.ptr, name.len), .octets = slice_of(copy, octets.len),
				   .err = -(int)record->index };
	return file->name != NULL ? 0 : -ENOMEM;
}

static int read_directory(struct slice records, struct tls_directory *out)
{
	struct keeper_record record;
	int n, err = 0;

	out->files = calloc(TLS_DIRECTORY_FILES, sizeof(*out->files));
	if (out->files == NULL)
		return -ENOMEM;
	while (err == 0 && (n = keeper_record_next(&records, &record)) != 0) {
		if (n < 0 || record.kind != KEEPER_FILE || out->n == TLS_DIRECTORY_FILES)
			return -EBADMSG;
		err = read_file(&record, &out->files[out->n]);
		out->n++;
	}
	return err;
}

static int build_trust(const struct tls_context *c, const struct tls_trust_sources *sources, struct tls_trust *trust)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;	/* the keeper has said them */
	int err;

	if (arena == NULL)
		return -ENOMEM;
	problems_init(&problems, arena);
	err = tls_trust_build(sources, c->encryption->place, &problems, trust);
	arena_free(&arena);
	return err;
}

static int believe(struct tls_context *c, const struct tls_trust *trust)
{
	struct tls_trust own;
	int err = tls_trust_share(trust, &own);

	if (err == 0)
		err = tls_context_trust(c, &own);
	return err != 0 ? err : tls_resume_identify(c);
}

/* For every context that has these directories. */
static int take_trust(struct tls *tls, const struct keeper_record *record)
{
	struct tls_trust_sources sources = { .ca = { 0 } };
	struct tls_directory *const directories[] = { &sources.ca, &sources.crl, &sources.hints, &sources.pins };
	const size_t n_contexts = tls->policy->n_encryptions * TLS_ENDS;
	struct tls_context *c;
	struct tls_trust trust;
	int err = 0;

	if (record->index >= n_contexts || tls->contexts[record->index].ctx == NULL)
		return -EBADMSG;
	c = &tls->contexts[record->index];
	for (size_t i = 0; i < ARRAY_LEN(directories) && err == 0; i++)
		err = read_directory(record->parts[i], directories[i]);
	if (err == 0)
		err = build_trust(c, &sources, &trust);
	tls_trust_sources_free(&sources);
	if (err != 0)
		return err;
	for (size_t i = 0; i < n_contexts && err == 0; i++)
		if (tls->contexts[i].ctx != NULL && tls_context_has_sources(&tls->contexts[i], &c->side->verifier))
			err = believe(&tls->contexts[i], &trust);
	tls_trust_clear(&trust);
	return err;
}

/* ---- OCSP ---- */

static int take_ocsp(struct tls *tls, const struct keeper_record *record)
{
	struct tls_context *c;
	void *copy = malloc(record->parts[0].len + 1);

	if (copy == NULL)
		return -ENOMEM;
	if (record->index >= tls->policy->n_encryptions * TLS_ENDS || tls->contexts[record->index].ctx == NULL) {
		free(copy);
		return -EBADMSG;
	}
	c = &tls->contexts[record->index];
	memcpy(copy, record->parts[0].ptr, record->parts[0].len);
	free((void *)c->ocsp.ptr);
	c->ocsp = slice_of(copy, record->parts[0].len);
	return 0;
}

static int take(struct tls *tls, struct tls_keys *keys, const struct keeper_record *record, const char **why)
{
	switch (record->kind) {
	case KEEPER_KEY_PUBLIC:
	case KEEPER_KEY_WHOLE:
		return take_key(tls, keys, record, why);
	case KEEPER_CHAIN:
		return take_chain(tls, keys, record, why);
	case KEEPER_TRUST:
		return take_trust(tls, record);
	case KEEPER_OCSP:
		return take_ocsp(tls, record);
	case KEEPER_ERROR:
	case KEEPER_WARNING:
		return 0;		/* the keeper has said it */
	default:
		return -EBADMSG;
	}
}

int tls_update(struct tls *tls, struct tls_keys *keys, struct slice records, const char **why)
{
	struct keeper_record record;
	int n, err = 0;

	*why = NULL;
	while (err == 0 && (n = keeper_record_next(&records, &record)) != 0)
		err = n < 0 ? n : take(tls, keys, &record, why);
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
