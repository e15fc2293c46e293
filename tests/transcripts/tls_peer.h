/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A far end of a session that speaks TLS: OpenSSL on the descriptor, driven step by step. Where the
 * session's client speaks it is TLS's client, where its server speaks, its server.
 */
#ifndef SALLYPORT_TESTS_TLS_PEER_H
#define SALLYPORT_TESTS_TLS_PEER_H

#include "base/slice.h"

#include <sys/types.h>

struct tls_peer;

enum tls_peer_state { TLS_PEER_BUSY, TLS_PEER_DONE, TLS_PEER_FAILED };

struct tls_peer_setup {
	int fd;
	struct slice received;		/* what came from fd already */
	bool server;
	const char *certificate;	/* a name of pki.h; NULL: none */
	const char *server_name;	/* client: SNI; NULL: none */
	int version_max;		/* TLS1_2_VERSION; 0: any */
	const char *groups;		/* "X25519:P-384": the key share is of the first; NULL: the library's */
	struct ssl_ctx_st *context;	/* borrowed; certificate and version_max are its own then. NULL: one for this peer alone */
	void (*on_octets)(void *arg, struct slice octets);	/* what came from fd, before TLS sees it; NULL: nobody looks */
	void *arg;
};

/* For many peers in a row, none of which knows anything of those before: without resumption. The caller frees it. */
struct ssl_ctx_st *tls_peer_context(bool server, const char *certificate, int version_max);
struct tls_peer *tls_peer_create(const struct tls_peer_setup *setup);
void tls_peer_free(struct tls_peer **p);

/* Go on with the handshake as far as it goes. */
enum tls_peer_state tls_peer_step(struct tls_peer *p);
/* Changes whenever something moved. */
uint64_t tls_peer_progress(const struct tls_peer *p);
/* Once it is done. As read and write: octets; 0 at the end (with or without close_notify); -1 and errno. */
ssize_t tls_peer_read(struct tls_peer *p, void *buf, size_t size);
ssize_t tls_peer_write(struct tls_peer *p, const void *buf, size_t size);
void tls_peer_close_notify(struct tls_peer *p);

/* Into buf: the name that the proxy asked for (server), and the subject that it showed. */
void tls_peer_server_name(const struct tls_peer *p, char *buf, size_t size);
void tls_peer_subject(const struct tls_peer *p, char *buf, size_t size);
const char *tls_peer_error(const struct tls_peer *p);

#endif
