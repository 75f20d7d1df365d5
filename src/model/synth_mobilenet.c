/* MobileNet V2 as torchvision's export has it, and EfficientNet-Lite0 as timm's: inverted residuals. */
#include "model/synth.h"

typedef struct stage {
    int expand, out, repeats, stride, size;
} stage;

static const stage mobilenet[] = {{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3},  {6, 32, 3, 2, 3}, {6, 64, 4, 2, 3},
                                  {6, 96, 3, 1, 3}, {6, 160, 3, 2, 3}, {6, 320, 1, 1, 3}};
static const stage efficientnet[] = {{1, 16, 1, 1, 3},  {6, 24, 2, 2, 3},  {6, 40, 2, 2, 5}, {6, 80, 3, 2, 3},
                                     {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5}, {6, 320, 1, 1, 3}};
#define STAGES 7

/* TensorFlow's "same": a stride of 2 over an even size pads one less before than after. */
static om_synth_conv window(int out, int size, int stride, bool same)
{
    bool uneven = same && stride == 2;
    return (om_synth_conv){
        .out = out, .size = size, .stride = stride, .pad = size / 2 - uneven, .pad_end = uneven};
}

static om_synth_tensor block(om_synth *b, const char *path, om_synth_tensor x, const stage *s, int stride,
                             bool same)
{
    char name[OM_BUILD_NAME];
    int wide = x.c * s->expand;
    om_synth_tensor y = x;
    if (s->expand > 1)
        y = om_synth_cba(b, om_build_name(name, "%s/expand", path), y,
                         (om_synth_conv){.out = wide, .size = 1, .stride = 1}, OM_SYNTH_RELU6);
    om_synth_conv each = window(wide, s->size, stride, same);
    each.groups = wide;
    y = om_synth_cba(b, om_build_name(name, "%s/depthwise", path), y, each, OM_SYNTH_RELU6);
    y = om_synth_conv_random(b, om_build_name(name, "%s/project", path), y,
                             (om_synth_conv){.out = s->out, .size = 1, .stride = 1});
    if (stride > 1 || x.c != s->out) return y;
    return om_synth_add(b, om_build_name(name, "/%s/Add", path), x, y);
}

static int make(om_synth *b, const stage *stages, bool same, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    x = om_synth_cba(b, "features.0", x, window(32, 3, 2, same), OM_SYNTH_RELU6);
    for (int i = 0; i < STAGES; i++)
        for (int k = 0; k < stages[i].repeats; k++) {
            om_build_name(name, "features.%d/%d", i + 1, k);
            x = block(b, name, x, &stages[i], k == 0 ? stages[i].stride : 1, same);
        }
    x = om_synth_cba(b, "head", x, window(1280, 1, 1, false), OM_SYNTH_RELU6);
    return om_synth_linear(b, "classifier", om_synth_pooled(b, x), b->p.classes).v;
}

int om_synth_mobilenet_v2(om_synth *b, float width, float depth, om_synth_tensor images)
{
    (void)width;
    (void)depth;
    return make(b, mobilenet, false, images);
}

int om_synth_efficientnet_lite0(om_synth *b, float width, float depth, om_synth_tensor images)
{
    (void)width;
    (void)depth;
    return make(b, efficientnet, true, images);
}
