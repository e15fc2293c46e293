/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Have files changed since the policy was read from them? A leader looks at those of its matchers
 * once a second, by stat() alone; workers never do. A file counts as changed when it is another one
 * than before and the same as a second ago: whoever writes it in place gets that time for each step.
 */
#ifndef SALLYPORT_SERVER_LEADER_FILES_H
#define SALLYPORT_SERVER_LEADER_FILES_H

#include "base/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_watch;

/*
 * paths must live as long as the watch. read_wall_ms: when somebody began to read them; a file that
 * was written since then may be another one than what was read, and counts as changed. NULL: no memory.
 */
struct file_watch *file_watch_create(const char *const *paths, size_t n, int64_t read_wall_ms) MUST_CHECK;

/* Look. true: some changed since the last time that this was true. A file that is missing is as it
 * was; that is logged once. now_wall_ms: of this moment. */
bool file_watch_look(struct file_watch *w, int64_t now_wall_ms);

void file_watch_free(struct file_watch **wp);

#endif
