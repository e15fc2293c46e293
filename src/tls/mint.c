/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Minting: from memory, from the directory, or anew. A certificate that comes back out of a
 * cache is compared with what would be made now, so that a policy that was changed, a rule of
 * ours that was, or a file that somebody wrote can't bring back what is not wanted any more.
 */
#include "tls/mint_priv.h"
#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WAYS 8				/* certificates that can stand in the same place of the memory */
#define MEMORY_LEAF_MAX 8192		/* octets; larger ones, which hostile originals make, are not kept there */
#define DIGEST_OCTETS 32
#define KEY_ID_OCTETS 20

/* A minted certificate. Found by what it was made for and by whom. */
struct slot {
	uint8_t key[DIGEST_OCTETS];
	X509 *leaf;				/* NULL: free */
	struct mint_times original, times;
	uint64_t used;				/* when, in look-ups */
};

struct mint {
	unsigned references;
	struct mint_rules rules;
	struct mint_authority authorities[2];	/* untrusted, trusted */
	char *tails[2];				/* what the hash of a file's name ends with: CA and leaf key, PEM */
	struct mint_cache *cache;
	bool complained;			/* that the directory can't be written */
	struct slot *slots;			/* n_places times WAYS */
	size_t n_places;
	uint64_t lookups;
};

/* Of the key that signs; SHA-1 and MD5 never, whatever the original had. */
static const EVP_MD *digest_of(const EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448"))
		return NULL;
	if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256)
		return EVP_PKEY_get_bits(key) > 384 ? EVP_sha512() : EVP_sha384();
	return EVP_sha256();
}

/* SHA-256, cut (RFC 7093, 2, method 1). */
static ASN1_OCTET_STRING *key_id_of(EVP_PKEY *key)
{
	ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
	X509_PUBKEY *public = NULL;
	const unsigned char *octets;
	uint8_t digest[DIGEST_OCTETS];
	int len;

	if (id == NULL || X509_PUBKEY_set(&public, key) != 1 ||
	    X509_PUBKEY_get0_param(NULL, &octets, &len, NULL, public) != 1 ||
	    EVP_Digest(octets, (size_t)len, digest, NULL, EVP_sha256(), NULL) != 1 ||
	    ASN1_OCTET_STRING_set(id, digest, KEY_ID_OCTETS) != 1) {
		ASN1_OCTET_STRING_free(id);
		id = NULL;
	}
	X509_PUBKEY_free(public);
	return id;
}

/* CA and leaf key as PEM, in one string. The key's public half stands for it: the other is not always here. */
static char *tail_of(X509 *ca, EVP_PKEY *leaf_key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *octets, *tail = NULL;
	long len;

	if (bio != NULL && PEM_write_bio_X509(bio, ca) == 1 && PEM_write_bio_PUBKEY(bio, leaf_key) == 1 &&
	    (len = BIO_get_mem_data(bio, &octets)) > 0)
		tail = strndup(octets, (size_t)len);
	BIO_free(bio);
	return tail;
}

