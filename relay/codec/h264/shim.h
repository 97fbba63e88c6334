#ifndef PORTICO_H264_SHIM_H
#define PORTICO_H264_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <wels/codec_api.h>

// What portico_h264_decode and portico_h264_encode answer.
enum { PORTICO_H264_NONE, PORTICO_H264_DONE, PORTICO_H264_CORRUPT, PORTICO_H264_FORMAT };

typedef struct {
	ISVCDecoder *codec;
	// The newest picture, openh264's memory until the next call.
	const uint8_t *y, *u, *v;
	int stride_y, stride_uv, width, height;
} portico_h264_decoder;

portico_h264_decoder *portico_h264_decoder_open(void);
int portico_h264_decode(portico_h264_decoder *d, const uint8_t *data, int size);
void portico_h264_decoder_close(portico_h264_decoder *d);

typedef struct {
	ISVCEncoder *codec;
	int width, height;
	SFrameBSInfo frame; // openh264's memory until the next call
} portico_h264_encoder;

portico_h264_encoder *portico_h264_encoder_open(int width, int height, float framerate, int bitrate);
int portico_h264_encode(portico_h264_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y, int stride_uv,
	int64_t milliseconds, int key);
// The bytes of one layer of the frame, which lie together; 0 beyond the last one.
int portico_h264_layer(portico_h264_encoder *e, int layer, const uint8_t **data);
int portico_h264_set_rate(portico_h264_encoder *e, int bitrate);
void portico_h264_encoder_close(portico_h264_encoder *e);

#endif
