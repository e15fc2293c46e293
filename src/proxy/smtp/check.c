/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of the standard policy class, in C: who may send, and to whom. They judge the
 * canonical mailbox, which is the one that is forwarded.
 */
#include "base/addr.h"
#include "proxy/smtp/idna.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define SCRATCH_OCTETS (64u * 1024u)	/* of one check: a mailbox in its forms */

static int verdict(struct call_value *result, int64_t number)
{
	*result = (struct call_value){ .kind = CALL_INT, .number = number };
	return 0;
}

static int refuse(struct proxy *proxy, struct call_value *result, const char *code, const char *text,
		  const char *summary, struct slice email)
{
	smtp_set_error(smtp_of(proxy), code, text);
	proxy_log(proxy, LOG_SMTP_POLICY, 3, summary, F_OCTETS("email", email));
	return verdict(result, SMTP_REQ_REJECT);
}

/* The memory of one check: a session may carry any number of addresses. Made when it is needed, which is seldom. */
struct scratch {
	struct proxy *proxy;
	struct arena *arena;
};

static struct arena *scratch_arena(struct scratch *scratch)
{
	if (scratch->arena == NULL)
		scratch->arena = arena_child(scratch->proxy->arena, SCRATCH_OCTETS, 0);
	return scratch->arena;
}

static int parse_path(struct proxy *proxy, struct slice text, struct scratch *scratch, struct smtp_path *out)
{
	const struct smtp_config *c = smtp_config_of(proxy);
	struct arena *arena = scratch_arena(scratch);
	unsigned flags = SMTP_PATH_MAY_BE_EMPTY | SMTP_PATH_POSTMASTER;
	enum smtp_address_flaw flaw;

	if (c->permit_omission_of_angle_brackets)
		flags |= SMTP_PATH_BARE;
	if (!c->permit_source_routes)
		flags |= SMTP_PATH_NO_ROUTE;
	if (smtp_of(proxy) != NULL && (smtp_of(proxy)->active_extensions & SMTP_EXT_SMTPUTF8) != 0)
		flags |= SMTP_PATH_UTF8;
	flaw = arena != NULL ? smtp_path_parse(text, flags, c->append_domain, arena, out) : SMTP_ADDRESS_NO_MEMORY;
	return flaw == SMTP_ADDRESS_OK ? 0 : flaw == SMTP_ADDRESS_NO_MEMORY ? -ENOMEM : -EBADMSG;
}

/* The path of a "From:<...>" or "To:<...>". What is being decided was parsed already. */
static int path_of(struct proxy *proxy, struct scratch *scratch, const struct call_value *args, size_t n_args,
		   struct smtp_path *out)
{
	struct smtp *s = smtp_of(proxy);
	struct slice param;

	if (n_args != 2 || args[1].kind != CALL_OCTETS)
		return -EBADMSG;
	param = args[1].octets;
	if (s->deciding != NULL && s->deciding->has_path && slice_equal(s->deciding->text, param)) {
		*out = s->deciding->path;
		return 0;
	}
	return parse_path(proxy, slice_skip(param, slice_index(param, ':') + 1), scratch, out);
}

typedef co_waits int (*check_fn)(struct proxy *proxy, struct scratch *scratch, const struct call_value *args, size_t n_args,
				 struct call_value *result);

static co_waits int with_scratch(struct proxy *proxy, check_fn check, const struct call_value *args, size_t n_args,
				 struct call_value *result)
{
	struct scratch scratch = { .proxy = proxy };
	int err = check(proxy, &scratch, args, n_args, result);

	arena_free(&scratch.arena);
	return err;
}

/* 1 yes, 0 no, negative: it can't tell. */
static co_waits int ask_matcher(struct proxy *proxy, const struct matcher_call *matcher, struct slice text)
{
	const struct matcher_call call = *matcher;
	int answer = proxy_match(proxy, &call, text);

	smtp_of(proxy)->config = proxy->config;
	return answer;
}

/* The same of a method that the policy overrides. */
static co_waits int ask_hook(struct proxy *proxy, const struct policy_call *hook, struct slice text)
{
	const struct call_value arg = { .kind = CALL_OCTETS, .octets = text };
	struct policy_call call = *hook;
	struct call_value result = { .kind = CALL_NONE };
	int err = proxy_call(proxy, &call, &arg, 1, &result);

	smtp_of(proxy)->config = proxy->config;
	return err < 0 ? err : call_value_is_true(&result);
}

