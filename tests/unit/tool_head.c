/* Decodes tensors from .npy files with one head and prints the boxes as JSON, so that the tests can set them
 * beside what the family's own decoder makes of the same numbers.
 *
 *   tool_head FAMILY [key=value ...] NAME=FILE.npy ...
 *
 * Keys: src=WxH dst=WxH fit=letterbox|stretch|crop conf= iou= max_boxes= agnostic=0|1 top_k= classes=1,2
 * alphabet=FILE blank= mask_conf= mask_dilate=0|1 unclip= anchors= vector_max= decoded=0|1 n_labels=N item=
 * repeat=N (decodes N times and prints the mean in microseconds as "us") meta:KEY=VALUE. What is no key is an
 * output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "head/head.h"

#define MAX_LIST 64

typedef struct tool {
    om_model_desc desc;
    om_tensor_spec specs[MAX_LIST];
    om_meta metas[MAX_LIST];
    om_tensor tensors[MAX_LIST];
    char *files[MAX_LIST];
    int classes[MAX_LIST];
    om_head_params params;
    const char *labels[MAX_LIST];
    int src_w, src_h, dst_w, dst_h, item, repeat;
    om_fit fit;
} tool;

static void die(const char *what)
{
    fprintf(stderr, "tool_head: %s\n", what);
    exit(1);
}

static om_dtype parse_dtype(const char *descr)
{
    static const struct {
        const char *descr;
        om_dtype dtype;
    } known[] = {{"<f4", OM_DTYPE_F32}, {"<f2", OM_DTYPE_F16}, {"<f8", OM_DTYPE_F64},
                 {"<i8", OM_DTYPE_I64}, {"<i4", OM_DTYPE_I32}, {"|u1", OM_DTYPE_U8}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(descr, known[i].descr, 3) == 0) return known[i].dtype;
    die("unknown number type in a .npy file");
    return OM_DTYPE_NONE;
}

/* A version 1 file: magic, two bytes of version, two of the header's length, then a Python dict as text. */
static om_tensor parse_npy(char *file, size_t len)
{
    if (len < 10 || memcmp(file, "\x93NUMPY\x01", 7) != 0) die("not a .npy file of version 1");
    size_t header = (size_t)(unsigned char)file[8] | (size_t)(unsigned char)file[9] << 8;
    char *dict = om_strndup(file + 10, header);
    if (!dict) die("out of memory");
    const char *descr = strstr(dict, "'descr': '"), *shape = strstr(dict, "'shape': (");
    if (!descr || !shape || strstr(dict, "'fortran_order': True"))
        die("a .npy header that is not understood");
    om_tensor t = {.dtype = parse_dtype(descr + 10), .data = file + 10 + header};
    char *at = (char *)shape + 10;
    while (*at != ')' && t.shape.rank < OM_MAX_RANK) {
        t.shape.dim[t.shape.rank++] = strtoll(at, &at, 10);
        at += strspn(at, ", ");
    }
    if ((size_t)om_shape_count(&t.shape) * om_dtype_size(t.dtype) > len - 10 - header)
        die("a short .npy file");
    om_free(dict);
    return t;
}

static void add_output(tool *t, const char *name, const char *path)
{
    int i = t->desc.n_outputs++;
    size_t len = 0;
    if (i == MAX_LIST || om_read_file(path, (size_t)1 << 30, &t->files[i], &len) < 0) die(om_error_message());
    t->tensors[i] = parse_npy(t->files[i], len);
    t->specs[i] = (om_tensor_spec){.name = name, .dtype = t->tensors[i].dtype, .shape = t->tensors[i].shape};
}

static void add_classes(tool *t, char *list)
{
    t->params.classes = t->classes;
    for (char *c = strtok(list, ","); c && t->params.n_classes < MAX_LIST; c = strtok(NULL, ","))
        t->classes[t->params.n_classes++] = atoi(c);
}

