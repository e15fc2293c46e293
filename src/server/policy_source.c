/* SPDX-License-Identifier: Apache-2.0 */
#include "server/policy_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_whole(int fd, struct policy_source *out)
{
	size_t size = 65536, len = 0;
	uint8_t *octets = malloc(size);

	while (octets != NULL && len < DOCUMENT_OCTETS_MAX) {
		ssize_t n = read(fd, octets + len, size - len);
		uint8_t *bigger;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = errno;

			free(octets);
			return -err;
		}
		if (n == 0) {
			*out = (struct policy_source){ .document = octets, .len = len, .host = -1 };
			return 0;
		}
		len += (size_t)n;
		if (len < size)
			continue;
		bigger = realloc(octets, size *= 2);
		if (bigger == NULL)
			break;
		octets = bigger;
	}
	free(octets);
	return len >= DOCUMENT_OCTETS_MAX ? -EFBIG : -ENOMEM;
}

/* A document is one JSON object; no Python file can start like that and do anything. */
static bool is_document(const struct policy_source *s)
{
	for (size_t i = 0; i < s->len; i++)
		if (strchr(" \t\r\n", s->document[i]) == NULL)
			return s->document[i] == '{';
	return false;
}

int policy_source_read(const char *path, const char *const *instances, size_t n_instances,
		       struct policy_problems *problems, struct policy_source *out)
{
	const struct policy_place place = { .file = path };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), err;

	if (fd < 0) {
		problems_add(problems, PROBLEM_ERROR, place,
			     errno == EACCES ? "the policy is read by the unprivileged user that --user names" : NULL,
			     "the policy cannot be read: %s", strerror(errno));
		return -EINVAL;
	}
	err = read_whole(fd, out);
	close(fd);
	if (err == -ENOMEM)
		return err;
	if (err != 0) {
		problems_add(problems, PROBLEM_ERROR, place, NULL, "the policy cannot be read: %s", strerror(-err));
		return -EINVAL;
	}
	if (is_document(out))
		return 0;
	policy_source_release(out);
	problems_add(problems, PROBLEM_ERROR, place, NULL, "this is not a policy document");
	return -EINVAL;
}

void policy_source_release(struct policy_source *source)
{
	free(source->document);
	if (source->host >= 0)
		close(source->host);
	*source = (struct policy_source){ .host = -1 };
}