static bool is_root(X509 *certificate)
{
	return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

static bool add_to_chain(STACK_OF(X509) *chain, X509 *certificate)
{
	return is_root(certificate) || X509_add_cert(chain, certificate, X509_ADD_FLAG_UP_REF) == 1;
}

static int set_authority(struct mint_authority *authority, const struct mint_ca *ca, const char **why)
{
	bool ok;

	*why = "the CA's certificate has no CA flag";
	if ((X509_get_extension_flags(ca->certificate) & EXFLAG_CA) == 0)
		return -EINVAL;
	*why = "the CA's certificate may not sign certificates (keyUsage)";
	if ((X509_get_key_usage(ca->certificate) & KU_KEY_CERT_SIGN) == 0)
		return -EINVAL;
	*why = "the CA's key does not belong to its certificate";
	if (EVP_PKEY_eq(X509_get0_pubkey(ca->certificate), ca->key) != 1)
		return -EINVAL;
	*why = "out of memory";
	X509_up_ref(ca->certificate);
	authority->certificate = ca->certificate;
	EVP_PKEY_up_ref(ca->key);
	authority->key = ca->key;
	authority->digest = digest_of(ca->key);
	authority->chain = sk_X509_new_null();
	ok = authority->chain != NULL && add_to_chain(authority->chain, ca->certificate);
	for (int i = 0; ok && i < sk_X509_num(ca->chain); i++)
		ok = add_to_chain(authority->chain, sk_X509_value(ca->chain, i));
	return ok ? 0 : -ENOMEM;
}

/* Of a key that may be in another process; what comes out is the library's own, which it can encode. */
static EVP_PKEY *public_half(const EVP_PKEY *key)
{
	const char *type = EVP_PKEY_get0_type_name(key);
	EVP_PKEY_CTX *ctx = type != NULL ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
	OSSL_PARAM *params = NULL;
	EVP_PKEY *public = NULL;

	if (ctx != NULL && EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params) == 1 && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &public, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(ctx);
	return public;
}

static int set_rules(struct mint_rules *rules, const struct mint_setup *setup, const char **why)
{
	*why = "the bridge's key is of a kind that certificates can't be made for";
	rules->leaf_key = public_half(setup->leaf_key);
	if (rules->leaf_key == NULL || (rules->leaf_key_id = key_id_of(rules->leaf_key)) == NULL)
		return -EINVAL;
	*why = "out of memory";
	rules->extensions = calloc(setup->n_extensions > 0 ? setup->n_extensions : 1, sizeof(ASN1_OBJECT *));
	if (rules->extensions == NULL)
		return -ENOMEM;
	*why = "an extension in the list has a name that nobody knows";
	for (size_t i = 0; i < setup->n_extensions; i++) {
		ASN1_OBJECT *object = OBJ_txt2obj(setup->extensions[i], 0);

		if (object == NULL)
			return -EINVAL;
		rules->extensions[rules->n_extensions++] = object;
	}
	return 0;
}

static int set_cache(struct mint *m, const struct mint_setup *setup)
{
	int err;

	if (setup->cache_directory == NULL)
		return 0;
	err = mint_cache_open(setup->cache_directory, setup->disk_max > 0 ? setup->disk_max : MINT_DISK_MAX, &m->cache);
	if (err == 0 || err == -ENOMEM)
		return err;
	log_event(LOG_CORE_ERROR, 2, SLICE(""), "Cannot use the directory of bridged certificates; they are kept in memory only",
		  F_TEXT("directory", setup->cache_directory), F_TEXT("error", strerror(-err)));
	return 0;
}

int mint_create(const struct mint_setup *setup, struct mint **out, const char **why)
{
	struct mint *m = calloc(1, sizeof(*m));
	int err = -ENOMEM;

	ERR_clear_error();
	*why = "out of memory";
	if (m == NULL)
		return err;
	m->references = 1;
	m->n_places = ((setup->memory_max > 0 ? setup->memory_max : MINT_MEMORY_MAX) + WAYS - 1) / WAYS;
	m->slots = calloc(m->n_places * WAYS, sizeof(*m->slots));
	if (m->slots == NULL || (err = set_rules(&m->rules, setup, why)) < 0 ||
	    (err = set_authority(&m->authorities[true], &setup->trusted, why)) < 0 ||
	    (err = set_authority(&m->authorities[false], &setup->untrusted, why)) < 0 || (err = set_cache(m, setup)) < 0)
		goto fail;
	for (int i = 0; i < 2; i++) {
		m->tails[i] = tail_of(m->authorities[i].certificate, m->rules.leaf_key);
		if (m->tails[i] == NULL) {
			err = -ENOMEM;
			goto fail;
		}
	}
	*out = m;
	return 0;
fail:
	mint_free(&m);
	return err;
}

struct mint *mint_hold(struct mint *mint)
{
	mint->references++;
	return mint;
}

void mint_free(struct mint **mp)
{
	struct mint *m = *mp;

	*mp = NULL;
	if (m == NULL || --m->references > 0)
		return;
	for (size_t i = 0; m->slots != NULL && i < m->n_places * WAYS; i++)
		X509_free(m->slots[i].leaf);
	free(m->slots);
	mint_cache_close(&m->cache);
	for (int i = 0; i < 2; i++) {
		X509_free(m->authorities[i].certificate);
		EVP_PKEY_free(m->authorities[i].key);
		sk_X509_pop_free(m->authorities[i].chain, X509_free);
		free(m->tails[i]);
	}
	for (size_t i = 0; i < m->rules.n_extensions; i++)
		ASN1_OBJECT_free(m->rules.extensions[i]);
	free(m->rules.extensions);
	ASN1_OCTET_STRING_free(m->rules.leaf_key_id);
	EVP_PKEY_free(m->rules.leaf_key);
	free(m);
}

STACK_OF(X509) *mint_chain(const struct mint *mint, bool trusted)
{
	return mint->authorities[trusted].chain;
}

/* The WAYS slots where a certificate of that key can be. */
static struct slot *place_of(const struct mint *m, const uint8_t key[DIGEST_OCTETS])
{
	uint64_t number;

	memcpy(&number, key, sizeof(number));
	return &m->slots[number % m->n_places * WAYS];
}

static struct slot *find_slot(const struct mint *m, const uint8_t key[DIGEST_OCTETS])
{
	struct slot *place = place_of(m, key);

	for (size_t i = 0; i < WAYS; i++)
		if (place[i].leaf != NULL && memcmp(place[i].key, key, DIGEST_OCTETS) == 0)
			return &place[i];
	return NULL;
}

/* The same key's, else a free one, else that which was not used for the longest time. */
static struct slot *slot_for(const struct mint *m, const uint8_t key[DIGEST_OCTETS])
{
	struct slot *place = place_of(m, key), *slot = find_slot(m, key);

	if (slot != NULL)
		return slot;
	slot = &place[0];
	for (size_t i = 1; i < WAYS && slot->leaf != NULL; i++)
		if (place[i].leaf == NULL || place[i].used < slot->used)
			slot = &place[i];
	return slot;
}

/* What is being looked for. */
struct wanted {
	bool trusted;
	int64_t now;
	uint8_t key[DIGEST_OCTETS];		/* in memory */
	char name[MINT_NAME_MAX];		/* in the directory */
	X509 *original;
	BIO *original_pem;
	struct mint_times times;		/* the original's */
};

static X509 *from_memory(struct mint *m, const struct wanted *w)
{
	struct slot *slot = find_slot(m, w->key);

	if (slot == NULL || !mint_times_fit(slot->original, slot->times, w->now))
		return NULL;
	slot->used = ++m->lookups;
	X509_up_ref(slot->leaf);
	return slot->leaf;
}

/* One that came into the memory while this one was being made is used by all, and takes leaf's place. */
static X509 *remember(struct mint *m, const struct wanted *w, X509 *leaf)
{
	X509 *other = from_memory(m, w);
	struct mint_times times;
	struct slot *slot;

	if (other != NULL) {
		X509_free(leaf);
		return other;
	}
	if (i2d_X509(leaf, NULL) > MEMORY_LEAF_MAX || mint_times_of(leaf, &times) < 0)
		return leaf;
	slot = slot_for(m, w->key);
	X509_free(slot->leaf);
	X509_up_ref(leaf);
	*slot = (struct slot){ .leaf = leaf, .original = w->times, .times = times, .used = ++m->lookups };
	memcpy(slot->key, w->key, DIGEST_OCTETS);
	return leaf;
}

static struct slice pem_of(const struct wanted *w)
{
	char *octets;
	long len = BIO_get_mem_data(w->original_pem, &octets);

	return slice_of(octets, (size_t)len);
}

/* The file's name is a hash over all that decides what is in it, and is not in it itself. */
static bool set_name(const struct mint *m, struct wanted *w)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t digest[DIGEST_OCTETS];
	struct slice pem;
	bool ok;
	int n;

	w->original_pem = BIO_new(BIO_s_mem());
	ok = ctx != NULL && w->original_pem != NULL && PEM_write_bio_X509(w->original_pem, w->original) == 1;
	if (ok) {
		pem = pem_of(w);
		ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(ctx, pem.ptr, pem.len) == 1 &&
		     EVP_DigestUpdate(ctx, m->tails[w->trusted], strlen(m->tails[w->trusted])) == 1 &&
		     EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
	}
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return false;
	n = snprintf(w->name, sizeof(w->name), "%s-", w->trusted ? "trusted" : "untrusted");
	for (size_t i = 0; i < sizeof(digest); i++)
		n += snprintf(w->name + n, sizeof(w->name) - (size_t)n, "%02x", digest[i]);
	return true;
}

