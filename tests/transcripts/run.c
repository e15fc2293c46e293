/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs transcripts: data files that say, octet by octet, what both sides of a session send and
 * must receive (README.md has the format). Each runs twice: as its segments are written, and
 * with every octet sent alone; the outcome must be the same.
 *
 *	transcripts PRESETS DIRECTORY [FILE]
 */
#include "encryption.h"
#include "harness.h"
#include "pki.h"
#include "proxy/smtp/smtp.h"
#include "session/pool.h"
#include "tls_peer.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define OCTETS_MAX (1u << 20)

enum side { CLIENT, SERVER, FORMER, SIDES };	/* FORMER: the server of the connection before this one */
static const char *const side_names[SIDES] = { "client", "server", "former server" };

struct octets {
	uint8_t *data;
	size_t len;
};

struct run {
	const char *presets, *directory, *file;
	unsigned line;
	bool in_drops;			/* the second pass */
	bool started, failed;
	struct harness h;
	bool have_harness;
	json_t *config, *document, *service;
	char client_address[64];
	int connect_error;
	struct octets from_proxy[SIDES];	/* what each received and nobody looked at yet */
	bool eof[SIDES];
	struct tls_peer *tls[SIDES];	/* NULL: it speaks plain text */
	unsigned servers_seen;		/* connections to servers */
	int log_fd;
	size_t records_seen;		/* accounting lines that a "record" was compared with */
	bool ends;			/* there was an "end" line */
	bool client_encrypted;
	bool at_once;			/* "at once": the outcome depends on the segments */
};

static void fail(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_octets(FILE *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\r')
			fputs("\\r", out);
		else if (s.ptr[i] == '\n')
			fputs(i + 1 < s.len ? "\\n\n#         " : "\\n", out);
		else if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e || s.ptr[i] == '\\')
			fprintf(out, "\\x%02x", s.ptr[i]);
		else
			fputc(s.ptr[i], out);
	}
}

static void fail(struct run *r, const char *format, ...)
{
	va_list ap;

	r->failed = true;
	fprintf(stdout, "# %s:%u%s: ", r->file, r->line, r->in_drops ? " (octet by octet)" : "");
	va_start(ap, format);
	vfprintf(stdout, format, ap);
	va_end(ap);
	fputc('\n', stdout);
}

static void show(const char *what, struct slice s)
{
	printf("#   %s: ", what);
	print_octets(stdout, s);
	printf("\n");
}

static int *far_end(struct run *r, int side)
{
	int *const ends[SIDES] = { &r->h.client, &r->h.server, &r->h.former };

	return ends[side];
}

/* There is another server: what the one before received and nobody looked at stays with it. */
static void notice_new_server(struct run *r)
{
	struct octets swapped = r->from_proxy[FORMER];

	if (r->servers_seen == r->h.n_connections)
		return;
	if (r->servers_seen + 1 < r->h.n_connections || swapped.len > 0)
		fail(r, "servers received what the transcript does not show");
	r->servers_seen = r->h.n_connections;
	swapped.len = 0;
	r->from_proxy[FORMER] = r->from_proxy[SERVER];
	r->from_proxy[SERVER] = swapped;
	r->eof[FORMER] = r->eof[SERVER];
	r->eof[SERVER] = false;
	tls_peer_free(&r->tls[FORMER]);
	r->tls[FORMER] = r->tls[SERVER];
	r->tls[SERVER] = NULL;
}

static ssize_t read_side(struct run *r, int side, void *buf, size_t size)
{
	ssize_t n;

	if (r->tls[side] == NULL)
		return read(*far_end(r, side), buf, size);
	switch (tls_peer_step(r->tls[side])) {
	case TLS_PEER_DONE:
		return tls_peer_read(r->tls[side], buf, size);
	case TLS_PEER_FAILED:	/* an alert may come, or nothing */
		while ((n = read(*far_end(r, side), buf, size)) > 0)
			;
		return n;
	default:
		errno = EAGAIN;
		return -1;
	}
}

static ssize_t write_side(struct run *r, int side, const void *buf, size_t size)
{
	if (r->tls[side] == NULL)
		return send(*far_end(r, side), buf, size, MSG_NOSIGNAL);
	return tls_peer_write(r->tls[side], buf, size);
}

