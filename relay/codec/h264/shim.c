//go:build cgo

#include "shim.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

portico_h264_decoder *portico_h264_decoder_open(void) {
	portico_h264_decoder *d = calloc(1, sizeof *d);
	if (d == NULL)
		return NULL;
	if (WelsCreateDecoder(&d->codec) != 0 || d->codec == NULL) {
		free(d);
		return NULL;
	}
	int quiet = WELS_LOG_QUIET; // first of all: it writes to stderr otherwise
	(*d->codec)->SetOption(d->codec, DECODER_OPTION_TRACE_LEVEL, &quiet);
	SDecodingParam param = {0};
	param.uiTargetDqLayer = UCHAR_MAX;
	param.eEcActiveIdc = ERROR_CON_DISABLE;
	param.sVideoProperty.size = sizeof param.sVideoProperty;
	param.sVideoProperty.eVideoBsType = VIDEO_BITSTREAM_AVC;
	if ((*d->codec)->Initialize(d->codec, &param) != 0) {
		WelsDestroyDecoder(d->codec);
		free(d);
		return NULL;
	}
	return d;
}

int portico_h264_decode(portico_h264_decoder *d, const uint8_t *data, int size) {
	unsigned char *planes[3] = {NULL, NULL, NULL};
	SBufferInfo info;
	memset(&info, 0, sizeof info);
	int state = (int)(*d->codec)->DecodeFrameNoDelay(d->codec, data, size, planes, &info);
	if ((state & ~dsFramePending) != 0)
		return PORTICO_H264_CORRUPT;
	if (info.iBufferStatus != 1 || planes[0] == NULL || planes[1] == NULL || planes[2] == NULL)
		return PORTICO_H264_NONE;
	const SSysMEMBuffer *b = &info.UsrData.sSystemBuffer;
	if (b->iFormat != videoFormatI420)
		return PORTICO_H264_FORMAT;
	d->y = planes[0];
	d->u = planes[1];
	d->v = planes[2];
	d->stride_y = b->iStride[0];
	d->stride_uv = b->iStride[1];
	d->width = b->iWidth;
	d->height = b->iHeight;
	return PORTICO_H264_DONE;
}

void portico_h264_decoder_close(portico_h264_decoder *d) {
	(*d->codec)->Uninitialize(d->codec);
	WelsDestroyDecoder(d->codec);
	free(d);
}

static int configure(portico_h264_encoder *e, float framerate, int bitrate) {
	SEncParamExt p;
	memset(&p, 0, sizeof p);
	if ((*e->codec)->GetDefaultParams(e->codec, &p) != 0)
		return -1;
	p.iUsageType = CAMERA_VIDEO_REAL_TIME;
	p.iPicWidth = e->width;
	p.iPicHeight = e->height;
	p.iTargetBitrate = bitrate;
	p.iMaxBitrate = UNSPECIFIED_BIT_RATE;
	p.iRCMode = RC_BITRATE_MODE;
	p.bEnableFrameSkip = true;
	p.fMaxFrameRate = framerate;
	p.iTemporalLayerNum = 1;
	p.iSpatialLayerNum = 1;
	p.iComplexityMode = LOW_COMPLEXITY;
	p.uiIntraPeriod = 0; // on demand
	p.iNumRefFrame = 1;
	p.eSpsPpsIdStrategy = CONSTANT_ID;
	p.bPrefixNalAddingCtrl = false;
	p.iEntropyCodingModeFlag = 0;
	p.iMultipleThreadIdc = 1;
	p.bEnableDenoise = false;
	p.bEnableLongTermReference = false;
	p.bEnableSceneChangeDetect = false; // a cut would bring a key frame that nobody asked for
	p.bEnableFrameCroppingFlag = true;
	SSpatialLayerConfig *l = &p.sSpatialLayers[0];
	l->iVideoWidth = e->width;
	l->iVideoHeight = e->height;
	l->fFrameRate = framerate;
	l->iSpatialBitrate = bitrate;
	l->iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE;
	l->uiProfileIdc = PRO_BASELINE;
	l->uiLevelIdc = LEVEL_UNKNOWN;
	l->sSliceArgument.uiSliceMode = SM_SINGLE_SLICE;
	l->sSliceArgument.uiSliceNum = 1;
	if ((*e->codec)->InitializeExt(e->codec, &p) != 0)
		return -1;
	int format = videoFormatI420;
	return (*e->codec)->SetOption(e->codec, ENCODER_OPTION_DATAFORMAT, &format);
}

portico_h264_encoder *portico_h264_encoder_open(int width, int height, float framerate, int bitrate) {
	portico_h264_encoder *e = calloc(1, sizeof *e);
	if (e == NULL)
		return NULL;
	if (WelsCreateSVCEncoder(&e->codec) != 0 || e->codec == NULL) {
		free(e);
		return NULL;
	}
	int quiet = WELS_LOG_QUIET;
	(*e->codec)->SetOption(e->codec, ENCODER_OPTION_TRACE_LEVEL, &quiet);
	e->width = width;
	e->height = height;
	if (configure(e, framerate, bitrate) != 0) {
		portico_h264_encoder_close(e);
		return NULL;
	}
	return e;
}

int portico_h264_encode(portico_h264_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y, int stride_uv,
	int64_t milliseconds, int key) {
	SSourcePicture picture;
	memset(&picture, 0, sizeof picture);
	picture.iColorFormat = videoFormatI420;
	picture.iPicWidth = e->width;
	picture.iPicHeight = e->height;
	picture.iStride[0] = stride_y;
	picture.iStride[1] = picture.iStride[2] = stride_uv;
	picture.pData[0] = (unsigned char *)y;
	picture.pData[1] = (unsigned char *)u;
	picture.pData[2] = (unsigned char *)v;
	picture.uiTimeStamp = milliseconds;
	if (key && (*e->codec)->ForceIntraFrame(e->codec, true) != 0)
		return PORTICO_H264_CORRUPT;
	memset(&e->frame, 0, sizeof e->frame);
	if ((*e->codec)->EncodeFrame(e->codec, &picture, &e->frame) != cmResultSuccess)
		return PORTICO_H264_CORRUPT;
	if (e->frame.eFrameType == videoFrameTypeSkip || e->frame.eFrameType == videoFrameTypeInvalid)
		e->frame.iLayerNum = 0;
	return e->frame.iLayerNum == 0 ? PORTICO_H264_NONE : PORTICO_H264_DONE;
}

int portico_h264_layer(portico_h264_encoder *e, int layer, const uint8_t **data) {
	if (layer >= e->frame.iLayerNum)
		return 0;
	const SLayerBSInfo *l = &e->frame.sLayerInfo[layer];
	int size = 0;
	for (int i = 0; i < l->iNalCount; i++)
		size += l->pNalLengthInByte[i];
	*data = l->pBsBuf;
	return size;
}

int portico_h264_set_rate(portico_h264_encoder *e, int bitrate) {
	SBitrateInfo info = {.iLayer = SPATIAL_LAYER_ALL, .iBitrate = bitrate};
	return (*e->codec)->SetOption(e->codec, ENCODER_OPTION_BITRATE, &info) == cmResultSuccess ? PORTICO_H264_DONE : PORTICO_H264_CORRUPT;
}

void portico_h264_encoder_close(portico_h264_encoder *e) {
	(*e->codec)->Uninitialize(e->codec);
	WelsDestroySVCEncoder(e->codec);
	free(e);
}
