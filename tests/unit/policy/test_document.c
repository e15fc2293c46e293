/* SPDX-License-Identifier: Apache-2.0 */
/* The document reader: what it makes of a good document, and all it must refuse. */
#include "build.h"
#include "policy/fingerprint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* One of everything. The tests of refusals change a piece of it. */
static const char whole[] =
	"{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/etc/p.py\",\"/etc/z.py\"],"
	"\"options\":{\"timeout_server_connect\":30000,\"language\":\"en\"},\"instances\":[\"default_instance\"],"
	"\"zones\":[{\"name\":\"dmz\",\"addrs\":[\"172.16.40.0/24\"],\"hostnames\":[],\"parent\":null,\"at\":[1,3]},"
	"{\"name\":\"dmz.a\",\"addrs\":[],\"hostnames\":[\"a.example\"],\"parent\":0}],"
	"\"configs\":[{\"proxy\":\"sample\",\"class\":\"MyClass\",\"class_number\":0,\"per_session\":false,\"at\":[0,5],"
	"\"attributes\":{\"timeout\":30,\"zones\":[\"dmz\",\"*\"]},"
	"\"tables\":{\"request\":[{\"key\":[\"MAIL\"],\"action\":6,\"call\":{\"callback\":1}}]},"
	"\"hooks\":{\"checkItAll\":{\"callback\":0}}}],"
	"\"services\":[{\"name\":\"mail\",\"kind\":\"proxy\",\"at\":[0,9],\"config\":0,"
	"\"router\":{\"type\":\"directed\",\"targets\":[[\"172.16.20.254\",25],[\"2001:db8::1\",0]],\"forge_addr\":true,"
	"\"forge_port\":-3,\"overrideable\":false},"
	"\"chainer\":{\"type\":\"connect\",\"protocol\":1,\"timeout_connect\":5000},\"max_instances\":7,\"keepalive\":2,"
	"\"limit_target_zones_to\":[1]},"
	"{\"name\":\"no\",\"kind\":\"deny\",\"logging\":false,\"ipv4_setting\":8,\"ipv6_setting\":5},"
	"{\"name\":\"pf\",\"kind\":\"pf\",\"router\":{\"type\":\"transparent\",\"forced_port\":8025}}],"
	"\"rules\":[{\"id\":1,\"instance\":0,\"service\":0,\"at\":[0,11],\"proto\":[6],\"dst_port\":[[25,25],[587,590]],"
	"\"src_zone\":[0,1],\"dst_subnet\":[\"172.16.40.1/32\",\"2001:db8::/32\"],\"iface\":[\"eth0\"],\"ifgroup\":[3],"
	"\"reqid\":[4294967295]},{\"id\":2,\"instance\":0,\"service\":1}],"
	"\"callbacks\":2}";

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_create((size_t)64 << 20, 0);
	return arena == NULL;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static const struct policy *build_whole(void)
{
	const struct policy *p = NULL;

	assert_string_equal(build_document(arena, slice_cstr(whole), &p), "");
	return p;
}

static void zones_are_read(void **state)
{
	const struct policy *p = build_whole();

	(void)state;
	assert_int_equal(p->n_zones, 2);
	assert_string_equal(p->zones[0].place.file, "/etc/z.py");
	assert_int_equal(p->zones[0].place.line, 3);
	assert_null(p->zones[0].parent);
	assert_ptr_equal(p->zones[1].parent, &p->zones[0]);
	assert_null(p->zones[1].place.file);
	assert_int_equal(p->zones[1].n_hostnames, 1);
	assert_int_equal(p->zones[0].prefixes[0].bits, 24);
}