/*
 * A matcher of what is refused: the mailbox as it goes out, and with its domain in ASCII. One that
 * is listed in either form is caught.
 */
static co_waits int ask_about_mailbox(struct proxy *proxy, struct scratch *scratch, const struct matcher_call *matcher,
				      const struct smtp_path *path)
{
	const struct matcher_call call = *matcher;
	struct arena *arena;
	struct slice domain;
	uint8_t *text;
	int err = ask_matcher(proxy, &call, path->mailbox);

	if (err != 0 || !smtp_has_8bit(path->domain))
		return err;
	arena = scratch_arena(scratch);
	if (arena == NULL)
		return -ENOMEM;
	err = smtp_domain_to_ascii(path->domain, arena, &domain);
	if (err < 0)
		return err;
	text = arena_alloc(arena, path->local.len + 1 + domain.len);
	if (text == NULL)
		return -ENOMEM;
	memcpy(text, path->local.ptr, path->local.len);
	text[path->local.len] = '@';
	memcpy(text + path->local.len + 1, domain.ptr, domain.len);
	return ask_matcher(proxy, &call, slice_of(text, path->local.len + 1 + domain.len));
}

static int accept_mailbox(struct proxy *proxy, struct call_value *result, hook_native_fn check, const char *summary,
			  struct slice email)
{
	proxy_log(proxy, LOG_SMTP_DEBUG, 6, summary, F_OCTETS("email", email));
	smtp_of(proxy)->checked = check;
	return verdict(result, SMTP_REQ_ACCEPT);
}

static int refuse_for_now(struct proxy *proxy, struct call_value *result, struct slice email, int err)
{
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	return refuse(proxy, result, "450", "4.3.0 Temporary local problem, please try again later",
		      "Address could not be checked, refusing for now", email);
}

static co_waits int check_sender(struct proxy *proxy, struct scratch *scratch, const struct call_value *args, size_t n_args,
				 struct call_value *result)
{
	const struct smtp_config *c = smtp_config_of(proxy);
	struct smtp_path path;
	int err = path_of(proxy, scratch, args, n_args, &path);

	if (err < 0)
		return err;
	if (matcher_call_is_set(&c->sender_matcher)) {
		err = ask_about_mailbox(proxy, scratch, &c->sender_matcher, &path);
		if (err < 0)
			return refuse_for_now(proxy, result, path.mailbox, err);
		if (err > 0 && c->error_soft)
			return refuse(proxy, result, "450", "4.7.1 Sender address refused, try again later", "Sender address prohibited",
				      path.mailbox);
		if (err > 0)
			return refuse(proxy, result, "550", "5.7.1 Sender address refused", "Sender address prohibited", path.mailbox);
	}
	return accept_mailbox(proxy, result, smtp_check_sender, "Sender check passed", path.mailbox);
}

co_waits int smtp_check_sender(struct proxy *proxy, const struct call_value *args, size_t n_args,
			       struct call_value *result)
{
	return with_scratch(proxy, check_sender, args, n_args, result);
}

static bool is_named(const struct string_list *list, struct slice name)
{
	for (size_t i = 0; i < list->count; i++)
		if (slice_equal(list->items[i], name))
			return true;
	return false;
}

/* The zone or one of its administrative parents, by name. */
static bool zone_may_relay(const struct smtp_config *c, const struct zone *zone)
{
	for (; zone != NULL; zone = zone->parent)
		if (is_named(&c->relay_zones, slice_cstr(zone->name)))
			return true;
	return false;
}

co_waits int smtp_zone_check(struct proxy *proxy, const struct call_value *args, size_t n_args,
			     struct call_value *result)
{
	const struct zone *zone = NULL;

	if (n_args != 1)
		return -EBADMSG;
	if (args[0].kind == CALL_OCTETS)
		zone = policy_zone_named(proxy_policy(proxy), args[0].octets);
	return verdict(result, zone_may_relay(smtp_config_of(proxy), zone));
}

