/* SPDX-License-Identifier: Apache-2.0 */
/* The SMTP proxy: what the session layer may know of it. */
#ifndef SALLYPORT_PROXY_SMTP_SMTP_H
#define SALLYPORT_PROXY_SMTP_SMTP_H

#include "session/proxy.h"

extern const struct proxy_type smtp_type;

#endif
