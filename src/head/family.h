/* The families' tables, for the registry. Private to the room. */
#ifndef OM_HEAD_FAMILY_H
#define OM_HEAD_FAMILY_H

#include "head/head.h"

extern const om_head_ops om_head_yolov3, om_head_yolov5, om_head_yolov5_face, om_head_yolov8, om_head_yolov10,
    om_head_yolox, om_head_ssd, om_head_retinaface, om_head_scrfd, om_head_centerface, om_head_boxes,
    om_head_classify, om_head_ctc, om_head_slots, om_head_db, om_head_embedding, om_head_raw;

#endif
