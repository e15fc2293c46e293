/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with servers, to go on with. A key has its place among four; who comes in drives out the
 * one that came first. Sessions of TLS 1.3 are used once (RFC 8446, C.4).
 */
#include "tls/resume.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4u

struct entry {
	struct tls_session_key key;
	SSL_SESSION *session;		/* NULL: free */
	struct tls_verdict verdict;
	uint64_t since;
};

struct tls_sessions {
	uint64_t count;
	struct entry entries[TLS_SESSIONS_MAX];
};

struct tls_sessions *tls_sessions_create(void)
{
	return calloc(1, sizeof(struct tls_sessions));
}

void tls_sessions_free(struct tls_sessions **sp)
{
	struct tls_sessions *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	for (size_t i = 0; i < TLS_SESSIONS_MAX; i++)
		SSL_SESSION_free(s->entries[i].session);
	free(s);
}

/* The key is a digest, so any octets of it spread well. */
static struct entry *ways_of(struct tls_sessions *s, const struct tls_session_key *key)
{
	size_t n = (size_t)key->octets[0] << 8 | key->octets[1];

	return &s->entries[n % (TLS_SESSIONS_MAX / WAYS) * WAYS];
}

static bool is_of(const struct entry *e, const struct tls_session_key *key)
{
	return e->session != NULL && memcmp(&e->key, key, sizeof(*key)) == 0;
}

static void drop(struct entry *e)
{
	SSL_SESSION_free(e->session);
	*e = (struct entry){ 0 };
}

void tls_sessions_put(struct tls_sessions *s, const struct tls_session_key *key, SSL_SESSION *session,
		      const struct tls_verdict *verdict)
{
	struct entry *ways = ways_of(s, key), *to = ways;

	for (size_t i = 0; i < WAYS; i++) {
		if (is_of(&ways[i], key)) {
			to = &ways[i];
			break;
		}
		if (ways[i].since < to->since)
			to = &ways[i];
	}
	drop(to);
	*to = (struct entry){ *key, session, *verdict, ++s->count };
}

static bool is_good(const SSL_SESSION *session, int64_t now)
{
	return SSL_SESSION_is_resumable(session) && SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) > now;
}

SSL_SESSION *tls_sessions_take(struct tls_sessions *s, const struct tls_session_key *key, int64_t now,
			       struct tls_verdict *verdict)
{
	struct entry *ways = ways_of(s, key);

	for (size_t i = 0; i < WAYS; i++) {
		SSL_SESSION *session = ways[i].session;

		if (!is_of(&ways[i], key))
			continue;
		if (!is_good(session, now)) {
			drop(&ways[i]);
			return NULL;
		}
		*verdict = ways[i].verdict;
		SSL_SESSION_up_ref(session);
		if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
			drop(&ways[i]);
		return session;
	}
	return NULL;
}
