/* SPDX-License-Identifier: Apache-2.0 */
/* The trace header (RFC 5321, 4.4) that add_received_header puts before each message. */
#include "proxy/smtp/body.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRACE_HEADER_MAX 2048

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

const char *smtp_protocol_name(bool esmtp, bool utf8, bool tls, bool authenticated)
{
	static const char *const names[2][2][2] = {
		{ { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } },
		{ { "UTF8SMTP", "UTF8SMTPA" }, { "UTF8SMTPS", "UTF8SMTPSA" } },
	};

	return esmtp ? names[utf8][tls][authenticated] : "SMTP";
}

int smtp_generate_received(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	struct smtp *s = smtp_of(proxy);
	struct date date = { .when = (time_t)(proxy_wall_ms(proxy) / 1000) };
	const struct smtp_config *c = smtp_config_of(proxy);
	struct slice by = c->domain_name.len > 0 ? c->domain_name : c->own_name;
	/* Also that of a refused HELO, which may look like the rest of this header. */
	struct slice helo = smtp_is_domain(s->helo_string) ? s->helo_string : SLICE("unknown");
	char ip[IP_TEXT_MAX];
	struct arena *arena;
	char *header, *id;
	bool v6;

	if (n_args != 0)
		return -EBADMSG;
	co_leaf(format_date, &date);
	/* The transaction's: a session may carry any number of messages. */
	arena = s->transaction != NULL ? s->transaction : proxy->arena;
	id = arena_cstr(arena, proxy->id);
	if (id == NULL)
		return -ENOMEM;
	for (char *p = id; *p != '\0'; p++)
		if (*p == ':')
			*p = '.';
	v6 = proxy_client_address(proxy)->ip.family == AF_INET6;
	header = arena_printf(arena, "Received: from %.*s (%.*s%s[%s%s]) by %.*s with %.*s id %s; %s\r\n",
			      SLICE_ARG(helo), SLICE_ARG(s->client_name), s->client_name.len > 0 ? " " : "", v6 ? "IPv6:" : "", ip_text(&proxy_client_address(proxy)->ip, ip),
			      SLICE_ARG(by), SLICE_ARG(s->protocol), id, date.text);
	if (header == NULL)
		return -ENOMEM;
	*result = (struct call_value){ .kind = CALL_OCTETS, .octets = slice_cstr(header) };
	return 0;
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
