/* SPDX-License-Identifier: Apache-2.0 */
/* Policy code, as a transcript has it: what each callback does from now on. */
#include "pki.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>

/* A file of pki.h, on the policy's arena. */
static struct slice read_pki(struct run *r, const char *name, const char *ending)
{
	char path[256], *text;
	struct slice file = { NULL, 0 };
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s%s", pki_directory(), name, ending);
	f = fopen(path, "re");
	text = arena_alloc(r->h.arena, OCTETS_MAX / 16);
	if (f == NULL || text == NULL) {
		fail(r, "there is no certificate '%s'", name);
	} else {
		n = fread(text, 1, OCTETS_MAX / 16, f);
		file = slice_of(text, n);
	}
	if (f != NULL)
		fclose(f);
	return file;
}

/* callback N returns V | raises | late | dies, then [set {ATTRIBUTES}] [tables [ENTRIES]] [certificate NAME] */
void set_callback(struct run *r, char *text)
{
	char *rest = text;
	long number = strtol(text, &rest, 10);
	struct harness_callback *c;
	json_error_t error;
	char *set, *tables, *certificate;

	if (prepare(r) < 0 || number < 0 || number >= HARNESS_CALLBACKS)
		return;
	c = &r->h.callbacks[number];
	set = strstr(rest, " set ");
	tables = strstr(rest, " tables ");
	certificate = strstr(rest, " certificate ");
	if (certificate != NULL) {
		c->pem = read_pki(r, certificate + strlen(" certificate "), ".pem");
		c->key_pem = read_pki(r, certificate + strlen(" certificate "), ".key");
	}
	json_decref(c->attributes);
	json_decref(c->tables);
	c->attributes = c->tables = NULL;
	if (set != NULL)
		c->attributes = json_loads(set + 5, JSON_DISABLE_EOF_CHECK, &error);
	if (tables != NULL)
		c->tables = json_loads(tables + 8, JSON_DISABLE_EOF_CHECK, &error);
	if ((set != NULL && c->attributes == NULL) || (tables != NULL && c->tables == NULL))
		fail(r, "callback: %s", error.text);
	while (*rest == ' ')
		rest++;
	if (strncmp(rest, "raises", 6) == 0) {
		c->does = CALLBACK_RAISES;
	} else if (strncmp(rest, "late", 4) == 0) {
		c->does = CALLBACK_LATE;
	} else if (strncmp(rest, "dies", 4) == 0) {
		c->does = CALLBACK_DIES;
	} else if (strncmp(rest, "returns none", 12) == 0) {
		c->does = CALLBACK_RETURNS;
		c->result = (struct call_value){ .kind = CALL_NONE };
	} else if (strncmp(rest, "returns \"", 9) == 0) {
		json_t *value = json_loads(rest + 8, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &error);

		c->does = CALLBACK_RETURNS;
		c->result = (struct call_value){ .kind = CALL_OCTETS,
						 .octets = arena_copy(r->h.arena, slice_cstr(json_string_value(value))) };
		json_decref(value);
	} else if (strncmp(rest, "returns ", 8) == 0) {
		c->does = CALLBACK_RETURNS;
		c->result = (struct call_value){ .kind = CALL_INT, .number = strtoll(rest + 8, NULL, 10) };
	} else {
		fail(r, "what does the callback do?");
	}
}
