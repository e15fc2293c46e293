/* SPDX-License-Identifier: Apache-2.0 */
/* What others say of a server, which is asked anew each time before one is connected; the lookout remembers. */
#include "base/buffer.h"
#include "io/loop.h"
#include "session/asker.h"
#include "session/secure_priv.h"

#include <errno.h>

const struct tls_verifier *secure_server_verifier(const struct session *s)
{
	const struct encryption *e = s->secure.encryption;

	return e != NULL && e->sides[TLS_SERVER].security != TLS_OFF ? &e->sides[TLS_SERVER].verifier : NULL;
}

bool secure_looks_up(const struct session *s)
{
	const struct tls_verifier *v = secure_server_verifier(s);

	return v != NULL && (v->dane != TLS_DANE_OFF || v->mta_sts != NULL);
}

void secure_forget_looked_up(struct session *s)
{
	secure_forget_dane(&s->secure.known.dane);
	s->secure.known = (struct secure_looked_up){ .must_encrypt = false };
}

bool proxy_server_must_be_encrypted(const struct proxy *proxy)
{
	return proxy->session->secure.known.must_encrypt;
}

bool proxy_server_is_doubtful(const struct proxy *proxy)
{
	return proxy->session->secure.known.doubtful;
}

/* A pin of the policy's own counted, and not what others say. */
static bool is_pinned(const struct proxy *proxy)
{
	const struct tls_facts *facts = proxy_tls(proxy, TLS_SERVER);

	return facts != NULL && facts->pinned;
}

const char *proxy_server_dane(const struct proxy *proxy)
{
	const struct secure_dane *dane = &proxy->session->secure.known.dane;

	return dane->verdict == NULL ? "" : dane->set != NULL && is_pinned(proxy) ? "pinned" : dane->verdict;
}

const char *proxy_server_mta_sts(const struct proxy *proxy)
{
	const struct secure_sts *sts = &proxy->session->secure.known.sts;

	if (sts->verdict == NULL)
		return "";
	if (sts->enforced && is_pinned(proxy))
		return "pinned";
	return sts->testing && !sts->met ? "unmet" : sts->verdict;
}

co_waits int secure_ask_lookout(struct session *s, enum lookout_kind kind, struct slice question, int n, int failed,
				struct buffer *answer)
{
	const char *why = "there is no lookout";
	int result;

	if (s->env->asker != NULL) {
		result = asker_ask(s->env->asker, kind, question, deadline_in(s->service->chainer.timeout_connect_ms), answer);
		if ((result >= 0 && result < n) || result == -ECANCELED)
			return result;
		why = result < 0 ? strerror(-result) : "the answer makes no sense";
	}
	buffer_clear(answer);
	buffer_append(answer, slice_cstr(why));
	return failed;
}

co_waits int secure_look_up(struct session *s)
{
	const struct tls_verifier *v = secure_server_verifier(s);
	const char *before = s->proxy.doing;
	struct slice host;
	int err = 0;

	secure_forget_looked_up(s);
	if (!secure_looks_up(s))
		return 0;
	host = secure_named_host(s);
	s->proxy.doing = "asking the server's zone for its certificate";
	if (v->dane != TLS_DANE_OFF)
		err = secure_look_up_dane(s, host);
	s->proxy.doing = "asking the mail domain for its policy";
	if (err == 0 && v->mta_sts != NULL)
		err = secure_look_up_sts(s, host);
	s->secure.known.doubtful = err == -EHOSTDOWN;
	s->proxy.doing = before;
	return err;
}