static void services_are_read(void **state)
{
	const struct policy *p = build_whole();
	const struct service *s = policy_service_named(p, SLICE("mail"));

	(void)state;
	assert_ptr_equal(s, &p->services[0]);
	assert_int_equal(s->kind, SERVICE_PROXY);
	assert_ptr_equal(s->proxy, p->configs[0]);
	assert_int_equal(s->router.kind, ROUTER_DIRECTED);
	assert_int_equal(s->router.n_targets, 2);
	assert_int_equal(s->router.targets[0].port, 25);
	assert_int_equal(s->router.targets[1].ip.family, AF_INET6);
	assert_true(s->router.forge_addr);
	assert_false(s->router.overrideable);
	assert_int_equal(s->router.forge_port, FORGE_PORT_EXACT);
	assert_int_equal(s->chainer.protocol, 6);
	assert_int_equal(s->chainer.timeout_connect_ms, 5000);
	assert_int_equal(s->max_instances, 7);
	assert_false(s->keepalive_client);
	assert_true(s->keepalive_server);
	assert_int_equal(s->n_target_zones, 1);
	assert_ptr_equal(s->target_zones[0], &p->zones[1]);
	s = policy_service_named(p, SLICE("no"));
	assert_int_equal(s->kind, SERVICE_DENY);
	assert_int_equal(s->deny_ipv4, 8);
	assert_int_equal(s->deny_ipv6, 5);
	assert_false(s->deny_logging);
	s = policy_service_named(p, SLICE("pf"));
	assert_int_equal(s->kind, SERVICE_PF);
	assert_int_equal(s->router.forced_port, 8025);
	assert_int_equal(s->router.forge_port, FORGE_PORT_ANY);
	assert_null(policy_service_named(p, SLICE("nosuch")));
}

static void rules_are_read(void **state)
{
	const struct policy *p = build_whole();
	const struct rule *r = &p->rules[0];

	(void)state;
	assert_int_equal(p->n_rules, 2);
	assert_int_equal(r->place.line, 11);
	assert_ptr_equal(r->service, &p->services[0]);
	assert_int_equal(r->n_dst_ports, 2);
	assert_int_equal(r->dst_ports[1].last, 590);
	assert_int_equal(r->n_src_zones, 2);
	assert_int_equal(r->n_dst_subnets, 2);
	assert_string_equal(r->ifaces[0], "eth0");
	assert_true(r->reqids[0] == 4294967295u);
	assert_int_equal(r->n_src_ports + r->n_icmp_types + r->n_dst_ifaces, 0);
}

static void a_policy_says_whether_it_needs_the_host(void **state)
{
	const struct policy *p = build_whole(), *plain;

	(void)state;
	assert_true(p->needs_host);
	assert_int_equal(p->n_callbacks, 2);
	assert_true(p->configs[0]->has_callbacks);
	assert_string_equal(p->configs[0]->class_name, "MyClass");
	assert_string_equal(p->file, "/etc/p.py");
	plain = build_policy(arena, "[]", "[]");
	assert_false(plain->needs_host);
}

static void the_fingerprint_is_sha256(void **state)
{
	(void)state;
	assert_string_equal(fingerprint(SLICE(""), arena),
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_string_equal(fingerprint(SLICE("abc"), arena),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(fingerprint(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), arena),
			    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* What is said when the first place of `from` in the whole document reads `to`. */
static const char *changed(const char *from, const char *to)
{
	const char *at = strstr(whole, from);
	const struct policy *policy = NULL;
	char *text;
	const char *message;

	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from)) > 0);
	message = build_document(arena, slice_cstr(text), &policy);
	free(text);
	return message;
}

struct refusal { const char *from, *to, *says; };