/* What the far end of one side received so far. */
static void collect(struct run *r, int side)
{
	int fd = *far_end(r, side);
	struct octets *o = &r->from_proxy[side];

	while (fd >= 0) {
		ssize_t n;

		if (o->len + 65536 > OCTETS_MAX)
			return;
		n = read_side(r, side, o->data + o->len, 65536);
		if (n == 0)
			r->eof[side] = true;
		if (n < 0 && errno != EAGAIN)
			r->eof[side] = true;
		if (n <= 0)
			return;
		o->len += (size_t)n;
	}
}

/* Changes with all that moved. */
static size_t received(const struct run *r)
{
	size_t n = 0;

	for (int side = 0; side < SIDES; side++) {
		n += r->from_proxy[side].len;
		if (r->tls[side] != NULL)
			n += tls_peer_progress(r->tls[side]);
	}
	return n;
}

static void settle(struct run *r)
{
	for (;;) {
		size_t before = received(r);

		harness_settle(&r->h);
		notice_new_server(r);
		for (int side = 0; side < SIDES; side++)
			collect(r, side);
		if (before == received(r))
			return;
	}
}

/* The header is over: the policy is built. */
static int prepare(struct run *r)
{
	int err;

	if (r->have_harness)
		return 0;
	r->have_harness = true;
	err = harness_init(&r->h, r->config, r->document, r->service, &smtp_type);
	r->h.connect_error = r->connect_error;
	r->h.client_encrypted = r->client_encrypted;
	if (err < 0)
		fail(r, "the policy is refused: %s", strerror(-err));
	return err;
}

static int start(struct run *r)
{
	int err = prepare(r);

	if (r->started || err < 0)
		return err;
	r->started = true;
	err = harness_connect(&r->h, r->client_address);
	if (err < 0)
		fail(r, "the session does not start: %s", strerror(-err));
	return err;
}

/* ---- reading the file ---- */

static int hex(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#define ANY_OCTETS 0x100u	/* "\*": any octets of a line */
#define BOUNDARY 0x101u		/* "|": a segment ends here */

/* Text with C escapes into codes of octets, and the two above. Returns the number. */
static size_t unescape(struct run *r, const char *text, uint16_t *out)
{
	size_t n = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '|') {
			out[n++] = BOUNDARY;
			continue;
		}
		if (*p != '\\') {
			out[n++] = (uint8_t)*p;
			continue;
		}
		p++;
		switch (*p) {
		case 'r': out[n++] = '\r'; break;
		case 'n': out[n++] = '\n'; break;
		case 't': out[n++] = '\t'; break;
		case '0': out[n++] = 0; break;
		case 's': out[n++] = ' '; break;
		case '*': out[n++] = ANY_OCTETS; break;
		case '\\': case '|': case '#': out[n++] = (uint8_t)*p; break;
		case 'x':
			if (hex(p[1]) < 0 || hex(p[2]) < 0) {
				fail(r, "\\x wants two hexadecimal digits");
				return n;
			}
			out[n++] = (uint16_t)(hex(p[1]) * 16 + hex(p[2]));
			p += 2;
			break;
		case '{': {	/* \{N*C}: the octet C, N times */
			char *end;
			unsigned long count = strtoul(p + 1, &end, 10);

			if (*end != '*' || end[1] == '\0' || end[2] != '}' || count > OCTETS_MAX / 4) {
				fail(r, "a repetition is \\{N*C}");
				return n;
			}
			for (unsigned long i = 0; i < count; i++)
				out[n++] = (uint8_t)end[1];
			p = end + 2;
			break;
		}
		default:
			fail(r, "unknown escape \\%c", *p);
			return n;
		}
	}
	return n;
}

static void send_octets(struct run *r, int side, const char *text)
{
	static uint16_t codes[OCTETS_MAX];
	static uint8_t segment[OCTETS_MAX];
	int *fd = far_end(r, side);
	size_t n = unescape(r, text, codes), len = 0;

	if (r->tls[side] != NULL && tls_peer_step(r->tls[side]) != TLS_PEER_DONE)
		fail(r, "the TLS handshake of the %s is not done", side_names[side]);
	for (size_t i = 0; i <= n; i++) {
		bool boundary = i == n || codes[i] == BOUNDARY;

		if (!boundary)
			segment[len++] = (uint8_t)codes[i];
		if (!boundary && !r->in_drops)
			continue;
		for (size_t sent = 0; sent < len;) {
			ssize_t k = *fd >= 0 ? write_side(r, side, segment + sent, len - sent) : -1;

			/* A side that was cut off may write into nothing: what it must not do is see an answer. */
			if (k < 0 && errno != EAGAIN)
				break;
			sent += k > 0 ? (size_t)k : 0;
			settle(r);
			if (k < 0 && errno == EAGAIN && r->h.ended)
				break;
		}
		len = 0;
		settle(r);
	}
}

