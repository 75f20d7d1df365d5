/* omma: many videos in, detections out. This header brings the whole public API. */
#ifndef OMMA_OMMA_H
#define OMMA_OMMA_H

#include "omma/error.h"
#include "omma/pipeline.h"
#include "omma/types.h"
#include "omma/version.h"

#endif
