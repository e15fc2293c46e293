/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the keys, certificates and folders that a policy names are there, and fit together. */
#include "cli/load.h"
#include "policy/secrets.h"
#include "server/message.h"
#include "tls/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

static int build(struct cli_load *load, struct slice file)
{
	struct tls_secrets secrets = { .n = load->built->n_secrets };
	struct tls_keys *keys = NULL;
	struct tls *tls = NULL;
	int err = secrets_split(file, load->built->n_secrets, load->arena, &secrets.items);

	if (err == 0)
		err = tls_keys_load(load->built, &secrets, &load->problems, &keys);
	if (err == 0)
		err = tls_build(load->built, keys, &load->problems, &tls);
	tls_free(&tls);
	tls_keys_free(&keys);
	return err;
}

int cli_load_tls(struct cli_load *load)
{
	uint8_t *octets = NULL;
	size_t len = 0;
	int err = 0;

	if (load->built->n_encryptions == 0)
		return CLI_OK;
	if (load->is_document && load->built->n_secrets > 0) {
		problems_add(&load->problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, "check the policy file itself",
			     "this document needs private keys or passphrases that are not in it");
		return CLI_NO;
	}
	if (load->secrets >= 0)
		err = message_file_read(load->secrets, SECRETS_FILE_MAX, &octets, &len);
	if (err == 0)
		err = build(load, slice_of(octets, len));
	if (octets != NULL)
		explicit_bzero(octets, len);
	free(octets);
	if (err < 0 && load->problems.n_errors == 0)
		problems_add(&load->problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, NULL,
			     "its keys and certificates can't be loaded: %s", strerror(-err));
	return err < 0 ? CLI_NO : CLI_OK;
}
