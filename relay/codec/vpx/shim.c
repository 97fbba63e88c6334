//go:build cgo

#include "shim.h"

#include <stdlib.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>

static int begin(portico_vpx_decoder *d) {
	vpx_codec_dec_cfg_t cfg = {.threads = 1};
	d->open = vpx_codec_dec_init(&d->ctx, d->vp9 ? vpx_codec_vp9_dx() : vpx_codec_vp8_dx(), &cfg, 0) == VPX_CODEC_OK;
	return d->open;
}

portico_vpx_decoder *portico_vpx_decoder_open(int vp9) {
	portico_vpx_decoder *d = calloc(1, sizeof *d);
	if (d == NULL)
		return NULL;
	d->vp9 = vp9;
	if (!begin(d)) {
		free(d);
		return NULL;
	}
	return d;
}

int portico_vpx_decode(portico_vpx_decoder *d, const uint8_t *data, size_t size) {
	if (!d->open && !begin(d))
		return PORTICO_VPX_FAILED;
	if (vpx_codec_decode(&d->ctx, data, (unsigned int)size, NULL, 0) != VPX_CODEC_OK)
		return PORTICO_VPX_CORRUPT;
	const vpx_image_t *image = NULL, *next;
	for (vpx_codec_iter_t iter = NULL; (next = vpx_codec_get_frame(&d->ctx, &iter)) != NULL;)
		image = next;
	int corrupt = 0;
	if (vpx_codec_control(&d->ctx, VP8D_GET_FRAME_CORRUPTED, &corrupt) == VPX_CODEC_OK && corrupt)
		return PORTICO_VPX_CORRUPT;
	if (image == NULL)
		return PORTICO_VPX_NONE;
	if (image->fmt != VPX_IMG_FMT_I420 || image->stride[VPX_PLANE_U] != image->stride[VPX_PLANE_V])
		return PORTICO_VPX_FORMAT;
	d->y = image->planes[VPX_PLANE_Y];
	d->u = image->planes[VPX_PLANE_U];
	d->v = image->planes[VPX_PLANE_V];
	d->stride_y = image->stride[VPX_PLANE_Y];
	d->stride_uv = image->stride[VPX_PLANE_U];
	d->width = (int)image->d_w;
	d->height = (int)image->d_h;
	return PORTICO_VPX_DONE;
}

void portico_vpx_decoder_reset(portico_vpx_decoder *d) {
	if (d->open)
		vpx_codec_destroy(&d->ctx);
	d->open = 0;
}

void portico_vpx_decoder_close(portico_vpx_decoder *d) {
	portico_vpx_decoder_reset(d);
	free(d);
}

// Controls that both codecs know by one number.
static int configure(portico_vpx_encoder *e, int vp9, int speed, int intra) {
	vpx_codec_ctx_t *c = &e->ctx;
	int bad = vpx_codec_control(c, VP8E_SET_CPUUSED, speed) || vpx_codec_control(c, VP8E_SET_STATIC_THRESHOLD, 1) ||
		vpx_codec_control(c, VP8E_SET_MAX_INTRA_BITRATE_PCT, (unsigned int)intra);
	if (vp9)
		return bad || vpx_codec_control(c, VP9E_SET_AQ_MODE, 3) || vpx_codec_control(c, VP9E_SET_FRAME_PARALLEL_DECODING, 0) ||
			vpx_codec_control(c, VP9E_SET_TILE_COLUMNS, 0) || vpx_codec_control(c, VP9E_SET_NOISE_SENSITIVITY, 0);
	return bad || vpx_codec_control(c, VP8E_SET_NOISE_SENSITIVITY, 0) ||
		vpx_codec_control(c, VP8E_SET_TOKEN_PARTITIONS, VP8_ONE_TOKENPARTITION);
}

