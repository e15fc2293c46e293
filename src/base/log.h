/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging. A message has a tag ("smtp.violation"), a level (0 always .. 10 dumps), the session
 * it belongs to, a static summary and fields. The text form is the one that log analysers of
 * the policy language's users know:
 *
 *	smtp.violation(2): (svc/default/mail:7/default/smtp): Unknown command; request='FOO'
 *
 * the JSON form is one object a line with the same content. Peers' octets appear only as
 * field values and are escaped there: no control octet, no quote, no backslash gets through
 * unescaped, so that nobody can forge a line.
 *
 * Writing never waits: a process hands its lines to a non-blocking channel (a pipe to the
 * supervisor, or standard error); what does not fit is dropped, counted and reported once
 * there is room again.
 */
#ifndef SALLYPORT_BASE_LOG_H
#define SALLYPORT_BASE_LOG_H

#include "base/slice.h"

/* Tags that the engine uses; the name is "core.session" for LOG_CORE_SESSION. */
#define LOG_TAGS(X) \
	X(CORE_SESSION, "core.session") X(CORE_DEBUG, "core.debug") X(CORE_ERROR, "core.error") \
	X(CORE_POLICY, "core.policy") X(CORE_MESSAGE, "core.message") X(CORE_INFO, "core.info") \
	X(CORE_AUTH, "core.auth") X(CORE_SUMMARY, "core.summary") X(CORE_ACCOUNTING, "core.accounting") \
	X(CORE_STDERR, "core.stderr") X(CORE_VIOLATION, "core.violation") \
	X(SMTP_DEBUG, "smtp.debug") X(SMTP_ERROR, "smtp.error") X(SMTP_INFO, "smtp.info") \
	X(SMTP_POLICY, "smtp.policy") X(SMTP_REQUEST, "smtp.request") X(SMTP_RESPONSE, "smtp.response") \
	X(SMTP_VIOLATION, "smtp.violation") X(SMTP_ACCOUNTING, "smtp.accounting") \
	X(PLUG_DEBUG, "plug.debug") X(PLUG_ERROR, "plug.error") X(PLUG_POLICY, "plug.policy") \
	X(PLUG_SESSION, "plug.session") X(PLUG_ACCOUNTING, "plug.accounting")

#define LOG_TAG_ENUM(id, name) LOG_##id,
enum log_tag { LOG_TAGS(LOG_TAG_ENUM) LOG_TAG_COUNT };
#undef LOG_TAG_ENUM

struct log_field {
	const char *key;
	enum { LOG_FIELD_OCTETS, LOG_FIELD_INT, LOG_FIELD_UINT } kind;
	struct slice octets;
	int64_t number;
};

#define F_OCTETS(key, slice) ((struct log_field){ (key), LOG_FIELD_OCTETS, (slice), 0 })
#define F_TEXT(key, cstr) ((struct log_field){ (key), LOG_FIELD_OCTETS, slice_cstr(cstr), 0 })
#define F_INT(key, n) ((struct log_field){ (key), LOG_FIELD_INT, { NULL, 0 }, (int64_t)(n) })

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/*
 * Set up this process's log. fd is where lines go and is made non-blocking if it is a pipe;
 * not owned. spec as in docs/reference ("*.summary:4,core.debug:6"); the first entry that
 * matches a tag decides, none: verbosity (0..10). Returns 0 or -EINVAL (bad spec; *bad says
 * where, if bad is not NULL).
 */
int log_open(int fd, enum log_format format, int verbosity, const char *spec, const char **bad);
int log_set_spec(int verbosity, const char *spec, const char **bad);
void log_set_fd(int fd);
int log_verbosity(void);
const char *log_spec(void);

bool log_wants(enum log_tag tag, int level);
bool log_wants_name(struct slice tag, int level);	/* for tags that a policy invents */

/* session may be empty: "nosession". Use the macro, which formats nothing unwanted. */
void log_write(enum log_tag tag, int level, struct slice session, const char *summary,
	       const struct log_field *fields, size_t n_fields);
void log_write_name(struct slice tag, int level, struct slice session, struct slice message);

#define log_event(tag, level, session, summary, ...) \
	do { \
		if (log_wants((tag), (level))) { \
			const struct log_field fields_[] = { { 0 }, ##__VA_ARGS__ }; \
			log_write((tag), (level), (session), (summary), fields_ + 1, \
				  sizeof(fields_) / sizeof(fields_[0]) - 1); \
		} \
	} while (0)

/* Lines dropped because the channel was full, since the start. */
uint64_t log_dropped(void);

/* Append s to dst (size octets) in the escaped form of field values; always NUL-terminated.
 * Returns the length written. */
size_t log_escape(char *dst, size_t size, struct slice s);

#endif
