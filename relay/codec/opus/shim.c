//go:build cgo

#include "shim.h"

#include <stddef.h>

OpusEncoder *portico_opus_encoder_open(int channels, int application, int bitrate, int complexity, int dtx) {
	int err = OPUS_OK;
	OpusEncoder *e = opus_encoder_create(48000, channels, application, &err);
	if (e == NULL || err != OPUS_OK)
		return NULL;
	if (opus_encoder_ctl(e, OPUS_SET_BITRATE(bitrate)) != OPUS_OK || opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity)) != OPUS_OK ||
		opus_encoder_ctl(e, OPUS_SET_INBAND_FEC(1)) != OPUS_OK || opus_encoder_ctl(e, OPUS_SET_DTX(dtx)) != OPUS_OK) {
		opus_encoder_destroy(e);
		return NULL;
	}
	return e;
}

int portico_opus_set_loss(OpusEncoder *e, int percent) {
	return opus_encoder_ctl(e, OPUS_SET_PACKET_LOSS_PERC(percent));
}