static const struct refusal refusals[] = {
	/* the head */
	{ "sallyport-policy", "other", "not a policy document" },
	{ "\"format\":\"sallyport-policy\",", "", "it has no format" },
	{ "\"version\":1", "\"version\":2", "version: is 2, must be from 1 to 1" },
	{ "\"callbacks\":2", "\"callbacks\":-1", "callbacks" },
	{ "\"callbacks\":2", "\"callbacks\":2,\"more\":0", "unknown member 'more'" },
	{ "\"files\":[\"/etc/p.py\",\"/etc/z.py\"]", "\"files\":[]", "files: must name the policy's file" },
	{ "[\"default_instance\"]", "[\"a\",\"a\"]", "'a' is there twice" },
	{ "\"language\":\"en\"", "\"lang\":\"en\"", "options: unknown member 'lang'" },
	/* zones */
	{ "\"hostnames\":[],", "\"umbrella\":1,", "zones[0]: unknown member 'umbrella'" },
	{ "172.16.40.0/24", "172.16.40.0/33", "zones[0].addrs[0]: '172.16.40.0/33' is not a subnet" },
	{ "172.16.40.0/24", "172.16.40.0/255.255.255.0", "is not a subnet" },
	{ "\"parent\":0", "\"parent\":2", "zones[1].parent: is 2, must be from 0 to 1" },
	{ "\"parent\":0", "\"parent\":-1", "zones[1].parent" },
	{ "\"name\":\"dmz\"", "\"name\":\"\"", "zones[0].name: must not be empty" },
	{ "\"name\":\"dmz\"", "\"name\":\"d\\nmz\"", "zones[0].name: has a control character" },
	{ "\"name\":\"dmz\"", "\"name\":7", "zones[0].name: must be a string, is an integer" },
	{ "\"name\":\"dmz\",", "", "zones[0].name: must be a string, is missing" },
	{ "\"at\":[1,3]", "\"at\":[2,3]", "zones[0].at" },
	{ "\"at\":[1,3]", "\"at\":[1]", "zones[0].at: must be [file, line]" },
	/* configurations */
	{ "\"proxy\":\"sample\"", "\"proxy\":\"http\"", "proxy 'http' is not there yet" },
	{ "\"class_number\":0", "\"class_number\":-1", "calls policy code but has no number" },
	{ "\"per_session\":false", "\"per_session\":3", "per_session: must be true or false" },
	{ "\"zones\":[\"dmz\",\"*\"]", "\"zones\":[\"nosuch\"]", "there is no zone 'nosuch'" },
	{ "\"callback\":1", "\"callback\":2", "tables.request[0].call.callback: is 2, must be from 0 to 1" },
	{ "\"callbacks\":2", "\"callbacks\":0", "but the policy has no callbacks" },
	/* services */
	{ "\"config\":0", "\"config\":1", "services[0].config: is 1, must be from 0 to 0" },
	{ "\"name\":\"no\"", "\"name\":\"mail\"", "two services named 'mail'" },
	{ "\"kind\":\"deny\"", "\"kind\":\"allow\"", "no service kind 'allow'" },
	{ "\"ipv4_setting\":8", "\"ipv4_setting\":9", "services[1].ipv4_setting" },
	{ "\"ipv6_setting\":5", "\"ipv6_setting\":6", "services[1].ipv6_setting" },
	{ "\"logging\":false", "\"config\":0", "services[1]: unknown member 'config'" },
	{ "\"type\":\"directed\"", "\"type\":\"inband\"", "routers of type 'inband' are not there yet" },
	{ "\"type\":\"directed\"", "\"type\":\"transparent\"", "unknown member 'targets'" },
	{ "[[\"172.16.20.254\",25],[\"2001:db8::1\",0]]", "[]", "must name at least one address" },
	{ "[\"172.16.20.254\",25]", "[\"mail.example\",25]", "'mail.example' is not an IP address" },
	{ "[\"172.16.20.254\",25]", "[\"172.16.20.254\",99999]", "targets[0]: is 99999" },
	{ "[\"172.16.20.254\",25]", "[\"172.16.20.254\"]", "must be [address, port]" },
	{ "\"forge_port\":-3", "\"forge_port\":0", "forge_port 0 means nothing" },
	{ "\"forge_port\":-3", "\"forge_port\":-5", "router.forge_port" },
	{ "\"forge_port\":-3", "\"proxy_protocol\":3", "router.proxy_protocol" },
	{ "\"forge_port\":-3", "\"proxy_protocol\":1", "both tell the server" },
	{ "\"forge_port\":-3", "\"forge_port\":65536", "router.forge_port" },
	{ "\"type\":\"connect\"", "\"type\":\"failover\"", "chainers of type 'failover' are not there yet" },
	{ "\"protocol\":1", "\"protocol\":2", "over UDP are not there yet" },
	{ "\"timeout_connect\":5000", "\"timeout_connect\":0", "timeout_connect" },
	{ "\"max_instances\":7", "\"max_instances\":-1", "max_instances" },
	{ "\"max_instances\":7", "\"max_instances\":7.5", "must be an integer, is a fraction" },
	{ "\"keepalive\":2", "\"keepalive\":4", "keepalive" },
	{ "\"limit_target_zones_to\":[1]", "\"limit_target_zones_to\":[2]", "limit_target_zones_to[0]" },
	{ "\"limit_target_zones_to\":[1]", "\"accept_proxy_protocol\":[2]", "accept_proxy_protocol[0]" },
	{ "\"forced_port\":8025", "\"forced_port\":65536", "forced_port" },
	/* rules */
	{ "\"id\":1", "\"id\":0", "rules[0].id" },
	{ "\"id\":2", "\"id\":1", "two rules with id 1" },
	{ "\"id\":2,\"instance\":0", "\"id\":2,\"instance\":1", "rules[1].instance" },
	{ "\"id\":2,\"instance\":0,\"service\":1", "\"id\":2,\"instance\":0,\"service\":3", "rules[1].service" },
	{ "\"proto\":[6]", "\"proto\":[256]", "rules[0].proto[0]: is 256, must be from 0 to 255" },
	{ "\"proto\":[6]", "\"proto\":6", "rules[0].proto: must be an array" },
	{ "\"proto\":[6]", "\"time\":[6]", "unknown member 'time'" },
	{ "[25,25]", "[25,65536]", "rules[0].dst_port[0]" },
	{ "[25,25]", "[25,24]", "rules[0].dst_port[0]: is 24, must be from 25" },
	{ "[25,25]", "25", "rules[0].dst_port[0]: must be [first, last]" },
	{ "\"src_zone\":[0,1]", "\"src_zone\":[0,2]", "rules[0].src_zone[1]" },
	{ "\"172.16.40.1/32\"", "\"172.16.40.1/x\"", "rules[0].dst_subnet[0]" },
	{ "\"eth0\"", "\"eth0eth0eth0eth0\"", "can't be the name of a network interface" },
	{ "\"eth0\"", "\"a/b\"", "can't be the name of a network interface" },
	{ "\"eth0\"", "\"eth*\"", "can't be the name of a network interface" },
	{ "\"ifgroup\":[3]", "\"ifgroup\":[-1]", "rules[0].ifgroup[0]" },
};

