/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper does with keys and files: loads the keys, signs for workers, and reads again what changed. It
 * tells by records (tls/keeper_file.h), which go to the leader and the workers as they are.
 */
#ifndef SALLYPORT_TLS_KEEPER_KEYS_H
#define SALLYPORT_TLS_KEEPER_KEYS_H

#include "policy/policy.h"
#include "tls/key_talk.h"
#include "tls/keeper_file.h"

struct keeper_keys;

/*
 * For the keys of a policy. secrets: what goes with its document, octets that stay; empty: none. give: records
 * have whole keys. Called once in a process, which is to hold keys: they go to memory that is not swapped out,
 * as far as the process's limits allow. 0; -EBADMSG: the secrets are none; -ENOMEM.
 */
int keeper_keys_create(const struct policy *policy, struct slice secrets, bool give, struct keeper_keys **out) MUST_CHECK;
void keeper_keys_free(struct keeper_keys **kp);

/*
 * All keys, and what is wrong with some. again: another keeper was there before, and which certificates are in
 * use is not known. Records are wiped by the caller, since whole keys may be in them.
 */
void keeper_keys_load(struct keeper_keys *k, bool again, struct buffer *records);

/*
 * Read again what may have changed, with its tests: a certificate and its key, a key that has none, the directories of a context's
 * verifier, its OCSP response (a context: encryption * TLS_ENDS + end). Records are an offer, which the leader takes or
 * refuses as a whole; until that is settled nothing else is read. None: it is what is in use. 0; -EINVAL with errors in problems; -ENOMEM.
 */
int keeper_keys_read_chain(struct keeper_keys *k, uint32_t certificate, struct policy_problems *problems,
			   struct buffer *records) MUST_CHECK;
int keeper_keys_read_key(struct keeper_keys *k, uint32_t key, struct policy_problems *problems, struct buffer *records)
	MUST_CHECK;
int keeper_keys_read_trust(struct keeper_keys *k, uint32_t context, struct policy_problems *problems,
			   struct buffer *records) MUST_CHECK;
int keeper_keys_read_ocsp(struct keeper_keys *k, uint32_t context, struct policy_problems *problems,
			  struct buffer *records) MUST_CHECK;

/* What was offered is in use from now on; what it replaces signs until until_ms. Or all is as it was. */
void keeper_keys_accept(struct keeper_keys *k, int64_t until_ms);
void keeper_keys_refuse(struct keeper_keys *k);
int64_t keeper_keys_expire(struct keeper_keys *k, int64_t now_ms);	/* as key_ring_expire */

/* Of the certificate in use, seconds since 1970; 0: not known. */
void keeper_keys_dates(const struct keeper_keys *k, uint32_t certificate, int64_t *from, int64_t *to);

/* As key_ring_answer. */
size_t keeper_keys_answer(const struct keeper_keys *k, struct slice request, uint8_t reply[KEY_REPLY_MAX]);

#endif