portico_vpx_encoder *portico_vpx_encoder_open(int vp9, int width, int height, int kilobits, int speed, int intra) {
	portico_vpx_encoder *e = calloc(1, sizeof *e);
	if (e == NULL)
		return NULL;
	vpx_codec_iface_t *codec = vp9 ? vpx_codec_vp9_cx() : vpx_codec_vp8_cx();
	vpx_codec_enc_cfg_t *cfg = &e->cfg;
	if (vpx_codec_enc_config_default(codec, cfg, 0) != VPX_CODEC_OK) {
		free(e);
		return NULL;
	}
	cfg->g_w = (unsigned int)width;
	cfg->g_h = (unsigned int)height;
	cfg->g_threads = 1; // more of them would spin where the pipeline has other work (VP8)
	cfg->g_timebase.num = 1;
	cfg->g_timebase.den = 90000;
	cfg->g_pass = VPX_RC_ONE_PASS;
	cfg->g_lag_in_frames = 0;
	cfg->g_error_resilient = 0;
	cfg->rc_end_usage = VPX_CBR;
	cfg->rc_target_bitrate = (unsigned int)kilobits;
	cfg->rc_dropframe_thresh = 30;
	cfg->rc_resize_allowed = 0;
	cfg->rc_min_quantizer = 2;
	cfg->rc_max_quantizer = 63;
	cfg->rc_undershoot_pct = 100;
	cfg->rc_overshoot_pct = 15;
	cfg->rc_buf_initial_sz = 500;
	cfg->rc_buf_optimal_sz = 600;
	cfg->rc_buf_sz = 1000;
	cfg->kf_mode = VPX_KF_DISABLED;
	if (vpx_codec_enc_init(&e->ctx, codec, cfg, 0) != VPX_CODEC_OK) {
		free(e);
		return NULL;
	}
	if (configure(e, vp9, speed, intra)) {
		portico_vpx_encoder_close(e);
		return NULL;
	}
	return e;
}

int portico_vpx_encode(portico_vpx_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y, int stride_uv,
	int64_t pts, unsigned long duration, int key) {
	vpx_image_t image; // on the stack: it points into the caller's memory, which libvpx copies
	if (vpx_img_wrap(&image, VPX_IMG_FMT_I420, e->cfg.g_w, e->cfg.g_h, 1, (unsigned char *)y) == NULL)
		return PORTICO_VPX_FAILED;
	image.planes[VPX_PLANE_Y] = (unsigned char *)y;
	image.planes[VPX_PLANE_U] = (unsigned char *)u;
	image.planes[VPX_PLANE_V] = (unsigned char *)v;
	image.stride[VPX_PLANE_Y] = stride_y;
	image.stride[VPX_PLANE_U] = image.stride[VPX_PLANE_V] = stride_uv;
	e->data = NULL;
	e->size = 0;
	e->key = 0;
	if (vpx_codec_encode(&e->ctx, &image, pts, duration, key ? VPX_EFLAG_FORCE_KF : 0, VPX_DL_REALTIME) != VPX_CODEC_OK)
		return PORTICO_VPX_FAILED;
	const vpx_codec_cx_pkt_t *packet;
	for (vpx_codec_iter_t iter = NULL; (packet = vpx_codec_get_cx_data(&e->ctx, &iter)) != NULL;) {
		if (packet->kind != VPX_CODEC_CX_FRAME_PKT)
			continue;
		e->data = packet->data.frame.buf;
		e->size = packet->data.frame.sz;
		e->key = (packet->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
	}
	return e->size == 0 ? PORTICO_VPX_NONE : PORTICO_VPX_DONE;
}

int portico_vpx_set_rate(portico_vpx_encoder *e, int kilobits) {
	e->cfg.rc_target_bitrate = (unsigned int)kilobits;
	return vpx_codec_enc_config_set(&e->ctx, &e->cfg) == VPX_CODEC_OK ? PORTICO_VPX_DONE : PORTICO_VPX_FAILED;
}

void portico_vpx_encoder_close(portico_vpx_encoder *e) {
	vpx_codec_destroy(&e->ctx);
	free(e);
}
