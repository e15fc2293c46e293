/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols that this program knows. */
#ifndef SALLYPORT_PROXY_REGISTRY_H
#define SALLYPORT_PROXY_REGISTRY_H

#include "policy/policy.h"

extern const struct proxy_registry proxy_registry_all;

#endif
