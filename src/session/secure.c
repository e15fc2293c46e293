/* SPDX-License-Identifier: Apache-2.0 */
#include "session/secure.h"
#include "base/log.h"
#include "io/loop.h"
#include "session/secure_priv.h"

#include <assert.h>
#include <errno.h>

static const char *const side_names[TLS_ENDS] = { [TLS_CLIENT] = "client", [TLS_SERVER] = "server" };
static const char *const reasons[TLS_ENDS] = { [TLS_CLIENT] = "client-handshake", [TLS_SERVER] = "server-handshake" };
static const char *const doings[TLS_ENDS] = {
	[TLS_CLIENT] = "in the TLS handshake with the client", [TLS_SERVER] = "in the TLS handshake with the server",
};

static enum tls_end other_end(enum tls_end end)
{
	return end == TLS_CLIENT ? TLS_SERVER : TLS_CLIENT;
}

static struct stream *stream_of(const struct session *s, enum tls_end end)
{
	return end == TLS_CLIENT ? s->proxy.client : s->proxy.server;
}

static bool is_done(const struct session *s, enum tls_end end)
{
	const struct stream *stream = stream_of(s, end);

	return stream != NULL && stream_is_encrypted(stream);
}

int secure_configure(struct session *s)
{
	const struct proxy_config *config = s->own_config.type != NULL ? &s->own_config : s->service->proxy;
	const struct encryption *e = s->service->encryption != NULL ? s->service->encryption : config->encryption;
	const char *flaw = router_flaw(&s->service->router, e);

	if (e != NULL && !s->proxy.type->starttls && encryption_needs_starttls(e))
		return -EPROTONOSUPPORT;
	if (flaw == NULL)
		flaw = asking_flaw(s->proxy.type, e);
	if (flaw == NULL && s->proxy.type->encryption_flaw != NULL)
		flaw = s->proxy.type->encryption_flaw(s->proxy.config, e);
	if (flaw != NULL) {
		log_event(LOG_CORE_POLICY, 1, s->proxy.id, "The session's encryption does not fit its configuration", F_TEXT("reason", flaw));
		return -EPROTONOSUPPORT;
	}
	s->secure.encryption = e;
	return 0;
}

enum tls_security proxy_security(const struct proxy *proxy, enum tls_end end)
{
	const struct encryption *e = proxy->session->secure.encryption;

	return e != NULL ? e->sides[end].security : TLS_OFF;
}

const struct tls_facts *proxy_tls(const struct proxy *proxy, enum tls_end end)
{
	const struct tls_handshake *h = proxy->session->secure.ends[end].handshake;

	return h != NULL && is_done(proxy->session, end) ? &h->facts : NULL;
}

/* ---- what is logged ---- */

#define NOTE(s, tag, level, summary, ...) log_event((tag), (level), (s)->proxy.id, (summary), ##__VA_ARGS__)

static const char *or_none(const char *text)
{
	return text != NULL ? text : "(NONE)";
}

/* Analysers read the first five fields. TLS compresses nothing here, ever. */
static void log_done(const struct session *s, enum tls_end end, const struct tls_facts *facts)
{
	const struct tls_peer_certificate *peer = facts->n_peer > 0 ? &facts->peer[0] : NULL;

	NOTE(s, LOG_TLS_ACCOUNTING, 4, "SSL handshake done", F_TEXT("side", side_names[end]),
	     F_TEXT("version", or_none(facts->version)), F_TEXT("cipher", or_none(facts->cipher)),
	     F_TEXT("compression", "(NONE)"), F_OCTETS("tls_session_id", facts->session_id),
	     F_TEXT("group", or_none(facts->group)), F_OCTETS("server_name", facts->server_name), F_OCTETS("alpn", facts->alpn),
	     F_TEXT("resumed", facts->resumed ? "yes" : "no"), F_TEXT("trusted", facts->trusted ? "yes" : "no"),
	     F_OCTETS("ja4", facts->ja4), F_INT("duration_us", facts->duration_us));
	if (peer != NULL)
		NOTE(s, LOG_CORE_DEBUG, 4, "The peer has shown who it is", F_TEXT("side", side_names[end]),
		     F_OCTETS("peer", peer->subject), F_OCTETS("issuer", peer->issuer), F_OCTETS("serial", peer->serial),
		     F_TEXT("version", or_none(facts->version)));
	if (peer != NULL && facts->verify_error != 0)
		NOTE(s, LOG_CORE_POLICY, 3, "Untrusted or invalid certificate accepted by the policy",
		     F_TEXT("side", side_names[end]), F_TEXT("verify_error", or_none(facts->verify_text)));
}