static bool matches(const uint16_t *want, size_t n_want, struct slice have, size_t *used)
{
	size_t at = 0;

	for (size_t i = 0; i < n_want; i++) {
		if (want[i] == BOUNDARY)
			continue;
		if (want[i] == ANY_OCTETS) {
			while (at < have.len && have.ptr[at] != '\r' && have.ptr[at] != '\n' &&
			       (i + 1 == n_want || have.ptr[at] != want[i + 1]))
				at++;
			continue;
		}
		if (at == have.len || have.ptr[at] != want[i])
			return false;
		at++;
	}
	*used = at;
	return true;
}

static void receive_octets(struct run *r, int side, const char *text)
{
	static uint16_t codes[OCTETS_MAX];
	static uint8_t wanted[OCTETS_MAX];
	size_t n = unescape(r, text, codes), used = 0, len = 0;
	struct octets *o = &r->from_proxy[side];

	settle(r);
	if (matches(codes, n, slice_of(o->data, o->len), &used)) {
		memmove(o->data, o->data + used, o->len - used);
		o->len -= used;
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (codes[i] != BOUNDARY)
			wanted[len++] = codes[i] == ANY_OCTETS ? '*' : (uint8_t)codes[i];
	fail(r, "the %s did not receive what it must", side_names[side]);
	show("must", slice_of(wanted, len));
	show("has ", slice_of(o->data, o->len));
	side = side == CLIENT ? SERVER : CLIENT;
	show(side == CLIENT ? "client has" : "server has", slice_of(r->from_proxy[side].data, r->from_proxy[side].len));
	if (r->h.ended)
		printf("#   the session ended: fault=%s reason=%s\n", fault_names[r->h.fault], r->h.reason);
}

static void check_waits(struct run *r, int side)
{
	const struct octets *o = &r->from_proxy[side];

	settle(r);
	if (o->len == 0)
		return;
	fail(r, "the %s received more than it must", side_names[side]);
	show("has ", slice_of(o->data, o->len));
}

/* ---- logs ---- */

static char *read_log(struct run *r)
{
	off_t size = lseek(r->log_fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	if (text != NULL && pread(r->log_fd, text, (size_t)size, 0) < 0)
		text[0] = '\0';
	return text;
}

static void check_log(struct run *r, const char *want, bool must)
{
	char *text = read_log(r);
	bool found = strstr(text, want) != NULL;

	if (found != must) {
		fail(r, must ? "no line of the log has '%s'" : "a line of the log has '%s'", want);
		for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;)
			printf("#   %s\n", line);
	}
	free(text);
}

/* The next accounting line. */
static void check_record(struct run *r, const char *want)
{
	char *text = read_log(r), *rest = text, *line;
	size_t skip = r->records_seen;
	bool found = false;

	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, " smtp.accounting(") == NULL || skip-- > 0)
			continue;
		found = strstr(line, want) != NULL;
		if (!found)
			fail(r, "the record is '%s'", line);
		break;
	}
	if (line == NULL)
		fail(r, "there is no further record");
	r->records_seen++;
	free(text);
}

/* How many messages have a smtp.record by now. */
static void check_messages(struct run *r, const char *want)
{
	char *text = read_log(r);
	long n = 0;

	for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;)
		n += strstr(line, " smtp.record(") != NULL;
	if (n != strtol(want, NULL, 10))
		fail(r, "%ld messages have a record", n);
	free(text);
}

/* What was counted by now: "NAME=N NAME=N ...". */
static void check_counts(struct run *r, char *words)
{
	const struct proxy_type *type = r->h.policy->services[0].proxy->type;
	const struct counter *c;
	char *word;

	settle(r);
	while ((word = strsep(&words, " ")) != NULL) {
		size_t n = strcspn(word, "="), i = 0;

		while ((c = counter_of(type, i)) != NULL && (strlen(c->name) != n || memcmp(c->name, word, n) != 0))
			i++;
		if (c == NULL || word[n] != '=')
			fail(r, "count NAME=N ...: '%s'", word);
		else if (r->h.counters[i] != strtoull(word + n + 1, NULL, 10))
			fail(r, "%s is %llu", c->name, (unsigned long long)r->h.counters[i]);
	}
}

