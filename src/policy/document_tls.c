/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates of a policy document. Keys are names of files or numbers of secrets; what
 * is in them, and whether they fit, is found out where they are loaded.
 */
#include "policy/document_priv.h"

#define KEYS_MAX 8192
#define CERTIFICATES_MAX 8192
#define PATH_OCTETS_MAX 4095
#define CHAIN_OCTETS_MAX ((size_t)256 << 10)

int document_member_file_text(struct document_reader *d, const struct json_path *up, const json_t *object,
			      const char *name, size_t max, struct slice *out)
{
	const struct json_path path = { up, name, 0 };
	const json_t *json = json_object_get(object, name);
	struct slice text;
	const char *copy;
	int err;

	if (json == NULL)
		return 0;
	err = json_octets(&d->json, &path, json, &text);
	if (err < 0)
		return err;
	if (text.len == 0 || text.len > max)
		return json_wrong(&d->json, &path, "has %zu octets, must have from 1 to %zu", text.len, max);
	if (memchr(text.ptr, '\0', text.len) != NULL)
		return json_wrong(&d->json, &path, "contains NUL");
	copy = arena_cstr(d->json.arena, text);
	if (copy == NULL)
		return -ENOMEM;
	*out = slice_of(copy, text.len);
	return 0;
}

int document_member_path(struct document_reader *d, const struct json_path *up, const json_t *object, const char *name,
			 const char **out)
{
	struct slice text = { NULL, 0 };
	int err = document_member_file_text(d, up, object, name, PATH_OCTETS_MAX, &text);

	if (err < 0)
		return err;
	if (text.ptr != NULL && text.ptr[0] != '/')
		return json_wrong(&d->json, &(struct json_path){ up, name, 0 }, "must be an absolute file name");
	*out = (const char *)text.ptr;
	return 0;
}

int document_member_index_or_none(struct document_reader *d, const struct json_path *path, const json_t *object,
				  const char *name, size_t n, int32_t *out)
{
	int64_t index;
	int err;

	if (json_object_get(object, name) == NULL) {
		*out = -1;
		return 0;
	}
	if (n == 0)
		return json_wrong(&d->json, &(struct json_path){ path, name, 0 }, "is an index, but there are none");
	err = json_member_int(&d->json, path, object, name, 0, (int64_t)n - 1, &index);
	if (err == 0)
		*out = (int32_t)index;
	return err;
}

static int read_key(struct document_reader *d, const struct json_path *path, const json_t *json, struct tls_key *key)
{
	static const char *const members[] = { "file", "secret", "passphrase", "at", NULL };
	size_t n = d->policy->n_secrets;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_place(&d->json, path, json, &key->place);
	if (err < 0)
		return err;
	d->json.place = key->place;
	err = document_member_path(d, path, json, "file", &key->file);
	if (err == 0)
		err = document_member_index_or_none(d, path, json, "secret", n, &key->secret);
	if (err == 0)
		err = document_member_index_or_none(d, path, json, "passphrase", n, &key->passphrase);
	if (err == 0 && (key->file != NULL) == (key->secret != TLS_NO_SECRET))
		err = json_wrong(&d->json, path, "must have either a file or a secret");
	return err;
}

int document_read_tls_keys(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "tls_keys", 0 };
	struct tls_key *keys;
	int result = json == NULL ? 0 : json_want_array(&d->json, &path, json, KEYS_MAX);

	if (json == NULL || result < 0)
		return result;
	keys = arena_array(d->json.arena, json_array_size(json), sizeof(*keys));
	if (keys == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		keys[i].index = (uint32_t)i;
		result = worse(result, read_key(d, &(struct json_path){ &path, NULL, i }, json_array_get(json, i), &keys[i]));
	}
	d->policy->tls_keys = keys;
	d->policy->n_tls_keys = json_array_size(json);
	return result;
}

static int read_certificate(struct document_reader *d, const struct json_path *path, const json_t *json,
			    struct tls_certificate *certificate)
{
	static const char *const members[] = { "file", "pem", "key", "at", NULL };
	int32_t key = -1;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_place(&d->json, path, json, &certificate->place);
	if (err < 0)
		return err;
	d->json.place = certificate->place;
	err = document_member_path(d, path, json, "file", &certificate->file);
	if (err == 0)
		err = document_member_file_text(d, path, json, "pem", CHAIN_OCTETS_MAX, &certificate->pem);
	if (err == 0)
		err = document_member_index_or_none(d, path, json, "key", d->policy->n_tls_keys, &key);
	if (err == 0 && (certificate->pem.ptr == NULL || key < 0))
		err = json_wrong(&d->json, path, "must have pem and key");
	if (err == 0)
		certificate->key = &d->policy->tls_keys[key];
	return err;
}

int document_read_tls_certificates(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "tls_certificates", 0 };
	struct tls_certificate *certificates;
	int result = json == NULL ? 0 : json_want_array(&d->json, &path, json, CERTIFICATES_MAX);

	if (json == NULL || result < 0)
		return result;
	certificates = arena_array(d->json.arena, json_array_size(json), sizeof(*certificates));
	if (certificates == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		certificates[i].index = (uint32_t)i;
		result = worse(result, read_certificate(d, &(struct json_path){ &path, NULL, i }, json_array_get(json, i),
							&certificates[i]));
	}
	d->policy->tls_certificates = certificates;
	d->policy->n_tls_certificates = json_array_size(json);
	return result;
}
