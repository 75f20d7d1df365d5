/* omma eval: how good results are, against labels, another model or true tracks. */
#include "cli/cmd_eval.h"

#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/signals.h"

#define FLAG(field) offsetof(om_eval_flags, field)

static const om_option flag_table[] = {
    {"truth", 't', OM_OPT_STRING, FLAG(truth), NULL, 0, 0, NULL, "FILE|DIR", "Labels",
     "what is truly there: COCO's JSON, a folder of YOLO's text files, a CSV of picture and class or text, a folder with a "
     "folder of pictures a class"},
    {"input", 'i', OM_OPT_LIST, FLAG(inputs), NULL, 0, 0, NULL, "DIR|FILE|VIDEO", NULL,
     "the pictures; with COCO's JSON or a CSV the folder they lie in (default: the one of --truth)"},
    {"match", 0, OM_OPT_CHOICE, FLAG(match), "auto", 0, 0, om_eval_match_choices, NULL, NULL,
     "how the model's classes are the labels'"},
    {"detections", 0, OM_OPT_STRING, FLAG(detections), NULL, 0, 0, NULL, "FILE", NULL,
     "boxes in COCO's form of results, in place of a model"},
    {"save-detections", 0, OM_OPT_STRING, FLAG(save), NULL, 0, 0, NULL, "FILE", NULL,
     "write the model's boxes in that form"},

    {"reference", 'r', OM_OPT_STRING, FLAG(reference), NULL, 0, 0, NULL, "MODEL", "Agreement",
     "a model whose results stand for the truth"},
    {"reference-device", 0, OM_OPT_STRING, FLAG(reference_device), NULL, 0, 0, NULL, "DEVICE", NULL,
     "where it runs; default: as --device"},
    {"reference-precision", 0, OM_OPT_CHOICE, FLAG(reference_precision), "f32", 0, 0, om_precision_choices,
     NULL, NULL, "numbers it computes with"},
    {"threshold", 0, OM_OPT_DOUBLE, FLAG(threshold), "0.25", 0, 1, NULL, NULL, NULL,
     "the reference's boxes count from this score on"},
    {"frames", 'n', OM_OPT_INT, FLAG(frames), "500", 0, 100000000, NULL, NULL, NULL,
     "pictures to compare on, spread over all that was named; 0: all"},

    {"mot", 0, OM_OPT_STRING, FLAG(mot), NULL, 0, 0, NULL, "GT", "Tracks",
     "the true tracks: MOTChallenge rows, frame,id,x,y,w,h and more"},
    {"stream", 0, OM_OPT_STRING, FLAG(stream), NULL, 0, 0, NULL, "NAME", NULL,
     "which stream of the result, where it holds several"},
    {"min-iou", 0, OM_OPT_DOUBLE, FLAG(min_iou), "0.5", 0.01, 1, NULL, "IOU", NULL,
     "least overlap of a box with an object it stands for (HOTA has its own, 0.05 to 0.95)"},

    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", "Output",
     "write the figures as JSON; '-': standard output, in place of the table"},
    {"per-class", 0, OM_OPT_BOOL, FLAG(per_class), "no", 0, 0, NULL, NULL, NULL, "show each class's figures"},
    {"batch", 'b', OM_OPT_INT, FLAG(batch), "0", 0, OM_EVAL_CHUNK, NULL, NULL, NULL,
     "pictures at once; 0: the model's own, or 1"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *all[] = {flag_table, NULL, NULL};
    all[1] = om_detector_options();
    return all;
}

static int check(const om_eval_flags *f, const om_run_options *o)
{
    if (f->mot) return OM_OK;
    if (f->reference && (f->truth || f->detections))
        return om_fail(OM_ERR_ARG,
                       "--reference is for pictures without labels; it goes with neither --truth nor "
                       "--detections");
    if (f->detections && o->model)
        return om_fail(OM_ERR_ARG, "--detections stands in place of a model: leave -m out");
    if (f->detections && f->save)
        return om_fail(OM_ERR_ARG,
                       "--save-detections writes what a model finds; there is none with --detections");
    if (f->detections && !f->truth)
        return om_fail(OM_ERR_ARG, "--detections needs labels: name them with --truth");
    if (!f->truth && !f->reference)
        return om_fail(
            OM_ERR_ARG,
            "say what to measure against: --truth LABELS, --reference MODEL or --mot GT.txt RESULT");
    if (!o->model && !f->detections) return om_fail(OM_ERR_ARG, "no model: name one with -m MODEL.onnx");
    if (f->reference && !f->inputs.n)
        return om_fail(OM_ERR_ARG, "no pictures: name a folder, files or videos with -i");
    return OM_OK;
}

static int evaluate(const om_eval_flags *f, const om_run_options *o, int *status)
{
    om_cancel cancel;
    om_eval_job job = {.flags = f, .options = o, .cancel = &cancel};
    int err = om_command_setup("omma eval", o);
    if (!err) err = om_signals_init();
    if (!err) err = om_signals_guard(&cancel);
    if (err) return err;
    err = f->reference ? om_eval_reference(&job, status) : om_eval_labels(&job, status);
    om_signals_release(&cancel);
    return err;
}

static int run(const om_args *args, int *status)
{
    om_eval_flags f;
    om_run_options o;
    int err = om_options_init(flag_table, &f);
    if (err) return err;
    err = om_options_init(om_run_option_table, &o);
    if (!err) err = om_option_set(om_run_option_table, &o, "mode", "latency");
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_apply(args, om_detector_options(), &o);
    if (!err && f.mot) err = om_args_expect(args, 1, "one RESULT, tracks as MOTChallenge rows or JSONL");
    for (size_t i = 0; i < args->n_positional && !err && !f.mot; i++)
        err = om_strlist_add(&f.inputs, args->positional[i]);
    o.batch_size = f.batch;
    if (!err) err = check(&f, &o);
    if (!err) err = om_outfile_check(f.json);
    if (!err) err = om_outfile_check(f.save);
    if (!err) err = f.mot ? om_eval_tracks(&f, args->positional[0]) : evaluate(&f, &o, status);
    om_options_fini(om_run_option_table, &o);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_eval = {
    .name = "eval",
    .summary = "how good a model or its tracks are: mAP, agreement, top-1, text, MOT",
    .usage = "-m MODEL --truth LABELS [-i PICTURES] [OPTIONS]\n"
             "--detections RESULTS.json --truth LABELS\n"
             "-m MODEL --reference MODEL -i DIR|VIDEO...\n"
             "--mot GT.txt RESULT",
    .about =
        "Runs a model over labelled pictures and says how right it is, and how fast: detectors by COCO's twelve figures "
        "(mAP, as pycocotools counts them), classifiers by top-1 and top-5, readers of text by equal lines and by errors a "
        "character. Without labels --reference compares with another model, such as the float one an int8 model was made "
        "of. --mot compares tracks with true ones: HOTA, CLEAR-MOT, identities. A run that is stopped scores the pictures it "
        "has seen, says so and ends with exit code 1.",
    .examples = "omma eval -m yolov8n.onnx --truth instances_val2017.json -i val2017/\n"
                "omma eval -m yolov8n.onnx --truth labels/ -i images/ --per-class\n"
                "omma eval --detections boxes.json --truth instances_val2017.json --json scores.json\n"
                "omma eval -m yolov8n-int8.onnx --reference yolov8n.onnx -i street.mp4 -n 300\n"
                "omma eval -m plates.onnx --truth plates.csv\n"
                "omma eval --mot gt.txt tracks.jsonl",
    .tables = tables,
    .run = run,
};
