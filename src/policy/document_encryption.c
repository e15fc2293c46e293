/* SPDX-License-Identifier: Apache-2.0 */
/* Encryptions of a policy document: for each side its certificate, verifier and options. */
#include "policy/block_priv.h"
#include "policy/document_priv.h"
#include "policy/names.h"

#define ENCRYPTIONS_MAX 4096
#define NAMED_MAX 1024
#define EXTENSIONS_MAX 64
#define ALPN_MAX 32
#define ALPN_OCTETS_MAX 255		/* RFC 7301, 3.1 */
#define DEPTH_LIMIT 100
#define CIPHERS_OCTETS_MAX 4096
#define DH_OCTETS_MAX ((size_t)64 << 10)
#define SESSION_SECONDS_MAX 604800	/* RFC 8446, 4.6.1: seven days */
#define HANDSHAKE_MS_MAX 3600000
#define HANDSHAKE_MS_DEFAULT 30000
#define VERIFY_DEPTH_DEFAULT 4
#define SESSION_SECONDS_DEFAULT 300
#define DOMAIN_OCTETS_MAX 244		/* "_mta-sts." stands before it */
#define CIPHERS_DEFAULT "HIGH:!aNULL:@STRENGTH"

static bool side_calls_host(const struct tls_side *side)
{
	for (size_t i = 0; i < side->own.n_named; i++)
		if (side->own.named[i].name.callback >= 0)
			return true;
	return policy_call_is_set(&side->own.setup_key) || policy_call_is_set(&side->verifier.verify);
}

bool encryption_calls_host(const struct encryption *encryption)
{
	return side_calls_host(&encryption->sides[TLS_CLIENT]) || side_calls_host(&encryption->sides[TLS_SERVER]);
}

/* {"callback": N}: these hooks have no native form. A missing one calls nothing. */
static int read_call(struct document_reader *d, const struct json_path *up, const json_t *object, const char *name,
		     struct policy_call *out)
{
	static const char *const members[] = { "callback", NULL };
	const struct json_path path = { up, name, 0 };
	const json_t *json = json_object_get(object, name);
	int32_t callback = -1;
	int err = json == NULL ? 0 : json_want_object(&d->json, &path, json, members);

	if (err == 0 && json != NULL)
		err = document_member_index_or_none(d, &path, json, "callback", d->policy->n_callbacks, &callback);
	if (err == 0 && json != NULL && callback < 0)
		err = json_wrong(&d->json, &path, "must be {\"callback\": N}");
	if (err == 0)
		*out = (struct policy_call){ callback, NULL };
	return err;
}

static int member_certificate(struct document_reader *d, const struct json_path *path, const json_t *object,
			      const char *name, const struct tls_certificate **out)
{
	int32_t index;
	int err = document_member_index_or_none(d, path, object, name, d->policy->n_tls_certificates, &index);

	if (err == 0)
		*out = index < 0 ? NULL : &d->policy->tls_certificates[index];
	return err;
}

static int read_bridge(struct document_reader *d, const struct json_path *up, const json_t *json,
		       const struct tls_bridge **out)
{
	static const char *const members[] = { "key", "trusted_ca", "untrusted_ca", "cache_directory", "extensions", NULL };
	const struct json_path path = { up, "bridge", 0 };
	struct tls_bridge *bridge = ARENA_NEW(d->json.arena, struct tls_bridge);
	int32_t key = -1;
	int err = json_want_object(&d->json, &path, json, members);

	if (bridge == NULL)
		return -ENOMEM;
	if (err == 0)
		err = document_member_index_or_none(d, &path, json, "key", d->policy->n_tls_keys, &key);
	if (err == 0)
		err = member_certificate(d, &path, json, "trusted_ca", &bridge->trusted_ca);
	if (err == 0)
		err = member_certificate(d, &path, json, "untrusted_ca", &bridge->untrusted_ca);
	if (err == 0)
		err = document_member_path(d, &path, json, "cache_directory", &bridge->cache_directory);
	if (err == 0)
		err = document_read_texts(d, &(struct json_path){ &path, "extensions", 0 }, json_object_get(json, "extensions"),
					  EXTENSIONS_MAX, &bridge->extensions, &bridge->n_extensions);
	if (err == 0 && (key < 0 || bridge->trusted_ca == NULL || bridge->untrusted_ca == NULL))
		err = json_wrong(&d->json, &path, "must have key, trusted_ca and untrusted_ca");
	if (err < 0)
		return err;
	bridge->key = &d->policy->tls_keys[key];
	*out = bridge;
	return 0;
}

