/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper, those it keeps keys for, and a peer that checks them, in one process: for tests of keys and of files
 * that change. Everything is made anew for each test but the CA.
 */
#ifndef TESTS_TLS_KEEPER_SCENE_H
#define TESTS_TLS_KEEPER_SCENE_H

#include "tls_test.h"

#include "tls/keeper_keys.h"
#include "tls/keys_kept.h"
#include "tls/tls_priv.h"
#include "tls/update.h"

extern EVP_PKEY *ca_key;
extern X509 *ca;
extern struct sample ours, theirs;	/* towards a client, with keys; and what checks it */
extern struct built kept, peer;		/* of these */
extern struct keeper_keys *keeper;
extern struct buffer records;		/* what the keeper has told */
extern struct arena *arena;		/* of problems */
extern struct policy_problems problems;	/* of files that changed */
extern const char *leaf_file, *key_file, *ca_directory;
extern struct slice leaf_pem;		/* of begin() */

int scene_prepare(void **state);
int scene_finish(void **state);
int scene_setup(void **state);
int scene_teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

struct cert_spec leaf_spec(long serial);
void put_pair(const char *kind, const struct cert_spec *spec);	/* a new one on the disk */

void make_policy(void);			/* of what ours has by now */
/* The keeper loads the keys of ours, and contexts are built of what it tells; give: of the keys themselves. */
void keep(bool give, struct slice secrets);
/* With a new pair, serial number 7. */
void begin(const char *kind, bool give);

/* One handshake; how it ended is in p, which the caller closes. Returns the requests that it took. */
unsigned shake_kept(struct pair *p, bool hangs_up);
void shows(const char *serial);		/* a handshake that goes well, with this leaf */
void fails(void);
bool has_problem_of_file(const char *words);

#endif
