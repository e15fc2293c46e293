/* SPDX-License-Identifier: Apache-2.0 */
/* What the SMTP proxy finds wrong with a policy when it is loaded, beyond types and ranges. */
#include "policy/proxy_config.h"
#include "proxy/smtp/smtp.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct config_case {
	const char *attributes;
	const char *problem, *hint;	/* NULL: it is fine */
};

#define NO_NAME "domain_name is no domain and no address literal"
#define NAME_HINT "'mail.example.com'"

static const struct config_case cases[] = {
	{ "", NULL, NULL },
	/* domain_name goes into trace headers as it is. */
	{ "\"domain_name\":\"\"", NULL, NULL },
	{ "\"domain_name\":\"mail.example.com\"", NULL, NULL },
	{ "\"domain_name\":\"fw\"", NULL, NULL },
	{ "\"domain_name\":\"[192.0.2.1]\"", NULL, NULL },
	{ "\"domain_name\":\"[IPv6:2001:db8::1]\"", NULL, NULL },
	{ "\"domain_name\":\"[192.0.2.1\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\"[192.0.2]\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\"mail.example.com (by me) with ESMTP\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\" mail.example.com\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\"mail..example.com\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\"user@example.com\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\"#12\"", NO_NAME, NAME_HINT },
	{ "\"domain_name\":\"m\\u00e4il.example\"", NO_NAME, NAME_HINT },
	{ "\"append_domain\":\"example.com\"", NULL, NULL },
	{ "\"append_domain\":\"example com\"", "append_domain is no domain", "'example.com'" },
	{ "\"banner\":\"mail.example.com ESMTP\"", NULL, NULL },
	{ "\"banner\":\"(mail) ESMTP\"", "banner is no host name", "'mail.example.com ESMTP'" },
	{ "\"autodetect_domain_from\":\"dns\"", "autodetect_domain_from is neither", "SMTP_GETDOMAIN_FQDN" },
	{ "\"permit_auth_mechanisms\":[\"PLAIN\",\"a b\"]", "not the name of a mechanism", "'PLAIN'" },
	{ "\"accept_xclient_zones\":[\"*\"]", "everybody could be anybody", "name the zones" },
	{ "\"relay_domains\":[\"\\u00c3\\u009f.example\"]", "no one ASCII form", "xn--" },
	{ "\"tls_passthrough\":true", NULL, NULL },
	{ "\"server_name\":\"mx.example.com\"", NULL, NULL },
	{ "\"server_name\":\"[192.0.2.1]\"", "server_name is no host name", "'mail.example.com'" },
	{ "\"server_name\":\"mx example\"", "server_name is no host name", "'mail.example.com'" },
	{ "\"resolve_host\":true", "resolver", "FALSE" },
};

static void check(struct arena *arena, const struct config_case *c)
{
	static const struct proxy_type *const types[] = { &smtp_type, NULL };
	const struct proxy_registry registry = { types };
	struct policy_problems problems;
	const struct proxy_config_source source = { .registry = &registry, .arena = arena, .problems = &problems, .where = "here" };
	struct proxy_config config;
	char *text;
	int err;

	problems_init(&problems, arena);
	assert_true(asprintf(&text, "{\"proxy\":\"smtp\",\"class\":\"C\",\"class_number\":0,\"attributes\":{%s}}", c->attributes) > 0);
	err = proxy_config_read_text(&source, slice_cstr(text), &config);
	free(text);
	if (err != (c->problem != NULL ? -EINVAL : 0))
		fail_msg("%s: %d, %s", c->attributes, err, problems.first != NULL ? problems.first->message : "no problem");
	if (c->problem == NULL)
		return;
	assert_non_null(problems.first);
	assert_non_null(problems.first->hint);
	if (strstr(problems.first->message, c->problem) == NULL || strstr(problems.first->hint, c->hint) == NULL)
		fail_msg("%s: %s; %s", c->attributes, problems.first->message, problems.first->hint);
}

static void problems_are_found(void **state)
{
	struct arena *arena = arena_create((size_t)4 << 20, 0);

	(void)state;
	assert_non_null(arena);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(arena, &cases[i]);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(problems_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
