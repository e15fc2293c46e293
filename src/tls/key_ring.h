/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's keys, and what it does with them: answer the requests of workers (tls/key_talk.h). It
 * signs what TLS signs, with the keys that are in the ring, and nothing else.
 */
#ifndef SALLYPORT_TLS_KEY_RING_H
#define SALLYPORT_TLS_KEY_RING_H

#include "tls/key_talk.h"

struct key_ring;

/* For n keys of a policy. NULL: out of memory. */
struct key_ring *key_ring_create(size_t n);
void key_ring_free(struct key_ring **ringp);

/*
 * The key at index is this one from now on; takes a reference. The one before it stays good for handshakes that
 * are under way, until the next change. 0; -EINVAL: a kind of key that can't sign here; -ENOMEM.
 */
int key_ring_set(struct key_ring *ring, size_t index, EVP_PKEY *key) MUST_CHECK;

/* One request. Returns the octets of the reply; 0: this is no request, and its sender is broken. */
size_t key_ring_answer(const struct key_ring *ring, struct slice request, uint8_t reply[KEY_REPLY_MAX]);

#endif