/* [MATCHER, certificate] */
static int read_named_one(struct document_reader *d, const struct json_path *path, const json_t *json,
			  struct tls_named_certificate *out)
{
	struct block_reader b = { .json = d->json, .policy = d->policy };
	int64_t index = -1;
	int err;

	if (!json_is_array(json) || json_array_size(json) != 2)
		return json_wrong(&d->json, path, "must be [matcher, certificate]");
	err = matcher_call_read(&b, &(struct json_path){ path, NULL, 0 }, json_array_get(json, 0), &out->name);
	if (err == 0)
		err = json_int(&d->json, &(struct json_path){ path, NULL, 1 }, json_array_get(json, 1), 0,
			       (int64_t)d->policy->n_tls_certificates - 1, &index);
	if (err == 0)
		out->certificate = &d->policy->tls_certificates[index];
	return err;
}

static int read_named(struct document_reader *d, const struct json_path *up, const json_t *json,
		      struct tls_own_certificate *own)
{
	const struct json_path path = { up, "named", 0 };
	struct tls_named_certificate *named;
	int err = json_want_array(&d->json, &path, json, NAMED_MAX);

	if (err < 0)
		return err;
	named = arena_array(d->json.arena, json_array_size(json), sizeof(*named));
	if (named == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++)
		err = read_named_one(d, &(struct json_path){ &path, NULL, i }, json_array_get(json, i), &named[i]);
	own->named = named;
	own->n_named = json_array_size(json);
	return err;
}

static int read_own(struct document_reader *d, const struct json_path *up, const json_t *json, enum tls_end end,
		    struct tls_own_certificate *own)
{
	static const char *const members[] = { "named", "static", "bridge", "setup_key", NULL };
	const struct json_path path = { up, "certificate", 0 };
	int err;

	*own = (struct tls_own_certificate){ .setup_key = { -1, NULL } };
	if (json == NULL)
		return 0;
	err = json_want_object(&d->json, &path, json, members);
	if (err == 0)
		err = member_certificate(d, &path, json, "static", &own->fallback);
	if (err == 0 && json_object_get(json, "named") != NULL)
		err = read_named(d, &path, json_object_get(json, "named"), own);
	if (err == 0 && json_object_get(json, "bridge") != NULL)
		err = read_bridge(d, &path, json_object_get(json, "bridge"), &own->bridge);
	if (err == 0)
		err = read_call(d, &path, json, "setup_key", &own->setup_key);
	if (err == 0 && own->bridge != NULL && (own->n_named > 0 || own->fallback != NULL))
		err = json_wrong(&d->json, &path, "is either bridged or not");
	if (err == 0 && end == TLS_SERVER && own->n_named > 0)
		err = json_wrong(&d->json, &path, "servers do not ask for a certificate by name");
	return err;
}

static int read_mta_sts(struct document_reader *d, const struct json_path *path, const json_t *json, enum tls_end end,
			struct tls_verifier *v)
{
	int err = 0;

	if (json_object_get(json, "mta_sts") != NULL)
		err = json_member_text(&d->json, path, json, "mta_sts", DOMAIN_OCTETS_MAX, &v->mta_sts);
	if (err == 0)
		err = json_member_bool_or(&d->json, path, json, "mta_sts_required", false, &v->mta_sts_required);
	if (err == 0 && v->mta_sts != NULL && !host_name_is_plain(slice_cstr(v->mta_sts)))
		err = json_wrong(&d->json, path, "mta_sts: '%s' is not the name of a domain", v->mta_sts);
	if (err == 0 && v->mta_sts != NULL && end == TLS_CLIENT)
		err = json_wrong(&d->json, path, "mta_sts is for the server's side");
	if (err == 0 && v->mta_sts != NULL && v->ca_directory == NULL)
		err = json_wrong(&d->json, path, "mta_sts needs ca_directory");
	if (err == 0 && v->mta_sts_required && v->mta_sts == NULL)
		err = json_wrong(&d->json, path, "mta_sts_required needs mta_sts");
	return err;
}

