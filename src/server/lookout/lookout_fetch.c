/* SPDX-License-Identifier: Apache-2.0 */
#define CURL_DISABLE_TYPECHECK		/* its functions are called by pointers */
#include "server/lookout/lookout_fetch.h"

#include "base/attributes.h"
#include "base/buffer.h"
#include "base/log.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LIBRARY "libcurl.so.4"
#define URL_OCTETS_MAX 1024u
#define RESOLVE_OCTETS_MAX 8192u	/* of all addresses of a host */
#define NOSESSION slice_cstr("nosession")

/* What is used of the library, without "curl_". */
#define CURL_FUNCTIONS(X) \
	X(global_init) X(easy_init) X(easy_setopt) X(easy_getinfo) X(easy_strerror) X(easy_cleanup) X(slist_append) X(slist_free_all) \
	X(multi_init) X(multi_setopt) X(multi_add_handle) X(multi_remove_handle) X(multi_socket_action) X(multi_info_read) X(multi_cleanup)

struct curl {
#define X(name) __typeof__(&curl_##name) name;
	CURL_FUNCTIONS(X)
#undef X
};

struct fetcher {
	struct poller *poller;
	struct poller_timer timer;
	struct curl curl;
	CURLM *multi;
};

struct fetch {
	struct fetcher *fetcher;
	CURL *easy;
	struct curl_slist *resolve;
	struct buffer body;
	char error[CURL_ERROR_SIZE];
	fetch_fn fn;
	void *arg;
};

/* ---- libcurl and the poller ---- */

static void release(struct fetch *f)
{
	const struct curl *curl = &f->fetcher->curl;

	if (f->easy != NULL)
		curl->easy_cleanup(f->easy);
	curl->slist_free_all(f->resolve);
	buffer_release(&f->body);
	free(f);
}

static bool is_text(const char *type)
{
	static const struct slice text = SLICE_INIT("text/plain");
	struct slice have = slice_cstr(type);

	return slice_starts_with_nocase(have, text) && (have.len == text.len || have.ptr[text.len] == ';' || have.ptr[text.len] == ' ');
}

/* NULL: all is well. */
static const char *flaw_of(struct fetch *f, CURLcode code)
{
	const struct curl *curl = &f->fetcher->curl;
	const char *type = NULL;
	long status = 0;

	if (f->body.broken)
		return "the file is too large";
	if (code != CURLE_OK)
		return f->error[0] != '\0' ? f->error : curl->easy_strerror(code);
	if (curl->easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200) {
		snprintf(f->error, sizeof(f->error), "the status is %ld, where only 200 counts", status);
		return f->error;
	}
	if (curl->easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK || type == NULL || !is_text(type))
		return "the file is not text/plain";
	return NULL;
}

static void finish(struct fetch *f, CURLcode code)
{
	f->fetcher->curl.multi_remove_handle(f->fetcher->multi, f->easy);
	f->fn(f->arg, flaw_of(f, code), buffer_slice(&f->body));
	release(f);
}

static void act(struct fetcher *fetcher, curl_socket_t fd, int events)
{
	const struct curl *curl = &fetcher->curl;
	struct CURLMsg *msg;
	int n;

	(void)curl->multi_socket_action(fetcher->multi, fd, events, &n);
	while ((msg = curl->multi_info_read(fetcher->multi, &n)) != NULL) {
		CURLcode code = msg->data.result;
		char *f = NULL;

		if (msg->msg == CURLMSG_DONE && curl->easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &f) == CURLE_OK)
			finish((struct fetch *)(void *)f, code);
	}
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_socket(void *arg, int fd, short revents)
{
	act(arg, fd, ((revents & POLLIN) != 0 ? CURL_CSELECT_IN : 0) | ((revents & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
	    ((revents & (POLLERR | POLLHUP)) != 0 ? CURL_CSELECT_ERR : 0));
}

static int set_timer(CURLM *multi, long in_ms, void *arg)
{
	struct fetcher *fetcher = arg;

	if (in_ms < 0)
		poller_timer_clear(fetcher->poller, &fetcher->timer);
	else
		poller_timer_set(fetcher->poller, &fetcher->timer, in_ms);
	return 0;
}

/* A socket of libcurl: opened, wanting something else, or about to be closed. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	static const short events[] = { [CURL_POLL_IN] = POLLIN, [CURL_POLL_OUT] = POLLOUT, [CURL_POLL_INOUT] = POLLIN | POLLOUT };
	struct fetcher *fetcher = arg;

	poller_remove(fetcher->poller, fd);
	/* Without room nothing comes from it: the fetch runs into its limit. */
	if (what != CURL_POLL_REMOVE && poller_add(fetcher->poller, fd, events[what], on_socket, fetcher) != 0)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The lookout has no room for another connection to a web server");
	return 0;
}

static bool load(struct curl *curl)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	bool complete = library != NULL;

#define X(name) \
	*(void **)&curl->name = complete ? dlsym(library, "curl_" #name) : NULL; \
	complete = curl->name != NULL;
	CURL_FUNCTIONS(X)
#undef X
	if (!complete)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Nothing can be fetched by HTTPS: " LIBRARY " can't be used",
			  F_TEXT("reason", library == NULL ? dlerror() : "it is another version"));
	return complete;
}

