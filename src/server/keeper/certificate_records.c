/* SPDX-License-Identifier: Apache-2.0 */
#include "server/keeper/certificate_records.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 100

int certificate_records_create(uint32_t n)
{
	int fd = memfd_create("sallyport-certificates", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(n * sizeof(struct certificate_record))) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int certificate_records_open(struct certificate_records *r, int fd, bool to_write)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
	int have = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *memory;

	if (have < 0 || (have & seals) != seals || fstat(fd, &st) != 0 || st.st_size <= 0 ||
	    (size_t)st.st_size % sizeof(struct certificate_record) != 0 ||
	    (size_t)st.st_size / sizeof(struct certificate_record) > CERTIFICATE_RECORDS_MAX)
		return -EBADMSG;
	memory = mmap(NULL, (size_t)st.st_size, to_write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*r = (struct certificate_records){ .fd = fd, .n = (uint32_t)((size_t)st.st_size / sizeof(*r->all)), .all = memory };
	return 0;
}

void certificate_records_close(struct certificate_records *r)
{
	if (r->all == NULL)
		return;
	munmap(r->all, r->n * sizeof(*r->all));
	close(r->fd);
	*r = (struct certificate_records){ .fd = -1 };
}

bool certificate_records_read(const struct certificate_records *r, uint32_t index, struct certificate_record *out)
{
	const struct certificate_record *record = r->all + index;

	for (int i = 0; index < r->n && i < TRIES; i++) {
		uint32_t before = __atomic_load_n(&record->seq, __ATOMIC_ACQUIRE);

		memcpy(out, record, sizeof(*out));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (before == __atomic_load_n(&record->seq, __ATOMIC_RELAXED) && before % 2 == 0) {
			out->file[sizeof(out->file) - 1] = '\0';
			return true;
		}
	}
	return false;
}
