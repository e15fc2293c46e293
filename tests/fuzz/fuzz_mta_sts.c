/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and policies of mail domains. What was parsed lies within what came and has the RFC's shape; what is
 * written of a policy is parsed to the same again; and a host that is listed is listed there, too.
 */
#include "fuzz.h"
#include "tls/mta_sts.h"

static void check_record(struct slice octets)
{
	struct slice id;

	if (mta_sts_record_parse(octets, &id) != 0)
		return;
	FUZZ_CHECK(id.len >= 1 && id.len <= MTA_STS_ID_MAX);
	FUZZ_CHECK(id.ptr >= octets.ptr && id.ptr + id.len <= octets.ptr + octets.len);
	for (size_t i = 0; i < id.len; i++)
		FUZZ_CHECK(ascii_is_alpha(id.ptr[i]) || ascii_is_digit(id.ptr[i]));
}

/* The first line is a host, the rest a policy; and all of it is one. */
static void check_policy(struct slice octets, struct slice host)
{
	struct buffer written = BUFFER_INIT(MTA_STS_WRITTEN_MAX);
	struct mta_sts p, again;
	const char *why = NULL;

	if (mta_sts_parse(octets, &p, &why) != 0) {
		FUZZ_CHECK(why != NULL);
		return;
	}
	FUZZ_CHECK(memchr(octets.ptr, '\0', octets.len) == NULL);
	FUZZ_CHECK(p.mode < MTA_STS_MODES && p.max_age_s <= MTA_STS_AGE_MAX_S && p.n_mx <= MTA_STS_MX_MAX);
	FUZZ_CHECK(p.n_mx > 0 || p.mode == MTA_STS_NONE);
	mta_sts_write(&p, &written);
	FUZZ_CHECK(!written.broken);
	FUZZ_CHECK(mta_sts_parse(buffer_slice(&written), &again, &why) == 0);
	FUZZ_CHECK(again.mode == p.mode && again.max_age_s == p.max_age_s && again.n_mx == p.n_mx);
	FUZZ_CHECK(mta_sts_lists(&p, host) == mta_sts_lists(&again, host));
	FUZZ_CHECK(p.n_mx > 0 || !mta_sts_lists(&p, host));
	FUZZ_CHECK(!mta_sts_lists(&p, SLICE("")));
	buffer_release(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice octets = slice_of(data, size);
	size_t line = slice_index(octets, '\n');

	check_record(octets);
	check_policy(octets, SLICE("mail.example.com"));
	check_policy(slice_skip(octets, line + 1), slice_take(octets, line));
	return 0;
}
