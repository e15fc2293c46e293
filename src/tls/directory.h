/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of certificates, read whole: a worker opens no files in a handshake, and whoever
 * watches them (another process) can hand over what it read.
 */
#ifndef SALLYPORT_TLS_DIRECTORY_H
#define SALLYPORT_TLS_DIRECTORY_H

#include "base/attributes.h"
#include "base/slice.h"

#define TLS_DIRECTORY_FILES 4096u
#define TLS_DIRECTORY_OCTETS ((size_t)64 << 20)		/* of all its files */

struct tls_file {
	char *name;			/* without the directory */
	struct slice octets;
	int err;			/* -errno: it could not be read */
};

struct tls_directory {
	struct tls_file *files;		/* by name */
	size_t n;
};

/* Every file whose name begins with no dot. 0; -EFBIG (too many, too large); -ENOMEM; -errno. */
int tls_directory_read(const char *path, struct tls_directory *out) MUST_CHECK;
void tls_directory_free(struct tls_directory *directory);

#endif
