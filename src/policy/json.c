/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON that is not trusted: its values. */
#include "policy/json_priv.h"
#include "policy/proxy_config.h"

#include "base/buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OCTETS_MAX (1024u * 1024u)

static void path_text(const struct json_path *path, struct buffer *out)
{
	if (path == NULL)
		return;
	path_text(path->up, out);
	if (path->member == NULL)
		buffer_printf(out, "[%zu]", path->index);
	else
		buffer_printf(out, "%s%.80s", out->len > 0 ? "." : "", path->member);
}

int json_wrong(struct json_reader *r, const struct json_path *path, const char *format, ...)
{
	struct buffer text = BUFFER_INIT(8192);
	va_list ap;
	char words[400];

	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	path_text(path, &text);
	if (text.len > 0)
		problems_add(r->problems, PROBLEM_ERROR, r->place, NULL, "%s: %.*s: %s", r->subject,
			     SLICE_ARG(buffer_slice(&text)), words);
	else
		problems_add(r->problems, PROBLEM_ERROR, r->place, NULL, "%s: %s", r->subject, words);
	buffer_release(&text);
	return -EINVAL;
}

static const char *kind_name(const json_t *json)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false", [JSON_NULL] = "null",
	};

	return json == NULL ? "missing" : names[json_typeof(json)];
}

int json_want_object(struct json_reader *r, const struct json_path *path, const json_t *json,
		   const char *const *members)
{
	const char *name;
	json_t *value;
	int err = 0;

	if (json == NULL || json_typeof(json) != JSON_OBJECT)
		return json_wrong(r, path, "must be an object, is %s", kind_name(json));
	json_object_foreach((json_t *)json, name, value) {
		const char *const *known = members;

		while (*known != NULL && strcmp(*known, name) != 0)
			known++;
		if (*known == NULL)
			err = json_wrong(r, path, "unknown member '%.80s'", name);
	}
	return err;
}

int json_want_array(struct json_reader *r, const struct json_path *path, const json_t *json, size_t max)
{
	if (json == NULL || json_typeof(json) != JSON_ARRAY)
		return json_wrong(r, path, "must be an array, is %s", kind_name(json));
	if (json_array_size(json) > max)
		return json_wrong(r, path, "has %zu elements, at most %zu are possible", json_array_size(json), max);
	return 0;
}

int json_int(struct json_reader *r, const struct json_path *path, const json_t *json, int64_t min, int64_t max,
	     int64_t *out)
{
	json_int_t n;

	if (!json_is_integer(json))
		return json_wrong(r, path, "must be an integer, is %s", kind_name(json));
	n = json_integer_value(json);
	if (n < min || n > max)
		return json_wrong(r, path, "is %" JSON_INTEGER_FORMAT ", must be from %" PRId64 " to %" PRId64, n, min,
				  max);
	*out = n;
	return 0;
}

int json_bool(struct json_reader *r, const struct json_path *path, const json_t *json, bool *out)
{
	if (json_is_integer(json) && (json_integer_value(json) == 0 || json_integer_value(json) == 1))
		*out = json_integer_value(json) == 1;
	else if (json_is_boolean(json))
		*out = json_is_true(json);
	else
		return json_wrong(r, path, "must be true or false, is %s", kind_name(json));
	return 0;
}

int json_text(struct json_reader *r, const struct json_path *path, const json_t *json, size_t max, const char **out)
{
	struct slice text;
	const char *copy;

	if (!json_is_string(json))
		return json_wrong(r, path, "must be a string, is %s", kind_name(json));
	text = slice_of(json_string_value(json), json_string_length(json));
	if (text.len == 0)
		return json_wrong(r, path, "must not be empty");
	if (text.len > max)
		return json_wrong(r, path, "has %zu octets, at most %zu are possible", text.len, max);
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return json_wrong(r, path, "has a control character");
	copy = arena_cstr(r->arena, text);
	if (copy == NULL)
		return -ENOMEM;
	*out = copy;
	return 0;
}

/* One character U+0000..U+00FF for each octet; jansson has checked the UTF-8. */
int json_to_octets(const struct json_t *json, struct arena *arena, struct slice *out)
{
	const uint8_t *text = (const uint8_t *)json_string_value(json);
	size_t len, n = 0;
	uint8_t *octets;

	if (text == NULL)
		return -EINVAL;
	len = json_string_length(json);
	if (len > 2 * OCTETS_MAX)
		return -EINVAL;
	octets = arena_alloc(arena, len);
	if (octets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x80) {
			octets[n++] = text[i];
		} else if (text[i] <= 0xc3 && i + 1 < len) {
			octets[n++] = (uint8_t)(text[i] << 6 | (text[i + 1] & 0x3f));
			i++;
		} else {
			return -EINVAL;
		}
	}
	*out = slice_of(octets, n);
	return 0;
}

json_t *json_from_octets(struct slice octets)
{
	uint8_t small[128] = { 0 };
	uint8_t *text = octets.len * 2 <= sizeof(small) ? small : calloc(octets.len, 2);
	size_t n = 0;
	json_t *json;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < octets.len; i++) {
		if (octets.ptr[i] >= 0x80)
			text[n++] = (uint8_t)(0xc0 | octets.ptr[i] >> 6);
		text[n++] = octets.ptr[i] >= 0x80 ? (uint8_t)(0x80 | (octets.ptr[i] & 0x3f)) : octets.ptr[i];
	}
	json = json_stringn((const char *)text, n);
	if (text != small)
		free(text);
	return json;
}

int json_octets(struct json_reader *r, const struct json_path *path, const json_t *json, struct slice *out)
{
	int err;

	if (!json_is_string(json))
		return json_wrong(r, path, "must be a string, is %s", kind_name(json));
	err = json_to_octets(json, r->arena, out);
	if (err == -EINVAL)
		return json_wrong(r, path, "is not a string of octets (characters up to U+00FF), or too long");
	return err;
}

int json_member_int(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
		    int64_t min, int64_t max, int64_t *out)
{
	return json_int(r, &(struct json_path){ path, name, 0 }, json_object_get(object, name), min, max, out);
}

int json_member_int_or(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
		       int64_t min, int64_t max, int64_t missing, int64_t *out)
{
	if (json_object_get(object, name) != NULL)
		return json_member_int(r, path, object, name, min, max, out);
	*out = missing;
	return 0;
}

int json_member_bool_or(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
			bool missing, bool *out)
{
	const json_t *json = json_object_get(object, name);

	if (json != NULL)
		return json_bool(r, &(struct json_path){ path, name, 0 }, json, out);
	*out = missing;
	return 0;
}

int json_member_text(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
		     size_t max, const char **out)
{
	return json_text(r, &(struct json_path){ path, name, 0 }, json_object_get(object, name), max, out);
}

int json_member_place(struct json_reader *r, const struct json_path *path, const json_t *object,
		      struct policy_place *out)
{
	const struct json_path at = { path, "at", 0 };
	const json_t *json = json_object_get(object, "at");
	int64_t file, line;

	if (json == NULL) {
		*out = (struct policy_place){ NULL, 0 };
		return 0;
	}
	if (json_typeof(json) != JSON_ARRAY || json_array_size(json) != 2)
		return json_wrong(r, &at, "must be [file, line]");
	if (json_int(r, &at, json_array_get(json, 0), 0, (int64_t)r->n_files - 1, &file) < 0 ||
	    json_int(r, &at, json_array_get(json, 1), 0, 1 << 30, &line) < 0)
		return -EINVAL;
	*out = (struct policy_place){ r->files[file], (unsigned)line };
	return 0;
}