/* zoneCheck as the policy has it. 1, 0 or negative. */
static co_waits int check_zone(struct proxy *proxy)
{
	const struct smtp_config *c = smtp_config_of(proxy);
	const struct zone *zone = proxy_client_zone(proxy);

	if (is_named(&c->relay_zones, SLICE("*")))
		return 1;
	if (zone == NULL)
		return 0;
	if (c->zone_check_hook.callback >= 0)
		return ask_hook(proxy, &c->zone_check_hook, slice_cstr(zone->name));
	return zone_may_relay(c, zone);
}

/*
 * An address literal or a host's number: no name, so none that a pattern was written for. The last
 * label of a name starts with a letter; "1.2.3.4" is what some servers take for an address.
 */
static bool is_literal(struct slice domain)
{
	size_t last = domain.len;

	while (last > 0 && domain.ptr[last - 1] != '.')
		last--;
	return domain.len > 0 && (domain.ptr[0] == '[' || domain.ptr[0] == '#' ||
				  (last < domain.len && ascii_is_digit(domain.ptr[last])));
}

/* "[IPv6:2001:db8::1]": the address, however it is written. */
static bool parse_literal(struct slice domain, struct ip_addr *ip)
{
	struct slice inside;

	if (domain.len < 2 || domain.ptr[0] != '[')
		return false;
	inside = slice_skip(slice_take(domain, domain.len - 1), 1);
	if (slice_starts_with_nocase(inside, SLICE("IPv6:")))
		inside = slice_skip(inside, 5);
	return ip_parse(inside, ip) == 0;
}

/* ".example.com": its subdomains. "example.com": exactly it. */
static bool domain_fits(const struct string_list *domains, struct slice domain)
{
	struct ip_addr wanted, ip;
	bool literal = parse_literal(domain, &wanted);

	for (size_t i = 0; i < domains->count; i++) {
		struct slice d = domains->items[i];

		if (literal ? parse_literal(d, &ip) && ip_equal(&ip, &wanted) :
		    d.len > 0 && d.ptr[0] == '.' ? domain.len > d.len && slice_ends_with_nocase(domain, d) && !is_literal(domain) :
						   slice_equal_nocase(domain, d))
			return true;
	}
	return false;
}

/*
 * The domain that relaying is decided on, in ASCII. A quoted "@" makes it unclear, and so does a
 * name that has no one ASCII form: then there is none.
 */
static int domain_of(struct slice email, struct scratch *scratch, struct slice *domain)
{
	size_t at = slice_index(email, '@');
	struct slice text = slice_skip(email, at + 1);
	struct arena *arena;
	int err;

	*domain = slice_of(NULL, 0);
	if (slice_index(text, '@') < text.len)
		return 0;
	if (!smtp_has_8bit(text)) {
		*domain = text;
		return 0;
	}
	arena = scratch_arena(scratch);
	if (arena == NULL)
		return -ENOMEM;
	err = smtp_domain_to_ascii(text, arena, domain);
	return err == -ENOMEM ? err : 0;
}

/*
 * <Postmaster> without a domain is the server's own (RFC 5321, 4.5.1): whoever may send to some
 * domain there may send to him.
 */
static bool is_own_postmaster(const struct smtp_config *c, struct slice email)
{
	return slice_equal_nocase(email, SLICE("postmaster")) &&
	       (c->relay_domains.count > 0 || matcher_call_is_set(&c->relay_domains_matcher));
}

static co_waits int relay_check(struct proxy *proxy, struct scratch *scratch, const struct call_value *args, size_t n_args,
				struct call_value *result)
{
	const struct zone *zone = proxy_client_zone(proxy);
	const struct smtp_config *c;
	struct slice domain;
	int err;

	if (n_args != 1 || args[0].kind != CALL_OCTETS)
		return -EBADMSG;
	err = domain_of(args[0].octets, scratch, &domain);
	if (err < 0)
		return err;
	proxy_log(proxy, LOG_SMTP_DEBUG, 7, "Relay check", F_TEXT("client_zone", zone != NULL ? zone->name : "None"),
		  F_OCTETS("email", args[0].octets), F_OCTETS("domain", domain));
	err = check_zone(proxy);
	if (err != 0)
		return err < 0 ? err : verdict(result, 1);
	c = smtp_config_of(proxy);
	if (domain.len == 0)
		return verdict(result, is_own_postmaster(c, args[0].octets));
	if (domain_fits(&c->relay_domains_ascii, domain))
		return verdict(result, 1);
	if (!matcher_call_is_set(&c->relay_domains_matcher) || is_literal(domain))
		return verdict(result, 0);
	err = ask_matcher(proxy, &c->relay_domains_matcher, domain);
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	return verdict(result, err > 0);	/* a matcher that can't tell does not open the gate */
}

