#ifndef PORTICO_VPX_SHIM_H
#define PORTICO_VPX_SHIM_H

#include <stddef.h>
#include <stdint.h>
#include <vpx/vpx_codec.h>
#include <vpx/vpx_encoder.h>

// What portico_vpx_decode and portico_vpx_encode answer.
enum { PORTICO_VPX_NONE, PORTICO_VPX_DONE, PORTICO_VPX_CORRUPT, PORTICO_VPX_FORMAT, PORTICO_VPX_FAILED };

typedef struct {
	vpx_codec_ctx_t ctx;
	int vp9, open;
	// The newest picture, libvpx's memory until the next call.
	const uint8_t *y, *u, *v;
	int stride_y, stride_uv, width, height;
} portico_vpx_decoder;

portico_vpx_decoder *portico_vpx_decoder_open(int vp9);
int portico_vpx_decode(portico_vpx_decoder *d, const uint8_t *data, size_t size);
// Gives back what libvpx has grown, and forgets what it refers to.
void portico_vpx_decoder_reset(portico_vpx_decoder *d);
void portico_vpx_decoder_close(portico_vpx_decoder *d);

typedef struct {
	vpx_codec_ctx_t ctx;
	vpx_codec_enc_cfg_t cfg;
	// The newest frame, libvpx's memory until the next call.
	const uint8_t *data;
	size_t size;
	int key;
} portico_vpx_encoder;

// Speed is libvpx's "cpu-used"; intra the most a key frame may have, in percent of a frame's share of the rate.
portico_vpx_encoder *portico_vpx_encoder_open(int vp9, int width, int height, int kilobits, int speed, int intra);
int portico_vpx_encode(portico_vpx_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y, int stride_uv,
	int64_t pts, unsigned long duration, int key);
int portico_vpx_set_rate(portico_vpx_encoder *e, int kilobits);
void portico_vpx_encoder_close(portico_vpx_encoder *e);

#endif