static int read_verifier(struct document_reader *d, const struct json_path *up, const json_t *json, enum tls_end end,
			 struct tls_verifier *v)
{
	static const char *const members[] = { "type", "depth", "ca_directory", "crl_directory", "hint_directory",
					       "pinned_directory", "permit_invalid", "permit_missing_crl", "check_subject",
					       "dane", "mta_sts", "mta_sts_required", "verify", NULL };
	const struct json_path path = { up, "verifier", 0 };
	const struct { const char *name; const char **path; } directories[] = {
		{ "ca_directory", &v->ca_directory }, { "crl_directory", &v->crl_directory },
		{ "hint_directory", &v->hint_directory }, { "pinned_directory", &v->pinned_directory },
	};
	int64_t type, depth, dane;
	int err = json_want_object(&d->json, &path, json, members);

	if (err == 0)	/* without a type nobody knows how strict it is to be */
		err = json_member_int(&d->json, &path, json, "type", TLS_VERIFY_NONE, TLS_VERIFY_REQUIRED_TRUSTED, &type);
	if (err == 0)
		err = json_member_int_or(&d->json, &path, json, "depth", 0, DEPTH_LIMIT, VERIFY_DEPTH_DEFAULT, &depth);
	for (size_t i = 0; i < ARRAY_LEN(directories) && err == 0; i++)
		err = document_member_path(d, &path, json, directories[i].name, directories[i].path);
	if (err == 0)
		err = json_member_bool_or(&d->json, &path, json, "permit_invalid", false, &v->permit_invalid);
	if (err == 0)
		err = json_member_bool_or(&d->json, &path, json, "permit_missing_crl", false, &v->permit_missing_crl);
	if (err == 0)
		err = json_member_bool_or(&d->json, &path, json, "check_subject", end == TLS_SERVER, &v->check_subject);
	if (err == 0)
		err = json_member_int_or(&d->json, &path, json, "dane", TLS_DANE_OFF, TLS_DANE_REQUIRED, TLS_DANE_OFF, &dane);
	if (err == 0)
		err = read_mta_sts(d, &path, json, end, v);
	if (err == 0)
		err = read_call(d, &path, json, "verify", &v->verify);
	if (err == 0 && end == TLS_SERVER && v->hint_directory != NULL)
		err = json_wrong(&d->json, &path, "hint_directory is for the client's side");
	if (err == 0 && end == TLS_CLIENT && v->check_subject)
		err = json_wrong(&d->json, &path, "check_subject is for the server's side");
	if (err == 0 && end == TLS_CLIENT && dane != TLS_DANE_OFF)
		err = json_wrong(&d->json, &path, "dane is for the server's side");
	if (err < 0)
		return err;
	v->type = (enum tls_verify)type;
	v->depth = (unsigned)depth;
	v->dane = (enum tls_dane)dane;
	return 0;
}