static void wrong_documents_are_refused_with_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		const char *says = changed(refusals[i].from, refusals[i].to);

		if (strstr(says, refusals[i].says) == NULL)
			fail_msg("%s -> %s: says '%s', should say '%s'", refusals[i].from, refusals[i].to, says,
				 refusals[i].says);
	}
}

static void every_truncation_is_refused(void **state)
{
	const struct policy *p;

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++)
		assert_string_not_equal(build_document(arena, slice_take(slice_cstr(whole), n), &p), "");
}

static void a_missing_member_is_refused(void **state)
{
	static const char *const needed[] = { "format", "version", "files", "instances", "zones", "configs", "services",
					      "rules", "callbacks" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		char from[64], to[64];

		/* A member of another name is as good as missing. */
		snprintf(from, sizeof(from), "\"%s\":", needed[i]);
		snprintf(to, sizeof(to), "\"x%s\":", needed[i]);
		assert_string_not_equal(changed(from, to), "");
	}
}

static void depth_is_limited(void **state)
{
	char text[2000];
	const struct policy *p;

	(void)state;
	memset(text, '[', 2000);
	assert_non_null(strstr(build_document(arena, slice_of(text, 2000), &p), "nested more than 32 levels"));
	/* Brackets in strings are none; behind an escaped quote it is still a string. */
	assert_non_null(strstr(changed("\"language\":\"en\"",
				       "\"language\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\""), "at most 16"));
}

static void no_member_may_stand_twice(void **state)
{
	(void)state;
	assert_non_null(strstr(changed("\"callbacks\":2", "\"callbacks\":2,\"callbacks\":0"), "duplicate"));
}

static void other_json_is_refused(void **state)
{
	static const char *const texts[] = { "", "[]", "7", "null", "{}", "\"x\"", "{\"a\":\xff}", "{\"format\":null}" };
	const struct policy *p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_string_not_equal(build_document(arena, slice_cstr(texts[i]), &p), "");
}

