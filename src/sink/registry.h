/* The sinks there are; used by this room alone. */
#ifndef OM_SINK_REGISTRY_H
#define OM_SINK_REGISTRY_H

#include "sink/sink.h"

extern const om_sink_ops om_sink_jsonl, om_sink_csv, om_sink_video, om_sink_webvtt, om_sink_null;

#endif
