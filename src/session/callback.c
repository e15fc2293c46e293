/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy host as a worker holds it: servers come and go, sessions wait in a queue for a
 * conversation. What makes it hard is that a server can go at any moment, while coroutines wait
 * on its conversations: it is freed by whoever lets go of its last busy conversation.
 */
#include "session/callback_priv.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETIRED_MAX 4		/* threads that hang, before the server is replaced */
#define ASK_AGAIN_MAX 3		/* a call moves at most so often to another server */
#define ASK_AGAIN_MS 10000	/* a server that was asked for should be there by then */

static void close_watched(struct loop *loop, struct loop_watch *watch)
{
	if (watch->fd < 0)
		return;
	loop_watch_remove(loop, watch);
	close(watch->fd);
	watch->fd = -1;
}

/* --- servers */

static void unlink_conversation(struct conversation *c)
{
	struct conversation **link = &c->server->conversations;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	c->server->n_conversations--;
}

void conversation_shut(struct conversation *c)
{
	close_watched(c->server->host->options.loop, &c->watch);
}

static void conversation_free(struct conversation *c)
{
	conversation_shut(c);
	unlink_conversation(c);
	free(c);
}

static void server_free(struct callback_server *s)
{
	struct callback_server **link = &s->host->leaving;

	while (s->conversations != NULL)
		conversation_free(s->conversations);
	close_watched(s->host->options.loop, &s->control);
	while (*link != NULL && *link != s)
		link = &(*link)->next_leaving;
	if (*link == s)
		*link = s->next_leaving;
	free(s);
}

/* No call begins on it any more; those that run may end. */
static void server_leave(struct callback_server *s)
{
	struct callback_host *h = s->host;

	if (s->leaving)
		return;
	s->leaving = true;
	if (h->server == s)
		h->server = NULL;
	s->next_leaving = h->leaving;
	h->leaving = s;
	for (struct conversation *c = s->conversations, *next; c != NULL; c = next) {
		next = c->next;
		if (!c->busy)
			conversation_free(c);
	}
	if (s->n_busy == 0)
		server_free(s);
}

static void ask_for_server(struct callback_host *h, bool kill)
{
	int64_t now = loop_now(h->options.loop);

	if (h->renewing && !kill && now - h->asked_ms < ASK_AGAIN_MS)
		return;
	h->renewing = true;
	h->asked_ms = now;
	h->options.renew(h->options.arg, kill);
}

/*
 * Has the server not even read the packet that we sent? Then it can't have acted on it. A socket
 * that was closed with something unread in it is told to its peer as a reset connection.
 */
