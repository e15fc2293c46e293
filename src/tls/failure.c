/* SPDX-License-Identifier: Apache-2.0 */
/* Why a handshake ended: whose fault, which error number, and in words for the log. */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>

void tls_say(struct tls_hand *hand, const char *format, ...)
{
	va_list ap;

	if (hand->h->error[0] != '\0')
		return;
	va_start(ap, format);
	vsnprintf(hand->h->error, sizeof(hand->h->error), format, ap);
	va_end(ap);
}

static const char *peer_name(const struct tls_hand *hand)
{
	return hand->context->end == TLS_CLIENT ? "the client" : "the server";
}

static int by_peer(struct tls_hand *hand, int err)
{
	hand->peer_fault = true;
	return err;
}

/* We decided, in one of the callbacks. */
static int own_decision(struct tls_hand *hand)
{
	switch (hand->err) {
	case -ETIMEDOUT:
		if (!hand->waiting)
			break;
		tls_say(hand, "%s did not finish in time", peer_name(hand));
		return by_peer(hand, hand->err);
	case -ECANCELED:
		tls_say(hand, "the session was ended");
		break;
	case -ENOMEM:
		tls_say(hand, "there is no memory");
		break;
	}
	tls_say(hand, "it was given up: %s", strerror(-hand->err));
	return hand->err;
}

static bool is_ours(unsigned long code)
{
	int reason = ERR_GET_REASON(code);

	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return true;
	return reason == ERR_R_INTERNAL_ERROR || reason == SSL_R_CERT_CB_ERROR || reason == SSL_R_CALLBACK_FAILED ||
	       reason == ERR_R_EVP_LIB;
}

static const char *words(unsigned long code)
{
	const char *text = ERR_reason_error_string(code);

	return text != NULL ? text : "no reason given";
}

/* What stands with the first error; where the keeper does not sign, that says why. */
static void details(const char **out)
{
	int flags = 0;

	(void)ERR_peek_error_data(out, &flags);
	if ((flags & ERR_TXT_STRING) == 0)
		*out = "";
}

static int protocol_failure(struct tls_hand *hand)
{
	unsigned long first = ERR_peek_error();
	const char *more;
	int reason = ERR_GET_REASON(first);

	if (reason == ERR_R_MALLOC_FAILURE) {
		tls_say(hand, "there is no memory");
		return -ENOMEM;
	}
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING && ERR_GET_LIB(first) == ERR_LIB_SSL) {
		tls_say(hand, "%s closed the connection during the handshake", peer_name(hand));
		return by_peer(hand, -EPROTO);
	}
	if (hand->alert_read >> 8 == SSL3_AL_FATAL) {
		tls_say(hand, "%s refused with the alert \"%s\"", peer_name(hand), SSL_alert_desc_string_long(hand->alert_read));
		return by_peer(hand, -EPROTO);
	}
	if (is_ours(first)) {
		details(&more);
		tls_say(hand, "OpenSSL failed: %s%s%s", words(first), more[0] != '\0' ? ": " : "", more);
		return -EIO;
	}
	if (hand->alert_sent != 0)
		tls_say(hand, "%s: %s (alert \"%s\" was sent)", peer_name(hand), words(first),
			SSL_alert_desc_string_long(hand->alert_sent));
	else
		tls_say(hand, "%s: %s", peer_name(hand), words(first));
	return by_peer(hand, -EPROTO);
}

int tls_failure(struct tls_hand *hand, int ssl_error)
{
	int io_error = hand->link == NULL ? 0 : hand->link->io_error;

	if (hand->err < 0)
		return own_decision(hand);
	if (ssl_error == SSL_ERROR_SYSCALL && io_error != 0) {
		tls_say(hand, "the connection failed during the handshake: %s", strerror(-io_error));
		return by_peer(hand, io_error);
	}
	return protocol_failure(hand);
}
