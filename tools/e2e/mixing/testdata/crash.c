/*
 * Loaded before the libraries that decode (LD_PRELOAD), it makes them die of media with a certain text in it, as a fault of their own
 * would: in C, while they decode, by writing where nothing may be written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const char text[] = "this crashes the decoder";

static void look(const void *data, size_t size)
{
	if (data != NULL && memmem(data, size, text, sizeof text - 1) != NULL)
		*(volatile int *)8 = 1;
}

/* Of libvpx: pictures in VP8 and VP9. */
int vpx_codec_decode(void *decoder, const uint8_t *data, unsigned int size, void *user, long deadline)
{
	static int (*true_one)(void *, const uint8_t *, unsigned int, void *, long);
	if (true_one == NULL)
		true_one = dlsym(RTLD_NEXT, "vpx_codec_decode");
	look(data, size);
	return true_one(decoder, data, size, user, deadline);
}

/* Of libopus. */
int opus_decode(void *decoder, const unsigned char *data, int32_t size, int16_t *pcm, int samples, int fec)
{
	static int (*true_one)(void *, const unsigned char *, int32_t, int16_t *, int, int);
	if (true_one == NULL)
		true_one = dlsym(RTLD_NEXT, "opus_decode");
	look(data, size > 0 ? (size_t)size : 0);
	return true_one(decoder, data, size, pcm, samples, fec);
}
