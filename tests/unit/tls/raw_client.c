/* SPDX-License-Identifier: Apache-2.0 */
#include "raw_client.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

void raw_open(struct raw_client *c, int fd, size_t step)
{
	*c = (struct raw_client){ .ctx = SSL_CTX_new(TLS_client_method()), .fd = fd, .step = step };
	assert_non_null(c->ctx);
	c->ssl = SSL_new(c->ctx);
	c->in = BIO_new(BIO_s_mem());
	c->out = BIO_new(BIO_s_mem());
	SSL_set_bio(c->ssl, c->in, c->out);
	SSL_set_connect_state(c->ssl);
}

void raw_close(struct raw_client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	ERR_clear_error();
}

/* A peer that hung up shows where something is read. */
void raw_push(struct raw_client *c)
{
	char buf[2048];
	int n, size = (int)(c->step < sizeof(buf) ? c->step : sizeof(buf));

	while ((n = BIO_read(c->out, buf, size)) > 0) {
		(void)!send(c->fd, buf, (size_t)n, MSG_NOSIGNAL);
		assert_int_equal(co_sleep(co_now() + 1), 0);
	}
}

/* false: the peer hung up. */
static bool pull(struct raw_client *c)
{
	char buf[2048];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n > 0)
		return BIO_write(c->in, buf, (int)n) == n;
	if (n == 0 || errno != EAGAIN)
		return false;
	assert_int_equal(co_sleep(co_now() + 1), 0);
	return true;
}

static int until_done(struct raw_client *c, int (*call)(struct raw_client *, void *, int), void *buf, int size)
{
	for (;;) {
		int r;

		ERR_clear_error();
		r = call(c, buf, size);
		raw_push(c);
		if (r > 0)
			return r;
		if (SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ || !pull(c))
			return -1;
	}
}

static int call_shake(struct raw_client *c, void *buf, int size)
{
	return SSL_do_handshake(c->ssl);
}

static int call_read(struct raw_client *c, void *buf, int size)
{
	return SSL_read(c->ssl, buf, size);
}

int raw_shake(struct raw_client *c)
{
	return until_done(c, call_shake, NULL, 0);
}

int raw_read(struct raw_client *c, void *buf, int size)
{
	return until_done(c, call_read, buf, size);
}

int raw_write(struct raw_client *c, const char *text)
{
	int r = SSL_write(c->ssl, text, (int)strlen(text));

	raw_push(c);
	return r;
}
