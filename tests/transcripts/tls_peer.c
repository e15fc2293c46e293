/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_peer.h"
#include "pki.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Its octets go through memory, so that what was read before TLS began can be its start. */
struct tls_peer {
	int fd;
	BIO *in, *out;			/* the SSL's */
	bool eof;
	uint64_t moved;			/* octets */
	SSL *ssl;
	void (*on_octets)(void *arg, struct slice octets);
	void *arg;
	enum tls_peer_state state;
	char error[256];
};

static void file_of(char *buf, size_t size, const char *name, const char *ending)
{
	snprintf(buf, size, "%s/%s%s", pki_directory(), name, ending);
}

static int any_certificate(int preverified, X509_STORE_CTX *context)
{
	return 1;
}

static SSL_CTX *make_context(bool server, const char *certificate, int version_max)
{
	SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	char path[256];

	if (version_max != 0)
		SSL_CTX_set_max_proto_version(context, version_max);
	if (certificate != NULL) {
		file_of(path, sizeof(path), certificate, ".pem");
		SSL_CTX_use_certificate_chain_file(context, path);
		file_of(path, sizeof(path), certificate, ".key");
		SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM);
	}
	/* Judging is the proxy's business; a server asks for a certificate, to see whether one comes. */
	SSL_CTX_set_verify(context, server ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, any_certificate);
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"test", 4);
	return context;
}

struct ssl_ctx_st *tls_peer_context(bool server, const char *certificate, int version_max)
{
	SSL_CTX *context = make_context(server, certificate, version_max);

	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	return context;
}

struct tls_peer *tls_peer_create(const struct tls_peer_setup *setup)
{
	struct tls_peer *p = calloc(1, sizeof(*p));
	SSL_CTX *own = NULL;

	if (p == NULL)
		return NULL;
	if (setup->context == NULL)
		own = make_context(setup->server, setup->certificate, setup->version_max);
	p->ssl = SSL_new(own != NULL ? own : setup->context);
	SSL_CTX_free(own);		/* the SSL keeps it */
	p->fd = setup->fd;
	p->on_octets = setup->on_octets;
	p->arg = setup->arg;
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(p->in, -1);
	BIO_write(p->in, setup->received.ptr, (int)setup->received.len);
	SSL_set_bio(p->ssl, p->in, p->out);
	if (setup->groups != NULL)
		(void)SSL_set1_groups_list(p->ssl, setup->groups);
	if (setup->server_name != NULL)
		SSL_set_tlsext_host_name(p->ssl, setup->server_name);
	if (setup->server)
		SSL_set_accept_state(p->ssl);
	else
		SSL_set_connect_state(p->ssl);
	return p;
}

void tls_peer_free(struct tls_peer **pp)
{
	struct tls_peer *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	SSL_free(p->ssl);
	free(p);
}

static void push(struct tls_peer *p)
{
	uint8_t buf[2048];
	int n;

	while ((n = BIO_read(p->out, buf, sizeof(buf))) > 0) {
		p->moved += (uint64_t)n;
		for (int sent = 0; sent < n;) {
			ssize_t k = send(p->fd, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL);

			if (k <= 0)
				break;		/* nobody listens */
			sent += (int)k;
		}
	}
}

static void pull(struct tls_peer *p)
{
	uint8_t buf[2048];
	ssize_t n;

	while ((n = recv(p->fd, buf, sizeof(buf), 0)) > 0) {
		p->moved += (uint64_t)n;
		if (p->on_octets != NULL)
			p->on_octets(p->arg, slice_of(buf, (size_t)n));
		BIO_write(p->in, buf, (int)n);
	}
	if (n == 0 || errno != EAGAIN) {
		p->eof = true;
		BIO_set_mem_eof_return(p->in, 0);
	}
}

static bool would_wait(const struct tls_peer *p, int result)
{
	int error = SSL_get_error(p->ssl, result);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

enum tls_peer_state tls_peer_step(struct tls_peer *p)
{
	int n;

	if (p->state != TLS_PEER_BUSY)
		return p->state;
	pull(p);
	ERR_clear_error();
	n = SSL_do_handshake(p->ssl);
	push(p);
	if (n == 1) {
		p->state = TLS_PEER_DONE;
	} else if (!would_wait(p, n)) {
		p->state = TLS_PEER_FAILED;
		ERR_error_string_n(ERR_peek_error(), p->error, sizeof(p->error));
	}
	return p->state;
}

uint64_t tls_peer_progress(const struct tls_peer *p)
{
	return p->moved + p->state + p->eof;
}

ssize_t tls_peer_read(struct tls_peer *p, void *buf, size_t size)
{
	int n;

	pull(p);
	ERR_clear_error();
	n = SSL_read(p->ssl, buf, (int)size);
	push(p);
	if (n > 0)
		return n;
	if (p->eof || !would_wait(p, n))
		return 0;
	errno = EAGAIN;
	return -1;
}

ssize_t tls_peer_write(struct tls_peer *p, const void *buf, size_t size)
{
	int n;

	ERR_clear_error();
	n = SSL_write(p->ssl, buf, (int)size);
	push(p);
	if (n > 0)
		return n;
	errno = would_wait(p, n) ? EAGAIN : EPIPE;
	return -1;
}

void tls_peer_close_notify(struct tls_peer *p)
{
	ERR_clear_error();
	(void)SSL_shutdown(p->ssl);
	push(p);
}

void tls_peer_server_name(const struct tls_peer *p, char *buf, size_t size)
{
	const char *name = SSL_get_servername(p->ssl, TLSEXT_NAMETYPE_host_name);

	snprintf(buf, size, "%s", name != NULL ? name : "none");
}

void tls_peer_subject(const struct tls_peer *p, char *buf, size_t size)
{
	X509 *certificate = SSL_get0_peer_certificate(p->ssl);

	snprintf(buf, size, "none");
	if (certificate != NULL)
		X509_NAME_oneline(X509_get_subject_name(certificate), buf, (int)size);
}

const char *tls_peer_error(const struct tls_peer *p)
{
	return p->error;
}