co_waits int smtp_relay_check(struct proxy *proxy, const struct call_value *args, size_t n_args,
			      struct call_value *result)
{
	return with_scratch(proxy, relay_check, args, n_args, result);
}

/* relayCheck as the policy has it. 1, 0 or negative. */
static co_waits int check_relay(struct proxy *proxy, struct slice email)
{
	const struct smtp_config *c = smtp_config_of(proxy);
	const struct call_value arg = { .kind = CALL_OCTETS, .octets = email };
	struct call_value result = { .kind = CALL_NONE };
	int err;

	if (c->relay_check_hook.callback >= 0)
		return ask_hook(proxy, &c->relay_check_hook, email);
	err = smtp_relay_check(proxy, &arg, 1, &result);
	return err < 0 ? err : result.number != 0;
}

static bool has_octet(struct slice s, uint8_t octet)
{
	return slice_index(s, octet) < s.len;
}

static co_waits int check_recipient(struct proxy *proxy, struct scratch *scratch, const struct call_value *args, size_t n_args,
				    struct call_value *result)
{
	const struct smtp_config *c = smtp_config_of(proxy);
	struct smtp_path path;
	int err = path_of(proxy, scratch, args, n_args, &path);

	if (err < 0)
		return err;
	if (!c->permit_percent_hack && has_octet(path.local, '%'))
		return refuse(proxy, result, "501", "5.1.3 Malformed address", "Percent sign in the local part prohibited", path.mailbox);
	if (!c->permit_exclamation_mark && has_octet(path.local, '!'))
		return refuse(proxy, result, "501", "5.1.3 Malformed address", "Exclamation mark in the local part prohibited",
			      path.mailbox);
	if (c->relay_check) {
		err = check_relay(proxy, path.mailbox);
		if (err < 0)
			return refuse_for_now(proxy, result, path.mailbox, err);
		if (err == 0)
			return refuse(proxy, result, "554", "5.7.1 Relaying denied", "Relaying denied", path.mailbox);
	}
	c = smtp_config_of(proxy);
	if (matcher_call_is_set(&c->recipient_matcher)) {
		err = ask_about_mailbox(proxy, scratch, &c->recipient_matcher, &path);
		if (err < 0)
			return refuse_for_now(proxy, result, path.mailbox, err);
		if (err > 0 && c->error_soft)
			return refuse(proxy, result, "450", "4.1.1 Recipient address refused, try again later",
				      "Recipient address prohibited", path.mailbox);
		if (err > 0)
			return refuse(proxy, result, "554", "5.1.1 Recipient address refused", "Recipient address prohibited",
				      path.mailbox);
	}
	return accept_mailbox(proxy, result, smtp_check_recipient, "Recipient check passed", path.mailbox);
}

co_waits int smtp_check_recipient(struct proxy *proxy, const struct call_value *args, size_t n_args,
				  struct call_value *result)
{
	return with_scratch(proxy, check_recipient, args, n_args, result);
}

static int sanitize_address(struct proxy *proxy, struct scratch *scratch, const struct call_value *args, size_t n_args,
			    struct call_value *result)
{
	struct smtp_path path;
	int err;

	if (n_args != 1 || args[0].kind != CALL_OCTETS)
		return -EBADMSG;
	err = parse_path(proxy, args[0].octets, scratch, &path);
	if (err < 0)
		return err;
	err = arena_room_keep(proxy->arena, &smtp_of(proxy)->sanitized, path.mailbox, &path.mailbox);
	if (err == 0)
		*result = (struct call_value){ .kind = CALL_OCTETS, .octets = path.mailbox };
	return err;
}

/* Text behind the path is ignored, as policies know it. The result is good until the next one. */
int smtp_sanitize_address(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	return with_scratch(proxy, sanitize_address, args, n_args, result);
}
