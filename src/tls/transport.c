/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS as the transport of a stream. The library runs on the worker's main stack (co_leaf), since
 * its use of stack is not ours to bound; nothing it does here waits.
 *
 * Readiness: the library says "want read" only after the socket said EAGAIN, and the stream
 * forgets a readiness only then, so octets that the library holds back, raw or decrypted, are
 * always asked for once more before anybody waits for the next edge.
 *
 * A write that met EAGAIN has encrypted its octets already and must be repeated with the same
 * ones; the stream sees to that, or fails (stream_send_some).
 */
#include "tls/tls_priv.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

#define RECORD_OCTETS 16384u
#define REFUSALS_MAX 4u		/* of renegotiation by a server; a client's first is its last */
#define MESSAGES_MAX 64u	/* of the handshake's kind between two reads that brought something: tickets, keys */

/* The socket. */

static int bio_read(BIO *bio, char *buf, size_t size, size_t *got)
{
	struct tls_link *link = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (link->killed)
		return 0;
	do
		n = recv(link->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		*got = (size_t)n;
		return 1;
	}
	if (n == 0)
		link->at_eof = true;
	else if (errno == EAGAIN)
		BIO_set_retry_read(bio);
	else
		link->io_error = -errno;
	return 0;
}

static int bio_write(BIO *bio, const char *octets, size_t size, size_t *went)
{
	struct tls_link *link = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do
		n = send(link->fd, octets, size, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		*went = (size_t)n;
		return 1;
	}
	if (errno == EAGAIN)
		BIO_set_retry_write(bio);
	else
		link->io_error = -errno;
	return 0;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	const struct tls_link *link = BIO_get_data(bio);

	if (command == BIO_CTRL_EOF)
		return link->at_eof;
	return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

	if (method == NULL)
		return NULL;
	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

/* What a call of the library came to. */

static ssize_t outcome(struct tls_link *link, int result, unsigned *want)
{
	int error = SSL_get_error(link->ssl, result);

	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_WANT_READ:
		*want = LOOP_READ;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*want = LOOP_WRITE;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return link->io_error != 0 ? link->io_error : -EPROTO;
	default:
		return -EPROTO;
	}
}

struct call {
	struct tls_link *link;
	void *buf;
	const struct iovec *iov;
	int n_iov;
	size_t size;
	unsigned *want;
	ssize_t result;
};

static void read_leaf(void *arg)
{
	struct call *c = arg;
	size_t n;
	int r;

	ERR_clear_error();
	r = SSL_read_ex(c->link->ssl, c->buf, c->size, &n);
	c->result = r == 1 ? (ssize_t)n : outcome(c->link, r, c->want);
	if (r == 1)
		c->link->messages = 0;
	if (c->link->killed)
		c->result = -EPROTO;
}

static ssize_t tls_read(void *self, void *buf, size_t size, unsigned *want)
{
	struct call c = { .link = self, .buf = buf, .size = size, .want = want };

	co_leaf(read_leaf, &c);
	return c.result;
}

/* Record by record. 0 = all of it went; or why not, with *went of it. */
static ssize_t write_piece(struct tls_link *link, const struct iovec *piece, size_t *went, unsigned *want)
{
	size_t at = 0, n;
	ssize_t err = 0;

	while (at < piece->iov_len && err == 0) {
		const uint8_t *from = (const uint8_t *)piece->iov_base + at;
		size_t size = piece->iov_len - at < RECORD_OCTETS ? piece->iov_len - at : RECORD_OCTETS;
		int r;

		assert(size >= link->committed);
		ERR_clear_error();
		r = SSL_write_ex(link->ssl, from, size, &n);
		if (r == 1) {
			link->committed = 0;
			at += n;
			continue;
		}
		err = outcome(link, r, want);
		if (err == 0)
			err = -EPIPE;
		if (err == -EAGAIN && link->committed == 0)
			link->committed = size;
	}
	*went += at;
	return err;
}

