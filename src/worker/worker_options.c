/* What a worker may be told. */
#include "base/error.h"
#include "worker/rig.h"
#include "worker/worker.h"

static const om_choice modes[] = {
    {"inference", OM_WORKER_INFERENCE, NULL},
    {"retrain", OM_WORKER_RETRAIN, "a new head is trained on the model's features"},
    {NULL, 0, NULL}};

#define OPT(field) offsetof(om_worker_options, field)

const om_option om_worker_option_table[] = {
    {"model-name", 'm', OM_OPT_STRING, OPT(model_name), NULL, 0, 0, NULL, "NAME|FILE", "Work",
     "an ONNX file, or a name of 'omma model synth --list': that structure with seeded random weights"},
    {"input-path", 'i', OM_OPT_STRING, OPT(input_path), NULL, 0, 0, NULL, "URI", NULL,
     "file, folder, http(s)://, rtsp://, a camera's number, or pattern:"},
    {"mode", 0, OM_OPT_CHOICE, OPT(mode), "inference", 0, 0, modes, NULL, NULL,
     "what is done with the pictures"},
    {"batch-size", 'b', OM_OPT_INT, OPT(batch_size), "1", 1, OM_RIG_BATCH_MAX, NULL, NULL, NULL,
     "pictures a step"},
    {"prep-level", 0, OM_OPT_CHOICE, OPT(prep_level), "simple", 0, 0, om_prep_level_choices, NULL, NULL,
     "work done on a picture before the model: simple resizes and normalises; medium crops and converts to RGB "
     "before; complex also takes a median, blurs, mirrors and relights"},
    {"labels", 0, OM_OPT_STRING, OPT(labels), NULL, 0, 0, NULL, "FILE", NULL, "class names, one a line"},
    {"seed", 0, OM_OPT_INT64, OPT(seed), "1", 0, 9e15, NULL, NULL, NULL,
     "of random weights and of prep-level complex"},
    {"cut", 0, OM_OPT_STRING, OPT(cut), NULL, 0, 0, NULL, "TENSOR|LAYER", "Retraining",
     "whose output are the features; default: what goes into the classifier's last layer"},
    {"targets", 0, OM_OPT_STRING, OPT(targets), NULL, 0, 0, NULL, "FILE", NULL,
     "classes of a video's frames: a CSV of frame,class, each line from that frame on"},
    {"classes", 0, OM_OPT_INT, OPT(classes), "10", 2, 100000, NULL, NULL, NULL,
     "how many, where nothing says which: labels are then dummies drawn by the seed"},
    {"checkpoint", 0, OM_OPT_STRING, OPT(checkpoint), NULL, 0, 0, NULL, "FILE", NULL,
     "state of the training, written every few seconds and at the end"},
    {"resume", 0, OM_OPT_BOOL, OPT(resume), "no", 0, 0, NULL, NULL, NULL,
     "go on from the checkpoint, if it is there"},
    {"save", 0, OM_OPT_STRING, OPT(save), NULL, 0, 0, NULL, "FILE", NULL,
     "write the model with the trained head at the end"},
    {"split-point", 0, OM_OPT_STRING, OPT(split_point), NULL, 0, 0, NULL, "MODEL:LAYER", "Split",
     "run the model in two parts: up to this layer, tensor or module, and all behind it"},
    {"split-device", 0, OM_OPT_STRING, OPT(split_device), NULL, 0, 0, NULL, "DEVICE", NULL,
     "engine of the second part; default: that of the first"},
    {"split-cores", 0, OM_OPT_STRING, OPT(split_cores), NULL, 0, 0, NULL, "CORES", NULL,
     "cores of the second part; default: the second half of --core-bind's"},
    {"split-sweep", 0, OM_OPT_BOOL, OPT(split_sweep), "no", 0, 0, NULL, NULL, NULL,
     "measure every split that makes sense, write a table and a plot of latency, throughput and bytes"},
    {"split-max", 0, OM_OPT_INT, OPT(split_max), "24", 1, 10000, NULL, NULL, NULL,
     "splits that --split-sweep measures at most"},
    {"core-bind", 0, OM_OPT_STRING, OPT(core_bind), "all", 0, 0, NULL, "CORES|all", "Where and how",
     "cores for all threads, as in 0-3 or 0,2"},
    {"threads", 0, OM_OPT_INT, OPT(threads), "0", 0, 1024, NULL, NULL, NULL, "of the engine; 0: one a core"},
    {"device", 'd', OM_OPT_STRING, OPT(device), "auto", 0, 0, NULL, "DEVICE", NULL,
     "engine, where --infer-on-gpu is not given: auto, cpu, null; 'omma info' lists them"},
    {"prep-on-gpu", 0, OM_OPT_BOOL, OPT(prep_on_gpu), "no", 0, 0, NULL, NULL, NULL,
     "resize and normalise on the GPU (what --prep-level adds stays on the CPU)"},
    {"infer-on-gpu", 0, OM_OPT_BOOL, OPT(infer_on_gpu), "no", 0, 0, NULL, NULL, NULL,
     "run the model on the GPU"},
    {"gpu", 0, OM_OPT_STRING, OPT(gpu), "cuda:0", 0, 0, NULL, "DEVICE", NULL, "which GPU these two mean"},
    {"enable-compile", 0, OM_OPT_BOOL, OPT(enable_compile), "no", 0, 0, NULL, NULL, NULL,
     "compile in several ways, measure each, take the fastest"},
    {"use-amp", 0, OM_OPT_BOOL, OPT(use_amp), "no", 0, 0, NULL, NULL, NULL,
     "bf16 or f16 where the device has it, else f32"},
    {"max-steps", 0, OM_OPT_INT64, OPT(max_steps), "0", 0, 9e15, NULL, NULL, "How long",
     "measured steps; a file that is too short starts again. 0: to the input's end"},
    {"warmup", 0, OM_OPT_INT64, OPT(warmup), "2", 0, 1e9, NULL, NULL, NULL, "steps before, without a row"},
    {"output", 'o', OM_OPT_STRING, OPT(output), ".", 0, 0, NULL, "DIR", "Output",
     "folder for M_{model}_P_{pid}_metrics.csv and .log"},
    {"trace", 0, OM_OPT_STRING, OPT(trace), NULL, 0, 0, NULL, "FILE", NULL,
     "write a Chrome/Perfetto trace: read, prep and exec of each step"},
    {"quiet", 'q', OM_OPT_BOOL, OPT(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {"log-level", 0, OM_OPT_STRING, OPT(log_level), "warn", 0, 0, NULL, "error|warn|info|debug", NULL,
     "what else is said"},
    {0},
};

int om_worker_check(const om_worker_options *o)
{
    bool split = o->split_point || o->split_sweep;
    if (!o->model_name)
        return om_fail(OM_ERR_ARG, "no model: name a file or a known model with --model-name");
    if (!o->input_path) return om_fail(OM_ERR_ARG, "no input: name a video with --input-path");
    if (o->mode == OM_WORKER_RETRAIN && split)
        return om_fail(OM_ERR_ARG, "--mode retrain and a split model: one of them");
    if (o->split_point && o->split_sweep)
        return om_fail(OM_ERR_ARG, "--split-point and --split-sweep: one of them");
    if (split && (o->infer_on_gpu || o->prep_on_gpu))
        return om_fail(OM_ERR_ARG, "a split model has its devices by --device and --split-device, not by "
                                   "--infer-on-gpu and --prep-on-gpu");
    if (!split && (o->split_device || o->split_cores))
        return om_fail(OM_ERR_ARG, "--split-device and --split-cores need --split-point or --split-sweep");
    if (o->mode != OM_WORKER_RETRAIN && (o->cut || o->targets || o->checkpoint || o->resume || o->save))
        return om_fail(OM_ERR_ARG,
                       "--cut, --targets, --checkpoint, --resume and --save are for --mode retrain");
    if (o->resume && !o->checkpoint) return om_fail(OM_ERR_ARG, "--resume needs --checkpoint FILE");
    return OM_OK;
}
