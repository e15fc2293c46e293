/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document reader. Whatever the text: it is refused with at least one error, or what comes
 * out keeps its promises, however the rest of the engine uses it.
 */
#include "fuzz.h"
#include "policy/decide.h"
#include "policy/matcher.h"
#include "policy/schema.h"
#include "../unit/policy/sample_type.h"

#include <errno.h>
#include <sys/socket.h>

static void check_zones(const struct policy *p)
{
	for (size_t i = 0; i < p->n_zones; i++) {
		const struct zone *z = &p->zones[i];

		FUZZ_CHECK(z->index == i && z->depth >= 1 && z->depth <= 31);
		FUZZ_CHECK(z->parent == NULL ? z->depth == 1 : z->depth == z->parent->depth + 1);
		FUZZ_CHECK(policy_zone_named(p, slice_cstr(z->name)) == z);
		FUZZ_CHECK(zone_is_within(z, z));
		for (size_t j = 0; j < z->n_prefixes; j++) {
			const struct zone *found = policy_zone_of(p, NULL, &z->prefixes[j].ip);

			/* The first address is in this zone, or in one with a longer prefix. */
			FUZZ_CHECK(found != NULL);
		}
	}
}

static void check_services(const struct policy *p)
{
	for (size_t i = 0; i < p->n_services; i++) {
		const struct service *s = &p->services[i];

		FUZZ_CHECK(s->index == i && policy_service_named(p, slice_cstr(s->name)) == s);
		FUZZ_CHECK(s->router.kind != ROUTER_DIRECTED || s->router.n_targets >= 1);
		if (s->kind != SERVICE_PROXY)
			continue;
		FUZZ_CHECK(s->proxy != NULL && s->proxy->block != NULL && s->proxy->type == &sample_type);
		FUZZ_CHECK(p->needs_host || !s->proxy->has_callbacks);
		FUZZ_CHECK(s->router.forge_port != 0 && s->router.forge_port >= FORGE_PORT_RANDOM &&
			   s->router.forge_port <= 65535);
		FUZZ_CHECK(s->chainer.timeout_connect_ms >= 1);
		FUZZ_CHECK(s->encryption == NULL || !encryption_calls_host(s->encryption) ||
			   (p->needs_host && s->proxy->class_number >= 0));
	}
}

static bool is_certificate_of(const struct policy *p, const struct tls_certificate *c)
{
	return c >= p->tls_certificates && c < p->tls_certificates + p->n_tls_certificates && c->pem.len > 0 &&
	       c->key >= p->tls_keys && c->key < p->tls_keys + p->n_tls_keys;
}

static void check_side(const struct policy *p, const struct encryption *e, enum tls_end end)
{
	const struct tls_side *s = &e->sides[end], *other = &e->sides[1 - end];
	const struct tls_own_certificate *own = &s->own;

	FUZZ_CHECK(own->setup_key.callback < (int64_t)p->n_callbacks && own->setup_key.callback >= -1);
	FUZZ_CHECK(s->verifier.verify.callback < (int64_t)p->n_callbacks && s->verifier.verify.callback >= -1);
	if (s->security == TLS_OFF)
		return;
	FUZZ_CHECK(end == TLS_SERVER || own->bridge != NULL || own->fallback != NULL || own->n_named > 0 ||
		   own->setup_key.callback >= 0);
	FUZZ_CHECK(own->fallback == NULL || is_certificate_of(p, own->fallback));
	for (size_t i = 0; i < own->n_named; i++)
		FUZZ_CHECK(is_certificate_of(p, own->named[i].certificate) && matcher_call_is_set(&own->named[i].name));
	FUZZ_CHECK(own->bridge == NULL || (is_certificate_of(p, own->bridge->trusted_ca) &&
					   is_certificate_of(p, own->bridge->untrusted_ca) && other->security != TLS_OFF));
	FUZZ_CHECK(s->options.version_min >= 0x0301 && s->options.version_max <= 0x0304 &&
		   s->options.version_min <= s->options.version_max && s->options.ciphers != NULL);
}

static void check_encryptions(const struct policy *p)
{
	for (size_t i = 0; i < p->n_tls_keys; i++)
		FUZZ_CHECK((p->tls_keys[i].file != NULL) == (p->tls_keys[i].secret == TLS_NO_SECRET) &&
			   p->tls_keys[i].secret < (int64_t)p->n_secrets && p->tls_keys[i].passphrase < (int64_t)p->n_secrets);
	for (size_t i = 0; i < p->n_encryptions; i++) {
		FUZZ_CHECK(p->encryptions[i].handshake_timeout_ms >= 1 && p->encryptions[i].name != NULL);
		check_side(p, &p->encryptions[i], TLS_CLIENT);
		check_side(p, &p->encryptions[i], TLS_SERVER);
	}
}

static bool see_entry(void *arg, struct slice key1, struct slice key2, const struct table_entry *e)
{
	const struct policy *p = arg;

	FUZZ_CHECK(!e->deleted && e->n_args <= 2);
	FUZZ_CHECK(e->call.callback < (int64_t)p->n_callbacks);
	return true;
}