static void set(tool *t, char *key, char *value)
{
    if (strcmp(key, "src") == 0) sscanf(value, "%dx%d", &t->src_w, &t->src_h);
    else if (strcmp(key, "dst") == 0) sscanf(value, "%dx%d", &t->dst_w, &t->dst_h);
    else if (strcmp(key, "fit") == 0)
        t->fit = value[0] == 's' ? OM_FIT_STRETCH : value[0] == 'c' ? OM_FIT_CROP : OM_FIT_LETTERBOX;
    else if (strcmp(key, "conf") == 0) t->params.conf = strtof(value, NULL);
    else if (strcmp(key, "iou") == 0) t->params.iou = strtof(value, NULL);
    else if (strcmp(key, "max_boxes") == 0) t->params.max_boxes = atoi(value);
    else if (strcmp(key, "agnostic") == 0) t->params.agnostic = atoi(value);
    else if (strcmp(key, "top_k") == 0) t->params.top_k = atoi(value);
    else if (strcmp(key, "classes") == 0) add_classes(t, value);
    else if (strcmp(key, "alphabet") == 0) t->params.alphabet = value;
    else if (strcmp(key, "blank") == 0) t->params.blank = atoi(value);
    else if (strcmp(key, "mask_conf") == 0) t->params.mask_conf = strtof(value, NULL);
    else if (strcmp(key, "mask_dilate") == 0) t->params.mask_dilate = atoi(value);
    else if (strcmp(key, "unclip") == 0) t->params.unclip = strtof(value, NULL);
    else if (strcmp(key, "anchors") == 0) t->params.anchors = value;
    else if (strcmp(key, "vector_max") == 0) t->params.vector_max = atoi(value);
    else if (strcmp(key, "decoded") == 0) t->desc.decoded = atoi(value);
    else if (strcmp(key, "n_labels") == 0)
        for (t->desc.labels = t->labels; t->desc.n_labels < atoi(value) && t->desc.n_labels < MAX_LIST;)
            t->labels[t->desc.n_labels++] = "label";
    else if (strcmp(key, "item") == 0) t->item = atoi(value);
    else if (strcmp(key, "repeat") == 0) t->repeat = atoi(value);
    else if (strncmp(key, "meta:", 5) == 0 && t->desc.n_metas < MAX_LIST)
        t->metas[t->desc.n_metas++] = (om_meta){key + 5, value};
    else add_output(t, key, value);
}

static void print_detection(om_json *j, const om_detection *d)
{
    om_json_begin_object(j);
    om_json_key(j, "box");
    om_json_begin_array(j);
    const float box[] = {d->x, d->y, d->w, d->h};
    for (int i = 0; i < 4; i++) om_json_num(j, (double)box[i], 9);
    om_json_end_array(j);
    om_json_key(j, "score");
    om_json_num(j, (double)d->score, 9);
    om_json_key(j, "class");
    om_json_int(j, d->class_id);
    om_json_key(j, "landmarks");
    om_json_begin_array(j);
    for (int i = 0; i < d->n_landmarks; i++) {
        om_json_num(j, (double)d->landmarks[i][0], 9);
        om_json_num(j, (double)d->landmarks[i][1], 9);
    }
    om_json_end_array(j);
    om_json_key(j, "quad");
    om_json_begin_array(j);
    for (int i = 0; d->has_quad && i < 4; i++) {
        om_json_num(j, (double)d->quad[i][0], 9);
        om_json_num(j, (double)d->quad[i][1], 9);
    }
    om_json_end_array(j);
    if (d->text) {
        om_json_key(j, "text");
        om_json_string(j, d->text);
        om_json_key(j, "text_score");
        om_json_num(j, (double)d->text_score, 9);
    }
    om_json_end_object(j);
}

static void print_result(const om_dets *dets, double us)
{
    om_str text = {0};
    om_json j;
    om_json_init(&j, &text, 0);
    om_json_begin_object(&j);
    om_json_key(&j, "us");
    om_json_num(&j, us, 2);
    om_json_key(&j, "objects");
    om_json_begin_array(&j);
    for (size_t i = 0; i < dets->n; i++) print_detection(&j, &dets->items[i]);
    om_json_end_array(&j);
    om_json_key(&j, "vector");
    om_json_begin_array(&j);
    for (size_t i = 0; i < dets->n_vector; i++) om_json_num(&j, (double)dets->vector[i], 9);
    om_json_end_array(&j);
    om_json_end_object(&j);
    puts(om_str_get(&text));
    om_str_fini(&text);
}

int main(int argc, char **argv)
{
    static tool t;
    om_head *head;
    om_head_scratch scratch = {0};
    om_dets dets = {0};
    if (argc < 3) die("usage: tool_head FAMILY [key=value ...] NAME=FILE.npy ...");
    int family = om_family_parse(argv[1]);
    if (family < 0) die(om_error_message());
    t.desc = (om_model_desc){.outputs = t.specs, .metas = t.metas, .family = (om_family)family};
    t.src_w = t.src_h = t.dst_w = t.dst_h = 640;
    t.repeat = 1;
    om_head_params_default(&t.params);
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) die("an argument without '='");
        *value++ = 0;
        set(&t, argv[i], value);
    }

    om_geometry g;
    om_geometry_fit(t.fit, t.src_w, t.src_h, t.dst_w, t.dst_h, &g);
    if (om_head_create(&t.desc, &t.params, &head) < 0) die(om_error_message());
    int64_t begin = om_now_ns();
    for (int i = 0; i < t.repeat; i++) {
        om_dets_clear(&dets);
        if (om_head_decode(head, &scratch, t.tensors, t.desc.n_outputs, t.item, &g, &dets) < 0)
            die(om_error_message());
    }
    print_result(&dets, (double)(om_now_ns() - begin) / 1e3 / t.repeat);
    om_head_destroy(head);
    om_head_scratch_fini(&scratch);
    om_dets_fini(&dets);
    for (int i = 0; i < t.desc.n_outputs; i++) om_free(t.files[i]);
    return 0;
}
