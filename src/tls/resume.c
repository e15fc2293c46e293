/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_priv.h"

int tls_resume_setup(struct tls_context *c)
{
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(c->ctx, 0);
	return 0;
}

void tls_sessions_clear(struct tls *tls)
{
}
