/* SPDX-License-Identifier: Apache-2.0 */
/* The configurations that whole SMTP sessions are fuzzed with, and what each of them means to the model. */
#ifndef SALLYPORT_TESTS_SMTP_SESSION_CONFIG_H
#define SALLYPORT_TESTS_SMTP_SESSION_CONFIG_H

#include "harness.h"
#include "smtp_model.h"

size_t smtp_session_configs(void);
const struct model_rules *smtp_session_rules(size_t which);
/* Made once, and kept. reuse: a connection to the server may serve the next session. */
struct harness *smtp_session_harness(size_t which, bool reuse);

#endif