/* The directory's, if it is as made, and as valid as it should be now. */
static X509 *from_directory(const struct mint *m, const struct wanted *w, X509 *made, bool *present)
{
	X509 *leaf = mint_cache_read(m->cache, w->name, pem_of(w), present);
	struct mint_times times;

	if (leaf == NULL)
		return NULL;
	if (mint_times_of(leaf, &times) == 0 && mint_times_fit(w->times, times, w->now) &&
	    mint_leaf_is(leaf, made, &m->authorities[w->trusted]))
		return leaf;
	ERR_clear_error();
	X509_free(leaf);
	return NULL;
}

static void complain(struct mint *m, const struct wanted *w, int err)
{
	if (!m->complained)
		log_event(LOG_CORE_ERROR, 2, SLICE(""), "Cannot write a bridged certificate into its directory; said once",
			  F_TEXT("file", w->name), F_TEXT("error", strerror(-err)));
	m->complained = true;
}

/*
 * Put the new leaf into the directory. Meanwhile another process may have made one for the same
 * original: then all use that of the first, so that a client sees one certificate. What is given
 * back takes leaf's place.
 */
static X509 *into_directory(struct mint *m, const struct wanted *w, X509 *made, X509 *leaf)
{
	int lock = mint_cache_lock(m->cache), err;
	bool present = false;
	X509 *other = from_directory(m, w, made, &present);

	if (other == NULL) {
		/* Without the lock somebody else may be replacing the unusable one; ours is not kept then. */
		err = mint_cache_write(m->cache, w->name, leaf, pem_of(w), present && lock >= 0);
		if (err == -EEXIST)
			other = from_directory(m, w, made, &present);
		else if (err < 0)
			complain(m, w, err);
	}
	if (lock >= 0) {
		mint_cache_tidy(m->cache);
		close(lock);
	}
	if (other == NULL)
		return leaf;
	X509_free(leaf);
	return other;
}

