/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS in the packets of the callback conversation (docs/policy-document.md, "TLS"): what is known of
 * a session's handshakes goes to the host, a certificate of policy code's comes back. Runs on
 * co_leaf, as all that touches JSON.
 */
#include "session/callback_priv.h"

#include <errno.h>

#define CHAIN_OCTETS_MAX (48u * 1024u)	/* of one side's certificates, as PEM: they share a packet with the rest */

static bool set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

static json_t *name_to_json(const char *name)
{
	return name != NULL ? json_string(name) : json_null();
}

static json_t *certificate_to_json(const struct tls_peer_certificate *c)
{
	json_t *json = json_object();

	if (json != NULL && set(json, "pem", json_from_octets(c->pem)) && set(json, "subject", json_from_octets(c->subject)) &&
	    set(json, "issuer", json_from_octets(c->issuer)) && set(json, "serial", json_from_octets(c->serial)))
		return json;
	json_decref(json);
	return NULL;
}

/* Leaf first; what does not fit is left out. */
static json_t *peer_to_json(const struct tls_facts *facts)
{
	json_t *json = json_array();
	size_t octets = 0;

	for (size_t i = 0; i < facts->n_peer && json != NULL; i++) {
		octets += facts->peer[i].pem.len;
		if (octets > CHAIN_OCTETS_MAX)
			break;
		if (json_array_append_new(json, certificate_to_json(&facts->peer[i])) < 0) {
			json_decref(json);
			return NULL;
		}
	}
	return json;
}

static json_t *end_to_json(const struct tls_facts *facts)
{
	json_t *json = json_object();
	bool fine = json != NULL && set(json, "alpn_offered", json_from_octets(facts->alpn_offered)) &&
		    set(json, "ja4", json_from_octets(facts->ja4)) && set(json, "peer", peer_to_json(facts)) &&
		    set(json, "trusted", json_integer(facts->trusted)) && set(json, "error", json_integer(facts->verify_error));

	if (fine && facts->version != NULL)
		fine = set(json, "version", json_string(facts->version)) && set(json, "cipher", name_to_json(facts->cipher)) &&
		       set(json, "group", name_to_json(facts->group)) && set(json, "resumed", json_integer(facts->resumed)) &&
		       set(json, "alpn", json_from_octets(facts->alpn));
	if (fine)
		return json;
	json_decref(json);
	return NULL;
}

json_t *callback_tls_to_json(const struct session *s)
{
	static const char *const names[TLS_ENDS] = { [TLS_CLIENT] = "client", [TLS_SERVER] = "server" };
	json_t *json = json_object();
	bool fine = json != NULL;

	for (int end = 0; end < TLS_ENDS && fine; end++) {
		const struct tls_handshake *h = s->secure.ends[end].handshake;

		if (h == NULL)
			continue;
		fine = set(json, names[end], end_to_json(&h->facts));
		if (fine && end == TLS_CLIENT && h->facts.server_name.len > 0)
			fine = set(json, "server_name", json_from_octets(h->facts.server_name));
	}
	if (fine)
		return json;
	json_decref(json);
	return NULL;
}

static int read_text(const json_t *json, const char *name, struct arena *arena, struct slice *out)
{
	const json_t *value = json_object_get(json, name);

	return value == NULL ? 0 : json_to_octets(value, arena, out);
}

int callback_tls_read(struct session *s, const json_t *packet)
{
	const json_t *json = json_object_get(packet, "tls");
	struct session_secure *secure = &s->secure;
	struct tls_given given = { .pem = { NULL, 0 } };

	if (json == NULL)
		return 0;
	if (secure->given_arena == NULL || !json_is_object(json))
		return -EBADMSG;
	if (read_text(json, "certificate", secure->given_arena, &given.pem) < 0 ||
	    read_text(json, "key", secure->given_arena, &given.key_pem) < 0 ||
	    read_text(json, "passphrase", secure->given_arena, &given.passphrase) < 0 || given.pem.len == 0)
		return -EBADMSG;
	secure->given = given;
	return 0;
}
