/* SPDX-License-Identifier: Apache-2.0 */
#include "server/leader/leader_files.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define COARSE_MS 20		/* times of files come from a clock that is behind by a tick */

struct stamp {
	int64_t mtime_ns;
	uint64_t size, inode, device;
};

struct watched {
	const char *path;
	struct stamp known, last;	/* what was read, or told as changed; what was there the last time */
	bool missing;
};

struct file_watch {
	size_t n;
	struct watched files[];
};

static bool same(const struct stamp *a, const struct stamp *b)
{
	return a->mtime_ns == b->mtime_ns && a->size == b->size && a->inode == b->inode && a->device == b->device;
}

static int read_stamp(const char *path, struct stamp *out)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return -errno;
	*out = (struct stamp){ .mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec,
			       .size = (uint64_t)st.st_size, .inode = st.st_ino, .device = st.st_dev };
	return 0;
}

struct file_watch *file_watch_create(const char *const *paths, size_t n, int64_t read_wall_ms)
{
	struct file_watch *w = calloc(1, sizeof(*w) + n * sizeof(w->files[0]));

	if (w == NULL)
		return NULL;
	w->n = n;
	for (size_t i = 0; i < n; i++) {
		struct watched *f = &w->files[i];

		f->path = paths[i];
		if (read_stamp(f->path, &f->last) != 0)
			continue;
		if (f->last.mtime_ns < (read_wall_ms - COARSE_MS) * INT64_C(1000000))
			f->known = f->last;
	}
	return w;
}

static bool look_at(struct watched *f, int64_t now_wall_ms)
{
	struct stamp stamp;
	int err = read_stamp(f->path, &stamp);
	bool changed;

	if (err != 0) {
		if (!f->missing)
			log_event(LOG_CORE_POLICY, 3, slice_cstr("nosession"),
				  "Matcher file cannot be looked at, its last content is used", F_TEXT("filename", f->path),
				  F_TEXT("error", strerror(-err)));
		f->missing = true;
		return false;
	}
	f->missing = false;
	/* The clock of whoever wrote it is ahead: when it was written nobody knows, so this is what was read. */
	if (f->known.inode == 0 && stamp.mtime_ns > now_wall_ms * INT64_C(1000000))
		f->known = stamp;
	changed = !same(&stamp, &f->known) && same(&stamp, &f->last);
	f->last = stamp;
	if (changed)
		f->known = stamp;
	return changed;
}

bool file_watch_look(struct file_watch *w, int64_t now_wall_ms)
{
	bool changed = false;

	for (size_t i = 0; i < w->n; i++)
		changed = look_at(&w->files[i], now_wall_ms) || changed;
	return changed;
}

void file_watch_free(struct file_watch **wp)
{
	free(*wp);
	*wp = NULL;
}
