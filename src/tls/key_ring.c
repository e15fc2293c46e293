/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/key_ring.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

struct ring_key {
	EVP_PKEY *key;			/* NULL: none */
	const char *type;
	uint64_t name;
};

struct ring_place {
	struct ring_key now, offered, before;
	int64_t until_ms;		/* that before signs */
	unsigned uses;
};

struct key_ring {
	size_t n;
	struct ring_place places[];
};

struct key_ring *key_ring_create(size_t n)
{
	struct key_ring *ring = calloc(1, sizeof(*ring) + n * sizeof(ring->places[0]));

	if (ring != NULL)
		ring->n = n;
	return ring;
}

void key_ring_free(struct key_ring **ringp)
{
	struct key_ring *ring = *ringp;

	if (ring == NULL)
		return;
	*ringp = NULL;
	for (size_t i = 0; i < ring->n; i++) {
		EVP_PKEY_free(ring->places[i].now.key);
		EVP_PKEY_free(ring->places[i].offered.key);
		EVP_PKEY_free(ring->places[i].before.key);
	}
	free(ring);
}

void key_ring_permit(struct key_ring *ring, size_t index, unsigned uses)
{
	ring->places[index].uses = uses;
}

static void drop(struct ring_key *k)
{
	EVP_PKEY_free(k->key);
	*k = (struct ring_key){ .key = NULL };
}

int key_ring_offer(struct key_ring *ring, size_t index, EVP_PKEY *key)
{
	struct ring_key new = { .type = key_type_of(key) };
	int err = new.type != NULL && EVP_PKEY_get_size(key) <= (int)KEY_SIGNATURE_MAX ? key_name_of(key, &new.name) : -EINVAL;

	if (err != 0)
		return err;
	if (EVP_PKEY_up_ref(key) != 1)
		return -ENOMEM;
	new.key = key;
	drop(&ring->places[index].offered);
	ring->places[index].offered = new;
	return 0;
}

/* A replaced key is let go before its time when its successor is replaced. */
void key_ring_accept(struct key_ring *ring, size_t index, int64_t until_ms)
{
	struct ring_place *place = &ring->places[index];

	if (place->offered.key == NULL)
		return;
	if (place->now.key != NULL && place->now.name == place->offered.name) {
		drop(&place->offered);
		if (place->until_ms == KEY_RING_NEEDED)
			place->until_ms = until_ms;
		return;
	}
	drop(&place->before);
	if (until_ms != 0)
		place->before = place->now;
	else
		drop(&place->now);
	place->until_ms = until_ms;
	place->now = place->offered;
	place->offered = (struct ring_key){ .key = NULL };
}

void key_ring_refuse(struct key_ring *ring, size_t index)
{
	drop(&ring->places[index].offered);
}

int key_ring_set(struct key_ring *ring, size_t index, EVP_PKEY *key)
{
	int err = key_ring_offer(ring, index, key);

	if (err == 0)
		key_ring_accept(ring, index, 0);
	return err;
}

int64_t key_ring_expire(struct key_ring *ring, int64_t now_ms)
{
	int64_t next_ms = 0;

	for (size_t i = 0; i < ring->n; i++) {
		struct ring_place *place = &ring->places[i];

		if (place->before.key == NULL)
			continue;
		if (place->until_ms <= now_ms)
			drop(&place->before);
		else if (next_ms == 0 || place->until_ms < next_ms)
			next_ms = place->until_ms;
	}
	return next_ms;
}

/* uses: of all its places, for a key may stand in several. */
static const struct ring_key *find(const struct key_ring *ring, uint64_t name, unsigned *uses)
{
	const struct ring_key *found = NULL;

	*uses = 0;
	for (size_t i = 0; i < ring->n; i++) {
		const struct ring_place *place = &ring->places[i];
		const struct ring_key *const keys[] = { &place->now, &place->offered, &place->before };

		for (size_t j = 0; j < ARRAY_LEN(keys); j++)
			if (keys[j]->key != NULL && keys[j]->name == name) {
				found = keys[j];
				*uses |= place->uses;
			}
	}
	return found;
}

static int sign_digest(EVP_PKEY *key, const struct key_scheme *scheme, struct slice digest, uint8_t *out, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool fine = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1;

	if (fine && strcmp(scheme->key_type, "RSA") == 0) {
		int padding = scheme->pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;

		fine = EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, scheme->md()) == 1 &&
		       (!scheme->pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
	}
	fine = fine && EVP_PKEY_sign(ctx, out, len, digest.ptr, digest.len) == 1;
	EVP_PKEY_CTX_free(ctx);
	return fine ? 0 : -EIO;
}

static int sign_text(EVP_PKEY *key, struct slice text, uint8_t *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool fine = ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) == 1 &&
		    EVP_DigestSign(ctx, out, len, text.ptr, text.len) == 1;

	EVP_MD_CTX_free(ctx);
	return fine ? 0 : -EIO;
}

/* Octets of the signature or -errno. */
static int sign(const struct key_ring *ring, const struct key_request *request, struct slice input, uint8_t *out)
{
	const struct key_scheme *scheme = key_scheme_numbered(request->scheme);
	unsigned uses;
	const struct ring_key *key = find(ring, request->key, &uses);
	size_t len = KEY_SIGNATURE_MAX;
	int err;

	if (key == NULL)
		return -ENOENT;
	if (scheme == NULL || strcmp(scheme->key_type, key->type) != 0 ||
	    (scheme->digest != NULL && input.len != scheme->digest_octets))
		return -EINVAL;
	if (!key_scheme_fits(scheme, key->key, uses))
		return -EACCES;
	ERR_clear_error();
	err = scheme->digest != NULL ? sign_digest(key->key, scheme, input, out, &len) :
	      sign_text(key->key, input, out, &len);
	return err != 0 ? err : (int)len;
}

size_t key_ring_answer(const struct key_ring *ring, struct slice request, uint8_t reply[KEY_REPLY_MAX])
{
	struct key_request head;
	struct key_reply answer;

	if (request.len < sizeof(head) || request.len > KEY_REQUEST_MAX)
		return 0;
	memcpy(&head, request.ptr, sizeof(head));
	answer.number = head.number;
	answer.result = sign(ring, &head, slice_skip(request, sizeof(head)), reply + sizeof(answer));
	memcpy(reply, &answer, sizeof(answer));
	return sizeof(answer) + (answer.result > 0 ? (size_t)answer.result : 0);
}
