/* SPDX-License-Identifier: Apache-2.0 */
/* What the resolver makes of answers; the test is the name server. */
#include "server/lookout/lookout_resolver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKET_MAX 4096
#define QUESTION_END 5			/* octets behind the name: its end, type, class */

struct a_record {
	const char *ip;
	uint32_t ttl_s;
};

static struct poller *poller;
static struct resolver *resolver;
static int name_server;
static const struct a_record *records;	/* of the answer; ip NULL: the end */

static struct {
	bool there;
	struct resolver_answer answer;
	struct ip_addr addrs[RESOLVER_ADDRESSES_MAX];
} heard;

static size_t put_record(uint8_t *out, const struct a_record *r)
{
	const uint8_t head[] = { 0xc0, 12, 0, 1, 0, 1, (uint8_t)(r->ttl_s >> 24), (uint8_t)(r->ttl_s >> 16), (uint8_t)(r->ttl_s >> 8),
				 (uint8_t)r->ttl_s, 0, 4 };

	memcpy(out, head, sizeof(head));
	assert_int_equal(inet_pton(AF_INET, r->ip, out + sizeof(head)), 1);
	return sizeof(head) + 4;
}

static void on_question(void *arg, int fd, short revents)
{
	uint8_t packet[PACKET_MAX];
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	ssize_t n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&peer, &size);
	size_t end = 12;

	assert_true(n > 12);
	while (packet[end] != 0)
		end += 1u + packet[end];
	end += QUESTION_END;
	memcpy(packet + 2, (const uint8_t[]){ 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0 }, 10);
	for (const struct a_record *r = records; r->ip != NULL; r++) {
		end += put_record(packet + end, r);
		packet[7]++;
	}
	assert_int_equal(sendto(fd, packet, end, 0, (struct sockaddr *)&peer, size), end);
}

static int setup(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	char text[32];

	poller = calloc(1, sizeof(*poller));
	assert_non_null(poller);
	poller_init(poller);
	name_server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(name_server, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(name_server, (struct sockaddr *)&at, &size), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(at.sin_port));
	assert_int_equal(poller_add(poller, name_server, POLLIN, on_question, NULL), 0);
	return resolver_create(poller, text, &resolver);
}

static void on_answer(void *arg, const struct resolver_answer *answer)
{
	assert_false(heard.there);
	heard.there = true;
	heard.answer = *answer;
	memcpy(heard.addrs, answer->addrs, answer->n_addrs * sizeof(heard.addrs[0]));
}

static void ask(const struct a_record *answer)
{
	records = answer;
	heard.there = false;
	resolver_ask(resolver, "a.example", AF_INET, on_answer, NULL);
	while (!heard.there)
		poller_turn(poller);
	assert_int_equal(heard.answer.result, 0);
}

static void check(size_t n, uint32_t ttl_s, bool cut)
{
	assert_int_equal(heard.answer.n_addrs, n);
	assert_int_equal(heard.answer.ttl_s, ttl_s);
	assert_int_equal(heard.answer.cut, cut);
}

static void test_addresses(void **state)
{
	ask((const struct a_record[]){ { "192.0.2.9", 60 }, { "192.0.2.1", 30 }, { "192.0.2.9", 20 }, { NULL, 0 } });
	check(2, 20, false);
	assert_int_equal(heard.addrs[0].octets[3], 1);
	assert_int_equal(heard.addrs[1].octets[3], 9);
}

/* Whoever puts an address in that is nobody's does not decide how soon the others are asked for again. */
static void test_what_is_left_out_has_no_ttl(void **state)
{
	static struct a_record many[RESOLVER_ADDRESSES_MAX + 9];
	static char texts[RESOLVER_ADDRESSES_MAX + 8][16];

	ask((const struct a_record[]){ { "0.0.0.0", 1 }, { "192.0.2.1", 300 }, { "224.0.0.1", 2 }, { NULL, 0 } });
	check(1, 300, true);
	ask((const struct a_record[]){ { "255.255.255.255", 7 }, { NULL, 0 } });
	check(0, 0, true);
	for (size_t i = 0; i < RESOLVER_ADDRESSES_MAX + 8; i++) {
		snprintf(texts[i], sizeof(texts[i]), "192.0.2.%zu", i + 1);
		many[i] = (struct a_record){ texts[i], i < RESOLVER_ADDRESSES_MAX ? 100 : 5 };
	}
	ask(many);
	check(RESOLVER_ADDRESSES_MAX, 100, true);
	assert_int_equal(heard.addrs[RESOLVER_ADDRESSES_MAX - 1].octets[3], RESOLVER_ADDRESSES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_what_is_left_out_has_no_ttl),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