static void check_no_more_records(struct run *r)
{
	char *text = read_log(r);
	size_t n = 0;

	for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;)
		n += strstr(line, " smtp.accounting(") != NULL;
	if (n != r->records_seen)
		fail(r, "%zu accounting lines, %zu of them expected", n, r->records_seen);
	free(text);
}

/* ---- the header ---- */

static json_t *find_entry(json_t *table, const json_t *key, size_t *at)
{
	for (*at = 0; *at < json_array_size(table); ++*at) {
		json_t *entry = json_array_get(table, *at);

		if (json_equal(json_object_get(entry, "key"), key))
			return entry;
	}
	return NULL;
}

static json_t *member(json_t *object, const char *name, json_t *fresh)
{
	json_t *value = json_object_get(object, name);

	if (value == NULL) {
		json_object_set_new(object, name, fresh);
		return fresh;
	}
	json_decref(fresh);
	return value;
}

/* Members of a CONFIG over what is there: attributes and hooks by name, entries by key. */
static void merge_config(struct run *r, const char *text)
{
	json_error_t error;
	json_t *over = json_loads(text, JSON_ALLOW_NUL, &error), *table, *entry;
	const char *name;
	size_t i, at;

	if (over == NULL) {
		fail(r, "config: %s", error.text);
		return;
	}
	if (json_object_get(over, "attributes") != NULL)
		json_object_update(member(r->config, "attributes", json_object()), json_object_get(over, "attributes"));
	if (json_object_get(over, "hooks") != NULL)
		json_object_update(member(r->config, "hooks", json_object()), json_object_get(over, "hooks"));
	json_object_foreach(json_object_get(over, "tables"), name, table) {
		json_t *base = member(member(r->config, "tables", json_object()), name, json_array());

		json_array_foreach(table, i, entry) {
			if (find_entry(base, json_object_get(entry, "key"), &at) != NULL)
				json_array_set(base, at, entry);
			else
				json_array_append(base, entry);
		}
	}
	json_decref(over);
}

static void load_preset(struct run *r, const char *name)
{
	char path[512];
	json_error_t error;
	json_t *preset;
	char *text;

	snprintf(path, sizeof(path), "%s/%s.json", r->presets, name);
	preset = json_load_file(path, 0, &error);
	if (preset == NULL) {
		fail(r, "preset %s: %s", name, error.text);
		return;
	}
	text = json_dumps(preset, 0);
	merge_config(r, text);
	free(text);
	json_decref(preset);
}

/* delete TABLE KEY [KEY] */
static void delete_entry(struct run *r, char *words)
{
	char *table = strsep(&words, " "), *key1 = strsep(&words, " "), *key2 = strsep(&words, " ");
	json_t *key = key2 != NULL ? json_pack("[s,s]", key1, key2) : json_pack("[s]", key1);
	json_t *entries = json_object_get(json_object_get(r->config, "tables"), table);
	size_t at;

	if (find_entry(entries, key, &at) == NULL)
		fail(r, "there is no such entry");
	else
		json_array_remove(entries, at);
	json_decref(key);
}

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
static void set_callback(struct run *r, char *text)
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

/* ---- steps ---- */

static void close_side(struct run *r, int side)
{
	settle(r);
	if (side == CLIENT)
		harness_close_client(&r->h);
	else
		harness_close_server(&r->h);
	settle(r);
}

/* With TLS: close_notify, and the socket stays open. */
static void shut_down_side(struct run *r, int side)
{
	if (r->tls[side] != NULL)
		tls_peer_close_notify(r->tls[side]);
	else
		shutdown(*far_end(r, side), SHUT_WR);
	settle(r);
}

/* What follows a word like "cert=", up to a blank; NULL: the word is not there. */
static const char *value_of(char *words, const char *word, char *buf, size_t size)
{
	const char *at = strstr(words, word);

	if (at == NULL)
		return NULL;
	snprintf(buf, size, "%.*s", (int)strcspn(at + strlen(word), " "), at + strlen(word));
	return buf;
}

