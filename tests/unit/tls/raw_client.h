/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the library's own, over a descriptor, in small steps: what our end does not do itself. */
#ifndef TESTS_UNIT_TLS_RAW_CLIENT_H
#define TESTS_UNIT_TLS_RAW_CLIENT_H

#include "tls_test.h"

#include <openssl/ssl.h>

struct raw_client {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;			/* of the SSL */
	int fd;
	size_t step;			/* octets written at a time, a millisecond apart */
};

void raw_open(struct raw_client *c, int fd, size_t step);
void raw_close(struct raw_client *c);		/* not the descriptor */
/* Each runs on a coroutine and moves octets until the call has an answer; -1: the peer hung up, or the call failed. */
int raw_shake(struct raw_client *c);
int raw_read(struct raw_client *c, void *buf, int size);
int raw_write(struct raw_client *c, const char *text);
void raw_push(struct raw_client *c);		/* what the SSL wrote goes out */

#endif