static void check_configs(const struct policy *p)
{
	for (size_t i = 0; i < p->n_configs; i++) {
		const struct sample_config *c = p->configs[i]->block;

		FUZZ_CHECK(p->configs[i]->index == i);
		FUZZ_CHECK(c->timeout >= 1 && c->timeout <= 1000 && c->timeout != 666);
		FUZZ_CHECK(slice_index(c->banner, '\n') == c->banner.len);
		FUZZ_CHECK(c->matcher.matcher == NULL || c->matcher.callback == -1);
		FUZZ_CHECK(c->matcher.callback < (int64_t)p->n_callbacks && c->check.callback < (int64_t)p->n_callbacks);
		table_each(c->request, see_entry, (void *)p);
		table_each(c->response, see_entry, (void *)p);
	}
}

struct told { unsigned times; enum matcher_answer last; };

static void note(void *arg, enum matcher_answer answer, struct slice pattern)
{
	struct told *told = arg;

	FUZZ_CHECK(answer == MATCHER_YES || answer == MATCHER_UNSURE);
	told->times++;
	told->last = answer;
}

/* Each has an answer, the same each time, and says which pattern left it without one. */
static void check_matchers(const struct policy *p)
{
	static const struct slice texts[] = { SLICE_INIT(""), SLICE_INIT("spam@b.example"), SLICE_INIT("a\n"),
					      SLICE_INIT("j\xc3\xb6rg\xff\xe2\x84\xaa@b.example") };

	for (size_t i = 0; p->matchers != NULL && i < matchers_count(p->matchers) && i < 20; i++) {
		for (size_t j = 0; j < ARRAY_LEN(texts); j++) {
			struct told told = { 0 };
			const struct matcher_witness witness = { note, &told };
			enum matcher_answer answer = matcher_test(matchers_at(p->matchers, i), texts[j], &witness);

			FUZZ_CHECK(answer <= MATCHER_UNSURE);
			FUZZ_CHECK(answer != MATCHER_UNSURE || (told.times > 0 && told.last == MATCHER_UNSURE));
			FUZZ_CHECK(matcher_test(matchers_at(p->matchers, i), texts[j], NULL) == answer);
		}
	}
}

/* A flow that starts from the first alternatives of a rule. */
static struct flow flow_for(const struct rule *r)
{
	struct flow f = { .protocol = r->n_protocols > 0 ? r->protocols[0] : 6, .ifgroup = -1, .dst_ifgroup = -1,
			  .reqid = -1, .icmp_type = -1, .icmp_code = -1 };

	f.src.ip.family = f.dst.ip.family = AF_INET;
	if (r->n_src_subnets > 0)
		f.src.ip = r->src_subnets[0].ip;
	if (r->n_dst_subnets > 0)
		f.dst.ip = r->dst_subnets[0].ip;
	if (r->n_src_ports > 0)
		f.src.port = r->src_ports[0].first;
	if (r->n_dst_ports > 0)
		f.dst.port = r->dst_ports[0].last;
	if (r->n_ifaces > 0) {
		FUZZ_CHECK(strlen(r->ifaces[0]) < sizeof(f.iface));
		strcpy(f.iface, r->ifaces[0]);
	}
	return f;
}

static void check_rules(const struct policy *p)
{
	for (size_t i = 0; i < p->n_rules && i < 50; i++) {
		const struct rule *r = &p->rules[i];
		const struct flow f = flow_for(r);
		const struct zoned_flow zoned = flow_with_zones(p, NULL, &f);
		enum score_position failed, where;
		struct rule_score own, best;
		struct decision d;

		FUZZ_CHECK(r->id >= 1 && r->instance < p->n_instances);
		FUZZ_CHECK(r->service >= p->services && r->service < p->services + p->n_services);
		policy_decide(p, NULL, &f, &d);
		if (!rule_matches(r, &zoned, &own, &failed))
			continue;
		/* It matches: so there is a winner, and that is at least as good. */
		FUZZ_CHECK(d.rule != NULL && d.service == d.rule->service);
		FUZZ_CHECK(rule_matches(d.rule, &zoned, &best, &failed));
		FUZZ_CHECK(rule_score_compare(&best, &own, &where) >= 0);
		FUZZ_CHECK(rule_score_compare(&best, &own, &where) != 0 || d.rule->id <= r->id);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_create((size_t)64 << 20, 0);
	const struct policy *p = NULL;
	struct policy_problems problems;
	int err;

	FUZZ_CHECK(arena != NULL);
	problems_init(&problems, arena);
	err = policy_build(slice_of(data, size), &sample_registry, arena, &problems, &p);
	FUZZ_CHECK(err == 0 || err == -EINVAL || err == -ENOMEM);
	FUZZ_CHECK(err != -EINVAL || problems.n_errors > 0);
	FUZZ_CHECK(err != 0 || problems.n_errors == 0);
	if (err == 0) {
		check_zones(p);
		check_encryptions(p);
		check_services(p);
		check_configs(p);
		check_rules(p);
		check_matchers(p);
		policy_check_runnable(p, &problems);
	}
	arena_free(&arena);
	return 0;
}