static void log_unverified(const struct session *s, enum tls_end end, const struct tls_facts *facts)
{
	const struct tls_peer_certificate *peer = facts->n_peer > 0 ? &facts->peer[0] : NULL;

	if (facts->verify_error == 0)
		return;
	NOTE(s, LOG_CORE_POLICY, 1, "Certificate verification failed", F_TEXT("side", side_names[end]),
	     F_TEXT("error", or_none(facts->verify_text)), F_OCTETS("issuer", peer != NULL ? peer->issuer : slice_of(NULL, 0)),
	     F_OCTETS("subject", peer != NULL ? peer->subject : slice_of(NULL, 0)));
}

static void log_failed(const struct session *s, const struct tls_handshake *h, int err, size_t plaintext)
{
	const char *side = side_names[h->end];

	if (plaintext > 0)
		NOTE(s, LOG_CORE_ERROR, 1, "Plaintext was sent ahead of the TLS handshake", F_TEXT("side", side),
		     F_INT("bytes", plaintext));
	log_unverified(s, h->end, &h->facts);
	if (err == -ETIMEDOUT)
		NOTE(s, LOG_CORE_ERROR, 1, "TLS handshake timed out", F_TEXT("side", side));
	else if (err != -ECANCELED)
		NOTE(s, LOG_CORE_ERROR, 1, "TLS handshake failed", F_TEXT("side", side),
		     F_TEXT("error", h->error[0] != '\0' ? h->error : strerror(-err)));
}

/* ---- one handshake ---- */

/*
 * Client end, TLS from the first octet, the server first: connected now, so that its certificate
 * is known when ours is wanted.
 */
static co_waits int connect_early(struct session *s)
{
	int err;

	NOTE(s, LOG_CORE_INFO, 6, "Connecting to the server before the client's handshake");
	err = proxy_connect_server(&s->proxy);
	s->secure.early = err == 0;
	s->secure.early_error = err;
	if (err != 0)
		NOTE(s, LOG_CORE_ERROR, 3, "The server that the client's handshake needs is not there",
		     F_TEXT("error", strerror(-err)));
	return err;
}

static co_waits int handshake_or_end(struct session *s, enum tls_end end);

/* The ClientHello is there. What the server has to do with it, where it is first, is done now. */
static co_waits int ask_hello(void *arg, const struct tls_facts *facts)
{
	struct secure_asking *a = arg;
	struct session *s = a->session;
	const struct encryption *e = s->secure.encryption;
	int err = 0;

	if (facts->server_name.len > 0)
		NOTE(s, LOG_CORE_INFO, 6, "The client names a server", F_TEXT("side", side_names[TLS_CLIENT]),
		     F_OCTETS("server_name", facts->server_name));
	err = session_route_by_name(s, facts->server_name);
	if (err != 0)
		return err;
	if (e->server_first && e->sides[TLS_CLIENT].security == TLS_FORCE && e->sides[TLS_SERVER].security == TLS_FORCE &&
	    s->proxy.server == NULL)
		err = connect_early(s);
	else if (s->secure.server_inside)
		err = handshake_or_end(s, TLS_SERVER);
	a->handshake->bridged = proxy_tls(&s->proxy, TLS_SERVER);
	return err;
}

struct slice secure_named_host(const struct session *s)
{
	const struct proxy_type *type = s->proxy.type;

	return type->server_name != NULL ? type->server_name(s->proxy.config) : slice_of(NULL, 0);
}

/* What a handshake with the server is told of it. */
static void name_server(const struct session *s, struct slice *server_name, struct slice *must_fit)
{
	const struct tls_verifier *v = &s->secure.encryption->sides[TLS_SERVER].verifier;
	const struct tls_handshake *client = s->secure.ends[TLS_CLIENT].handshake;
	struct slice host = secure_named_host(s);
	bool strict = v->type == TLS_VERIFY_OPTIONAL_TRUSTED || v->type == TLS_VERIFY_REQUIRED_TRUSTED;

	if (s->secure.known.dane.host.len > 0)
		host = s->secure.known.dane.host;	/* whose certificate is wanted, and by whose name (RFC 7671, 7 and 10.1) */
	*server_name = host.len > 0 || client == NULL ? host : client->facts.server_name;
	*must_fit = (v->check_subject && strict) || s->secure.known.dane.set != NULL || s->secure.known.sts.enforced ? host :
		    slice_of(NULL, 0);
}

