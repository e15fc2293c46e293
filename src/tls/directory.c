/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/directory.h"
#include "tls/keys_priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int is_wanted(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* -EISDIR and the like stay with the file. */
static int read_one(const char *path, struct tls_file *file, size_t *octets)
{
	char *whole;

	if (asprintf(&whole, "%s/%s", path, file->name) < 0)
		return -ENOMEM;
	file->err = tls_read_file(whole, TLS_DIRECTORY_OCTETS - *octets, &file->octets);
	free(whole);
	*octets += file->octets.len;
	return file->err == -ENOMEM || file->err == -EFBIG ? file->err : 0;
}

static int read_files(const char *path, struct dirent **entries, size_t n, struct tls_directory *to)
{
	size_t octets = 0;
	int err = 0;

	to->files = calloc(n + 1, sizeof(to->files[0]));
	if (to->files == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && err == 0; i++) {
		to->files[i].name = strdup(entries[i]->d_name);
		if (to->files[i].name == NULL)
			return -ENOMEM;
		to->n++;
		err = read_one(path, &to->files[i], &octets);
	}
	return err;
}

int tls_directory_read(const char *path, struct tls_directory *out)
{
	struct tls_directory directory = { 0 };
	struct dirent **entries;
	int err, n = scandir(path, &entries, is_wanted, by_name);

	if (n < 0)
		return -errno;
	err = (unsigned)n > TLS_DIRECTORY_FILES ? -EFBIG : read_files(path, entries, (size_t)n, &directory);
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
	if (err < 0)
		tls_directory_free(&directory);
	else
		*out = directory;
	return err;
}

void tls_directory_free(struct tls_directory *directory)
{
	for (size_t i = 0; i < directory->n; i++) {
		free(directory->files[i].name);
		free((void *)directory->files[i].octets.ptr);
	}
	free(directory->files);
	*directory = (struct tls_directory){ 0 };
}
