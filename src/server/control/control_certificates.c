/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, as the control process shows them: until when they are good, since when they are in use. */
#include "server/control/control_priv.h"

#include <stdlib.h>

void control_view_certificates(struct control_view *v, struct message *m)
{
	struct view_certificates *c = m->n_fds == 1 ? calloc(1, sizeof(*c)) : NULL;

	if (c == NULL)
		return;
	c->generation = m->number;
	if (certificate_records_open(&c->records, m->fds[0], false) != 0) {
		free(c);
		return;
	}
	m->n_fds = 0;
	c->next = v->certificates;
	v->certificates = c;
}

void control_certificates_forget(struct control_view *v, uint32_t generation)
{
	for (struct view_certificates **i = &v->certificates; *i != NULL; i = &(*i)->next) {
		struct view_certificates *c = *i;

		if (c->generation != generation)
			continue;
		*i = c->next;
		certificate_records_close(&c->records);
		free(c);
		return;
	}
}

static json_t *certificate_json(const struct certificate_record *r)
{
	json_t *file = json_string(r->file);

	if (file == NULL)		/* not UTF-8, which JSON wants */
		file = json_string("?");
	return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I}", "file", file, "not_before", (json_int_t)r->not_before_s,
			 "not_after", (json_int_t)r->not_after_s, "since_ms", (json_int_t)r->since_wall_ms,
			 "replaced", (json_int_t)r->replaced, "refused", (json_int_t)r->refused);
}

json_t *control_certificates(const struct control_view *v, uint32_t generation)
{
	const struct view_certificates *c = v->certificates;
	struct certificate_record record;
	json_t *all = json_array();

	while (c != NULL && c->generation != generation)
		c = c->next;
	for (uint32_t i = 0; c != NULL && i < c->records.n; i++)
		if (certificate_records_read(&c->records, i, &record) && record.since_wall_ms != 0)
			json_array_append_new(all, certificate_json(&record));
	return all;
}
