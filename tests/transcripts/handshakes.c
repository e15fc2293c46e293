/* SPDX-License-Identifier: Apache-2.0 */
/* TLS that the far ends speak: handshakes, and what they saw in them. */
#include "run.h"

#include <openssl/ssl.h>
#include <string.h>

/* What follows a word like "cert=", up to a blank; NULL: the word is not there. */
static const char *value_of(char *words, const char *word, char *buf, size_t size)
{
	const char *at = strstr(words, word);

	if (at == NULL)
		return NULL;
	snprintf(buf, size, "%.*s", (int)strcspn(at + strlen(word), " "), at + strlen(word));
	return buf;
}

static void check_handshake(struct run *r, int side, bool done)
{
	enum tls_peer_state state;

	settle(r);
	state = r->tls[side] != NULL ? tls_peer_step(r->tls[side]) : TLS_PEER_BUSY;
	if (state != (done ? TLS_PEER_DONE : TLS_PEER_FAILED))
		fail(r, "the TLS handshake of the %s %s %s", side_names[side],
		     state == TLS_PEER_DONE ? "is done" : state == TLS_PEER_BUSY ? "is not over" : "failed:",
		     state == TLS_PEER_FAILED ? tls_peer_error(r->tls[side]) : "");
}

/* tls [cert=NAME] [sni=NAME] [groups=LIST] [tls1.2]: it begins; tls done, tls failed: how it went. */
void speak_tls(struct run *r, int side, char *rest)
{
	char certificate[32], name[128], groups[64];
	struct tls_peer_setup setup = {
		.fd = *far_end(r, side), .server = side == SERVER,
		.certificate = value_of(rest, "cert=", certificate, sizeof(certificate)),
		.server_name = value_of(rest, "sni=", name, sizeof(name)),
		.groups = value_of(rest, "groups=", groups, sizeof(groups)),
		.version_max = strstr(rest, "tls1.2") != NULL ? TLS1_2_VERSION : 0,
	};

	if (strcmp(rest, "done") == 0 || strcmp(rest, "failed") == 0) {
		check_handshake(r, side, strcmp(rest, "done") == 0);
		return;
	}
	if (side == SERVER && setup.certificate == NULL)
		setup.certificate = "good";
	settle(r);
	setup.received = slice_of(r->from_proxy[side].data, r->from_proxy[side].len);
	if (r->tls[side] != NULL || setup.fd < 0)
		fail(r, "the %s speaks TLS already, or is not there", side_names[side]);
	else
		r->tls[side] = tls_peer_create(&setup);
	r->from_proxy[side].len = 0;
	settle(r);
}

/* The certificate that the proxy showed. */
void check_subject(struct run *r, int side, const char *want)
{
	char subject[256] = "plain text";

	settle(r);
	if (r->tls[side] != NULL)
		tls_peer_subject(r->tls[side], subject, sizeof(subject));
	if (strcmp(subject, want) != 0)
		fail(r, "the %s sees %s", side_names[side], subject);
}

void check_name(struct run *r, const char *want)
{
	char name[256] = "plain text";

	settle(r);
	if (r->tls[SERVER] != NULL)
		tls_peer_server_name(r->tls[SERVER], name, sizeof(name));
	if (strcmp(name, want) != 0)
		fail(r, "the server is asked for by the name %s", name);
}
