//go:build cgo

#include "shim.h"

#include <aom/aomcx.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int begin(portico_av1_decoder *d) {
	Dav1dSettings s;
	dav1d_default_settings(&s);
	s.n_threads = 1;
	s.max_frame_delay = 1;
	s.all_layers = 0;
	s.frame_size_limit = d->limit;
	s.logger.callback = NULL;
	return dav1d_open(&d->codec, &s) == 0;
}

portico_av1_decoder *portico_av1_decoder_open(unsigned limit) {
	portico_av1_decoder *d = calloc(1, sizeof *d);
	if (d == NULL)
		return NULL;
	d->limit = limit;
	if (!begin(d)) {
		free(d);
		return NULL;
	}
	return d;
}

static int answer(int err) { return err == DAV1D_ERR(ERANGE) ? PORTICO_AV1_LARGE : PORTICO_AV1_CORRUPT; }

// Takes the pictures that are ready, of which it keeps the last; 1 when there was one.
static int collect(portico_av1_decoder *d, int *err) {
	int any = 0;
	for (;;) {
		Dav1dPicture next;
		memset(&next, 0, sizeof next);
		*err = dav1d_get_picture(d->codec, &next);
		if (*err < 0) {
			if (*err == DAV1D_ERR(EAGAIN))
				*err = 0;
			return any;
		}
		dav1d_picture_unref(&d->picture);
		d->picture = next;
		any = 1;
	}
}

int portico_av1_decode(portico_av1_decoder *d, const uint8_t *data, size_t size) {
	if (d->codec == NULL && !begin(d))
		return PORTICO_AV1_FAILED;
	dav1d_picture_unref(&d->picture);
	Dav1dData in;
	memset(&in, 0, sizeof in);
	uint8_t *room = dav1d_data_create(&in, size);
	if (room == NULL)
		return PORTICO_AV1_FAILED;
	memcpy(room, data, size);
	int any = 0;
	for (;;) {
		size_t before = in.sz;
		int err = dav1d_send_data(d->codec, &in), err2 = 0;
		if (err < 0 && err != DAV1D_ERR(EAGAIN)) {
			dav1d_data_unref(&in);
			return answer(err);
		}
		int ready = collect(d, &err2);
		any = any || ready;
		if (err2 < 0) {
			dav1d_data_unref(&in);
			return answer(err2);
		}
		if (in.sz == 0)
			break;
		if (in.sz == before && !ready) { // neither takes nor gives
			dav1d_data_unref(&in);
			return PORTICO_AV1_CORRUPT;
		}
	}
	if (!any)
		return PORTICO_AV1_NONE;
	return d->picture.p.layout == DAV1D_PIXEL_LAYOUT_I420 && d->picture.p.bpc == 8 ? PORTICO_AV1_DONE : PORTICO_AV1_FORMAT;
}

void portico_av1_decoder_reset(portico_av1_decoder *d) {
	dav1d_picture_unref(&d->picture);
	if (d->codec != NULL)
		dav1d_close(&d->codec);
}

void portico_av1_decoder_close(portico_av1_decoder *d) {
	portico_av1_decoder_reset(d);
	free(d);
}

// What a conversation has no time for is off.
static int configure(portico_av1_encoder *e, int speed, int intra) {
	static const struct {
		int id, value;
	} settings[] = {
		{AV1E_SET_AQ_MODE, 3}, {AV1E_SET_ENABLE_TPL_MODEL, 0}, {AV1E_SET_DELTAQ_MODE, 0}, {AV1E_SET_ENABLE_ORDER_HINT, 0},
		{AV1E_SET_TILE_COLUMNS, 0}, {AV1E_SET_ROW_MT, 0}, {AV1E_SET_ENABLE_OBMC, 0}, {AV1E_SET_ENABLE_PALETTE, 0}, {AV1E_SET_ENABLE_CFL_INTRA, 0},
		{AV1E_SET_ENABLE_SMOOTH_INTRA, 0}, {AV1E_SET_ENABLE_ANGLE_DELTA, 0}, {AV1E_SET_ENABLE_FILTER_INTRA, 0}, {AV1E_SET_ENABLE_GLOBAL_MOTION, 0},
		{AV1E_SET_ENABLE_WARPED_MOTION, 0}, {AV1E_SET_ENABLE_REF_FRAME_MVS, 0}, {AV1E_SET_ENABLE_TX64, 0}, {AV1E_SET_INTRA_DEFAULT_TX_ONLY, 1},
		{AV1E_SET_COEFF_COST_UPD_FREQ, 3}, {AV1E_SET_MODE_COST_UPD_FREQ, 3}, {AV1E_SET_MV_COST_UPD_FREQ, 3}, {AV1E_SET_CDF_UPDATE_MODE, 1},
		{AV1E_SET_NOISE_SENSITIVITY, 0}, {AV1E_SET_MAX_REFERENCE_FRAMES, 3},
	};
	// The controls are one function of a variable number of arguments; the macro checks names that are written out.
#undef aom_codec_control
	if (aom_codec_control(&e->ctx, AOME_SET_CPUUSED, speed) || aom_codec_control(&e->ctx, AOME_SET_MAX_INTRA_BITRATE_PCT, intra))
		return -1;
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (aom_codec_control(&e->ctx, settings[i].id, settings[i].value))
			return -1;
	return 0;
}

