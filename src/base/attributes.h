/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiler, and a reader, should know about a function. */
#ifndef SALLYPORT_BASE_ATTRIBUTES_H
#define SALLYPORT_BASE_ATTRIBUTES_H

/*
 * This function may wait: it runs on a coroutine and others run meanwhile. After it returns,
 * worker-wide state may have changed and errno is gone. Callers are marked too.
 */
#define co_waits

#define MUST_CHECK __attribute__((warn_unused_result))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
