#include "sink/registry.h"

const om_sink_ops *const *om_sink_registry(void)
{
    static const om_sink_ops *const all[] = {&om_sink_jsonl, &om_sink_csv,    &om_sink_video,
                                             &om_sink_null,  &om_sink_webvtt, NULL};
    return all;
}
