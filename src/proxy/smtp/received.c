/* SPDX-License-Identifier: Apache-2.0 */
/* The trace header (RFC 5321, 4.4) that add_received_header puts before each message. */
#include "io/stream.h"
#include "proxy/smtp/body.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRACE_HEADER_MAX 2048
#define FOLD_COLUMN 78			/* RFC 5322, 2.1.1 */
#define SCRATCH_OCTETS (16u * 1024u)	/* of one header: its parts, and it in two forms */

/* Formatting local time reads the zone's file the first time and is not bounded in stack. */
struct date {
	time_t when;
	char text[80];
};

static void format_date(void *arg)
{
	struct date *d = arg;
	struct tm tm;

	if (localtime_r(&d->when, &tm) == NULL ||
	    strftime(d->text, sizeof(d->text), "%a, %d %b %Y %H:%M:%S %z (%Z)", &tm) == 0)
		d->text[0] = '\0';
}

const char *smtp_protocol_name(struct proxy *proxy, bool utf8)
{
	static const char *const names[2][2][2] = {
		{ { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } },
		{ { "UTF8SMTP", "UTF8SMTPA" }, { "UTF8SMTPS", "UTF8SMTPSA" } },
	};
	const struct smtp *s = smtp_of(proxy);

	if (!slice_is(s->protocol, "ESMTP"))
		return "SMTP";
	return names[utf8][stream_is_encrypted(proxy->client)][s->client_authenticated];
}

/*
 * Its mailbox; empty: the header names none. With more than one, each would learn of the others (RFC 5321, 7.2).
 * Policy code may have written anything there.
 */
static struct slice only_recipient(const struct smtp *s, struct arena *arena)
{
	unsigned flags = SMTP_PATH_BARE | (s->mail.utf8 ? SMTP_PATH_UTF8 : 0);
	struct smtp_path path;

	if (s->n_recipients != 1 || smtp_path_parse(s->recipients, flags, slice_of(NULL, 0), arena, &path) != SMTP_ADDRESS_OK ||
	    path.rest.len > 0)
		return slice_of(NULL, 0);
	return path.mailbox;
}

/*
 * A fold is a line end before blanks that were there (RFC 5322, 2.2.3), and whoever takes it out has the text
 * as it was, also in a quoted string. Each line starts with a word, which is never cut. out: three times the
 * octets of text.
 */
static size_t fold(struct slice text, uint8_t *out)
{
	size_t n = 0, column = 0;

	while (text.len > 0) {
		size_t blanks = 0, length;

		while (blanks < text.len && text.ptr[blanks] == ' ')
			blanks++;
		length = blanks + slice_index(slice_skip(text, blanks), ' ');
		if (column > 0 && length > blanks && column + length > FOLD_COLUMN) {
			memcpy(out + n, "\r\n", 2);
			n += 2;
			column = 0;
		}
		memcpy(out + n, text.ptr, length);
		n += length;
		column += length;
		text = slice_skip(text, length);
	}
	return n;
}

/* The id of the session as it may stand in the header. NULL: no memory. */
static char *make_id(const struct proxy *proxy, struct arena *arena)
{
	char *id = arena_cstr(arena, proxy->id);

	for (char *p = id; p != NULL && *p != '\0'; p++)
		if (*p == ':')
			*p = '.';
	return id;
}

/* The header in scratch, folded, with its line end. */
static int write_header(struct proxy *proxy, struct arena *scratch, struct slice *out)
{
	const struct smtp *s = smtp_of(proxy);
	struct date date = { .when = (time_t)(proxy_wall_ms(proxy) / 1000) };
	const struct smtp_config *c = smtp_config_of(proxy);
	const struct ip_addr *client = &proxy_client_address(proxy)->ip;
	struct slice by = c->domain_name.len > 0 ? c->domain_name : c->own_name;
	struct slice helo = s->helo_string.len > 0 ? s->helo_string : SLICE("unknown");
	struct slice to = only_recipient(s, scratch);
	const char *id = make_id(proxy, scratch), *line;
	char ip[IP_TEXT_MAX];
	uint8_t *header;
	size_t n;

	if (id == NULL)
		return -ENOMEM;
	co_leaf(format_date, &date);
	line = arena_printf(scratch, "Received: from %.*s (%.*s%s[%s%s]) by %.*s with %s id %s%s%.*s%s; %s", SLICE_ARG(helo),
			    SLICE_ARG(s->client_name), s->client_name.len > 0 ? " " : "",
			    client->family == AF_INET6 ? "IPv6:" : "", ip_text(client, ip), SLICE_ARG(by),
			    smtp_protocol_name(proxy, s->mail.utf8), id, to.len > 0 ? " for <" : "", SLICE_ARG(to),
			    to.len > 0 ? ">" : "", date.text);
	header = line != NULL ? arena_alloc(scratch, 3 * strlen(line) + 2) : NULL;
	if (header == NULL)
		return -ENOMEM;
	n = fold(slice_cstr(line), header);
	memcpy(header + n, "\r\n", 2);
	*out = slice_of(header, n + 2);
	return 0;
}