static void an_array_is_closed_as_one(void **state)
{
	char *text = document_text("[]", "[}", 1);
	const struct policy *p;

	(void)state;
	assert_string_not_equal(build_document(arena, slice_cstr(text), &p), "");
	free(text);
}

static void all_problems_are_told(void **state)
{
	struct policy_problems problems;
	const struct policy *p;
	char *text = document_text("[]", "[{\"id\":1,\"instance\":0,\"service\":0,\"proto\":[300],\"dst_port\":[[1,0]],"
				   "\"src_zone\":[5]},{\"id\":0,\"instance\":0,\"service\":0}]", 1);

	(void)state;
	problems_init(&problems, arena);
	assert_int_equal(policy_build(slice_cstr(text), &sample_registry, arena, &problems, &p), -EINVAL);
	assert_int_equal(problems.n_errors, 4);
	free(text);
}

/* Zones and rules are cut out of the text and parsed one by one: no text passes that would not be JSON in one piece. */
static const struct refusal cuts[] = {
	{ "\"zones\":[{", "\"zones\":[,{", "zones[0]" },
	{ "\"parent\":0}]", "\"parent\":0},]", "zones[2]" },
	{ "\"parent\":0}]", "\"parent\":0}}", "zones[1]: ',' or ']' expected" },
	{ "\"parent\":0}]", "\"parent\":0} 7]", "zones[1]: ',' or ']' expected" },
	{ "\"parent\":0}]", "\"parent\":0}", "" },
	{ "\"at\":[1,3]},", "\"at\":[1,3]}", "zones[0]: ',' or ']' expected" },
	{ "\"at\":[1,3]},", "\"at\":[1,3]},7,", "zones[1]: must be an object, is an integer" },
	{ "\"name\":\"dmz\"", "\"name\":\"dmz\",\"name\":\"dmz\"", "zones[0]: duplicate" },
	{ "\"name\":\"dmz\"", "\"name\":\"d\nmz\"", "zones[0]: unexpected newline" },
	{ "\"name\":\"dmz\"", "\"name\":\"\xff\"", "zones[0]: unable to decode byte 0xff" },
	{ "\"zones\":[", "\"zones\":[],\"zones\":[", "duplicate" },
	{ "\"rules\":[", "\"zones\":[],\"rules\":[", "duplicate" },
	{ "\"zones\":[", "\"z\\u006fnes\":[", "zones: its name must be written without escapes" },
	{ "\"zones\":[", "\"zones\":{}, \"more\":[", "unknown member 'more'" },
	{ "\"zones\":[", "\"zones\"[", "':' expected" },
	{ "\"id\":2,", "\"id\":2 ", "rules[1]" },
	{ "\"callbacks\":2}", "\"callbacks\":2}]", "end of file expected" },
};

static void cut_arrays_are_no_less_strict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		const char *says = changed(cuts[i].from, cuts[i].to);

		if (says[0] == '\0' || strstr(says, cuts[i].says) == NULL)
			fail_msg("%s -> %s: says '%s', should say '%s'", cuts[i].from, cuts[i].to, says, cuts[i].says);
	}
}

static void blanks_and_order_do_not_matter(void **state)
{
	static const char text[] =
		"\n{ \"rules\" : [ {\"id\":1,\"instance\":0,\"service\":0,\"at\":[0,1]} ,\t{\"id\":2,\"instance\":0,\"service\":0}\r\n] ,"
		"\"zones\":[ \n ],\"callbacks\":0,\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/p.py\"],"
		"\"instances\":[\"i\"],\"configs\":[],\"services\":[{\"name\":\"] } \\\" [\",\"kind\":\"deny\"}]} \n";
	const struct policy *p = NULL;

	(void)state;
	assert_string_equal(build_document(arena, slice_cstr(text), &p), "");
	assert_int_equal(p->n_zones, 0);
	assert_int_equal(p->n_rules, 2);
	assert_int_equal(p->rules[1].id, 2);
}

