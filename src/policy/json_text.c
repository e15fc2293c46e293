/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From text to JSON. jansson recurses, so the depth is looked at before it runs; and it keeps ten
 * times the memory of its text, so arrays of a policy's size are cut out of the text first. What is
 * cut out is found by brackets and quotes alone: that it is JSON is seen when its elements are
 * parsed, and that the rest is, with [] in their places, when that is.
 */
#include "policy/json_priv.h"

#include "base/buffer.h"

#include <errno.h>

/* The closing quote of the string whose opening one stands at i; or the end of the text. */
static size_t string_end(struct slice text, size_t i)
{
	for (i++; i < text.len && text.ptr[i] != '"'; i++)
		if (text.ptr[i] == '\\')
			i++;
	return i;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice skip_blanks(struct slice s)
{
	while (s.len > 0 && is_blank(*s.ptr))
		s = slice_skip(s, 1);
	return s;
}

struct scan {
	struct json_cut *cuts, *open;	/* open: the one that the scan is in */
	size_t n_cuts;
	struct slice member;		/* of the root: what may be its name */
	unsigned depth, deepest;
};

static void open_bracket(struct scan *scan, struct slice text, size_t i)
{
	if (++scan->depth > scan->deepest)
		scan->deepest = scan->depth;
	if (text.ptr[i] != '[' || scan->depth != 2)
		return;
	for (size_t c = 0; c < scan->n_cuts; c++) {
		if (scan->cuts[c].text.ptr == NULL && slice_is(scan->member, scan->cuts[c].member)) {
			scan->open = &scan->cuts[c];
			scan->open->text = slice_skip(text, i + 1);
			scan->open->n = 1;
		}
	}
}

static void close_bracket(struct scan *scan, struct slice text, size_t i)
{
	struct json_cut *cut = scan->open;

	if (scan->depth > 0)
		scan->depth--;
	if (cut == NULL || scan->depth != 1)
		return;
	cut->text.len = (size_t)(&text.ptr[i + 1] - cut->text.ptr);
	if (text.ptr[i] == ']' && skip_blanks(cut->text).len == 1)
		cut->n = 0;
	scan->open = NULL;
}

/* The deepest nesting of brackets outside strings, and the cuts. Malformed text gives anything. */
static unsigned scan_text(struct slice text, struct json_cut *cuts, size_t n_cuts)
{
	struct scan scan = { .cuts = cuts, .n_cuts = n_cuts };

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '"') {
			size_t end = string_end(text, i);

			if (scan.depth == 1)
				scan.member = slice_take(slice_skip(text, i + 1), end - i - 1);
			i = end;
		} else if (c == '{' || c == '[') {
			open_bracket(&scan, text, i);
		} else if (c == '}' || c == ']') {
			close_bracket(&scan, text, i);
		} else if (c == ',' && scan.depth == 2 && scan.open != NULL) {
			scan.open->n++;
		}
	}
	if (scan.open != NULL)
		*scan.open = (struct json_cut){ .member = scan.open->member };
	return scan.deepest;
}

static json_t *parse(struct json_reader *r, const struct json_path *path, struct slice text, size_t flags, size_t *used)
{
	json_error_t error;
	json_t *json = json_loadb(text.len == 0 ? "" : (const char *)text.ptr, text.len,
				  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | flags, &error);

	if (json == NULL)
		json_wrong(r, path, "%s", error.text);
	else if (used != NULL)
		*used = (size_t)error.position;
	return json;
}

/* The text with [] for each cut. */
static void without_cuts(struct slice text, const struct json_cut *cuts, size_t n_cuts, struct buffer *out)
{
	while (text.len > 0) {
		const struct json_cut *next = NULL;
		size_t before = text.len;

		for (size_t i = 0; i < n_cuts; i++) {
			size_t at = cuts[i].text.ptr == NULL ? SIZE_MAX : (size_t)(cuts[i].text.ptr - text.ptr);

			if (at < before) {
				next = &cuts[i];
				before = at;
			}
		}
		buffer_append(out, slice_take(text, before));
		if (next != NULL)
			buffer_append_octet(out, ']');
		text = slice_skip(text, before + (next == NULL ? 0 : next->text.len));
	}
}

json_t *json_read_text(struct json_reader *r, struct slice text)
{
	return json_read_cut(r, text, NULL, 0);
}

json_t *json_read_cut(struct json_reader *r, struct slice text, struct json_cut *cuts, size_t n_cuts)
{
	struct buffer rest = BUFFER_INIT(text.len + n_cuts);
	json_t *json = NULL;

	if (scan_text(text, cuts, n_cuts) > JSON_DEPTH_MAX) {
		json_wrong(r, NULL, "nested more than %d levels deep", JSON_DEPTH_MAX);
		return NULL;
	}
	if (n_cuts == 0)
		return parse(r, NULL, text, 0, NULL);
	without_cuts(text, cuts, n_cuts, &rest);
	if (rest.broken)
		json_wrong(r, NULL, "%s", strerror(ENOMEM));
	else
		json = parse(r, NULL, buffer_slice(&rest), 0, NULL);
	buffer_release(&rest);
	return json;
}

int json_want_cut(struct json_reader *r, const json_t *root, const struct json_cut *cut, size_t max)
{
	const struct json_path path = { NULL, cut->member, 0 };
	const json_t *json = json_object_get(root, cut->member);
	int err = json_want_array(r, &path, json, SIZE_MAX);

	if (err < 0)
		return err;
	if (cut->text.ptr == NULL)
		return json_wrong(r, &path, "its name must be written without escapes");
	if (cut->n > max)
		return json_wrong(r, &path, "has %zu elements, at most %zu are possible", cut->n, max);
	return 0;
}

int json_next(struct json_reader *r, const struct json_path *path, struct json_cut *cut, json_t **out)
{
	size_t used = 0;
	json_t *json = parse(r, path, cut->text, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &used);
	struct slice rest;

	if (json == NULL)
		return -EINVAL;
	rest = skip_blanks(slice_skip(cut->text, used));
	if (rest.len == 0 || *rest.ptr != (cut->n == 1 ? ']' : ',')) {
		json_decref(json);
		return json_wrong(r, path, "',' or ']' expected");
	}
	cut->text = slice_skip(rest, 1);
	cut->n--;
	*out = json;
	return 0;
}