static int read_version(struct document_reader *d, const struct json_path *path, const json_t *json, uint16_t *out)
{
	static const char *const names[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
	const char *text;
	int err = json_text(&d->json, path, json, 16, &text);

	for (size_t i = 0; i < ARRAY_LEN(names) && err == 0; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (uint16_t)(0x0301 + i);
			return 0;
		}
	return err < 0 ? err : json_wrong(&d->json, path, "there is no version '%s'", text);
}

/* [lowest, highest] */
static int read_versions(struct document_reader *d, const struct json_path *up, const json_t *json, struct tls_options *o)
{
	const struct json_path path = { up, "versions", 0 };
	int err;

	o->version_min = 0x0303;
	o->version_max = 0x0304;
	if (json == NULL)
		return 0;
	if (!json_is_array(json) || json_array_size(json) != 2)
		return json_wrong(&d->json, &path, "must be [lowest, highest]");
	err = read_version(d, &(struct json_path){ &path, NULL, 0 }, json_array_get(json, 0), &o->version_min);
	if (err == 0)
		err = read_version(d, &(struct json_path){ &path, NULL, 1 }, json_array_get(json, 1), &o->version_max);
	if (err == 0 && o->version_min > o->version_max)
		err = json_wrong(&d->json, &path, "the lowest is above the highest");
	return err;
}

static int member_text_or(struct document_reader *d, const struct json_path *path, const json_t *json, const char *name,
			  const char *missing, const char **out)
{
	if (json_object_get(json, name) != NULL)
		return json_member_text(&d->json, path, json, name, CIPHERS_OCTETS_MAX, out);
	*out = missing;
	return 0;
}

static int read_alpn(struct document_reader *d, const struct json_path *up, const json_t *json, struct tls_options *o)
{
	const struct json_path path = { up, "alpn", 0 };
	int err = json == NULL ? 0 : document_read_texts(d, &path, json, ALPN_MAX, &o->alpn, &o->n_alpn);

	for (size_t i = 0; i < o->n_alpn && err == 0; i++)
		if (strlen(o->alpn[i]) > ALPN_OCTETS_MAX)
			err = json_wrong(&d->json, &path, "a name has more than %d octets", ALPN_OCTETS_MAX);
	return err;
}

static int read_options(struct document_reader *d, const struct json_path *up, const json_t *json, enum tls_end end,
			struct tls_options *o)
{
	static const char *const client[] = { "versions", "ciphers", "ciphersuites", "groups", "dh", "server_preference",
					      "tickets", "session_seconds", "alpn", "ocsp_file", NULL };
	static const char *const server[] = { "versions", "ciphers", "ciphersuites", "groups", "session_seconds", "alpn",
					      NULL };
	const struct json_path path = { up, "options", 0 };
	struct slice dh = { NULL, 0 };
	int64_t seconds;
	int err = json_want_object(&d->json, &path, json, end == TLS_CLIENT ? client : server);

	if (err == 0)
		err = read_versions(d, &path, json_object_get(json, "versions"), o);
	if (err == 0)
		err = member_text_or(d, &path, json, "ciphers", CIPHERS_DEFAULT, &o->ciphers);
	if (err == 0)
		err = member_text_or(d, &path, json, "ciphersuites", NULL, &o->ciphersuites);
	if (err == 0)
		err = member_text_or(d, &path, json, "groups", NULL, &o->groups);
	if (err == 0)
		err = document_member_file_text(d, &path, json, "dh", DH_OCTETS_MAX, &dh);
	if (err == 0)
		err = json_member_bool_or(&d->json, &path, json, "server_preference", false, &o->server_preference);
	if (err == 0)
		err = json_member_bool_or(&d->json, &path, json, "tickets", end == TLS_CLIENT, &o->tickets);
	if (err == 0)
		err = json_member_int_or(&d->json, &path, json, "session_seconds", 0, SESSION_SECONDS_MAX,
					 SESSION_SECONDS_DEFAULT, &seconds);
	if (err == 0)
		err = read_alpn(d, &path, json_object_get(json, "alpn"), o);
	if (err == 0)
		err = document_member_path(d, &path, json, "ocsp_file", &o->ocsp_file);
	if (err < 0)
		return err;
	o->session_seconds = (uint32_t)seconds;
	o->dh_pem = (const char *)dh.ptr;
	return 0;
}

/* What the policy language knows: STARTTLS is accepted from clients, and passed on to servers. */
static bool security_is_possible(enum tls_end end, int64_t security)
{
	return security != (end == TLS_CLIENT ? TLS_FORWARD_STARTTLS : TLS_ACCEPT_STARTTLS);
}

static int read_side(struct document_reader *d, const struct json_path *up, const json_t *encryption, enum tls_end end,
		     struct tls_side *side)
{
	static const char *const members[] = { "security", "certificate", "verifier", "options", NULL };
	static const char *const off[] = { "security", NULL };
	const char *name = end == TLS_CLIENT ? "client" : "server";
	const struct json_path path = { up, name, 0 };
	const json_t *json = json_object_get(encryption, name);
	int64_t security = TLS_OFF;
	int err = json_want_object(&d->json, &path, json, members);

	side->own.setup_key.callback = side->verifier.verify.callback = -1;
	if (err == 0)
		err = json_member_int(&d->json, &path, json, "security", TLS_OFF, TLS_FORWARD_STARTTLS, &security);
	if (err == 0 && !security_is_possible(end, security))
		err = json_wrong(&d->json, &path, "security can't be %d there", (int)security);
	if (err == 0 && security == TLS_OFF)
		return json_want_object(&d->json, &path, json, off);
	if (err == 0)
		err = read_own(d, &path, json_object_get(json, "certificate"), end, &side->own);
	if (err == 0)
		err = read_verifier(d, &path, json_object_get(json, "verifier"), end, &side->verifier);
	if (err == 0)
		err = read_options(d, &path, json_object_get(json, "options"), end, &side->options);
	if (err == 0 && end == TLS_CLIENT && side->own.bridge == NULL && side->own.n_named == 0 &&
	    side->own.fallback == NULL && !policy_call_is_set(&side->own.setup_key))
		err = json_wrong(&d->json, &path, "there is no certificate to show to clients");
	if (err == 0)
		side->security = (enum tls_security)security;
	return err;
}

/* Is the handshake of this end over whenever the other end's begins? What is forced does not wait for what is asked for. */
static bool is_first(const struct encryption *e, enum tls_end end)
{
	bool forced = e->sides[end].security == TLS_FORCE, other = e->sides[1 - end].security == TLS_FORCE;

	return forced != other ? forced : e->server_first == (end == TLS_SERVER);
}

static int check_bridges(struct document_reader *d, const struct json_path *path, const struct encryption *e)
{
	const struct tls_side *client = &e->sides[TLS_CLIENT], *server = &e->sides[TLS_SERVER];

	if (client->own.bridge != NULL && server->own.bridge != NULL)
		return json_wrong(&d->json, path, "only one side can be bridged: neither certificate would be first");
	if (client->own.bridge != NULL && server->security == TLS_OFF)
		return json_wrong(&d->json, path, "the client's certificate is made from the server's, which is not encrypted");
	if (server->own.bridge != NULL && client->security == TLS_OFF)
		return json_wrong(&d->json, path, "the server's certificate is made from the client's, which is not encrypted");
	if (client->own.bridge != NULL && !is_first(e, TLS_SERVER))
		return json_wrong(&d->json, path, "the client's certificate is made from the server's, whose handshake comes later");
	if (server->own.bridge != NULL && !is_first(e, TLS_CLIENT))
		return json_wrong(&d->json, path, "the server's certificate is made from the client's, whose handshake comes later");
	return 0;
}

static int read_encryption(struct document_reader *d, const struct json_path *path, const json_t *json,
			   struct encryption *e)
{
	static const char *const members[] = { "name", "at", "handshake_timeout", "server_first", "client", "server", NULL };
	int64_t timeout;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_place(&d->json, path, json, &e->place);
	if (err < 0)
		return err;
	d->json.place = e->place;
	err = json_member_text(&d->json, path, json, "name", NAME_OCTETS_MAX, &e->name);
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "handshake_timeout", 1, HANDSHAKE_MS_MAX, HANDSHAKE_MS_DEFAULT,
					 &timeout);
	if (err == 0)
		err = json_member_bool_or(&d->json, path, json, "server_first", false, &e->server_first);
	for (enum tls_end end = TLS_CLIENT; end < TLS_ENDS && err == 0; end++)
		err = read_side(d, path, json, end, &e->sides[end]);
	if (err == 0)
		err = check_bridges(d, path, e);
	if (err == 0)
		e->handshake_timeout_ms = (uint32_t)timeout;
	return err;
}

int document_read_encryptions(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "encryptions", 0 };
	struct encryption *encryptions;
	int result = json == NULL ? 0 : json_want_array(&d->json, &path, json, ENCRYPTIONS_MAX);

	if (json == NULL || result < 0)
		return result;
	encryptions = arena_array(d->json.arena, json_array_size(json), sizeof(*encryptions));
	if (encryptions == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		encryptions[i].index = (uint32_t)i;
		result = worse(result, read_encryption(d, &(struct json_path){ &path, NULL, i }, json_array_get(json, i),
						       &encryptions[i]));
	}
	d->policy->encryptions = encryptions;
	d->policy->n_encryptions = json_array_size(json);
	return result;
}
