/* libnvcuvid's stand-in (cuda/nvdec_share.c), which lets streams share the GPU's decoder sessions: what it
 * does beyond NVIDIA's interface. Its functions are found by dlsym(): it is no part of the plug-in, as what
 * decodes has to find it by NVIDIA's name. */
#ifndef OM_DEVICE_NVDEC_H
#define OM_DEVICE_NVDEC_H

#define OM_NVDEC_SONAME "libnvcuvid.so.1"
#define OM_NVDEC_FILE "libomma-nvdec.so" /* beside the plug-in */

/* The next decoder that the calling thread makes, if it is H.264 or HEVC, holds at most `pictures` that are
 * decoded or referred to (more at moments) and `mapped` that are shown, at a time. Without it a decoder has a
 * session of its own, as it asks for it. */
#define OM_NVDEC_WISH "omma_nvdec_wish"
typedef void om_nvdec_wish_fn(int pictures, int mapped);

/* So many decoders are to come, of one GPU: sessions are made for that many. */
#define OM_NVDEC_EXPECT "omma_nvdec_expect"
typedef void om_nvdec_expect_fn(int decoders);

/* Decoders that are there now, and the sessions that serve them. */
#define OM_NVDEC_COUNT "omma_nvdec_count"
typedef void om_nvdec_count_fn(int *decoders, int *sessions);

#endif
