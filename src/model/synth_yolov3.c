/* YOLOv3-tiny as omma's import of Darknet's own configuration makes it: raw grids, the anchors in metadata.
 */
#include <stdio.h>

#include "model/synth.h"

#define OUTPUTS 2
#define BEFORE 5 /* a slot's values before its classes */
#define SHAPES 3
#define ANCHORS "10,14,23,27,37,58,81,82,135,169,344,319"

static om_synth_tensor layer(om_synth *b, om_synth_role role, int number, om_synth_tensor x, int out,
                             int size, int n_bits)
{
    char name[OM_BUILD_NAME];
    om_synth_conv c = {.out = out, .size = size, .stride = 1, .pad = size / 2};
    om_build_name(name, "%d_convolutional", number);
    return om_synth_role_layer(b, b->p.boxes > 0 ? role : OM_SYNTH_PLAIN, name, x, c, n_bits, OM_SYNTH_LEAKY);
}

/* Darknet pads a window of 2 at the far sides. */
static om_synth_tensor pool(om_synth *b, int number, om_synth_tensor x, int stride)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "/%d_maxpool/MaxPool", number);
    return om_synth_maxpool(b, name, x, (om_synth_conv){.size = 2, .stride = stride, .pad_end = 1});
}

static void grid(om_synth *b, int number, om_synth_tensor x, int bits, int level, int slots)
{
    char name[OM_BUILD_NAME];
    const char *dims[OM_MAX_RANK] = {"batch", NULL, "height", "width"};
    int stride = 32 >> level;
    om_build_name(name, "%d_convolutional/conv", number);
    om_synth_tensor out = om_synth_anchors_layer(b, name, x, BEFORE, bits, slots);
    om_shape shape = om_shape_make(4, (int64_t)1, (int64_t)out.c, (int64_t)(b->p.height / stride),
                                   (int64_t)(b->p.width / stride));
    for (int i = 0; i < 4 && !b->p.dynamic; i++) dims[i] = NULL;
    om_build_name(name, "yolo_%d", number + 1);
    om_synth_output(b, name, out.v, OM_DTYPE_F32, &shape, dims);
}

static int write_decoding(om_synth *b)
{
    char classes[16];
    snprintf(classes, sizeof classes, "%d", b->p.classes);
    const char *pairs[][2] = {{"omma.family", "yolov3"},
                              {"omma.classes", classes},
                              {"omma.anchors", ANCHORS ";" ANCHORS},
                              {"omma.masks", "3,4,5;0,1,2"},
                              {"omma.scale_x_y", "1;1"}};
    int e = b->to.err;
    for (size_t i = 0; !e && i < sizeof pairs / sizeof *pairs; i++)
        e = om_graph_set_meta(b->to.g, pairs[i][0], pairs[i][1]);
    return e;
}

int om_synth_yolov3_tiny(om_synth *b, float width, float depth, om_synth_tensor x)
{
    int slots = SHAPES * ((b->p.height / 32) * (b->p.width / 32) + (b->p.height / 16) * (b->p.width / 16));
    om_synth_tensor fine = x;
    (void)width;
    (void)depth;
    for (int i = 0; i < 6; i++) {
        x = layer(b, OM_SYNTH_PLAIN, 2 * i, x, 16 << i, 3, 0);
        if (i == 4) fine = x;
        x = pool(b, 2 * i + 1, x, i < 5 ? 2 : 1);
    }
    /* Bits see one cell each here, so the layer before them must not answer to a flat picture. */
    x = layer(b, OM_SYNTH_DETAIL, 12, x, 1024, 3, 0);
    om_synth_tensor bits = layer(b, OM_SYNTH_BITS, 13, x, 256, 1, 0);
    x = layer(b, OM_SYNTH_PROJECT, 14, bits, 512, 3, 128);
    grid(b, 15, x, 128 * 9, 0, slots);

    x = layer(b, OM_SYNTH_PASS, 18, bits, 128, 1, 0);
    x = om_synth_join(b, "/20_route/Concat", om_synth_upsample(b, "19_upsample", x), fine);
    x = layer(b, OM_SYNTH_PROJECT, 21, x, 256, 3, 64);
    grid(b, 22, x, 64 * 4, 1, slots);
    int e = write_decoding(b);
    if (e) b->to.err = e;
    return OM_NO_VALUE;
}