static void check_handshake(struct run *r, int side, bool done)
{
	enum tls_peer_state state;

	settle(r);
	state = r->tls[side] != NULL ? tls_peer_step(r->tls[side]) : TLS_PEER_BUSY;
	if (state != (done ? TLS_PEER_DONE : TLS_PEER_FAILED))
		fail(r, "the TLS handshake of the %s %s %s", side_names[side],
		     state == TLS_PEER_DONE ? "is done" : state == TLS_PEER_BUSY ? "is not over" : "failed:",
		     state == TLS_PEER_FAILED ? tls_peer_error(r->tls[side]) : "");
}

/* tls [cert=NAME] [sni=NAME] [tls1.2]: it begins; tls done, tls failed: how it went. */
static void speak_tls(struct run *r, int side, char *rest)
{
	char certificate[32], name[128];
	struct tls_peer_setup setup = {
		.fd = *far_end(r, side), .server = side == SERVER,
		.certificate = value_of(rest, "cert=", certificate, sizeof(certificate)),
		.server_name = value_of(rest, "sni=", name, sizeof(name)),
		.version_max = strstr(rest, "tls1.2") != NULL ? TLS1_2_VERSION : 0,
	};

	if (strcmp(rest, "done") == 0 || strcmp(rest, "failed") == 0) {
		check_handshake(r, side, strcmp(rest, "done") == 0);
		return;
	}
	if (side == SERVER && setup.certificate == NULL)
		setup.certificate = "good";
	settle(r);
	setup.received = slice_of(r->from_proxy[side].data, r->from_proxy[side].len);
	if (r->tls[side] != NULL || setup.fd < 0)
		fail(r, "the %s speaks TLS already, or is not there", side_names[side]);
	else
		r->tls[side] = tls_peer_create(&setup);
	r->from_proxy[side].len = 0;
	settle(r);
}

/* The certificate that the proxy showed. */
static void check_subject(struct run *r, int side, const char *want)
{
	char subject[256] = "plain text";

	settle(r);
	if (r->tls[side] != NULL)
		tls_peer_subject(r->tls[side], subject, sizeof(subject));
	if (strcmp(subject, want) != 0)
		fail(r, "the %s sees %s", side_names[side], subject);
}

static void check_name(struct run *r, const char *want)
{
	char name[256] = "plain text";

	settle(r);
	if (r->tls[SERVER] != NULL)
		tls_peer_server_name(r->tls[SERVER], name, sizeof(name));
	if (strcmp(name, want) != 0)
		fail(r, "the server is asked for by the name %s", name);
}

static void check_cut_off(struct run *r, int side)
{
	settle(r);
	if (r->from_proxy[side].len > 0) {
		fail(r, "the %s received more", side_names[side]);
		show("has", slice_of(r->from_proxy[side].data, r->from_proxy[side].len));
	}
	if (!r->eof[side])
		fail(r, "the connection of the %s is still open", side_names[side]);
}

/*
 * The server was cut off in the middle of a message. How much of it had arrived depends on the
 * segments; that it had an end does not.
 */
static void check_lost(struct run *r)
{
	struct octets *o = &r->from_proxy[SERVER];

	settle(r);
	if ((o->len >= 3 && memcmp(o->data, ".\r\n", 3) == 0) || memmem(o->data, o->len, "\r\n.\r\n", 5) != NULL) {
		fail(r, "the server received the end of a message");
		show("has", slice_of(o->data, o->len));
	}
	o->len = 0;
	check_cut_off(r, 1);
}

static void check_end(struct run *r, const char *words)
{
	char want_fault[32] = "", want_reason[64] = "";

	r->ends = true;
	if (sscanf(words, " fault=%31s reason=%63s", want_fault, want_reason) < 1)
		fail(r, "end fault=... reason=...");
	settle(r);
	/* Behind its last reply a session may wait a moment for the client to hang up. */
	if (!r->h.ended) {
		r->h.now_ms += 3000;
		settle(r);
	}
	if (!r->h.ended) {
		fail(r, "the session has not ended");
		return;
	}
	if (strcmp(fault_names[r->h.fault], want_fault) != 0 || strcmp(r->h.reason, want_reason) != 0)
		fail(r, "ended with fault=%s reason=%s", fault_names[r->h.fault], r->h.reason);
}