portico_av1_encoder *portico_av1_encoder_open(int width, int height, int kilobits, int speed, int intra) {
	portico_av1_encoder *e = calloc(1, sizeof *e);
	if (e == NULL)
		return NULL;
	aom_codec_iface_t *codec = aom_codec_av1_cx();
	aom_codec_enc_cfg_t *cfg = &e->cfg;
	if (aom_codec_enc_config_default(codec, cfg, AOM_USAGE_REALTIME) != AOM_CODEC_OK) {
		free(e);
		return NULL;
	}
	cfg->g_w = (unsigned int)width;
	cfg->g_h = (unsigned int)height;
	cfg->g_threads = 1;
	cfg->g_timebase.num = 1;
	cfg->g_timebase.den = 90000;
	cfg->g_pass = AOM_RC_ONE_PASS;
	cfg->g_lag_in_frames = 0;
	cfg->g_error_resilient = 0;
	cfg->rc_end_usage = AOM_CBR;
	cfg->rc_target_bitrate = (unsigned int)kilobits;
	cfg->rc_dropframe_thresh = 30;
	cfg->rc_min_quantizer = 2;
	cfg->rc_max_quantizer = 63;
	cfg->rc_undershoot_pct = 50;
	cfg->rc_overshoot_pct = 50;
	cfg->rc_buf_initial_sz = 500;
	cfg->rc_buf_optimal_sz = 600;
	cfg->rc_buf_sz = 1000;
	cfg->kf_mode = AOM_KF_DISABLED;
	if (aom_codec_enc_init(&e->ctx, codec, cfg, 0) != AOM_CODEC_OK) {
		free(e);
		return NULL;
	}
	if (configure(e, speed, intra) != 0) {
		portico_av1_encoder_close(e);
		return NULL;
	}
	return e;
}

int portico_av1_encode(portico_av1_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y, int stride_uv,
	int64_t pts, unsigned long duration, int key) {
	aom_image_t image; // on the stack: it points into the caller's memory, which libaom copies
	if (aom_img_wrap(&image, AOM_IMG_FMT_I420, e->cfg.g_w, e->cfg.g_h, 1, (unsigned char *)y) == NULL)
		return PORTICO_AV1_FAILED;
	image.planes[AOM_PLANE_Y] = (unsigned char *)y;
	image.planes[AOM_PLANE_U] = (unsigned char *)u;
	image.planes[AOM_PLANE_V] = (unsigned char *)v;
	image.stride[AOM_PLANE_Y] = stride_y;
	image.stride[AOM_PLANE_U] = image.stride[AOM_PLANE_V] = stride_uv;
	e->data = NULL;
	e->size = 0;
	e->key = 0;
	if (aom_codec_encode(&e->ctx, &image, pts, duration, key ? AOM_EFLAG_FORCE_KF : 0) != AOM_CODEC_OK)
		return PORTICO_AV1_FAILED;
	const aom_codec_cx_pkt_t *packet;
	for (aom_codec_iter_t iter = NULL; (packet = aom_codec_get_cx_data(&e->ctx, &iter)) != NULL;) {
		if (packet->kind != AOM_CODEC_CX_FRAME_PKT)
			continue;
		e->data = packet->data.frame.buf;
		e->size = packet->data.frame.sz;
		e->key = (packet->data.frame.flags & AOM_FRAME_IS_KEY) != 0;
	}
	return e->size == 0 ? PORTICO_AV1_NONE : PORTICO_AV1_DONE;
}

int portico_av1_set_rate(portico_av1_encoder *e, int kilobits) {
	e->cfg.rc_target_bitrate = (unsigned int)kilobits;
	return aom_codec_enc_config_set(&e->ctx, &e->cfg) == AOM_CODEC_OK ? PORTICO_AV1_DONE : PORTICO_AV1_FAILED;
}

void portico_av1_encoder_close(portico_av1_encoder *e) {
	aom_codec_destroy(&e->ctx);
	free(e);
}
