/* How a family wants its pictures. */
#include "model/describe.h"

static void set3(float v[3], float a, float b, float c)
{
    v[0] = a;
    v[1] = b;
    v[2] = c;
}

static void imagenet(om_prep *prep)
{
    const float unit = 1.0f / 255.0f;
    set3(prep->mean, 0.485f * 255, 0.456f * 255, 0.406f * 255);
    set3(prep->scale, unit / 0.229f, unit / 0.224f, unit / 0.225f);
}

/* (v - mean) * scale in all channels; the padding becomes 0. */
static void normalize(om_prep *prep, float mean, float scale)
{
    set3(prep->mean, mean, mean, mean);
    set3(prep->scale, scale, scale, scale);
    set3(prep->pad, mean, mean, mean);
}

void om_family_prepare(const om_model_desc *d, om_family family, om_prep *prep, om_fit *fit,
                       bool *native_size)
{
    const float unit = 1.0f / 255.0f;
    int channel;
    const om_tensor_spec *in = om_desc_picture(d, &channel);
    *fit = OM_FIT_LETTERBOX;
    *native_size = false;
    prep->channels = OM_CHANNELS_RGB;
    prep->filter = OM_FILTER_LINEAR;
    set3(prep->mean, 0, 0, 0);
    set3(prep->scale, unit, unit, unit);
    set3(prep->pad, 114, 114, 114); /* Ultralytics' grey */
    switch (family) {
    case OM_FAMILY_YOLOV3: set3(prep->pad, 127.5f, 127.5f, 127.5f); break; /* Darknet pads with 0.5 */
    case OM_FAMILY_CENTERFACE: /* its own code feeds 0..255 RGB, stretched to the next multiple of 32 */
        set3(prep->scale, 1, 1, 1);
        *fit = OM_FIT_STRETCH;
        *native_size = true;
        break;
    case OM_FAMILY_CLASSIFY:
        *fit = OM_FIT_CROP;
        if (om_model_desc_meta(d, "task")) break; /* Ultralytics' classifiers take plain 0..1 */
        imagenet(prep);
        break;
    case OM_FAMILY_YOLOX: /* 0..255 BGR, at the upper left */
        set3(prep->scale, 1, 1, 1);
        prep->channels = OM_CHANNELS_BGR;
        *fit = OM_FIT_CORNER;
        break;
    case OM_FAMILY_SSD:
        normalize(prep, 127, 1.0f / 128);
        *fit = OM_FIT_STRETCH;
        break;
    case OM_FAMILY_RETINAFACE: /* BGR less Caffe's mean, at the picture's own size where that is open */
        set3(prep->mean, 104, 117, 123);
        set3(prep->scale, 1, 1, 1);
        set3(prep->pad, 104, 117, 123);
        prep->channels = OM_CHANNELS_BGR;
        *native_size =
            in && channel == 1 && in->shape.rank == 4 && in->shape.dim[2] < 0 && in->shape.dim[3] < 0;
        break;
    case OM_FAMILY_SCRFD:
        normalize(prep, 127.5f, 1.0f / 128);
        set3(prep->pad, 0, 0, 0);
        *fit = OM_FIT_CORNER;
        break;
    case OM_FAMILY_CTC: /* PP-OCR: BGR, padded with what becomes 0 */
        normalize(prep, 127.5f, 1 / 127.5f);
        prep->channels = OM_CHANNELS_BGR;
        *fit = OM_FIT_CORNER;
        break;
    case OM_FAMILY_DB:
        normalize(prep, 127.5f, 1 / 127.5f);
        prep->channels = OM_CHANNELS_BGR;
        break;
    case OM_FAMILY_EMBEDDING:
        normalize(prep, 127.5f, 1 / 127.5f);
        *fit = OM_FIT_STRETCH;
        break;
    case OM_FAMILY_SLOTS: *fit = OM_FIT_STRETCH; break;
    default: break;
    }
}

const om_choice om_normalize_choices[] = {
    {"own", OM_NORMALIZE_OWN, "as the family has it"},
    {"unit", OM_NORMALIZE_UNIT, "0 to 1"},
    {"half", OM_NORMALIZE_HALF, "-1 to 1"},
    {"imagenet", OM_NORMALIZE_IMAGENET, "ImageNet's mean and deviation"},
    {"none", OM_NORMALIZE_NONE, "0 to 255"},
    {NULL, 0, NULL},
};

const om_choice om_channels_choices[] = {
    {"own", -1, "as the family has them"},
    {"rgb", OM_CHANNELS_RGB, NULL},
    {"bgr", OM_CHANNELS_BGR, NULL},
    {NULL, 0, NULL},
};

const om_choice om_fit_choices[] = {
    {"own", -1, "as the family has it"},
    {"letterbox", OM_FIT_LETTERBOX, "keep the aspect, pad evenly"},
    {"corner", OM_FIT_CORNER, "keep the aspect, pad right and below"},
    {"stretch", OM_FIT_STRETCH, "fill, distorting"},
    {"crop", OM_FIT_CROP, "keep the aspect, cut what stands over"},
    {NULL, 0, NULL},
};

void om_model_desc_set_input(om_model_desc *d, om_normalize normalization, int channels, int fit)
{
    om_prep *p = &d->prep;
    const float unit = 1.0f / 255.0f;
    if (normalization == OM_NORMALIZE_HALF) normalize(p, 127.5f, 1 / 127.5f);
    if (normalization == OM_NORMALIZE_IMAGENET) imagenet(p);
    if (normalization == OM_NORMALIZE_UNIT || normalization == OM_NORMALIZE_NONE) {
        float scale = normalization == OM_NORMALIZE_UNIT ? unit : 1;
        set3(p->mean, 0, 0, 0);
        set3(p->scale, scale, scale, scale);
    }
    if (channels >= 0 && p->channels != OM_CHANNELS_GRAY) p->channels = (om_channels)channels;
    if (fit >= 0) d->fit = (om_fit)fit;
}