/* Another client, when the session before was looked at. */
static void do_c_connects(struct run *r, char *rest)
{
	if (!r->h.ended || !r->ends)
		fail(r, "the session before has not ended, or no line says how");
	if (r->from_proxy[CLIENT].len > 0)
		fail(r, "the client before received what the transcript does not show");
	r->ends = r->eof[CLIENT] = false;
	tls_peer_free(&r->tls[CLIENT]);
	if (harness_connect(&r->h, *rest != '\0' ? rest : r->client_address) < 0)
		fail(r, "the session does not start");
	settle(r);
}

static void do_c_sends(struct run *r, char *rest) { send_octets(r, CLIENT, rest); }
static void do_s_sends(struct run *r, char *rest) { send_octets(r, SERVER, rest); }
static void do_c_receives(struct run *r, char *rest) { receive_octets(r, CLIENT, rest); }
static void do_s_receives(struct run *r, char *rest) { receive_octets(r, SERVER, rest); }
static void do_c_close(struct run *r, char *rest) { close_side(r, CLIENT); }
static void do_s_close(struct run *r, char *rest) { close_side(r, SERVER); }
static void do_c_shutdown(struct run *r, char *rest) { shut_down_side(r, CLIENT); }
static void do_s_shutdown(struct run *r, char *rest) { shut_down_side(r, SERVER); }
static void do_c_any(struct run *r, char *rest) { settle(r); r->from_proxy[CLIENT].len = 0; }
static void do_s_any(struct run *r, char *rest) { settle(r); r->from_proxy[SERVER].len = 0; }
static void do_c_tls(struct run *r, char *rest) { speak_tls(r, CLIENT, rest); }
static void do_s_tls(struct run *r, char *rest) { speak_tls(r, SERVER, rest); }
static void do_c_sees(struct run *r, char *rest) { check_subject(r, CLIENT, rest); }
static void do_s_sees(struct run *r, char *rest) { check_subject(r, SERVER, rest); }
static void do_s_asked(struct run *r, char *rest) { check_name(r, rest); }
static void do_c_waits(struct run *r, char *rest) { check_waits(r, CLIENT); }
static void do_s_waits(struct run *r, char *rest) { check_waits(r, SERVER); }
static void do_c_end(struct run *r, char *rest) { check_cut_off(r, CLIENT); }
static void do_s_end(struct run *r, char *rest) { check_cut_off(r, SERVER); }
static void do_f_receives(struct run *r, char *rest) { receive_octets(r, FORMER, rest); }
static void do_f_end(struct run *r, char *rest) { check_cut_off(r, FORMER); }
static void do_shut(struct run *r, char *rest) { pool_shut(r->h.env.pool); settle(r); }
static void do_s_lost(struct run *r, char *rest) { check_lost(r); }
static void do_wait(struct run *r, char *rest) { settle(r); r->h.now_ms += strtoll(rest, NULL, 10); settle(r); }
static void do_end(struct run *r, char *rest) { check_end(r, rest); }
static void do_log(struct run *r, char *rest) { check_log(r, rest, true); }
static void do_nolog(struct run *r, char *rest) { check_log(r, rest, false); }
static void do_record(struct run *r, char *rest) { check_record(r, rest); }
static void do_messages(struct run *r, char *rest) { settle(r); check_messages(r, rest); }

static void do_count(struct run *r, char *rest) { check_counts(r, rest); }

static void do_stop(struct run *r, char *rest)
{
	if (session_newest(&r->h.env) != NULL)
		session_stop(session_newest(&r->h.env), strcmp(rest, "now") == 0);
	settle(r);
}

static void do_connect(struct run *r, char *rest)
{
	if (strcmp(rest, "fails") != 0)
		fail(r, "connect fails");
	r->h.connect_error = -ECONNREFUSED;
}