static int describe_server(const struct session *s, struct tls_handshake *h)
{
	struct slice server_name, must_fit;

	name_server(s, &server_name, &must_fit);
	h->peer = &s->server;
	h->dane = s->secure.known.dane.set;
	h->strict = s->secure.known.sts.enforced;
	h->server_name = arena_copy(h->arena, server_name);
	h->must_fit = arena_copy(h->arena, must_fit);
	return h->server_name.ptr == NULL || h->must_fit.ptr == NULL ? -ENOMEM : 0;
}

/* Room for the handshake, in place of the one before. NULL: no memory. */
static struct tls_handshake *prepare(struct session *s, enum tls_end end)
{
	struct secured *here = &s->secure.ends[end];
	struct tls_handshake *h;

	s->secure.call_failed = false;
	here->handshake = NULL;
	arena_free(&here->arena);
	here->arena = arena_create(SECURE_ARENA_MAX, 0);
	h = here->arena != NULL ? ARENA_NEW(here->arena, struct tls_handshake) : NULL;
	if (h == NULL)
		return NULL;
	h->encryption = s->secure.encryption;
	h->end = end;
	h->arena = here->arena;
	h->bridged = proxy_tls(&s->proxy, other_end(end));
	h->peer = &s->client;
	if (end == TLS_SERVER && describe_server(s, h) < 0)
		return NULL;
	here->handshake = h;
	return h;
}

static void note_done(struct secured *here, const struct tls_facts *facts)
{
	here->version = facts->version;
	here->cipher = facts->cipher;
	here->trusted = facts->trusted;
}

static co_waits int handshake(struct session *s, enum tls_end end)
{
	struct stream *stream = stream_of(s, end);
	const struct encryption *e = s->secure.encryption;
	deadline_t due = deadline_in(e->handshake_timeout_ms);
	struct tls_handshake *h = prepare(s, end);
	struct secure_asking asking = { s, h };
	const char *before = s->proxy.doing;
	size_t plaintext = stream_peek(stream).len;
	int err;

	if (h == NULL)
		return -ENOMEM;
	NOTE(s, LOG_CORE_DEBUG, 6, "TLS handshake begins", F_TEXT("side", side_names[end]));
	secure_set_asks(&asking, &h->asks);
	if (end == TLS_CLIENT)
		h->asks.hello = ask_hello;
	s->proxy.doing = doings[end];
	err = stream_flush(stream, due);
	/* It has the policy's time of its own, and anew behind what its hello waited for: connecting to the server. */
	if (err == 0)
		err = s->env->tls != NULL ? tls_handshake(s->env->tls, stream, h, DEADLINE_NEVER) : -ENOSYS;
	/* These were the session's, not the leg's. */
	h->bridged = NULL;
	h->peer = NULL;
	h->dane = NULL;
	h->asks = (struct tls_asks){ .arg = NULL };
	s->secure.given = (struct tls_given){ .pem = { NULL, 0 } };
	arena_free(&s->secure.given_arena);
	s->secure.changes++;
	if (err != 0) {
		log_failed(s, h, err, plaintext);
		s->secure.known.doubtful |= end == TLS_SERVER && (s->secure.known.dane.set != NULL || s->secure.known.sts.enforced);
		return err;
	}
	s->proxy.doing = before;
	note_done(&s->secure.ends[end], &h->facts);
	log_done(s, end, &h->facts);
	if (end == TLS_SERVER)
		secure_judge_sts(s);
	session_changed(s);
	return 0;
}

/* ---- and how it ends ---- */

/* The session can't go on after this: whose fault it is. */
static void end_by(struct session *s, enum tls_end end, int err)
{
	const struct tls_handshake *h = s->secure.ends[end].handshake;
	enum fault peer = end == TLS_CLIENT ? FAULT_CLIENT : FAULT_SERVER;
	bool of_peer = err == -ETIMEDOUT || (h != NULL && h->peer_fault);

	if (err == -ECANCELED)
		return;
	if (s->secure.early_error != 0)
		proxy_end(&s->proxy, FAULT_SERVER, "connect-failed", s->secure.early_error);
	else if (s->secure.call_failed)
		proxy_end(&s->proxy, FAULT_CALLBACK, reasons[end], err);
	else if (err == -EACCES)
		proxy_end(&s->proxy, FAULT_POLICY, reasons[end], err);
	else
		proxy_end(&s->proxy, of_peer ? peer : FAULT_RESOURCE, reasons[end], err);
}

