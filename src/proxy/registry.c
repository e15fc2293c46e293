/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/registry.h"
#include "proxy/plug/plug.h"
#include "proxy/smtp/smtp.h"

static const struct proxy_type *const types[] = { &plug_type, &smtp_type, NULL };

const struct proxy_registry proxy_registry_all = { types };