static bool is_unread(const struct conversation *c)
{
	int unread = 0;
	uint8_t octet;

	if (c->open_calls == 0)
		return true;
	if (!c->unheard || c->watch.fd < 0)
		return false;
	if (ioctl(c->watch.fd, SIOCOUTQ, &unread) == 0 && unread > 0)
		return true;
	return recv(c->watch.fd, &octet, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == ECONNRESET;
}

void server_lost(struct callback_server *s, bool stuck)
{
	struct callback_host *h = s->host;
	bool current = h->server == s;

	if (stuck)
		h->counts.stuck++;
	log_event(LOG_CORE_ERROR, 2, slice_cstr("nosession"),
		  stuck ? "Policy host does not answer, it is killed and started again" :
			  "Policy host is gone, it is started again",
		  F_INT("calls", s->n_busy), F_INT("generation", s->generation));
	for (struct conversation *c = s->conversations; c != NULL; c = c->next) {
		if (!c->busy || c->error != 0)
			continue;
		c->error = is_unread(c) ? -EAGAIN : -EPIPE;
		conversation_shut(c);
		if (c->watch.waiter != NULL)
			co_wake(c->watch.waiter);
	}
	close_watched(h->options.loop, &s->control);
	server_leave(s);
	if (current)
		ask_for_server(h, stuck);
}

void server_wear_out(struct callback_server *s)
{
	if (s->n_retired < RETIRED_MAX || s->leaving || s->host->renewing)
		return;
	log_event(LOG_CORE_ERROR, 3, slice_cstr("nosession"), "Too many late callbacks hang, policy host is replaced",
		  F_INT("threads", s->n_retired));
	ask_for_server(s->host, false);
}

static int add_conversation(struct callback_server *s, int fd, unsigned number)
{
	struct conversation *c = calloc(1, sizeof(*c)), **tail = &s->conversations;
	int err;

	if (c == NULL)
		return -ENOMEM;
	c->server = s;
	c->number = number;
	c->watch.fd = fd;
	err = loop_watch_add(s->host->options.loop, &c->watch);
	if (err < 0) {
		free(c);
		return err;
	}
	while (*tail != NULL)
		tail = &(*tail)->next;
	*tail = c;
	s->n_conversations++;
	return 0;
}

/* --- the queue for conversations */

static struct conversation *find_idle(const struct callback_host *h)
{
	if (h->server == NULL)
		return NULL;
	for (struct conversation *c = h->server->conversations; c != NULL; c = c->next)
		if (!c->busy)
			return c;
	return NULL;
}

static void take(struct conversation *c)
{
	c->busy = true;
	c->server->n_busy++;
}

static void serve_queue(struct callback_host *h)
{
	struct conversation *c;

	while (h->first != NULL && (c = find_idle(h)) != NULL) {
		struct callback_waiter *w = h->first;

		h->first = w->next;
		if (h->first == NULL)
			h->tail = &h->first;
		take(c);
		w->given = c;
		co_wake(w->co);
	}
}

static void leave_queue(struct callback_host *h, struct callback_waiter *w)
{
	struct callback_waiter **link = &h->first;

	while (*link != NULL && *link != w)
		link = &(*link)->next;
	if (*link == NULL)
		return;
	*link = w->next;
	if (h->tail == &w->next)
		h->tail = link;
}

/* Give a conversation back; one with an open call can't be used again. */
static void give_back(struct conversation *c)
{
	struct callback_server *s = c->server;
	struct callback_host *h = s->host;
	bool clean = c->open_calls == 0 && c->error == 0;
	unsigned number = c->number;

	c->busy = false;
	s->n_busy--;
	if (s->leaving) {
		conversation_free(c);
		if (s->n_busy == 0)
			server_free(s);
		return;
	}
	if (!clean) {
		conversation_free(c);
		control_retire(s, number);
		if (h->server == s && server_add_conversation(s) < 0 && s->n_conversations == 0)
			ask_for_server(h, false);
	}
	serve_queue(h);
}

/* WAITS. 0 and *out, which is busy from then on; -ETIMEDOUT; -ECANCELED. */
static co_waits int acquire(struct callback_host *h, struct callback_waiter *w, deadline_t deadline,
			    struct conversation **out)
{
	int err = 0;

	if (h->first == NULL && (*out = find_idle(h)) != NULL) {
		take(*out);
		return 0;
	}
	if (h->server == NULL)
		ask_for_server(h, false);
	*w = (struct callback_waiter){ .co = co_current() };
	*h->tail = w;
	h->tail = &w->next;
	while (w->given == NULL && err == 0)
		err = co_wait(deadline);
	if (w->given == NULL) {
		leave_queue(h, w);
		return err;
	}
	if (err < 0) {		/* it came together with the end of our time */
		give_back(w->given);
		return err;
	}
	*out = w->given;
	return 0;
}

/* --- sessions */

static struct callback_session *session_of(struct callback_host *h, struct proxy *proxy)
{
	struct callback_session *cs = proxy->host_state;

	if (cs != NULL)
		return cs;
	cs = ARENA_NEW(proxy->arena, struct callback_session);
	if (cs == NULL)
		return NULL;
	cs->number = ++h->sessions;
	proxy->host_state = cs;
	return cs;
}

/*
 * The instance must not be used again: a thread that hangs may still work on it. The next call
 * gets a new one, which starts from the configured class.
 */
static void drop_instance(struct callback_host *h, struct callback_session *cs)
{
	if (h->server != NULL && cs->told_generation == h->server->generation)
		control_forget(h->server, cs->number);
	cs->told_generation = 0;
	cs->number = ++h->sessions;
}

/* Does the server have to be told (again) what self.session shows? */
static bool needs_info(const struct callback_session *cs, const struct callback_server *s, const struct session *session)
{
	return cs->told_generation != s->generation || cs->told_zone != session->server_zone ||
	       !endpoint_equal(&cs->told_client, &session->client) || !endpoint_equal(&cs->told_server, &session->server) ||
	       !endpoint_equal(&cs->told_target, &session->target.at);
}

static bool needs_tls(const struct callback_session *cs, const struct callback_server *s, const struct session *session)
{
	bool known = session->secure.ends[TLS_CLIENT].handshake != NULL || session->secure.ends[TLS_SERVER].handshake != NULL;

	return known && (cs->told_generation != s->generation || cs->told_tls != session->secure.changes);
}

static void info_told(struct callback_session *cs, const struct callback_server *s, const struct session *session)
{
	if (cs->first_generation == 0)
		cs->first_generation = s->generation;
	cs->told_generation = s->generation;
	cs->told_zone = session->server_zone;
	cs->told_tls = session->secure.changes;
	cs->told_client = session->client;
	cs->told_server = session->server;
	cs->told_target = session->target.at;
}

/*
 * Callbacks above the document's numbers were given by one server to this session. After that
 * server they mean nothing, and something else must not be called in their place.
 */
static bool number_is_stale(const struct callback_host *h, const struct callback_session *cs,
			    const struct callback_server *s, const struct callback_request *request)
{
	return request->method == NULL && (uint32_t)request->callback >= h->options.policy->n_callbacks &&
	       cs->first_generation != s->generation;
}

static co_waits int outermost_call(struct callback_host *h, struct callback_session *cs,
				   struct callback_request *request, deadline_t deadline, struct call_value *result)
{
	struct conversation *c;
	int err = acquire(h, &cs->waiter, deadline, &c);

	if (err < 0)
		return err;
	if (number_is_stale(h, cs, c->server, request)) {
		give_back(c);
		return -EREMOTEIO;
	}
	request->with_info = needs_info(cs, c->server, request->proxy->session);
	request->with_tls = needs_tls(cs, c->server, request->proxy->session);
	info_told(cs, c->server, request->proxy->session);
	cs->conversation = c;
	cs->owner = co_current();
	c->deadline = deadline;
	c->since_ms = co_now();
	control_watch(h);
	err = conversation_call(c, request, deadline, result);
	cs->conversation = NULL;
	if (c->open_calls != 0 || c->error != 0)
		drop_instance(h, cs);
	else if (err < 0 && err != -EREMOTEIO)
		cs->told_generation = 0;	/* it may not have been sent: tell it again */
	give_back(c);
	return err;
}

static void report(struct callback_host *h, const struct callback_request *request, int err)
{
	struct proxy *proxy = request->proxy;
	const struct proxy_config *config = proxy->session->service->proxy;

	if (err == -EREMOTEIO)
		h->counts.raised++;	/* its traceback was logged where it came in */
	else if (err == -ETIMEDOUT)
		h->counts.late++;
	else if (err == -EPIPE)
		h->counts.lost++;
	if (err == 0 || err == -EREMOTEIO || err == -ECANCELED)
		return;
	proxy_log(proxy, LOG_CORE_ERROR, 3,
		  err == -ETIMEDOUT ? "Callback is late" : err == -EPIPE ? "Callback was lost with its policy host" :
		  "Callback failed", F_TEXT("class", config->class_name),
		  F_TEXT("method", request->method != NULL ? request->method : ""), F_INT("callback", request->callback),
		  F_INT("error", -err));
}

static co_waits int port_call(struct policy_host *port, struct proxy *proxy, int32_t callback, const char *method,
			      const struct call_value *args, size_t n_args, struct call_value *result,
			      deadline_t deadline)
{
	struct callback_host *h = (struct callback_host *)port;
	struct callback_session *cs = session_of(h, proxy);
	struct callback_request request = { .proxy = proxy, .session = cs, .kind = REQUEST_CALL,
					    .callback = callback, .method = method, .args = args, .n_args = n_args };
	int err;

	if (cs == NULL)
		return -ENOMEM;
	if (cs->conversation != NULL) {		/* a native function that policy code called calls policy code */
		assert(cs->owner == co_current());
		return conversation_call(cs->conversation, &request, deadline_min(deadline, cs->conversation->deadline),
					 result);
	}
	h->counts.calls++;
	for (int tries = 0;; tries++) {
		err = outermost_call(h, cs, &request, deadline, result);
		if (err != -EAGAIN)
			break;
		if (tries == ASK_AGAIN_MAX) {
			err = -EPIPE;
			break;
		}
	}
	report(h, &request, err);
	if (proxy->session->destroyed) {
		proxy_end(proxy, FAULT_POLICY, "destroyed", 0);
		session_stop(proxy->session, true);
		return -ECANCELED;
	}
	return err;
}

static void port_forget(struct policy_host *port, struct proxy *proxy)
{
	struct callback_host *h = (struct callback_host *)port;
	struct callback_session *cs = proxy->host_state;

	if (cs == NULL)
		return;
	assert(cs->conversation == NULL);
	if (h->server != NULL && cs->told_generation == h->server->generation)
		control_forget(h->server, cs->number);
	proxy->host_state = NULL;
}

/* --- from outside */

struct callback_host *callback_host_create(const struct callback_options *options)
{
	struct callback_host *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->options = *options;
	h->port = (struct policy_host){ .call = port_call, .forget = port_forget };
	h->tail = &h->first;
	h->watchdog.on_expire = control_watchdog;
	h->packet = malloc(CALLBACK_PACKET_MAX + 1);
	if (h->packet == NULL) {
		free(h);
		errno = ENOMEM;
		return NULL;
	}
	ask_for_server(h, false);
	return h;
}

struct policy_host *callback_host_port(struct callback_host *h)
{
	return &h->port;
}

static void close_from(const int *fds, size_t n_fds, size_t from)
{
	for (size_t i = from; i < n_fds; i++)
		close(fds[i]);
}

int callback_host_connect(struct callback_host *h, const int *fds, size_t n_fds)
{
	struct callback_server *s = NULL, *before = h->server;
	int err = n_fds < 2 || n_fds > CALLBACK_CONVERSATIONS_MAX + 1 ? -EINVAL : 0;

	if (err == 0 && (s = calloc(1, sizeof(*s))) == NULL)
		err = -ENOMEM;
	h->renewing = false;
	if (err < 0) {
		close_from(fds, n_fds, 0);
		return err;
	}
	*s = (struct callback_server){ .host = h, .control = { .fd = fds[0], .on_ready = control_ready },
				       .generation = ++h->generations };
	err = loop_watch_add(h->options.loop, &s->control);
	if (err < 0) {
		close_from(fds, n_fds, 0);
		free(s);
		return err;
	}
	for (size_t i = 1; i < n_fds && err == 0; i++) {
		err = add_conversation(s, fds[i], ++s->last_number);
		if (err < 0) {
			close_from(fds, n_fds, i);
			server_free(s);
			return err;
		}
	}
	h->counts.servers++;
	h->server = s;
	if (before != NULL)
		server_leave(before);
	control_send_hello(s);
	serve_queue(h);
	return 0;
}

int server_add_conversation(struct callback_server *s)
{
	char packet[128], room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = packet };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fds[2], err = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	/* The server's end blocks: it has a thread for it. */
	if (ioctl(fds[1], FIONBIO, &(int){ 0 }) < 0)
		err = -errno;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fds[1], sizeof(int));
	iov.iov_len = (size_t)control_packet_write(packet, sizeof(packet), "adopt", "connection", s->last_number + 1);
	if (err == 0 && sendmsg(s->control.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		err = -errno;
	close(fds[1]);
	if (err == 0)
		err = add_conversation(s, fds[0], s->last_number + 1);
	if (err < 0)
		close(fds[0]);
	else
		s->last_number++;
	return err;
}

void callback_host_log_changed(struct callback_host *h)
{
	if (h->server != NULL)
		control_send_hello(h->server);
}

struct callback_counts callback_host_counts(const struct callback_host *h)
{
	return h->counts;
}

void callback_host_free(struct callback_host **hp)
{
	struct callback_host *h = *hp;

	if (h == NULL)
		return;
	*hp = NULL;
	assert(h->first == NULL);
	loop_timer_clear(h->options.loop, &h->watchdog);
	if (h->server != NULL)
		server_free(h->server);
	while (h->leaving != NULL)
		server_free(h->leaving);
	free(h->packet);
	free(h);
}
