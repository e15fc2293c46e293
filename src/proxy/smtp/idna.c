/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/idna.h"

#include "io/co.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/line.h"

#include <errno.h>
#include <idn2.h>

/* A library call, which is made on a stack of its own (co.h). */
struct lookup {
	char in[SMTP_DOMAIN_MAX + 1];
	struct arena *arena;
	struct slice out;
	int result;
};

/*
 * A server that maps "straße" to "strasse" delivers to another domain than one that does not. So
 * what the two mappings read differently is nobody's.
 */
static void look_up(void *arg)
{
	struct lookup *l = arg;
	uint8_t *now = NULL, *before = NULL;
	int a = idn2_lookup_u8((const uint8_t *)l->in, &now, IDN2_NONTRANSITIONAL);
	int b = idn2_lookup_u8((const uint8_t *)l->in, &before, IDN2_TRANSITIONAL);

	l->result = -EBADMSG;
	if (a == IDN2_MALLOC || b == IDN2_MALLOC)
		l->result = -ENOMEM;
	else if (a == IDN2_OK && b == IDN2_OK && strcmp((const char *)now, (const char *)before) == 0) {
		l->out = arena_copy(l->arena, slice_cstr((const char *)now));
		l->result = l->out.ptr != NULL ? 0 : -ENOMEM;
	}
	idn2_free(now);
	idn2_free(before);
}

int smtp_domain_to_ascii(struct slice domain, struct arena *arena, struct slice *out)
{
	struct lookup l = { .arena = arena };

	if (!smtp_has_8bit(domain)) {
		*out = domain;
		return 0;
	}
	if (slice_to_cstr(domain, l.in, sizeof(l.in)) < 0)
		return -EBADMSG;
	co_leaf(look_up, &l);
	if (l.result < 0)
		return l.result;
	if (!smtp_is_domain(l.out))
		return -EBADMSG;
	*out = l.out;
	return 0;
}