static const struct step {
	const char *word;
	void (*run)(struct run *r, char *rest);
} steps[] = {
	{ "C waits", do_c_waits }, { "S waits", do_s_waits },
	{ "C close", do_c_close }, { "S close", do_s_close }, { "C shutdown", do_c_shutdown }, { "S shutdown", do_s_shutdown },
	{ "C any", do_c_any }, { "S any", do_s_any }, { "C tls", do_c_tls }, { "S tls", do_s_tls }, { "C sees", do_c_sees }, { "S sees", do_s_sees }, { "S asked", do_s_asked },
	{ "C connect", do_c_connects }, { "F<", do_f_receives }, { "F end", do_f_end }, { "pool shut", do_shut },
	{ "C end", do_c_end }, { "S end", do_s_end }, { "S lost", do_s_lost },
	{ "C>", do_c_sends }, { "C<", do_c_receives }, { "S>", do_s_sends }, { "S<", do_s_receives },
	{ "wait", do_wait }, { "end", do_end }, { "log", do_log }, { "nolog", do_nolog }, { "record", do_record },
	{ "messages", do_messages }, { "count", do_count },
	{ "stop", do_stop }, { "connect", do_connect },
};

/* A member of the policy document. */
static void set_member(struct run *r, const char *name, const char *text)
{
	if (r->document == NULL)
		r->document = json_object();
	if (json_object_set_new(r->document, name, json_loads(text, 0, NULL)) < 0)
		fail(r, "'%s' is not followed by JSON", name);
}

static void add_service(struct run *r, json_t *service)
{
	if (r->service == NULL)
		r->service = json_object();
	if (service == NULL || json_object_update(r->service, service) < 0)
		fail(r, "'service' is not followed by JSON");
	json_decref(service);
}

/* tls WORDS: the service's encryption. */
static void set_encryption(struct run *r, const char *words)
{
	const char *unknown = "";
	json_t *members = encryption_members(words, &unknown);

	if (members == NULL) {
		fail(r, "tls: what does '%s' mean?", unknown);
		return;
	}
	if (r->document == NULL)
		r->document = json_object();
	json_object_update(r->document, members);
	json_decref(members);
	add_service(r, json_pack("{s:i}", "encryption", 0));
}

/* A line before the first step. Returns whether it was one. */
static bool header_line(struct run *r, char *line)
{
	if (strncmp(line, "preset ", 7) == 0)
		load_preset(r, line + 7);
	else if (strncmp(line, "config ", 7) == 0)
		merge_config(r, line + 7);
	else if (strncmp(line, "delete ", 7) == 0)
		delete_entry(r, line + 7);
	else if (strcmp(line, "client encrypted") == 0)
		r->client_encrypted = true;
	else if (strncmp(line, "client ", 7) == 0)
		snprintf(r->client_address, sizeof(r->client_address), "%s", line + 7);
	else if (strcmp(line, "at once") == 0)
		r->at_once = true;
	else if (!r->started && strcmp(line, "connect fails") == 0)
		r->connect_error = -ECONNREFUSED;
	else if (strncmp(line, "zones ", 6) == 0)
		set_member(r, "zones", line + 6);
	else if (strncmp(line, "matchers ", 9) == 0)
		set_member(r, "matchers", line + 9);
	else if (strncmp(line, "characters ", 11) == 0)
		set_member(r, "characters", line + 11);
	else if (strncmp(line, "service ", 8) == 0)
		add_service(r, json_loads(line + 8, 0, NULL));
	else if (strncmp(line, "tls ", 4) == 0)
		set_encryption(r, line + 4);
	else
		return false;
	if (r->have_harness)
		fail(r, "this line belongs before the first step");
	return true;
}

static void run_file(struct run *r, FILE *f);

/* use NAME: the lines of parts/NAME. */
static void use_part(struct run *r, const char *name)
{
	const char *file = r->file;
	unsigned line = r->line;
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/parts/%s", r->directory, name);
	f = fopen(path, "re");
	if (f == NULL) {
		fail(r, "use %s: %s", name, strerror(errno));
		return;
	}
	r->file = path;
	run_file(r, f);
	fclose(f);
	r->file = file;
	r->line = line;
}

static void run_line(struct run *r, char *line)
{
	if (strncmp(line, "use ", 4) == 0) {
		use_part(r, line + 4);
		return;
	}
	if (header_line(r, line))
		return;
	if (strncmp(line, "callback ", 9) == 0) {
		set_callback(r, line + 9);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		size_t n = strlen(steps[i].word);
		char *rest = line + n;

		if (strncmp(line, steps[i].word, n) != 0 || (*rest != ' ' && *rest != '\0'))
			continue;
		if (start(r) < 0)
			return;
		while (*rest == ' ')
			rest++;
		steps[i].run(r, rest);
		return;
	}
	fail(r, "what does '%s' mean?", line);
}

