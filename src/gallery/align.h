/* Faces in one position: five landmarks onto those of the template that embedding models were trained with
 * (ArcFace's, 112x112). */
#ifndef OM_GALLERY_ALIGN_H
#define OM_GALLERY_ALIGN_H

/* The corners in the picture, for om_kernels.warp, of the upright face `width` x `height` pixels large: left
 * top, right top, right bottom, left bottom. The points are both eyes, the nose and the corners of the mouth,
 * the person's right before the left, so that x rises in a face seen upright; (0, 0) is the middle of the
 * picture's first pixel. The best turn, scale and shift by least squares (Umeyama's, without mirroring). On
 * other sizes than 112x112 the template keeps its shape: it is scaled by the shorter side and centred.
 * OM_ERR_ARG: points that are not finite, that lie in one place, or that fit a mirrored face better.
 * Thread-safety: reentrant. */
int om_face_align(const float points[5][2], int width, int height, float quad[8]);

#endif
