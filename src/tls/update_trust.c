/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed from now on. Parsing it is slow and touches nothing that is in use; putting it in its place is neither. */
#include "tls/update.h"

#include "tls/tls_priv.h"

#include <errno.h>
#include <stdlib.h>

/* ---- reading ---- */

static int read_file(const struct keeper_record *record, struct tls_file *file)
{
	const struct slice name = record->parts[0], octets = record->parts[1];
	void *copy = malloc(octets.len + 1);

	if (copy == NULL)
		return -ENOMEM;
	if (octets.len > 0)
		memcpy(copy, octets.ptr, octets.len);
	*file = (struct tls_file){ .name = strndup((const char *)name.ptr, name.len), .octets = slice_of(copy, octets.len),
				   .err = -(int)record->index };
	return file->name != NULL ? 0 : -ENOMEM;
}

static int read_directory(struct slice records, struct tls_directory *out)
{
	struct keeper_record record;
	int n, err = 0;

	out->files = calloc(TLS_DIRECTORY_FILES, sizeof(*out->files));
	if (out->files == NULL)
		return -ENOMEM;
	while (err == 0 && (n = keeper_record_next(&records, &record)) != 0) {
		if (n < 0 || record.kind != KEEPER_FILE || out->n == TLS_DIRECTORY_FILES)
			return -EBADMSG;
		err = read_file(&record, &out->files[out->n]);
		out->n++;
	}
	return err;
}

int tls_update_read_trust(struct slice records, struct policy_problems *problems, uint32_t *context, struct tls_trust *out)
{
	struct tls_trust_sources sources = { .ca = { 0 } };
	struct tls_directory *const directories[] = { &sources.ca, &sources.crl, &sources.hints, &sources.pins };
	struct keeper_record record;
	int err = 0;

	if (keeper_record_next(&records, &record) != 1 || record.kind != KEEPER_TRUST || records.len > 0)
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_LEN(directories) && err == 0; i++)
		err = read_directory(record.parts[i], directories[i]);
	if (err == 0)
		err = tls_trust_build(&sources, (struct policy_place){ NULL, 0 }, problems, out);
	tls_trust_sources_free(&sources);
	if (err == 0)
		*context = record.index;
	return err;
}

/* ---- putting it in its place ---- */

struct believer {
	struct tls_context *context;		/* NULL: the end */
	struct tls_trust trust;
	STACK_OF(X509_NAME) *hints;
	uint8_t identity[TLS_IDENTITY];
};

static int prepare(struct believer *b, struct tls_context *c, const struct tls_trust *trust)
{
	int err = tls_trust_share(trust, &b->trust);

	if (err != 0)
		return err;
	b->context = c;
	return tls_context_hints(c, &b->trust, &b->hints);
}

/* Every context that has these directories. */
static int prepare_all(struct tls *tls, const struct tls_context *of, const struct tls_trust *trust, struct believer *believers)
{
	int err = 0;

	for (size_t i = 0; i < tls->policy->n_encryptions * TLS_ENDS && err == 0; i++)
		if (tls->contexts[i].ctx != NULL && tls_context_has_sources(&tls->contexts[i], &of->side->verifier))
			err = prepare(believers++, &tls->contexts[i], trust);
	return err;
}

/* There and back. */
static void exchange(struct believer *believers)
{
	for (struct believer *b = believers; b->context != NULL; b++) {
		const struct tls_trust now = b->context->trust;

		b->context->trust = b->trust;
		b->trust = now;
	}
}

static int identify(struct believer *believers)
{
	int err = 0;

	for (struct believer *b = believers; b->context != NULL && err == 0; b++)
		err = tls_resume_identity(b->context, b->identity);
	return err;
}

static void install(struct believer *believers)
{
	for (struct believer *b = believers; b->context != NULL; b++) {
		tls_context_name(b->context, b->hints);
		tls_resume_become(b->context, b->identity);
		b->hints = NULL;
	}
}

/* All that is left of them: what was believed before, or what came to nothing. */
static void end(struct believer *believers)
{
	for (struct believer *b = believers; b->context != NULL; b++) {
		tls_trust_clear(&b->trust);
		sk_X509_NAME_pop_free(b->hints, X509_NAME_free);
	}
	free(believers);
}

int tls_update_trust(struct tls *tls, uint32_t context, struct tls_trust *trust)
{
	const size_t n_contexts = tls->policy->n_encryptions * TLS_ENDS;
	struct believer *believers;
	int err;

	if (context >= n_contexts || tls->contexts[context].ctx == NULL)
		return -EBADMSG;
	believers = calloc(n_contexts + 1, sizeof(*believers));
	if (believers == NULL)
		return -ENOMEM;
	err = prepare_all(tls, &tls->contexts[context], trust, believers);
	if (err == 0) {
		exchange(believers);
		err = identify(believers);
		if (err != 0)
			exchange(believers);
	}
	if (err == 0) {
		install(believers);
		/* Of the same store they all have references, so that only this one is the last. */
		tls_trust_clear(trust);
		*trust = believers[0].trust;
		believers[0].trust = (struct tls_trust){ 0 };
	}
	end(believers);
	return err;
}
