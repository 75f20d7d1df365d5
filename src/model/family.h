/* Inside the room: what tells one family from another. */
#ifndef OM_MODEL_FAMILY_H
#define OM_MODEL_FAMILY_H

#include "model/model.h"

#define OM_FACE_CLASS_COLUMN 15 /* of a YOLOv5-face row: before it lie the box, its score and five points */

/* The last two dims of the one output of rank 3 with floats, beside which there may be raw grids of rank 5.
 */
bool om_desc_matrix(const om_model_desc *d, int64_t *rows, int64_t *cols);
/* Cells of the grids with strides 8, 16 and 32, 0 where the input's size is open. */
int64_t om_desc_grid_cells(const om_model_desc *d);
int64_t om_face_columns(const om_model_desc *d);  /* of a YOLOv5-face row; 0: none */
int om_retinaface_points(const om_model_desc *d); /* 4, 5; 0: none */
/* The name of the only class where the family tells it, else NULL. */
const char *om_family_only_label(const om_model_desc *d);

/* Whether the outputs, at least one, can be the family's. */
bool om_fits_yolov3(const om_model_desc *d);
bool om_fits_yolov5(const om_model_desc *d);
bool om_fits_yolov5_face(const om_model_desc *d);
bool om_fits_yolox(const om_model_desc *d);
bool om_fits_yolov8(const om_model_desc *d);
bool om_fits_yolov10(const om_model_desc *d);
bool om_fits_ssd(const om_model_desc *d);
bool om_fits_retinaface(const om_model_desc *d);
bool om_fits_scrfd(const om_model_desc *d);
bool om_fits_centerface(const om_model_desc *d);
bool om_fits_boxes(const om_model_desc *d);
bool om_fits_classify(const om_model_desc *d);
bool om_fits_ctc(const om_model_desc *d);
bool om_fits_slots(const om_model_desc *d);
bool om_fits_embedding(const om_model_desc *d);
bool om_fits_db(const om_model_desc *d);
/* Whether they are at first sight, without being told. */
bool om_looks_face_grids(const om_model_desc *d);
bool om_looks_ssd_chosen(const om_model_desc *d);
bool om_looks_ssd_rows(const om_model_desc *d);
bool om_looks_ctc(const om_model_desc *d);
bool om_looks_slots(const om_model_desc *d);
bool om_looks_embedding(const om_model_desc *d);
bool om_looks_db(const om_model_desc *d);

#endif
