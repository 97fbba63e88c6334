#ifndef PORTICO_AV1_SHIM_H
#define PORTICO_AV1_SHIM_H

#include <aom/aom_codec.h>
#include <aom/aom_encoder.h>
#include <dav1d/dav1d.h>
#include <stddef.h>
#include <stdint.h>

// What portico_av1_decode and portico_av1_encode answer.
enum { PORTICO_AV1_NONE, PORTICO_AV1_DONE, PORTICO_AV1_CORRUPT, PORTICO_AV1_FORMAT, PORTICO_AV1_LARGE, PORTICO_AV1_FAILED };

typedef struct {
	Dav1dContext *codec;
	unsigned limit;
	Dav1dPicture picture; // the newest, held until the next call
} portico_av1_decoder;

// Limit is the most pixels of a picture.
portico_av1_decoder *portico_av1_decoder_open(unsigned limit);
int portico_av1_decode(portico_av1_decoder *d, const uint8_t *data, size_t size);
// Gives back what dav1d has grown, and forgets what it refers to.
void portico_av1_decoder_reset(portico_av1_decoder *d);
void portico_av1_decoder_close(portico_av1_decoder *d);

typedef struct {
	aom_codec_ctx_t ctx;
	aom_codec_enc_cfg_t cfg;
	// The newest frame, libaom's memory until the next call.
	const uint8_t *data;
	size_t size;
	int key;
} portico_av1_encoder;

// Speed is libaom's "cpu-used"; intra the most a key frame may have, in percent of a frame's share of the rate.
portico_av1_encoder *portico_av1_encoder_open(int width, int height, int kilobits, int speed, int intra);
int portico_av1_encode(portico_av1_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y, int stride_uv,
	int64_t pts, unsigned long duration, int key);
int portico_av1_set_rate(portico_av1_encoder *e, int kilobits);
void portico_av1_encoder_close(portico_av1_encoder *e);

#endif
