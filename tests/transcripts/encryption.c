/* SPDX-License-Identifier: Apache-2.0 */
#include "encryption.h"
#include "pki.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct words {
	int client, server;		/* security */
	int verify, client_verify;	/* types */
	int dane;
	bool server_first, crl, pins, bridge, own, tls12, p384, mta_sts, mta_sts_required;
	long timeout_ms, setup_key, call;	/* callbacks: -1 none */
};

/* The values of policy/encryption.h. */
static int number_of(const char *word)
{
	static const struct { const char *word; int number; } table[] = {
		{ "off", 0 }, { "force", 1 }, { "accept", 2 }, { "forward", 3 },
		{ "none", 0 }, { "optional", 1 }, { "untrusted", 3 }, { "trusted", 4 },
		{ "opportunistic", 1 }, { "required", 2 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(word, table[i].word) == 0)
			return table[i].number;
	return -1;
}

static bool take_word(const char *word, struct words *w)
{
	const struct { const char *name; int *number; } numbers[] = {
		{ "client=", &w->client }, { "server=", &w->server }, { "verify=", &w->verify }, { "client_verify=", &w->client_verify },
		{ "dane=", &w->dane },
	};
	const struct { const char *name; bool *flag; } flags[] = {
		{ "server_first", &w->server_first }, { "crl", &w->crl }, { "pins", &w->pins }, { "bridge", &w->bridge }, { "own", &w->own },
		{ "tls1.2", &w->tls12 }, { "p384", &w->p384 }, { "mta_sts", &w->mta_sts }, { "mta_sts_required", &w->mta_sts_required },
	};
	const struct { const char *name; long *value; } values[] = {
		{ "timeout=", &w->timeout_ms }, { "setup_key=", &w->setup_key }, { "call=", &w->call },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (strncmp(word, numbers[i].name, strlen(numbers[i].name)) == 0) {
			*numbers[i].number = number_of(word + strlen(numbers[i].name));
			return *numbers[i].number >= 0;
		}
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcmp(word, flags[i].name) == 0) {
			*flags[i].flag = true;
			return true;
		}
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (strncmp(word, values[i].name, strlen(values[i].name)) == 0) {
			*values[i].value = strtol(word + strlen(values[i].name), NULL, 10);
			return true;
		}
	return false;
}

static json_t *path_json(const char *name)
{
	return json_sprintf("%s/%s", pki_directory(), name);
}

static json_t *certificate_json(const char *name, int key)
{
	static char text[16384];
	char path[256];
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s.pem", pki_directory(), name);
	f = fopen(path, "re");
	if (f != NULL) {
		n = fread(text, 1, sizeof(text), f);
		fclose(f);
	}
	return json_pack("{s:s,s:s%,s:i,s:[i,i]}", "file", path, "pem", text, n, "key", key, "at", 0, 1);
}

static json_t *key_json(const char *name)
{
	return json_pack("{s:o,s:[i,i]}", "file", json_sprintf("%s/%s.key", pki_directory(), name), "at", 0, 1);
}

static json_t *verifier_json(const struct words *w, int type)
{
	json_t *v = json_pack("{s:i,s:o}", "type", type, "ca_directory", path_json("ca"));

	if (w->crl)
		json_object_set_new(v, "crl_directory", path_json("crl"));
	return v;
}

static json_t *server_verifier_json(const struct words *w)
{
	json_t *v = verifier_json(w, w->verify);

	if (w->pins)
		json_object_set_new(v, "pinned_directory", path_json("pins"));
	if (w->dane != 0)
		json_object_set_new(v, "dane", json_integer(w->dane));
	if (w->mta_sts || w->mta_sts_required)
		json_object_update_new(v, json_pack("{s:s,s:b}", "mta_sts", "domain.example", "mta_sts_required", w->mta_sts_required));
	if (w->call >= 0)
		json_object_set_new(v, "verify", json_pack("{s:i}", "callback", (int)w->call));
	return v;
}

static json_t *side_json(const struct words *w, bool server)
{
	int security = server ? w->server : w->client;
	json_t *side = json_pack("{s:i}", "security", security), *certificate, *options;

	if (security == 0)
		return side;
	if (!server && w->bridge)
		certificate = json_pack("{s:{s:i,s:i,s:i,s:[s,s,s]}}", "bridge", "key", 0, "trusted_ca", 1, "untrusted_ca", 1, "extensions", "keyUsage", "subjectAltName", "extendedKeyUsage");
	else
		certificate = json_pack("{s:i}", "static", server ? 2 : 0);
	if (!server && w->setup_key >= 0)
		json_object_set_new(certificate, "setup_key", json_pack("{s:i}", "callback", (int)w->setup_key));
	if (!server || w->own)
		json_object_set(side, "certificate", certificate);
	json_decref(certificate);
	json_object_set_new(side, "verifier", server ? server_verifier_json(w) : verifier_json(w, w->client_verify));
	options = w->tls12 ? json_pack("{s:[s,s]}", "versions", "TLSv1.2", "TLSv1.2") : json_object();
	if (w->p384)
		json_object_set_new(options, "groups", json_string("P-384"));
	json_object_set_new(side, "options", options);
	return side;
}

json_t *encryption_members(const char *words, const char **unknown)
{
	struct words w = { .verify = 4, .timeout_ms = 30000, .setup_key = -1, .call = -1 };
	char *copy = strdup(words), *rest = copy;

	for (char *word; (word = strsep(&rest, " ")) != NULL;)
		if (word[0] != '\0' && !take_word(word, &w)) {
			*unknown = words + (word - copy);
			free(copy);
			return NULL;
		}
	free(copy);
	return json_pack("{s:[o,o,o],s:[o,o,o],s:[{s:s,s:[i,i],s:i,s:b,s:o,s:o}]}",
			 "tls_keys", key_json("firewall"), key_json("ca"), key_json("client"),
			 "tls_certificates", certificate_json("firewall", 0), certificate_json("ca", 1), certificate_json("client", 2),
			 "encryptions", "name", "test", "at", 0, 1, "handshake_timeout", (int)w.timeout_ms,
			 "server_first", w.server_first || w.bridge, "client", side_json(&w, false), "server", side_json(&w, true));
}
