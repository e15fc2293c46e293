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

/* What those at index are for (enum key_use); nothing, before this is said. */
void key_ring_permit(struct key_ring *ring, size_t index, unsigned uses);

/* The key at index is this one from now on, and no other; takes a reference. 0; -EINVAL: a kind of key that can't sign
 * here; -ENOMEM. */
int key_ring_set(struct key_ring *ring, size_t index, EVP_PKEY *key) MUST_CHECK;

/*
 * A key that may take the place of the one at index. It signs from now on, since whoever takes it may be faster than
 * the word that it was taken; the one that is there stays. One at a time for each index. As key_ring_set.
 */
int key_ring_offer(struct key_ring *ring, size_t index, EVP_PKEY *key) MUST_CHECK;
/* It was taken: the one that it replaces signs until until_ms (0: no longer; KEY_RING_NEEDED: until the next key is taken,
 * be it the same), for handshakes that began with it. Or it is forgotten. */
#define KEY_RING_NEEDED INT64_MAX
void key_ring_accept(struct key_ring *ring, size_t index, int64_t until_ms);
void key_ring_refuse(struct key_ring *ring, size_t index);
/* Lets replaced keys go. When the next one is due, by the same clock; 0: there is none. */
int64_t key_ring_expire(struct key_ring *ring, int64_t now_ms);

/* One request. Returns the octets of the reply; 0: this is no request, and its sender is broken. */
size_t key_ring_answer(const struct key_ring *ring, struct slice request, uint8_t reply[KEY_REPLY_MAX]);

#endif
