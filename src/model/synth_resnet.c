/* ResNet-50 as torchvision's export has it, its normalisations folded into the convolutions. */
#include "model/synth.h"

#define EXPANSION 4 /* of a block's width at its end */

om_synth_tensor om_synth_cba(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c,
                             om_synth_act act)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "%s/conv", path);
    c.lift = OM_SYNTH_LIFT;
    return om_synth_activate(b, act, path, om_synth_conv_random(b, name, x, c));
}

/* 1x1, 3x3, 1x1 beside the input, which a layer of its own fits to another shape. */
static om_synth_tensor block(om_synth *b, const char *path, om_synth_tensor x, int width, int stride,
                             bool fit)
{
    char name[OM_BUILD_NAME];
    om_synth_conv open = {.out = width, .size = 1, .stride = 1},
                  middle = {.out = width, .size = 3, .stride = stride, .pad = 1},
                  end = {.out = EXPANSION * width, .size = 1, .stride = 1},
                  side = {.out = EXPANSION * width, .size = 1, .stride = stride};
    om_synth_tensor y = om_synth_cba(b, om_build_name(name, "%s/1", path), x, open, OM_SYNTH_RELU);
    y = om_synth_cba(b, om_build_name(name, "%s/2", path), y, middle, OM_SYNTH_RELU);
    y = om_synth_conv_random(b, om_build_name(name, "%s/3/conv", path), y, end);
    if (fit) x = om_synth_conv_random(b, om_build_name(name, "%s/downsample", path), x, side);
    y = om_synth_add(b, om_build_name(name, "/%s/Add", path), y, x);
    return om_synth_activate(b, OM_SYNTH_RELU, om_build_name(name, "%s/3", path), y);
}

void om_synth_resnet50_body(om_synth *b, const char *path, om_synth_tensor x, om_synth_tensor out[4])
{
    static const int blocks[4] = {3, 4, 6, 3};
    char name[OM_BUILD_NAME];
    om_synth_conv stem = {.out = 64, .size = 7, .stride = 2, .pad = 3};
    x = om_synth_cba(b, om_build_name(name, "%sstem", path), x, stem, OM_SYNTH_RELU);
    om_build_name(name, "/%smaxpool/MaxPool", path);
    x = om_synth_maxpool(b, name, x, (om_synth_conv){.size = 3, .stride = 2, .pad = 1});
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < blocks[i]; k++) {
            om_build_name(name, "%slayer%d/%d", path, i + 1, k);
            x = block(b, name, x, 64 << i, i > 0 && k == 0 ? 2 : 1, k == 0);
        }
        out[i] = x;
    }
}

om_synth_tensor om_synth_pooled(om_synth *b, om_synth_tensor x)
{
    x.v = om_build_op(&b->to, "GlobalAveragePool", "/avgpool/GlobalAveragePool", 1, x.v);
    x.v = om_build_op(&b->to, "Flatten", "/Flatten", 1, x.v);
    om_build_int(&b->to, "axis", 1);
    return x;
}

int om_synth_resnet50(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor levels[4];
    (void)width;
    (void)depth;
    om_synth_resnet50_body(b, "", images, levels);
    return om_synth_linear(b, "fc", om_synth_pooled(b, levels[3]), b->p.classes).v;
}
