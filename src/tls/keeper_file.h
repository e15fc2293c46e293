/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper tells its generation: records in a sealed memory file, of keys when it has
 * loaded them, and of files that changed. Only the keeper writes them, and whoever reads them
 * checks every length all the same.
 */
#ifndef SALLYPORT_TLS_KEEPER_FILE_H
#define SALLYPORT_TLS_KEEPER_FILE_H

#include "base/attributes.h"
#include "base/buffer.h"
#include "base/slice.h"

#define KEEPER_FILE_MAX ((size_t)320 << 20)	/* octets: four directories at their ceiling, and some */
#define KEEPER_PARTS_MAX 4u

enum keeper_kind {
	/* kind			   index	    parts */
	KEEPER_KEY_PUBLIC = 1,	/* of the key	    DER, SubjectPublicKeyInfo */
	KEEPER_KEY_WHOLE,	/* of the key	    DER, PrivateKeyInfo: where workers have the keys themselves */
	KEEPER_ERROR,		/* of the key	    message, hint: why it could not be loaded */
	KEEPER_WARNING,		/* of the key	    message, hint */
	KEEPER_CHAIN,		/* of the certificate  PEM; a record of its key precedes it */
	KEEPER_TRUST,		/* of the context   CA, CRL, hint and pin directory, each as KEEPER_FILE records */
	KEEPER_OCSP,		/* of the context   DER of the response */
	KEEPER_FILE,		/* -errno	    name, octets: within a directory */
	KEEPER_KINDS
};

struct keeper_record {
	enum keeper_kind kind;
	uint32_t index;
	unsigned n;			/* parts that the kind has */
	struct slice parts[KEEPER_PARTS_MAX];
};

/* The kind says how many parts are written. */
void keeper_record_write(struct buffer *out, const struct keeper_record *record);

/* Takes one record off the front; its parts are where rest was. 1; 0 at the end; -EBADMSG. */
int keeper_record_next(struct slice *rest, struct keeper_record *out) MUST_CHECK;

#endif