/* The ceiling of the arena may be met at any place; each is an -ENOMEM and nothing else. */
static void every_shortage_of_memory_is_survived(void **state)
{
	size_t ceiling = 64;
	int err = -ENOMEM;

	(void)state;
	for (; err == -ENOMEM && ceiling < 1u << 20; ceiling += 64) {
		struct arena *small = arena_create(ceiling, 0);
		struct policy_problems problems;
		const struct policy *p = NULL;

		assert_non_null(small);
		problems_init(&problems, arena);
		err = policy_build(slice_cstr(whole), &sample_registry, small, &problems, &p);
		assert_true(err == 0 || err == -ENOMEM);
		assert_int_equal(problems.n_errors, 0);
		arena_free(&small);
	}
	assert_int_equal(err, 0);
	assert_true(ceiling > 2048);
}

/* proto of the first rule, and the service it leads to. */
static unsigned errors_for(const char *proto, const char *service, const char **message)
{
	struct policy_problems problems;
	const struct policy *p = NULL;
	const char *rule = strstr(whole, "\"id\":2");
	char *text;

	assert_true(asprintf(&text, "%.*s\"id\":2,\"instance\":0,\"service\":%s,\"proto\":%s}],\"callbacks\":2}",
			     (int)(rule - whole), whole, service, proto) > 0);
	assert_string_equal(build_document(arena, slice_cstr(text), &p), "");
	free(text);
	problems_init(&problems, arena);
	policy_check_runnable(p, &problems);
	*message = "";
	for (struct policy_problem *q = problems.first; q != NULL; q = q->next)
		if (strstr(q->message, "rule 2") != NULL)
			*message = q->message;
	return problems.n_errors;
}

static void udp_can_not_run_yet(void **state)
{
	const char *message;

	(void)state;
	assert_int_equal(errors_for("[17]", "0", &message), 1);
	assert_non_null(strstr(message, "proxies do not serve UDP yet (Service 'mail')"));
	assert_int_equal(errors_for("[6,17]", "0", &message), 1);
	assert_int_equal(errors_for("[6]", "0", &message), 0);
	assert_string_equal(message, "");
	assert_int_equal(errors_for("[47]", "0", &message), 0);
	assert_int_equal(errors_for("[17]", "1", &message), 0);
	assert_int_equal(errors_for("[17]", "2", &message), 0);	/* forwarded */
}

static void messages_are_clean_text(void **state)
{
	struct policy_problems problems;

	(void)state;
	problems_init(&problems, arena);
	problems_add(&problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, "h\x1b[2J", "a\nb\xc3\xa9\xc3|%s",
		     "\xed\xa0\x80\xc2\x9b\xf4\x90\x80\x80\x7f");
	assert_string_equal(problems.first->message, "a?b\xc3\xa9?|??????" "????");
	assert_string_equal(problems.first->hint, "h?[2J");
}

static void problems_beyond_the_limit_are_counted(void **state)
{
	struct policy_problems problems;
	unsigned kept = 0;

	(void)state;
	problems_init(&problems, arena);
	for (unsigned i = 0; i < 1000; i++)
		problems_add(&problems, i % 2 ? PROBLEM_ERROR : PROBLEM_WARNING, (struct policy_place){ NULL, 0 }, NULL,
			     "number %u", i);
	for (struct policy_problem *p = problems.first; p != NULL; p = p->next)
		kept++;
	assert_int_equal(kept, 200);
	assert_int_equal(problems.n_errors, 500);
	assert_int_equal(problems.n_warnings, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(zones_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(services_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(rules_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(a_policy_says_whether_it_needs_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(the_fingerprint_is_sha256, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_documents_are_refused_with_their_place, setup, teardown),
		cmocka_unit_test_setup_teardown(every_truncation_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_arrays_are_no_less_strict, setup, teardown),
		cmocka_unit_test_setup_teardown(blanks_and_order_do_not_matter, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_member_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(depth_is_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(no_member_may_stand_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(other_json_is_refused, setup, teardown), cmocka_unit_test_setup_teardown(an_array_is_closed_as_one, setup, teardown),
		cmocka_unit_test_setup_teardown(all_problems_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(every_shortage_of_memory_is_survived, setup, teardown),
		cmocka_unit_test_setup_teardown(udp_can_not_run_yet, setup, teardown),
		cmocka_unit_test_setup_teardown(messages_are_clean_text, setup, teardown),
		cmocka_unit_test_setup_teardown(problems_beyond_the_limit_are_counted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
