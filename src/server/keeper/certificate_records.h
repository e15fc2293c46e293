/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a keeper shows of the certificates in use: fixed records in a sealed memory file, one for each
 * certificate of the policy, written by the keeper of that generation alone, and by the one after
 * it. Read as in server/statistics.h.
 */
#ifndef SALLYPORT_SERVER_KEEPER_CERTIFICATE_RECORDS_H
#define SALLYPORT_SERVER_KEEPER_CERTIFICATE_RECORDS_H

#include "base/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATE_FILE_MAX 256u	/* octets of a file's name with NUL; longer ones are cut */
#define CERTIFICATE_RECORDS_MAX 8192u

struct certificate_record {
	uint32_t seq;
	uint32_t replaced, refused;	/* times that the file changed: was used; could not be used */
	uint32_t reserved;
	int64_t not_before_s, not_after_s;	/* since 1970; 0 = not known */
	int64_t since_wall_ms;		/* in use since; 0 = there is none */
	char file[CERTIFICATE_FILE_MAX];	/* empty: the certificate is a text of the policy */
};

struct certificate_records {
	int fd;
	uint32_t n;
	struct certificate_record *all;
};

/* A new file with so many. fd or -errno. */
int certificate_records_create(uint32_t n) MUST_CHECK;
/* Map it. fd is taken over on success. 0; -EBADMSG: it is no such file; -errno. */
int certificate_records_open(struct certificate_records *r, int fd, bool to_write) MUST_CHECK;
void certificate_records_close(struct certificate_records *r);

/* A consistent copy, text terminated. false: it did not hold still, or there is none. */
bool certificate_records_read(const struct certificate_records *r, uint32_t index, struct certificate_record *out);

#endif