/* A line that starts with a blank continues the one before. */
static void run_file(struct run *r, FILE *f)
{
	char *line = NULL, *whole = NULL;
	size_t size = 0, whole_len = 0;
	unsigned number = 0;

	while (!r->failed) {
		ssize_t n = getline(&line, &size, f);
		bool continues = n > 0 && (line[0] == ' ' || line[0] == '\t');

		if (n > 0 && line[n - 1] == '\n')
			line[--n] = '\0';
		number++;
		if (whole != NULL && !continues) {
			run_line(r, whole);
			free(whole);
			whole = NULL;
		}
		if (n < 0)
			break;
		if (n == 0 || line[0] == '#')
			continue;
		if (whole == NULL) {
			whole = strdup(line);
			whole_len = (size_t)n;
			r->line = number;
		} else {
			whole = realloc(whole, whole_len + (size_t)n + 1);
			memcpy(whole + whole_len, line, (size_t)n + 1);
			whole_len += (size_t)n;
		}
	}
	free(whole);
	free(line);
}

/* Nobody may have received what the transcript does not show. */
static void check_rest(struct run *r)
{
	for (int side = 0; side < SIDES && !r->failed; side++) {
		collect(r, side);
		if (r->from_proxy[side].len == 0)
			continue;
		fail(r, "the %s received what the transcript does not show", side_names[side]);
		show("has", slice_of(r->from_proxy[side].data, r->from_proxy[side].len));
	}
	if (!r->failed)
		check_no_more_records(r);
}

static bool run_once(const char *presets, const char *directory, const char *file, bool in_drops, bool *at_once)
{
	static uint8_t room[SIDES][OCTETS_MAX];
	struct run *r = calloc(1, sizeof(*r));
	FILE *f = fopen(file, "re");
	bool failed;

	if (r == NULL || f == NULL) {
		printf("# %s: %s\n", file, strerror(errno));
		return false;
	}
	r->presets = presets;
	r->directory = directory;
	r->file = file;
	r->in_drops = in_drops;
	r->config = json_pack("{s:s,s:s,s:i,s:b,s:[i,i]}", "proxy", "smtp", "class", "Transcript", "class_number", 0,
			      "per_session", 0, "at", 0, 1);
	for (int side = 0; side < SIDES; side++)
		r->from_proxy[side].data = room[side];
	snprintf(r->client_address, sizeof(r->client_address), "10.0.0.1:40000");
	r->log_fd = memfd_create("log", MFD_CLOEXEC);
	log_open(r->log_fd, LOG_FORMAT_TEXT, 10, NULL, NULL);
	run_file(r, f);
	if (!r->failed && !r->ends)
		fail(r, "there is no end line");
	if (!r->failed)
		check_rest(r);
	if (r->have_harness)
		harness_release(&r->h);
	for (int side = 0; side < SIDES; side++)
		tls_peer_free(&r->tls[side]);
	failed = r->failed;
	*at_once = r->at_once;
	json_decref(r->config);
	json_decref(r->document);
	json_decref(r->service);
	close(r->log_fd);
	fclose(f);
	free(r);
	return !failed;
}

static int is_transcript(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 4 && strcmp(entry->d_name + n - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	bool all_fine = true;
	int n;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: transcripts PRESETS DIRECTORY [FILE]\n");
		return 2;
	}
	n = scandir(argv[2], &entries, is_transcript, alphasort);
	if (n <= 0) {
		fprintf(stderr, "transcripts: there is none in %s\n", argv[2]);
		return 1;
	}
	printf("1..%d\n", argc == 4 ? 1 : n);
	for (int i = 0; i < n; i++) {
		char path[1024];
		bool fine, at_once = false;

		snprintf(path, sizeof(path), "%s/%s", argv[2], entries[i]->d_name);
		if (argc == 3 || strcmp(entries[i]->d_name, argv[3]) == 0) {
			fine = run_once(argv[1], argv[2], path, false, &at_once) &&
			       (at_once || run_once(argv[1], argv[2], path, true, &at_once));
			printf("%s %d - %s\n", fine ? "ok" : "not ok", argc == 4 ? 1 : i + 1, entries[i]->d_name);
			all_fine = all_fine && fine;
		}
		free(entries[i]);
	}
	free(entries);
	return all_fine ? 0 : 1;
}