/* From the directory or new. Others may run meanwhile, and make the same. */
static co_waits X509 *obtain(struct mint *m, struct wanted *w, const char **why)
{
	struct mint_authority *authority = &m->authorities[w->trusted];
	X509 *made = mint_leaf_make(&m->rules, authority, w->original, mint_times_capped(w->times, w->now), why), *leaf = NULL;
	bool present;

	if (made == NULL)
		return NULL;
	*why = "out of memory";
	if (m->cache != NULL) {
		if (!set_name(m, w))
			goto out;
		leaf = from_directory(m, w, made, &present);
	}
	log_event(LOG_CORE_DEBUG, 5, SLICE(""), "Certificate bridged", F_TEXT("trusted", w->trusted ? "yes" : "no"),
		  F_TEXT("from", leaf != NULL ? "directory" : "new"), F_TEXT("file", w->name));
	if (leaf != NULL)
		goto out;
	leaf = mint_leaf_sign(made, authority, why);
	if (leaf != NULL && m->cache != NULL)
		leaf = into_directory(m, w, made, leaf);
out:
	X509_free(made);
	return leaf;
}

static int read_original(struct slice der, struct wanted *w, const char **why)
{
	const unsigned char *p = der.ptr;

	*why = "it can't be parsed";
	w->original = d2i_X509(NULL, &p, (long)der.len);
	if (w->original == NULL || p != der.ptr + der.len)
		return -EINVAL;
	*why = "its validity can't be read";
	return mint_times_of(w->original, &w->times);
}

/* In memory: by the octets of the original, so that a hit needs no parsing, and by the CA. */
static bool set_key(struct wanted *w, struct slice der)
{
	if (EVP_Digest(der.ptr, der.len, w->key, NULL, EVP_sha256(), NULL) != 1)
		return false;
	w->key[DIGEST_OCTETS - 1] = w->trusted;
	return true;
}

co_waits X509 *mint_certificate(struct mint *mint, struct slice original, bool trusted, int64_t now, const char **why)
{
	struct wanted w = { .trusted = trusted, .now = now };
	X509 *leaf = NULL;

	ERR_clear_error();
	*why = "it is too long";
	if (original.len > MINT_ORIGINAL_MAX)
		return NULL;
	*why = "out of memory";
	if (!set_key(&w, original))
		return NULL;
	leaf = from_memory(mint, &w);
	if (leaf == NULL && read_original(original, &w, why) == 0) {
		leaf = obtain(mint, &w, why);
		if (leaf != NULL)
			leaf = remember(mint, &w, leaf);
	}
	X509_free(w.original);
	BIO_free(w.original_pem);
	ERR_clear_error();
	return leaf;
}
