/* The trackers there are; used by this room alone. */
#ifndef OM_TRACK_REGISTRY_H
#define OM_TRACK_REGISTRY_H

#include "track/track.h"

extern const om_tracker_ops om_tracker_iou, om_tracker_bytetrack, om_tracker_ocsort;

#endif