/* The result is good until the next one: a session may carry any number of messages. */
int smtp_generate_received(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	struct arena *scratch;
	struct slice header = { NULL, 0 };
	int err;

	if (n_args != 0)
		return -EBADMSG;
	scratch = arena_child(proxy->arena, SCRATCH_OCTETS, 0);
	err = scratch != NULL ? write_header(proxy, scratch, &header) : -ENOMEM;
	if (err == 0)
		err = arena_room_keep(proxy->arena, &smtp_of(proxy)->trace, header, &header);
	arena_free(&scratch);
	if (err == 0)
		*result = (struct call_value){ .kind = CALL_OCTETS, .octets = header };
	return err;
}

/* Whole lines and nothing that could end the message or stuff a dot. */
static bool is_header(struct slice text)
{
	struct smtp_body_scan scan = { .in_line = false };
	size_t forward;

	return text.len > 0 && text.len <= TRACE_HEADER_MAX && text.ptr[0] != '.' && text.ptr[0] != '\r' &&
	       smtp_body_scan(&scan, text, &forward) == SMTP_BODY_MORE && forward == text.len && !scan.in_line;
}

co_waits int smtp_trace_header(struct smtp *s, struct slice *out)
{
	struct policy_call call = s->config->generate_received_hook;
	struct call_value result = { .kind = CALL_NONE };
	int err;

	if (call.callback >= 0) {
		err = proxy_call(s->proxy, &call, NULL, 0, &result);
		s->config = s->proxy->config;
	} else {
		err = smtp_generate_received(s->proxy, NULL, 0, &result);
	}
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	if (err == 0 && (result.kind != CALL_OCTETS || !is_header(result.octets)))
		err = -EBADMSG;
	if (err < 0)
		proxy_log(s->proxy, LOG_SMTP_ERROR, 3, "Trace header not generated", F_TEXT("error", strerror(-err)));
	*out = err < 0 ? slice_of(NULL, 0) : result.octets;
	return 0;
}

static struct slice read_mailname(struct arena *arena)
{
	char line[SMTP_DOMAIN_MAX + 2] = "";
	FILE *f = fopen("/etc/mailname", "re");

	if (f == NULL)
		return slice_of(NULL, 0);
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
	return arena_copy(arena, slice_cstr(line));
}

static struct slice find_full_name(struct arena *arena)
{
	const struct addrinfo hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM };
	struct addrinfo *info = NULL;
	struct slice name = { NULL, 0 };
	char host[SMTP_DOMAIN_MAX + 1] = "";

	if (gethostname(host, sizeof(host) - 1) < 0)
		return name;
	if (strchr(host, '.') == NULL && getaddrinfo(host, NULL, &hints, &info) == 0 && info->ai_canonname != NULL)
		name = arena_copy(arena, slice_cstr(info->ai_canonname));
	else
		name = arena_copy(arena, slice_cstr(host));
	if (info != NULL)
		freeaddrinfo(info);
	return name;
}

/* Once, when the policy is loaded: name look-ups may take their time there. */
int smtp_find_own_name(const struct smtp_config *config, struct arena *arena, struct slice *out)
{
	struct slice name = { NULL, 0 };

	if (slice_is(config->autodetect_domain_from, "mailname"))
		name = read_mailname(arena);
	else if (slice_is(config->autodetect_domain_from, "fqdn"))
		name = find_full_name(arena);
	*out = smtp_is_domain(name) ? name : SLICE("unknown");
	return 0;
}