static bool start(struct fetcher *fetcher)
{
	const struct curl *curl = &fetcher->curl;

	if (curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return false;
	fetcher->multi = curl->multi_init();
	return fetcher->multi != NULL && curl->multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, set_socket) == CURLM_OK &&
	       curl->multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher) == CURLM_OK &&
	       curl->multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
	       curl->multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher) == CURLM_OK &&
	       curl->multi_setopt(fetcher->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)FETCHES_MAX) == CURLM_OK;
}

int fetcher_create(struct poller *poller, struct fetcher **out)
{
	struct fetcher *fetcher = calloc(1, sizeof(*fetcher));
	int err = fetcher == NULL ? -ENOMEM : load(&fetcher->curl) ? 0 : -ELIBACC;

	if (err == 0) {
		fetcher->poller = poller;
		fetcher->timer.fn = on_timer;
		fetcher->timer.arg = fetcher;
		err = start(fetcher) ? 0 : -ENOMEM;
	}
	if (err == 0) {
		*out = fetcher;
		return 0;
	}
	if (fetcher != NULL && fetcher->multi != NULL)
		(void)fetcher->curl.multi_cleanup(fetcher->multi);
	free(fetcher);
	return err;
}

/* ---- one fetch ---- */

static size_t take_body(char *octets, size_t one, size_t n, void *arg)
{
	struct fetch *f = arg;

	buffer_append(&f->body, slice_of(octets, n));
	return f->body.broken ? 0 : n;		/* 0: it goes no further */
}

/* "HOST:443:ADDR,[ADDR]": this and nothing else is known of names. */
static bool set_addresses(struct fetch *f, const struct fetch_request *r)
{
	const struct curl *curl = &f->fetcher->curl;
	struct buffer line = BUFFER_INIT(RESOLVE_OCTETS_MAX);
	char ip[IP_TEXT_MAX];

	buffer_printf(&line, "%s:443:", r->host);
	for (size_t i = 0; i < r->n_addrs; i++)
		buffer_printf(&line, r->addrs[i].family == AF_INET6 ? "%s[%s]" : "%s%s", i > 0 ? "," : "", ip_text(&r->addrs[i], ip));
	buffer_append_octet(&line, '\0');
	if (!line.broken)
		f->resolve = curl->slist_append(NULL, (const char *)line.data);
	buffer_release(&line);
	return f->resolve != NULL && curl->easy_setopt(f->easy, CURLOPT_RESOLVE, f->resolve) == CURLE_OK;
}

static bool set_options(struct fetch *f, const struct fetch_request *r)
{
	char url[URL_OCTETS_MAX];
	const struct { CURLoption option; long value; } numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 }, { CURLOPT_FOLLOWLOCATION, 0 }, { CURLOPT_SSL_VERIFYPEER, 1 }, { CURLOPT_SSL_VERIFYHOST, 2 },
		{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 }, { CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_FORBID_REUSE, 1 }, { CURLOPT_FRESH_CONNECT, 1 }, { CURLOPT_TIMEOUT_MS, (long)r->limit_ms },
	};
	/* No proxy: else the environment would name one. */
	const struct { CURLoption option; const void *value; } pointers[] = {
		{ CURLOPT_URL, url }, { CURLOPT_PROTOCOLS_STR, "https" }, { CURLOPT_PROXY, "" }, { CURLOPT_CAINFO, NULL },
		{ CURLOPT_CAPATH, r->ca_directory }, { CURLOPT_ERRORBUFFER, f->error }, { CURLOPT_PRIVATE, f }, { CURLOPT_WRITEDATA, f },
	};
	const struct curl *curl = &f->fetcher->curl;
	int n = snprintf(url, sizeof(url), "https://%s%s", r->host, r->path);
	bool good = n > 0 && (size_t)n < sizeof(url);

	for (size_t i = 0; i < ARRAY_LEN(numbers) && good; i++)
		good = curl->easy_setopt(f->easy, numbers[i].option, numbers[i].value) == CURLE_OK;
	for (size_t i = 0; i < ARRAY_LEN(pointers) && good; i++)
		good = curl->easy_setopt(f->easy, pointers[i].option, pointers[i].value) == CURLE_OK;
	return good && curl->easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK && set_addresses(f, r);
}

void fetcher_get(struct fetcher *fetcher, const struct fetch_request *request, fetch_fn fn, void *arg)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (f != NULL) {
		*f = (struct fetch){ .fetcher = fetcher, .body = BUFFER_INIT(request->octets_max), .fn = fn, .arg = arg };
		f->easy = fetcher->curl.easy_init();
		if (f->easy != NULL && set_options(f, request) && fetcher->curl.multi_add_handle(fetcher->multi, f->easy) == CURLM_OK)
			return;
		release(f);
	}
	fn(arg, "no memory, or libcurl does not know what is asked of it", slice_of(NULL, 0));
}
