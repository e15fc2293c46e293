/* SPDX-License-Identifier: Apache-2.0 */
/* Problems of a policy as people read them. */
#ifndef SALLYPORT_SERVER_PROBLEMS_TEXT_H
#define SALLYPORT_SERVER_PROBLEMS_TEXT_H

#include "base/buffer.h"
#include "policy/problems.h"

/* "FILE:LINE: error: MESSAGE", and the hint in a line of its own; errors only. */
void problems_text(const struct policy_problems *p, struct buffer *out);

/* Warnings, as log lines. */
void problems_log_warnings(const struct policy_problems *p);

#endif