static co_waits int handshake_or_end(struct session *s, enum tls_end end)
{
	int err = handshake(s, end);

	if (err != 0)
		end_by(s, end, err);
	return err;
}

co_waits int proxy_start_tls(struct proxy *proxy, enum tls_end end)
{
	struct session *s = proxy->session;

	assert(s->secure.encryption != NULL && stream_of(s, end) != NULL && !is_done(s, end));
	return handshake_or_end(s, end);
}

co_waits int proxy_start_tls_both(struct proxy *proxy)
{
	struct session *s = proxy->session;
	bool server_first = s->secure.encryption->server_first;
	int err;

	assert(proxy->server != NULL && !is_done(s, TLS_CLIENT) && !is_done(s, TLS_SERVER));
	NOTE(s, LOG_CORE_DEBUG, 6, "TLS handshake waits for the other side's",
	     F_TEXT("side", side_names[server_first ? TLS_CLIENT : TLS_SERVER]));
	s->secure.server_inside = server_first;
	err = handshake_or_end(s, TLS_CLIENT);
	s->secure.server_inside = false;
	if (err != 0 || server_first)
		return err;
	NOTE(s, LOG_CORE_DEBUG, 6, "The TLS handshake that waited begins", F_TEXT("side", side_names[TLS_SERVER]));
	return handshake_or_end(s, TLS_SERVER);
}

co_waits int secure_client(struct session *s)
{
	return proxy_security(&s->proxy, TLS_CLIENT) == TLS_FORCE ? handshake_or_end(s, TLS_CLIENT) : 0;
}

co_waits int secure_server(struct session *s)
{
	return proxy_security(&s->proxy, TLS_SERVER) == TLS_FORCE ? handshake(s, TLS_SERVER) : 0;
}

/* ---- legs that outlive their session ---- */

struct secure_identity secure_identity_wanted(const struct session *s, bool switched)
{
	struct secure_identity out = { .encryption = NULL };

	if (proxy_security(&s->proxy, TLS_SERVER) != TLS_FORCE && !switched)
		return out;
	out.encryption = s->secure.encryption;
	out.state = s->env->tls != NULL ? tls_state(s->env->tls, out.encryption, TLS_SERVER) : 0;
	name_server(s, &out.server_name, &out.must_fit);
	return out;
}

struct secure_identity secure_identity_of_leg(const struct session *s)
{
	const struct tls_handshake *h = s->secure.ends[TLS_SERVER].handshake;

	if (!is_done(s, TLS_SERVER))
		return (struct secure_identity){ .encryption = NULL };
	return (struct secure_identity){ h->encryption, h->server_name, h->must_fit, h->state };
}

bool secure_identity_equal(const struct secure_identity *a, const struct secure_identity *b)
{
	return a->encryption == b->encryption && a->state == b->state && slice_equal(a->server_name, b->server_name)
	       && slice_equal(a->must_fit, b->must_fit);
}

bool secure_leg_may_repeat(const struct session *s)
{
	const struct tls_side *side;

	if (secure_looks_up(s))
		return false;
	if (!is_done(s, TLS_SERVER))
		return true;
	side = &s->secure.encryption->sides[TLS_SERVER];
	return side->own.bridge == NULL && !policy_call_is_set(&side->own.setup_key) && !policy_call_is_set(&side->verifier.verify);
}

void secure_new_leg(struct session *s)
{
	struct secured *here = &s->secure.ends[TLS_SERVER];

	if (here->handshake == NULL)
		return;
	here->handshake = NULL;
	arena_free(&here->arena);
	s->secure.changes++;
}

void secure_take_leg(struct session *s, struct arena *arena, struct tls_handshake *handshake)
{
	struct secured *here = &s->secure.ends[TLS_SERVER];

	arena_free(&here->arena);
	here->arena = arena;
	here->handshake = handshake;
	s->secure.changes++;
	if (handshake != NULL)
		note_done(here, &handshake->facts);
}

void secure_give_leg(struct session *s, struct arena **arena, struct tls_handshake **handshake)
{
	struct secured *here = &s->secure.ends[TLS_SERVER];

	*arena = here->arena;
	*handshake = here->handshake;
	here->arena = NULL;
	here->handshake = NULL;
}

void secure_release(struct session *s)
{
	secure_forget_looked_up(s);
	for (int end = 0; end < TLS_ENDS; end++) {
		s->secure.ends[end].handshake = NULL;
		arena_free(&s->secure.ends[end].arena);
	}
}