static void write_leaf(void *arg)
{
	struct call *c = arg;
	size_t went = 0;
	ssize_t err = 0;

	for (int i = 0; i < c->n_iov && err == 0; i++)
		err = write_piece(c->link, &c->iov[i], &went, c->want);
	/* A failure behind octets that went is met again by the next call. */
	c->result = went > 0 ? (ssize_t)went : err;
}

static ssize_t tls_writev(void *self, const struct iovec *iov, int n, unsigned *want)
{
	struct call c = { .link = self, .iov = iov, .n_iov = n, .want = want };

	co_leaf(write_leaf, &c);
	return c.result;
}

/* The peer learns that nothing was cut off (RFC 8446, 6.1); then the connection is half closed too,
 * for peers that look only there. */
static void shutdown_leaf(void *arg)
{
	struct call *c = arg;
	int r;

	if (c->link->ended)
		return;
	ERR_clear_error();
	r = SSL_shutdown(c->link->ssl);
	c->result = r >= 0 ? 0 : outcome(c->link, r, c->want);
	c->link->ended = c->result == 0;
	if (c->link->ended && shutdown(c->link->fd, SHUT_WR) < 0)
		c->result = -errno;
}

static int tls_shutdown_write(void *self, unsigned *want)
{
	struct call c = { .link = self, .want = want };

	co_leaf(shutdown_leaf, &c);
	return (int)c.result;
}

static void close_leaf(void *arg)
{
	struct tls_link *link = arg;

	SSL_free(link->ssl);
	free(link);
}

void tls_link_close(struct tls_link **linkp)
{
	struct tls_link *link = *linkp;

	if (link == NULL)
		return;
	*linkp = NULL;
	co_leaf(close_leaf, link);
}

static void tls_close(void *self)
{
	struct tls_link *link = self;

	tls_link_close(&link);
}

const struct transport_ops transport_tls = {
	.name = "tls",
	.read = tls_read,
	.writev = tls_writev,
	.shutdown_write = tls_shutdown_write,
	.close = tls_close,
	.encrypts = true,
};

/* Making one. */

/*
 * Alerts, in either direction; one that refuses to renegotiate tells what the peer tried. And, after
 * the handshake, messages that are no data: the library goes on with them as long as there are more,
 * so who sends nothing but those would have the worker for itself.
 */
static void on_info(const SSL *ssl, int where, int value)
{
	struct tls_link *link = tls_link_of(ssl);

	if (link->hand == NULL && (where & SSL_CB_LOOP) != 0) {
		link->killed |= ++link->messages > MESSAGES_MAX;
		return;
	}
	if ((where & SSL_CB_ALERT) == 0)
		return;
	if (link->hand != NULL) {
		if ((where & SSL_CB_WRITE) != 0)
			link->hand->alert_sent = value;
		else
			link->hand->alert_read = value;
	} else if ((where & SSL_CB_WRITE) != 0 && (value & 0xff) == SSL_AD_NO_RENEGOTIATION) {
		link->refusals++;
		link->killed = link->context->end == TLS_CLIENT || link->refusals >= REFUSALS_MAX;
	}
}

int tls_link_open(struct tls_context *context, int fd, struct tls_link **out)
{
	struct tls_link *link = calloc(1, sizeof(*link));
	BIO *bio;

	if (link == NULL)
		return -ENOMEM;
	link->context = context;
	link->fd = fd;
	link->ssl = SSL_new(context->ctx);
	bio = link->ssl == NULL ? NULL : BIO_new(context->tls->bio);
	if (bio == NULL || SSL_set_app_data(link->ssl, link) != 1) {
		BIO_free(bio);
		tls_link_close(&link);
		return -ENOMEM;
	}
	BIO_set_data(bio, link);
	BIO_set_init(bio, 1);
	SSL_set_bio(link->ssl, bio, bio);
	SSL_set_info_callback(link->ssl, on_info);
	*out = link;
	return 0;
}
