#ifndef PORTICO_OPUS_SHIM_H
#define PORTICO_OPUS_SHIM_H

#include <opus.h>

// opus_encoder_ctl takes a variable number of arguments, which cgo does not call.
OpusEncoder *portico_opus_encoder_open(int channels, int application, int bitrate, int complexity, int dtx);
int portico_opus_set_loss(OpusEncoder *e, int percent);

#endif
