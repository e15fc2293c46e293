/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JA4: what kind of client this is, from how it says hello. Version, counts and the first ALPN name
 * in the clear; then hashes of the ciphers, sorted, and of the extensions, sorted, with the signature
 * algorithms as they came. GREASE is left out everywhere.
 */
#include "tls/hello.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define PART 12			/* hexadecimal digits of a hash */

struct numbers {
	uint16_t *items;
	size_t n;
};

static bool is_grease(uint16_t value)
{
	return (value & 0x0f0f) == 0x0a0a && (value >> 8) == (value & 0xff);
}

static uint16_t number_at(struct slice s, size_t at)
{
	return (uint16_t)(s.ptr[at] << 8 | s.ptr[at + 1]);
}

static void add(struct numbers *to, uint16_t value)
{
	if (!is_grease(value))
		to->items[to->n++] = value;
}

static int compare(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static int numbers_of_list(struct slice list, struct numbers *out)
{
	*out = (struct numbers){ malloc(list.len + 2), 0 };
	if (out->items == NULL)
		return -ENOMEM;
	for (size_t at = 0; at + 1 < list.len; at += 2)
		add(out, number_at(list, at));
	return 0;
}

/* The types of the extensions, all of them; each takes at least four octets there. */
static int numbers_of_extensions(struct slice rest, struct numbers *out)
{
	*out = (struct numbers){ malloc(rest.len / 2 + 2), 0 };
	if (out->items == NULL)
		return -ENOMEM;
	while (rest.len >= 4) {
		add(out, number_at(rest, 0));
		rest = slice_skip(rest, 4 + (size_t)number_at(rest, 2));
	}
	return 0;
}

/* Hashed as text: "002f,0035". */

#define TEXT 5			/* octets of a number, with what stands before it */

static char *put_hex(char *out, unsigned value, unsigned digits)
{
	while (digits-- > 0)
		*out++ = "0123456789abcdef"[value >> (4 * digits) & 15];
	return out;
}

/* before: what stands before the first; NUL: nothing. */
static char *put_numbers(char *out, const struct numbers *numbers, bool named_ones_too, char before)
{
	for (size_t i = 0; i < numbers->n; i++) {
		uint16_t value = numbers->items[i];

		if (!named_ones_too && (value == 0 || value == 16))
			continue;	/* server name and ALPN: they tell of the server, and stand in the clear */
		if (before != '\0')
			*out++ = before;
		out = put_hex(out, value, 4);
		before = ',';
	}
	return out;
}

static int hash(const struct numbers *first, bool named_ones_too, const struct numbers *second, char out[PART + 1])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	char *text = malloc((first->n + (second != NULL ? second->n : 0)) * TEXT + 1), *end;
	bool good;

	if (text == NULL)
		return -ENOMEM;
	end = put_numbers(text, first, named_ones_too, '\0');
	if (second != NULL)
		end = put_numbers(end, second, true, '_');
	good = EVP_Digest(text, (size_t)(end - text), digest, NULL, EVP_sha256(), NULL) == 1;
	free(text);
	if (!good)
		return -ENOMEM;
	for (size_t i = 0; i < PART / 2; i++)
		out = put_hex(out, digest[i], 2);
	*out = '\0';
	return 0;
}

/* The part in the clear. */

static const char *version_text(uint16_t version)
{
	static const struct { uint16_t version; const char *text; } names[] = {
		{ 0x0304, "13" }, { 0x0303, "12" }, { 0x0302, "11" }, { 0x0301, "10" }, { 0x0300, "s3" }, { 0x0002, "s2" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].version == version)
			return names[i].text;
	return "00";
}

static bool is_plain(uint8_t c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

static void alpn_text(struct slice list, char out[2])
{
	struct slice name;
	uint8_t first, last;

	memcpy(out, "00", 2);
	if (!tls_alpn_next(&list, &name) || name.len == 0)
		return;
	first = name.ptr[0];
	last = name.ptr[name.len - 1];
	if (!is_plain(first) || !is_plain(last)) {
		first = (uint8_t)"0123456789abcdef"[first >> 4];
		last = (uint8_t)"0123456789abcdef"[last & 15];
	}
	out[0] = (char)first;
	out[1] = (char)last;
}

static unsigned two_digits(size_t n)
{
	return n > 99 ? 99 : (unsigned)n;
}

static int write_out(const struct tls_hello *hello, struct numbers *ciphers, struct numbers *extensions,
		     const struct numbers *signatures, char out[TLS_JA4_OCTETS + 1])
{
	char cipher_hash[PART + 1] = "000000000000", extension_hash[PART + 1] = "000000000000", alpn[2];
	int err = 0;

	qsort(ciphers->items, ciphers->n, sizeof(uint16_t), compare);
	qsort(extensions->items, extensions->n, sizeof(uint16_t), compare);
	if (ciphers->n > 0)
		err = hash(ciphers, true, NULL, cipher_hash);
	if (err == 0 && extensions->n > 0)
		err = hash(extensions, false, signatures, extension_hash);
	if (err < 0)
		return err;
	alpn_text(hello->alpn, alpn);
	snprintf(out, TLS_JA4_OCTETS + 1, "t%s%c%02u%02u%.2s_%s_%s", version_text(hello->version),
		 hello->has_server_name ? 'd' : 'i', two_digits(ciphers->n), two_digits(extensions->n), alpn, cipher_hash,
		 extension_hash);
	return 0;
}

int tls_hello_ja4(const struct tls_hello *hello, char out[TLS_JA4_OCTETS + 1])
{
	struct numbers ciphers = { 0 }, extensions = { 0 }, signatures = { 0 };
	int err = numbers_of_list(hello->ciphers, &ciphers);

	if (err == 0)
		err = numbers_of_extensions(hello->extensions, &extensions);
	if (err == 0)
		err = numbers_of_list(hello->signatures, &signatures);
	if (err == 0)
		err = write_out(hello, &ciphers, &extensions, &signatures, out);
	free(ciphers.items);
	free(extensions.items);
	free(signatures.items);
	return err;
}
